"""A Hub token shows up nowhere: not in files, logs, event files, tracebacks or the argument lists of child processes."""
import subprocess
from pathlib import Path
import pytest
from conftest import EMOTION, ENV, emotion

TOKEN = 'hf_' + 'FakeTokenForTestsOnly' + '0123456789'
SMALL = [
    f'--set={s}'
    for s in (
        'model.scratch.hidden_size=32',
        'phase1.num_train_epochs=2',
        'phase2.num_train_epochs=3',
    )
]


def given(how, home):
    "Arguments and environment that hand over the token in one of the three ways."
    env = ENV | {'HF_HOME': str(home)}
    if how == 'environment': env['HF_TOKEN'] = TOKEN
    if how == 'cached login': (home/'token').write_text(TOKEN)
    return (
        ['--hf_token', TOKEN]
        if how == 'argument'
        else [f'--hf_token={TOKEN}']
        if how == 'argument with ='
        else []
    ), env


def leaks(*places):
    "Files below `places` that hold the token, compressed archives of PyTorch's included (they are stored, not deflated)."
    return [
        str(p)
        for place in places
        for p in Path(place).rglob('*')
        if p.is_file() and TOKEN.encode() in p.read_bytes()
    ]


def watched(process, until=None):
    "Lines of stderr, and at each of them the arguments of the process and its children; killed at a line that holds `until`."
    lines, arguments = [], []
    for line in process.stderr:
        lines.append(line)
        if Path('/proc').is_dir():
            children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
            for pid in (process.pid, *children):
                try: arguments.append(Path(f'/proc/{pid}/cmdline').read_bytes())
                except OSError: continue
        if until and until in line: process.kill()
    return lines, arguments


@pytest.mark.parametrize('first, then', [('argument', 'environment'), ('cached login', 'argument with =')])
def test_a_whole_run(tmp_path, first, then):
    "Training with worker processes and TensorBoard, killed and continued; every file that it leaves is searched, the killed run's checkpoints too."
    homes = {how: tmp_path / how for how in (first, then)}
    train = [
        EMOTION, 'train', '--config', 'quickstart', *SMALL,
        '--set=phase1.dataloader_num_workers=2', '--set=phase2.dataloader_num_workers=2',
        '--output_dir', tmp_path / 'outputs',
    ]
    said = []
    for how, more, until in ((first, [], 'phase 2: epoch 2/'), (then, ['--resume'], None)):
        homes[how].mkdir()
        token, env = given(how, homes[how])
        process = subprocess.Popen(
            [*train, *more, *token], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        lines, arguments = watched(process, until)
        said += [*lines, process.communicate()[0]]
        assert arguments and not [words for words in arguments if TOKEN.encode() in words]
        if how == first:  # the first epoch's checkpoint is there
            assert list((tmp_path/'outputs/checkpoints').rglob('training_args.bin')), ''.join(lines)
        assert not leaks(tmp_path/'outputs')
    assert process.returncode == 0, ''.join(lines)
    assert list((tmp_path/'outputs').rglob('events.out.tfevents.*')), (
        'TensorBoard is installed with [dev] and must have written'
    )
    assert not [text for text in said if TOKEN in text]
    for how, home in homes.items():
        assert leaks(home) == ([str(home/'token')] if how == 'cached login' else [])


WAYS = ['argument', 'argument with =', 'environment', 'cached login']


@pytest.mark.parametrize('how', WAYS)
@pytest.mark.parametrize('crash', ['bad input', 'a bug'])
def test_errors(tmp_path, how, crash):
    "One line for bad input, a traceback for a bug: neither shows the token."
    home = tmp_path/'home'
    home.mkdir()
    more, env = given(how, home)
    if crash == 'a bug':  # an exception that nobody foresaw, raised deep inside
        (tmp_path / 'sitecustomize.py').write_text(
            'import datasets\ndef broken(*args, **kwargs): raise ZeroDivisionError("deep '
            'inside")\ndatasets.table.InMemoryTable = broken\n'
        )
        env['PYTHONPATH'] = str(tmp_path)
    done = emotion(
        'data',
        '--config',
        'quickstart',
        *(['--set=data.phase1.source=owner/gated'] if crash == 'bad input' else []),
        *more,
        env=env,
        cwd=tmp_path,
    )
    assert done.returncode == (2 if crash == 'bad input' else 1)
    assert ('deep inside' in done.stderr) == (crash == 'a bug')
    assert ('Traceback' in done.stderr) == (
        crash == 'a bug'
    ) and TOKEN not in done.stderr + done.stdout
