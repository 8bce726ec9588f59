"""Execute notebooks and save their outputs, which are the documentation: `python tools/run_notebooks.py nbs/01_loss.ipynb ...`

Without names, all of `nbs/` and its shelves. Cells with a flag of `tst_flags` in settings.ini
(slow, net, gpu) keep their stored outputs unless `--flags slow` asks for all of them or
`--cells ID ...` for these. A notebook that fails is not saved. Afterwards run `nbdev_clean`.
"""
import argparse, base64, io, os, subprocess, sys, time
from pathlib import Path
from PIL import Image


OFFLINE_AND_QUIET = {
    'IN_TEST': '1',
    'HF_DATASETS_DISABLE_PROGRESS_BARS': '1',
    'HF_HUB_OFFLINE': '1',
    'TOKENIZERS_PARALLELISM': 'false',
}


def is_skipped(cell, flags, cells):
    "Does a cell keep its outputs? So do those with one of these flags that are not among `cells`."
    if cell.cell_type != 'code' or 'nbdev_export(' in cell.source: return True
    marks = getattr(cell, 'directives_', {}) or {}
    if flags & marks.keys() and cell.get('id') not in cells: return True
    return marks.get('eval:', [''])[0].lower() == 'false'


def save_outputs(path, ran):
    "Store what cells put out, but for stderr, in their notebook."
    from execnb.nbio import read_nb, write_nb
    # read again: nbdev's processing has taken the directives out of the sources of `ran`
    saved = read_nb(path)
    for cell, done in zip(saved.cells, ran, strict=True):
        if cell.cell_type != 'code': continue
        cell['execution_count'] = None
        cell['outputs'] = [smaller(o) for o in done.outputs if o.get('name') != 'stderr']
    write_nb(saved, path)


def execute(path, flags, cells=()):
    "Run a notebook in this process and save it; `SystemExit` with the traceback of a failure."
    from execnb.shell import CaptureShell
    from nbdev.config import get_config
    from nbdev.process import NBProcessor
    skip = set(get_config().tst_flags.split()) - set(flags)
    nb = NBProcessor(path, process=True).nb
    os.environ |= OFFLINE_AND_QUIET
    os.chdir(path.parent)
    for cell in nb.cells:  # the shell leaves the old outputs of a cell that puts nothing out
        if not is_skipped(cell, skip, cells): cell['outputs'] = []
    shell = CaptureShell(path)
    try: shell.run_all(nb, exc_stop=True, preproc=lambda cell: is_skipped(cell, skip, cells))
    except Exception: raise SystemExit(shell.prettytb(fname=path))
    save_outputs(path, nb.cells)


def smaller(output):
    "A figure with at most 256 colors, a third of the size to the same eye; others as they are."
    if png := output.get('data', {}).get('image/png'):
        buffer = io.BytesIO()
        figure = Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB')
        figure.quantize(256).save(buffer, 'PNG', optimize=True)
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
