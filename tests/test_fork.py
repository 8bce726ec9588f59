"""A predictor in a process that was forked: no hang, no other model's answers, whatever threads did at the fork.

`FORKS` sets how many children the storm has; 100 were run when this was written (`FORKS=100`).
"""
import json, os, subprocess, sys
import pytest
from conftest import ENV

FORKS = int(os.environ.get('FORKS', 12))
pytestmark = pytest.mark.skipif(not hasattr(os, 'fork'), reason='this system has no fork')

TEXTS = [
    'Cảm ơn bạn nhiều!', 'I am so angry right now', 'Ủa thật hả?', 'Mai họp lúc chín giờ.',
    'vui quá', 'no way', 'ok', '',
]
START = '''
import json, os, shutil, signal, sys, threading, time, warnings
from pathlib import Path
from emotion_detection.files import InputError
from emotion_detection.predict import EmotionPredictor
folder, texts = sys.argv[1], json.loads(sys.argv[2])

def child(work, seconds=30):
    "Exit code of a child; 99 when it hangs, 98 when it fails"
    if (pid := os.fork()) == 0:
        signal.alarm(seconds + 10)
        try: code = work()
        except BaseException as e:
            print(f'{type(e).__name__}: {e}', file=sys.stderr)
            code = 98
        os._exit(code)
    end = time.time() + seconds
    while time.time() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done: return os.waitstatus_to_exitcode(status)
        time.sleep(.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 99
'''


