"""Build the documentation site into `_docs/`: `python tools/docs.py`, and with `--check` follow all of its links

`nbdev_docs` does the work and calls `quarto`; where that is missing, `tools/quarto_fallback/quarto`
answers instead.
"""
import argparse, importlib.metadata, os, re, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIVE = (sys.executable, 'tools/live/build.py')
# IPython collects garbage at exit, once for each of the hundred notebooks that ran; what is frozen is not looked at
DOCS = 'import gc, nbdev.quarto as q; q.nbdev_docs.__wrapped__(n_workers=0); gc.freeze()'


def environment():
    "This checkout's package, this Python's commands, and a `quarto` in any case."
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    if not shutil.which('quarto', path=path):
        path = os.pathsep.join([path, str(ROOT/'tools/quarto_fallback')])
    return os.environ | {'PATH': path, 'PYTHONPATH': str(ROOT)}


def date_readme():
    "Date README.md by what git says: nbdev renders one that is older than index.ipynb."
    # the dates that a checkout sets are random
    readme = ROOT/'README.md'
    if not (readme.exists() and shutil.which('git')): return
    status = subprocess.run(
        ['git', 'status', '--porcelain', readme, 'nbs/index.ipynb'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if status.returncode==0: os.utime(readme, (0, 0) if status.stdout else None)


def reason(log):
    "What went wrong, in one line: the first error of a log, and the notebook where nbdev says so."
    errors = (
        re.findall(r'^(?:\w+\.)*\w*Error: .*|^quarto.*', log, re.M) or log.strip().splitlines()[-1:]
    )
    place = re.findall(r'^Exception: Error (in notebook.*?) :$', log, re.M)
    return ' '.join(errors[:1] + place[:1])


def check_installed():
    "Say so where nbdev would not find the package."
    if not importlib.metadata.entry_points(group='nbdev', name='emotion_detection'):
        sys.exit(
            "docs: the package is not installed in this environment; run `pip install -e "
            "'.[dev]'` first"
        )


def run_live(*options):
    "The live page's own command; where it fails, so does this one."
    done = subprocess.run([*LIVE, *options], cwd=ROOT, env=environment())
    if done.returncode: sys.exit(done.returncode)


def build_pages():
    "Let nbdev write the pages; its output goes into a log."
    shutil.rmtree(ROOT/'_proc', ignore_errors=True)
    # in one process, since each worker would import torch once more
    command = [sys.executable, '-c', DOCS]
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
    done = subprocess.run(command, cwd=ROOT, env=environment(), **pipes)
    log = ROOT/'_proc/docs.log'
    log.parent.mkdir(exist_ok=True)
    log.write_text(done.stdout, 'utf8')
    if done.returncode:
        sys.exit(f'docs: {reason(done.stdout)} (the whole output is in {log.relative_to(ROOT)})')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--check', action='store_true', help='count pages and links, and fail on a broken one'
    )
    check = parser.parse_args().check
    check_installed()
    # says itself what is wrong with the model, before the minutes that the pages take
    run_live('--check')
    date_readme()
    build_pages()
    print('docs: the live page', file=sys.stderr)
    run_live('_docs')
    print(f'docs: {len(list((ROOT/"_docs").rglob("*.html")))} pages in _docs/', file=sys.stderr)
    if check: sys.exit(subprocess.run([sys.executable, ROOT/'tools/crawl.py']).returncode)


if __name__ == '__main__': main()
