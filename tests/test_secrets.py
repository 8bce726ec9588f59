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


WAYS = ['argument', 'argument with =', 'environment', 'cached login']


@pytest.mark.parametrize('how', WAYS)
def test_a_whole_run(tmp_path, how):
    "Training with worker processes and TensorBoard; every file that it leaves is searched, checkpoints of a killed run too."
    home = tmp_path/'home'
    home.mkdir()
    more, env = given(how, home)
    command = [
        EMOTION, 'train', '--config', 'quickstart', *SMALL,
        '--set=phase1.dataloader_num_workers=2', '--set=phase2.dataloader_num_workers=2',
        '--output_dir', tmp_path / 'outputs', *more,
    ]
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    seen, children = [], set()
    lines = []
    # at every line, look at the arguments of the process and of its children
    for line in process.stderr:
        lines.append(line)
        for pid in (
            [
                process.pid,
                *map(
                    int,
                    Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split(),
                ),
            ]
            if Path('/proc').is_dir()
            else []
        ):
            try: seen.append(Path(f'/proc/{pid}/cmdline').read_bytes())
            except OSError: continue
            children.add(pid)
        if 'phase 2: epoch 2/' in line: process.kill()  # the first epoch's checkpoint is there
    out = process.communicate()[0]
    assert list((tmp_path/'outputs/checkpoints').rglob('training_args.bin')), ''.join(lines)
    assert list((tmp_path / 'outputs').rglob('events.out.tfevents.*')), (
        'TensorBoard is installed with [dev] and must have written'
    )
    assert seen and not [c for c in seen if TOKEN.encode() in c]
    done = subprocess.run([*command, '--resume'], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not leaks(tmp_path / 'outputs') and not any(
        TOKEN in t for t in (*lines, out, done.stdout, done.stderr)
    )
    assert [p for p in leaks(home)] == ([str(home/'token')] if how == 'cached login' else [])


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