def run(code, *args, timeout=300, status=0, **env):
    "A program in a process of its own; its last line, as JSON."
    done = subprocess.run(
        [sys.executable, '-c', START + code, *map(str, args)],
        env=ENV | env,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


STORM = '''
predictor = EmotionPredictor(folder, threads=int(sys.argv[4]))
first = EmotionPredictor(folder, threads=1)
single, many = [first(t) for t in texts], first(texts)
stop, asked = threading.Event(), [0]*4
def ask(n):
    while not stop.is_set():
        if n % 2: assert predictor(texts) == many
        else: assert predictor(texts[n]) == single[n]
        asked[n] += 1
threads = [threading.Thread(target=ask, args=[n], daemon=True) for n in range(4)]
for t in threads: t.start()
codes = [child(lambda: 0 if (predictor(texts[0]), predictor(texts), list(predictor.stream(texts))) == (single[0], many, many) else 1)
         for _ in range(int(sys.argv[3]))]
alive = all(t.is_alive() for t in threads)
stop.set()
for t in threads: t.join(30)
print(json.dumps({'codes': sorted(set(codes)), 'count': len(codes), 'alive': alive, 'asked': min(asked) > 0}))
'''


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('kind', ['int8', 'apart'])
def test_storm(outputs, tmp_path, kind, threads):
    "Forks while four threads predict, two with lists and two with single texts: every child answers, and rightly."
    folder = apart(outputs, tmp_path) if kind == 'apart' else outputs/'int8'
    found = run(STORM, folder, json.dumps(TEXTS), FORKS, threads, timeout=60 + 35*FORKS)
    assert found == {'codes': [0], 'count': FORKS, 'alive': True, 'asked': True}


def apart(outputs, tmp_path):
    "The INT8 folder with its weights in a file beside the graph."
    import shutil
    from emotion_detection.artifact import listed_files, update_manifest
    from emotion_detection.int8_graph import spread_weights
    folder = shutil.copytree(outputs/'int8', tmp_path/'apart')
    assert spread_weights(folder/'onnx/model_quantized.onnx', 0)
    update_manifest(folder, files=listed_files(folder))
    return folder


def test_fork_while_a_session_is_opened(outputs):
    "The second session is being opened by another thread at the fork, and its lock is held: the child has its own."
    code = '''
import emotion_detection.runtime as runtime
predictor = EmotionPredictor(folder, threads=2)
expected, plain, begun = EmotionPredictor(folder, threads=1)(texts), runtime.open_session, threading.Event()
def slow(*args, **kwargs):
    begun.set()
    time.sleep(1)
    return plain(*args, **kwargs)
runtime.open_session = slow
other = threading.Thread(target=predictor, args=[texts])
other.start()
begun.wait()
codes = [child(lambda: 0 if predictor(texts) == expected and predictor(texts[0]) == expected[0] else 1) for _ in range(3)]
other.join()
print(json.dumps(codes))
'''
    assert run(code, outputs/'int8', json.dumps(TEXTS)) == [0]*3


def test_child_of_a_child(outputs):
    "Each generation opens its own; a child that ends as Python ends, not by `os._exit`, ends too."
    code = '''
predictor = EmotionPredictor(folder, threads=2)
here = predictor(texts), predictor(texts[0])
def same(): return (predictor(texts), predictor(texts[0])) == here
def twice(): return 0 if same() and child(lambda: 0 if same() else 1) == 0 else 1
def to_the_end():
    if not same(): return 1
    sys.stdout.flush()
    threading._shutdown()
    import gc
    predictor.__dict__.clear()
    gc.collect()
    return 0
print(json.dumps([child(twice), child(to_the_end), child(twice)]))
'''
    assert run(code, outputs/'int8', json.dumps(TEXTS)) == [0, 0, 0]


def test_normal_exit_of_a_child(outputs):
    "Interpreter shutdown in the child does not wait for the parent's threads."
    code = '''
predictor = EmotionPredictor(folder, threads=3)
here = predictor(texts)
if (pid := os.fork()) == 0: sys.exit(0 if predictor(texts) == here else 1)
end, status = time.time() + 40, None
while time.time() < end and status is None:
    done, s = os.waitpid(pid, os.WNOHANG)
    status = s if done else None
    time.sleep(.01)
if status is None: os.kill(pid, signal.SIGKILL)
print(json.dumps(status))
'''
    assert run(code, outputs/'int8', json.dumps(TEXTS)) == 0


def test_fork_in_the_middle_of_a_stream(outputs):
    "What the parent's threads were working on is worked on again; nobody waits for them."
    code = '''
predictor = EmotionPredictor(folder, threads=2)
many = texts*40
expected, answers = predictor(many), predictor.stream(many)
begun = [next(answers) for _ in range(10)]
print(json.dumps([child(lambda: 0 if begun + list(answers) == expected else 1), begun + list(answers) == expected]))
'''
    assert run(code, outputs/'int8', json.dumps(TEXTS)) == [0, True]


def test_content_that_changed_before_the_fork(outputs, tmp_path):
    "A folder that was moved is still the same files; one that was written into is refused in the child, and the parent goes on."
    import shutil
    model = shutil.copytree(outputs/'int8', tmp_path/'int8')
    code = '''
predictor = EmotionPredictor(folder, threads=2)
here = predictor(texts[0])
def ask():
    try: return 0 if predictor(texts[0]) == here else 1
    except InputError as e: return 2 if 'was written to since it was opened' in str(e) else 3
moved = Path(folder).rename(folder + '.moved')
shutil.copytree(sys.argv[3], folder)
codes = [child(ask)]
file = moved/'onnx/model_quantized.onnx'
when, data = file.stat(), bytearray(file.read_bytes())
data[len(data)//2] ^= 255
file.write_bytes(data)
os.utime(file, ns=(when.st_atime_ns, when.st_mtime_ns))
codes += [child(ask), 0 if (predictor(texts[0]), predictor(texts[:1])) == (here, [here]) else 1]
print(json.dumps(codes))
'''
    assert run(code, model, json.dumps(TEXTS), outputs/'onnx') == [0, 2, 0]


def test_multiprocessing_and_pickle(outputs):
    "A pool of forked workers, with the inherited predictor and with one that was sent."
    code = '''
import multiprocessing as mp
predictor = EmotionPredictor(folder, threads=2)
here = predictor(texts)
def inherited(_): return predictor(texts) == here
def sent(p): return p(texts) == here
with mp.get_context('fork').Pool(2) as pool:
    a = pool.map_async(inherited, range(4)).get(120)
    b = pool.map_async(sent, [predictor]*4).get(120)
print(json.dumps([a, b]))
'''
    assert run(code, outputs/'int8', json.dumps(TEXTS)) == [[True]*4, [True]*4]


def test_pytorch_says_what_to_do(outputs):
    "A PyTorch model that was opened before the fork is refused in words."
    code = '''
predictor = EmotionPredictor(folder, onnx=False)
predictor(texts[0])
def ask():
    try: predictor(texts[0])
    except InputError as e: return 5 if 'before this process was forked; open it in here' in str(e) else 6
print(json.dumps(child(ask)))
'''
    assert run(code, outputs/'final_model', json.dumps(TEXTS)) == 5
