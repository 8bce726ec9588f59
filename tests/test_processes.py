"""The same command on two processes (CPU, gloo), started by torchrun and by accelerate."""
import functools, json, subprocess, sys
from pathlib import Path
import numpy as np
import psutil
import pytest
from conftest import EMOTION, ENV, emotion
from safetensors.numpy import load_file

BIN = Path(sys.executable).parent
LAUNCHERS = {
    'torchrun': [BIN / 'torchrun', '--standalone', '--nproc_per_node', '2'],
    # `--cpu` would start one process, or ask for mpirun; `--multi_gpu` is torchrun's way of starting, and here it finds no GPU.
    'accelerate': [
        BIN / 'accelerate', 'launch', '--multi_gpu', '--num_processes', '2',
        '--num_machines', '1', '--mixed_precision', 'no', '--dynamo_backend', 'no',
        '--main_process_port', '0',
    ],
}
# 704 of 728 training texts would divide evenly; what does not is filled up, so the two runs differ by a few texts and by rounding.
RECIPE = [
    f'--set={s}'
    for s in (
        'model.scratch.hidden_size=64', 'model.scratch.dropout=0',
        'phase1.num_train_epochs=4', 'phase1.learning_rate=3e-3',
        'phase2.num_train_epochs=4', 'phase2.learning_rate=3e-3',
    )
]
pytestmark = pytest.mark.xdist_group('resume')


def args(folder, per_device, *more):
    return [
        'train', '--config', 'quickstart', *RECIPE,
        f'--set=phase1.per_device_train_batch_size={per_device}',
        f'--set=phase2.per_device_train_batch_size={per_device}', '--output_dir',
        str(folder),
        *more,
    ]


def launch(launcher, *arguments, **kwargs):
    return subprocess.run(
        [*LAUNCHERS[launcher], EMOTION, *arguments],
        env=ENV,
        capture_output=True,
        text=True,
        **kwargs,
    )


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    "One process: its folder, and what it printed."
    folder = tmp_path_factory.mktemp('alone')/'outputs'
    done = emotion(*args(folder, 64))
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture(scope='module')
def together(tmp_path_factory):
    "Two processes, by launcher."
    @functools.cache
    def run(launcher):
        folder = tmp_path_factory.mktemp(launcher)/'outputs'
        done = launch(launcher, *args(folder, 32))
        assert done.returncode == 0, done.stderr[-3000:]
        return folder, done
    return run


def scores(folder):
    return json.loads((folder/'final_model/training_summary.json').read_text())['scores']


@pytest.mark.parametrize('launcher', LAUNCHERS)
def test_two_processes_are_one_run(alone, together, launcher):
    one, printed = alone
    two, done = together(launcher)
    # One writer, one voice: the same files and lines as from one process.
    assert {p.relative_to(two).as_posix() for p in two.rglob('*') if 'runs' not in p.parts} == {
        p.relative_to(one).as_posix() for p in one.rglob('*') if 'runs' not in p.parts
    }
    assert [l.split()[:3] for l in done.stderr.splitlines() if 'epoch' in l] == [
        l.split()[:3] for l in printed.stderr.splitlines() if 'epoch' in l
    ]
    assert [l.split()[0] for l in done.stdout.splitlines()] == [
        l.split()[0] for l in printed.stdout.splitlines()
    ]
    # 2 x 32 texts per step are the step of 64: the first epoch's weights, hence scores, agree but for the filled-up last batch.
    a, b = (json.loads((f/'phase1_final/training_summary.json').read_text()) for f in (one, two))
    assert (a['processes'], b['processes']) == (1, 2) and abs(
        a['history'][0]['validation_loss'] - b['history'][0]['validation_loss']
    ) < 0.01
    # At the end the noise of training is left: 156 validation texts per language, one text more or less right is .006; we allow .06.
    for k,v in scores(one).items(): assert abs(v - scores(two)[k]) < .06, (k, v, scores(two)[k])


def test_one_step_is_the_same_step(warm, tmp_path):
    "With texts that divide evenly, one epoch on two processes gives the weights of one process, up to rounding."
    rows = [
        f'{t} {i},{l}'
        for i in range(64)
        for t, l in (
            ('so happy', 'joy'),
            ('so angry', 'anger'),
            ('oh really', 'surprise'),
            ('it is', 'neutral'),
        )
    ]
    for split,n in (('train', 192), ('dev', 32), ('test', 32)):
        (tmp_path / f'{split}.csv').write_text(
            'text,label\n'
            + '\n'.join(rows[sum({'train': [], 'dev': [192], 'test': [192, 32]}[split]) :][:n])
            + '\n'
        )
    data = [
        f'--set=data.phase1.source={tmp_path}',
        '--set=phase1.num_train_epochs=1',
        '--set=phase2.num_train_epochs=1',
        '--set=export.enabled=false',
    ]
    assert warm.run(*args(tmp_path/'one', 64), *data).returncode == 0
    done = launch('torchrun', *args(tmp_path/'two', 32), *data)
    assert done.returncode == 0, done.stderr[-3000:]
    a, b = (load_file(tmp_path/n/'phase1_final/model.safetensors') for n in ('one', 'two'))
    largest = max(np.abs(a[k]-b[k]).max() for k in a)
    print(f'largest difference of a weight: {largest:.1e}')
    assert largest < 1e-4


def test_bad_input_is_said_once(tmp_path):
    done = launch(
        'torchrun', 'train', '--config', 'quickstart', '--set', 'phase1.lerning_rate=1',
        cwd=tmp_path,
    )
    assert done.returncode != 0 and done.stderr.count('did you mean learning_rate?') == 1


def test_the_table_of_a_training(alone):
    "What `emotion train` prints: a row for each folder that it made."
    table = alone[1].stdout
    for name in ('phase1_final', 'final_model', 'onnx', 'int8'): assert name in table
    for name in ('MB', 'macro_f1_en', 'macro_f1_vi', 'ms_per_text'): assert name in table


def test_killed_and_resumed(together, tmp_path):
    "Two processes, killed in phase 2, go on to the weights of their unbroken run."
    whole, broken = together('torchrun')[0], tmp_path/'broken'
    process = subprocess.Popen(
        [*LAUNCHERS['torchrun'], EMOTION, *args(broken, 32), '--set=export.enabled=false'],
        env=ENV,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    for line in process.stderr:
        if 'phase 2: epoch 2/' in line: break
    for p in [*psutil.Process(process.pid).children(recursive=True), process]: p.kill()
    process.communicate()
    done = launch('torchrun', *args(broken, 32), '--set=export.enabled=false', '--resume')
    assert done.returncode == 0 and done.stderr.count('going on after step') == 1, done.stderr[
        -3000:
    ]
    for f in ('phase1_final', 'final_model'):
        assert (whole / f / 'model.safetensors').read_bytes() == (
            broken / f / 'model.safetensors'
        ).read_bytes()
