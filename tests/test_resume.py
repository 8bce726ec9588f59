"""`emotion train --resume`: killed at any moment, it ends with the weights of an unbroken run."""
import random, shlex, shutil, signal, subprocess, time
import pytest
from conftest import EMOTION, ENV, emotion

# Small and quick, but with everything: two phases, replay, early stopping, dropout, several checkpoints in each.
SMALL = [
    f'--set={s}'
    for s in (
        'model.scratch.hidden_size=32', 'model.scratch.intermediate_size=64',
        'model.scratch.vocab_size=800',
        'phase1.num_train_epochs=8', 'phase1.learning_rate=3e-3',
        'phase1.early_stopping_patience=4', 'phase2.num_train_epochs=8',
        'phase2.learning_rate=3e-3', 'phase2.replay_fraction=0.5', 'export.enabled=false',
        'export.report=false',
    )
]
FINAL = ('phase1_final', 'final_model')
pytestmark = pytest.mark.xdist_group('resume')


def words(folder, *more):
    return ['train', '--config', 'quickstart', *SMALL, '--output_dir', folder, *more]


@pytest.fixture(scope='module')
def train(warm): return lambda folder, *more: warm.run(*words(folder, *more))


@pytest.fixture(scope='module')
def start(warm): return lambda folder, *more: warm.start(*words(folder, *more))


def weights(folder): return [(folder/f/'model.safetensors').read_bytes() for f in FINAL]


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    "A run from beginning to end, started as a user starts it."
    folder = tmp_path_factory.mktemp('unbroken')/'outputs'
    done = emotion(*words(folder))
    assert done.returncode == 0, done.stderr
    assert not (folder/'checkpoints').exists()
    return folder


def kill_after(process, text, delay=0., times=1):
    "Kill -9 some seconds after the n-th line with `text`; the last line before, or `None` when the run ended by itself."
    last = ''
    for line in process.stderr:
        if text not in line: continue
        last, times = line, times-1
        if times == 0:
            time.sleep(delay)
            process.kill()
            break
    process.stderr.read()
    return last if process.wait() == -signal.SIGKILL else None


def kill_while_writing(process, checkpoints):
    "Kill -9 as soon as a checkpoint folder is there that has no checksums yet."
    known = set(checkpoints.glob('checkpoint-*'))
    while process.poll() is None:
        for c in set(checkpoints.glob('checkpoint-*')) - known:
            if not (c/'checksums.json').exists():
                process.kill()
                process.wait()
                return c.name
            known.add(c)
    pytest.fail('no checkpoint was caught in the making')


def test_killed_at_many_points(start, unbroken, tmp_path):
    "Killed again and again, at random moments of both phases, until it gets to the end; that is the same to the last bit."
    folder, rng, kills = tmp_path/'outputs', random.Random(0), []
    while last := kill_after(
        start(folder, *['--resume'][: len(kills)]),
        ': epoch ',
        rng.random() * 0.5,
        times=rng.choice([1, 2]),
    ):
        kills.append(last)
    print(f'{len(kills)} kills, after', *(k[:17].strip() for k in kills), sep='\n  ')
    assert len(kills) >= 6 and {k[:7] for k in kills} == {'phase 1', 'phase 2'}
    assert weights(folder) == weights(unbroken) and {p.name for p in folder.iterdir()} - {
        'runs'
    } == set(FINAL)


@pytest.mark.parametrize('phase', ['phase1', 'phase2'])
def test_killed_while_a_checkpoint_is_written(train, start, unbroken, tmp_path, phase):
    folder = tmp_path/'outputs'
    assert kill_after(start(folder), 'phase 1: epoch 2/', .1)
    half = kill_while_writing(start(folder, '--resume'), folder/'checkpoints'/phase)
    done = train(folder, '--resume')
    assert done.returncode == 0 and f'{half} was not finished: not used' in done.stderr, done.stderr
    assert weights(folder) == weights(unbroken)


@pytest.fixture(scope='module')
def killed(start, tmp_path_factory):
    "A run that was killed in its second phase."
    folder = tmp_path_factory.mktemp('killed')/'outputs'
    assert kill_after(start(folder), 'phase 2: epoch 3/', .2)
    return folder


@pytest.mark.parametrize('file', ['model.safetensors', 'optimizer.pt', 'trainer_state.json'])
def test_a_damaged_checkpoint_falls_back(train, unbroken, killed, tmp_path, file):
    folder = shutil.copytree(killed, tmp_path/'outputs')
    newest = max(
        (folder / 'checkpoints/phase2').glob('checkpoint-*/checksums.json'),
        key=lambda p: int(p.parent.name.split('-')[1]),
    ).parent
    whole = (newest/file).read_bytes()
    (newest/file).write_bytes(whole[:len(whole)//2])
    done = train(folder, '--resume')
    assert (
        done.returncode == 0 and f'{newest.name} has a damaged {file}: not used' in done.stderr
    ), done.stderr
    assert weights(folder) == weights(unbroken)


def test_refusals(train, unbroken, killed, tmp_path):
    "Another run's checkpoints are neither continued nor overwritten; what is done is not done again."
    folder = shutil.copytree(killed, tmp_path/'outputs')
    anew = train(folder)
    note, refusal = anew.stderr.splitlines()
    assert (
        anew.returncode == 2
        and 'go on with --resume' in refusal
        and 'has ended before its time' in note
    )
    other = train(folder, '--resume', '--set', 'phase1.learning_rate=1e-3')
    assert (
        other.returncode == 2
        and 'phase1.learning_rate was 0.003 and is 0.001' in other.stderr
        and other.stderr.count('\n') == 1
    )
    done = shutil.copytree(unbroken, tmp_path/'done')
    again = train(done, '--resume')
    assert (
        again.returncode == 0 and 'epoch' not in again.stderr and weights(done) == weights(unbroken)
    )


def test_a_full_disk(unbroken, tmp_path):
    "On a disk of a few megabytes: a clear message, earlier checkpoints whole; with more room it goes on to the same weights."
    if subprocess.run(['unshare', '-rm', 'true'], capture_output=True).returncode:
        pytest.skip('this machine does not allow a small disk of our own (unshare -rm)')
    disk, out = tmp_path/'disk', tmp_path/'out'
    disk.mkdir()
    out.mkdir()
    run = shlex.join(map(str, [EMOTION, *words(disk/'outputs')]))
    script = f'''mount -t tmpfs -o size=SIZE tmpfs {disk}
{run} 2>{out}/first.err; echo $? >{out}/first.rc
ls -d {disk}/outputs/checkpoints/*/checkpoint-*/checksums.json >{out}/sealed
mount -o remount,size=200m {disk}
{run} --resume 2>{out}/second.err; echo $? >{out}/second.rc
cp -r {disk}/outputs {out}/outputs'''
    one = sum(p.stat().st_size for p in (unbroken/'final_model').iterdir()) // 1000
    subprocess.run(
        ['unshare', '-rm', 'sh', '-c', script.replace('SIZE', f'{one * 5}k')],
        env=ENV,
        check=True,
        timeout=300,
    )
    first, second = (out/'first.err').read_text(), (out/'second.err').read_text()
    assert (out/'first.rc').read_text().strip() == '1' and 'Traceback' not in first, first
    assert (
        'is full; the checkpoints of earlier epochs are whole: free some space and go on '
        'with --resume'
    ) in first
    assert (out/'sealed').read_text().strip(), first
    assert (out/'second.rc').read_text().strip() == '0' and 'going on after step' in second, second
    assert weights(out/'outputs') == weights(unbroken)
