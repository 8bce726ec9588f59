"""What the process tests share: the `emotion` command in a process of its own, and one trained quickstart."""
import contextlib, os, shutil, subprocess, sys
from pathlib import Path
import pytest, yaml
from ending import MARK, left_over, skipped_lines, stop, unset_lines
from warm import Warm

ROOT = Path(__file__).resolve().parents[1]
EMOTION = Path(sys.executable).with_name('emotion')
# before a test's first import of huggingface_hub, which reads it once
os.environ['HF_HUB_OFFLINE'] = '1'
os.environ.setdefault(MARK, str(os.getpid()))  # in the environment of all that this run starts
ENV = os.environ | {'OMP_NUM_THREADS': '1', 'TOKENIZERS_PARALLELISM': 'false'}
ENV.pop('HF_TOKEN', None)


def sidebar(file):
    "The notebooks of each section of the site's sidebar; the overview stands before all sections, under ''."
    contents = yaml.safe_load(file.read_text('utf8'))['website']['sidebar']['contents']
    return {
        entry.get('section', ''): [
            file.parent / name for name in entry.get('contents', [entry.get('href')])
        ]
        for entry in contents
    }


SECTIONS = sidebar(ROOT/'nbs/sidebar.yml')
NOTEBOOKS = [notebook for section in SECTIONS.values() for notebook in section]


def emotion(*args, cwd=None, env=ENV, **kwargs):
    "Run the command to its end: exit code, stdout, stderr."
    if 'input' not in kwargs:
        # what runs the tests may have a pipe there, which predict would read
        kwargs.setdefault('stdin', subprocess.DEVNULL)
    return subprocess.run(
        [EMOTION, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True, **kwargs
    )


@pytest.fixture(scope='session')
def warm():
    "Starts the command with its imports behind it."
    with contextlib.closing(Warm(ENV)) as warm: yield warm


def copy_repository(target):
    "The project without what is made from it."
    made = ('.venv', '.git', 'outputs', '_docs', '_proc', '__pycache__', '.hypothesis', '*.egg-info', 'build', 'dist')
    shutil.copytree(ROOT, target, symlinks=True, ignore=shutil.ignore_patterns(*made))


@pytest.fixture(scope='session')
def outputs(tmp_path_factory):
    "A copy of the folders of the quickstart that all pages share; whoever needs it first trains it."
    folder = tmp_path_factory.mktemp('quickstart')/'outputs'
    code = 'import sys; from emotion_detection.reading import quickstart_copy as copy; copy(sys.argv[1])'
    command = [sys.executable, '-c', code, folder]
    done = subprocess.run(command, cwd=ROOT, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope='session')
def untrained(tmp_path_factory):
    "`final_model/` and `onnx/` of a tiny model that has learned nothing: quick to make, for tests of files and processes."
    from emotion_detection.config import load_config
    from emotion_detection.data import load_phases
    from emotion_detection.export import export_onnx
    from emotion_detection.model import EmotionClassifier
    config, folder = load_config('quickstart'), tmp_path_factory.mktemp('untrained')
    texts = [t for data in load_phases(config) for t in data.train.text]
    EmotionClassifier.from_scratch(texts, config.model.scratch, config.model.max_length, 0).save(
        folder / 'final_model'
    )
    export_onnx(folder/'final_model', folder/'onnx')
    return folder


LEFT = pytest.StashKey()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    "What the run has started ends with it; what does not is named, stopped, and fails the run."
    if 'PYTEST_XDIST_WORKER' in os.environ:
        return
    found = left_over(os.environ[MARK])
    session.config.stash[LEFT] = [f'{process.pid} {line}' for process, line in found]
    if found:
        stop(process for process, _ in found)
        session.exitstatus = session.exitstatus or 1


def pytest_terminal_summary(terminalreporter, config):
    "The last lines: what was left running, what was skipped and why."
    for line in config.stash.get(LEFT, ()):
        terminalreporter.write_line(f'still running after the tests, now stopped: {line}', red=True)
    for line in [
        *skipped_lines(terminalreporter.stats.get('skipped', ())),
        *unset_lines(os.environ),
    ]:
        terminalreporter.write_line(line, yellow=True)
