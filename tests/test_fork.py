"""A predictor in a process that was forked: no hang, no other model's answers, whatever threads did at the fork.

`FORKS` sets how many children the storm has; 100 are what the deployment page's promise was measured with.
"""
import json, os, subprocess, sys
import pytest
from conftest import ENV

FORKS = int(os.environ.get('FORKS', 12))
pytestmark = pytest.mark.skipif(not hasattr(os, 'fork'), reason='this system has no fork')

TEXTS = ['Cảm ơn bạn nhiều!', 'I am so angry right now', 'Ủa thật hả?', 'Mai họp lúc chín giờ.', 'vui quá', 'no way', 'ok', '']
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
    done = subprocess.run([sys.executable, '-c', START + code, *map(str, args)], env=ENV | env, capture_output=True, text=True, timeout=timeout)
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
    from emotion_detection.artefact import listed_files, update_manifest
    from emotion_detection.quantization import spread_weights
    folder = shutil.copytree(outputs/'int8', tmp_path/'apart')
    assert spread_weights(folder/'onnx/model_quantized.onnx', 0)
    update_manifest(folder, files=listed_files(folder))
    return folder
