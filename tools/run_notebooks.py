"""Execute notebooks and save their outputs, which are the documentation: `python tools/run_notebooks.py nbs/01_loss.ipynb ...`

Without names, all of `nbs/` and its shelves. Cells with a flag of `tst_flags` in settings.ini (slow, net, gpu) keep their stored outputs
unless `--flags slow` asks for all of them or `--cells ID ...` for these. A notebook that fails is not saved. Afterwards run `nbdev_clean`.
"""
import argparse, base64, io, os, subprocess, sys, time
from pathlib import Path
from PIL import Image


def execute(path, flags, cells=()):
    "Run one notebook in this process and save it, of the flagged cells those with these flags or ids; raises `SystemExit` with the traceback when a cell fails."
    from execnb.nbio import read_nb, write_nb
    from execnb.shell import CaptureShell
    from nbdev.config import get_config
    from nbdev.process import NBProcessor
    skip = set(get_config().tst_flags.split()) - set(flags)
    nb = NBProcessor(path, process=True).nb

    def skipped(cell):
        if cell.cell_type != 'code': return True
        marks = getattr(cell, 'directives_', {}) or {}
        return (
            'nbdev_export(' in cell.source
            or bool(skip & marks.keys()) and cell.get('id') not in cells
            or marks.get('eval:', [''])[0].lower() == 'false'
        )

    os.environ |= {
        'IN_TEST': '1',
        'HF_DATASETS_DISABLE_PROGRESS_BARS': '1',
        'HF_HUB_OFFLINE': '1',
        'TOKENIZERS_PARALLELISM': 'false',
    }
    os.chdir(path.parent)
    shell = CaptureShell(path)
    try: shell.run_all(nb, exc_stop=True, preproc=skipped)
    except Exception: raise SystemExit(shell.prettytb(fname=path))
    # not `nb`: nbdev's processing has taken the directives out of its sources
    saved = read_nb(path)
    for cell,ran in zip(saved.cells, nb.cells, strict=True):
        if cell.cell_type == 'code':
            cell['execution_count'], cell['outputs'] = (
                None,
                [smaller(o) for o in ran.outputs if o.get('name') != 'stderr'],
            )
    write_nb(saved, path)


def smaller(output):
    "A figure with at most 256 colors, a third of the size to the same eye; other outputs as they are."
    if png := output.get('data', {}).get('image/png'):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB').quantize(256).save(
            buffer, 'PNG', optimize=True
        )
        output['data']['image/png'] = base64.b64encode(buffer.getvalue()).decode()
    return output


def all_notebooks(folder):
    "Every notebook, `index` last: it shows what other pages have stored."
    from nbdev.doclinks import nbglob
    return sorted(nbglob(folder, as_path=True), key=lambda path: (path.stem == 'index', path))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('notebooks', nargs='*', type=Path, default=None)
    parser.add_argument(
        '--flags', nargs='*', default=[], help='flags of tst_flags whose cells are run too'
    )
    parser.add_argument(
        '--cells', nargs='*', default=[], metavar='ID', help='flagged cells that are run too'
    )
    args = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    notebooks = [p.resolve() for p in args.notebooks] or all_notebooks(root/'nbs')
    if len(notebooks) == 1: return execute(notebooks[0], args.flags, args.cells)
    for nb in notebooks:  # a fresh process each, so that none leans on another's state
        start = time.time()
        options = ['--flags', *args.flags, '--cells', *args.cells]
        subprocess.run([sys.executable, __file__, str(nb), *options], check=True)
        print(f'{nb.name} {time.time()-start:.1f} s', file=sys.stderr)


if __name__ == '__main__': main()
