"""One writer at a time: two trainings, two predictions, and what killed processes leave.

`EMOTION_ROUNDS=10 pytest tests/test_locks.py -k at_once -s` runs the races ten times and prints what happened.
"""
import json, os, re, signal, subprocess, sys, threading, time
from collections import Counter
import pytest
from conftest import EMOTION, ENV, emotion
from emotion_detection.files import InputError, lock, new_file, new_folder

ROUNDS = int(os.environ.get('EMOTION_ROUNDS', 1))
TINY = [
    f'--set={s}'
    for s in (
        'model.scratch.hidden_size=32', 'model.scratch.vocab_size=400',
        'phase1.num_train_epochs=2', 'phase2.num_train_epochs=2', 'export.enabled=false',
        'export.report=false',
    )
]
FINAL = ('phase1_final', 'final_model')


def start(*args, cwd):
    return subprocess.Popen(
        [EMOTION, *map(str, args)],
        cwd=cwd,
        env=ENV,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(*processes):
    "Exit code and stderr of each, with its process id."
    return {p.pid: (p.returncode, err) for p,err in [(p, p.communicate()[1]) for p in processes]}


def check_refusal(done):
    "Those that did not work were refused in one line, by the number of one that did."
    worked = [pid for pid,(code,_) in done.items() if code == 0]
    assert worked, done
    for code,err in done.values():
        if code == 0: continue
        assert code == 2 and 'Traceback' not in err, err
        who = re.search(r'is in use by (?:process (\d+)|another process)', err)
        assert who and (who[1] is None or int(who[1]) in worked), err
    return 'one refused' if len(worked) < len(done) else 'one after the other'


def test_two_trainings_at_once(tmp_path):
    "The weights of both phases are one run's."
    seen = Counter()
    for n in range(ROUNDS):
        folder = tmp_path/str(n)
        seen[
            check_refusal(
                ended(
                    *(
                        start(
                            'train', '--config', 'quickstart', *TINY, f'--set=seed={seed}',
                            '--output_dir', folder,
                            cwd=tmp_path,
                        )
                        for seed in (1, 2)
                    )
                )
            )
        ] += 1
        summaries = [json.loads((folder/f/'training_summary.json').read_text()) for f in FINAL]
        assert len({(s['run_id'], s['seed']) for s in summaries}) == 1, summaries
        assert {p.name for p in folder.iterdir()} - {'runs'} == set(FINAL)
    print('two trainings:', dict(seen))


def test_two_predictions_at_once(untrained, tmp_path):
    "The rows are one input's, all of them."
    seen = Counter()
    for name in 'ab':
        (tmp_path/f'{name}.txt').write_text(''.join(f'{name} {i}\n' for i in range(3000)))
    for n in range(ROUNDS):
        seen[
            check_refusal(
                ended(
                    *(
                        start(
                            'predict', '--model_path', untrained / 'onnx',
                            '--input', f'{name}.txt', '--output', 'same.jsonl',
                            cwd=tmp_path,
                        )
                        for name in 'ab'
                    )
                )
            )
        ] += 1
        rows = [
            json.loads(line)['text'] for line in (tmp_path / 'same.jsonl').read_text().splitlines()
        ]
        assert rows == [f'{rows[0][0]} {i}' for i in range(3000)]
        assert {p.name for p in tmp_path.iterdir()} == {'a.txt', 'b.txt', 'same.jsonl'}
    print('two predictions:', dict(seen))


def until(condition, seconds=60):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, 'it did not happen'
        time.sleep(.02)


@pytest.mark.parametrize('sig', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_prediction_frees_its_output(untrained, tmp_path, request, sig):
    "Ctrl-C and SIGTERM leave nothing; kill -9 leaves a lock and a begun file, which the next one takes over and removes."
    (tmp_path/'in.txt').write_text('hello there\n'*200_000)
    def listen(): signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        [
            EMOTION, 'predict', '--model_path', untrained / 'onnx', '--input', 'in.txt',
            '--output', 'out.jsonl',
        ],
        cwd=tmp_path,
        env=ENV,
        stderr=subprocess.DEVNULL,
        preexec_fn=listen,
    )
    request.addfinalizer(process.kill)
    until(lambda: list(tmp_path.glob('out.jsonl.*.partial')))
    second = emotion(
        'predict', '--model_path', untrained / 'onnx', '--text', 'hi', '--output',
        'out.jsonl',
        cwd=tmp_path,
    )
    note, refusal = second.stderr.splitlines()
    assert (
        second.returncode == 2
        and f'in use by process {process.pid};' in refusal
        and note.startswith('note: the model does not say')
    ), second.stderr
    process.send_signal(sig)
    process.wait()
    left = {p.name for p in tmp_path.iterdir()} - {'in.txt'}
    assert len(left) == (2 if sig == signal.SIGKILL else 0), left
    third = emotion(
        'predict', '--model_path', untrained / 'onnx', '--text', 'hi', '--output',
        'out.jsonl',
        cwd=tmp_path,
    )
    assert third.returncode == 0 and (
        f'process {process.pid}, which worked on' in third.stderr
    ) == (sig == signal.SIGKILL), third.stderr
    assert {p.name for p in tmp_path.iterdir()} == {'in.txt', 'out.jsonl'}




def test_a_folder_that_another_process_makes(tmp_path):
    make = (
        'import sys, time\nfrom emotion_detection.files import new_folder\nwith '
        'new_folder("out") as new:\n    (new/"a").touch()\n    print("held", flush=True)\n   '
        ' time.sleep(60)'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', make], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(InputError, match=f'in use by process {process.pid}'):
        with new_folder(tmp_path/'out'): pass
    assert sorted(tmp_path.rglob('*')) == before  # its temporary folder is not ours to remove
    process.kill()
    process.wait()
    with new_folder(tmp_path/'out') as new: (new/'b').touch()
    assert [p.name for p in tmp_path.iterdir()] == ['out'] and (tmp_path/'out/b').exists()


@pytest.mark.parametrize('text,words', [
    # the number is another process's by now: it runs, but has no lock
    ('{"pid": %d, "started": "1", "host": "h"}', ''),
    ('{"pid": 999999999, "started": "1", "host": "elsewhere"}', ''), ('', ''),
    ('my own notes', 'has the name of our lock, but is none'), ('[1]', 'is none'), ('{"a": 1}', 'is none')])
def test_what_a_lock_file_may_hold(tmp_path, capsys, text, words):
    (tmp_path/'.lock').write_text(text % os.getpid() if '%' in text else text)
    if words:
        with pytest.raises(InputError, match=words):
            with lock(tmp_path/'.lock', 'out'): pass
        assert (tmp_path/'.lock').read_text() == text
        return
    with lock(tmp_path/'.lock', 'out'): pass
    assert not (tmp_path / '.lock').exists() and (
        'ended before its time' in capsys.readouterr().err
    ) == bool(text)


@pytest.mark.parametrize('owner,free', [({}, False), ({'started': '1'}, True), ({'pid': 999999999}, True), ({'host': 'elsewhere'}, False), ({'host': 'elsewhere', 'pid': 999999999}, False)])
def test_a_disk_without_locks(tmp_path, monkeypatch, owner, free):
    "There the number of the process and its start decide; of another machine nothing is known."
    from emotion_detection import files
    monkeypatch.setattr(files, '_system_lock', lambda file: None)
    (tmp_path/'.lock').write_text(json.dumps(files._owner() | owner))
    if free:
        with lock(tmp_path/'.lock', 'out'): pass
    else:
        with pytest.raises(InputError, match=f'or remove {tmp_path}/.lock if that has ended'):
            with lock(tmp_path/'.lock', 'out'): pass


def test_threads_and_steps(tmp_path):
    "Another thread is another writer; a step within a step is not."
    refused = []
    def second():
        try:
            with new_file(tmp_path/'out.csv'): pass
        except InputError as e: refused.append(str(e))
    with new_file(tmp_path/'out.csv') as partial:
        partial.write_text('mine')
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert (
        refused
        and (tmp_path / 'out.csv').read_text() == 'mine'
        and [p.name for p in tmp_path.iterdir()] == ['out.csv']
    )


def test_a_fork_does_not_inherit_a_lock(tmp_path):
    with lock(tmp_path/'.lock', 'out'):
        pid = os.fork()
        if not pid:
            try:
                with lock(tmp_path/'.lock', 'out'): os._exit(0)
            except InputError: os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_phase_2_goes_on_from_its_own_phase_1(tmp_path):
    from emotion_detection.files import GateError, write_json
    from emotion_detection.runs import check_run_id
    write_json(tmp_path/'training_summary.json', {'run_id': 'one'})
    check_run_id(tmp_path, 'one')
    check_run_id(tmp_path, None)
    with pytest.raises(GateError, match='written by another run'): check_run_id(tmp_path, 'two')


def test_all_ranks_hear_of_a_lock(tmp_path):
    "Two processes of one run share a lock; when another run has it, one line says so and no rank waits or fails otherwise."
    torchrun = EMOTION.with_name('torchrun')
    (tmp_path/'out').mkdir()
    with lock(tmp_path/'out/.lock', 'out'):
        done = subprocess.run(
            [
                torchrun, '--standalone', '--nproc_per_node', '2', EMOTION, 'train',
                '--config', 'quickstart', *TINY, '--output_dir', 'out',
            ],
            cwd=tmp_path,
            env=ENV,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert (
            done.returncode
            and done.stderr.count(f'is in use by process {os.getpid()}') == 1
            and 'gloo' not in done.stderr
        ), done.stderr[-3000:]
        assert [p.name for p in (tmp_path/'out').iterdir()] == ['.lock']
