"""Model folders with other people's tools: pushed to a stand-in of the Hub on 127.0.0.1 and read back, in forks, in `datasets` with two processes, in Ray."""
import json, os, shutil, subprocess, sys
from pathlib import Path
import pytest
from conftest import ENV, ROOT
from hub import Hub

WRITER = 'hf_FAKEwriter0123456789'
READER = 'hf_FAKEreader0123456789'
WRONG = 'hf_FAKEwrong0123456789'
TEXTS = [
    'Cảm ơn bạn nhiều!', 'I am so angry right now', 'Ủa thật hả?',
    'The meeting is at nine.', '',
    'một ' * 300,
    '😡😡',
]
VIGO = 'non-profit research only, no commercial systems, no redistribution'


@pytest.fixture
def hub():
    with Hub() as hub:
        hub.token(WRITER, writes=['me'])
        hub.token(READER)
        yield hub


def python(code, *args, env=ENV, quiet=True, timeout=180):
    done = subprocess.run(
        [sys.executable, '-c', code, *map(str, args)],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    for token in (WRITER, READER, WRONG): assert token not in done.stdout + done.stderr
    if quiet: assert done.stderr == ''
    return json.loads(done.stdout)


PUSH = '''
import json, sys, time
from emotion_detection.files import InputError
from emotion_detection.sharing import push_to_hub
a = json.loads(sys.argv[1])
if a.pop('hurry', False): time.sleep = lambda s: None   # the client's pauses between its own attempts
try: print(json.dumps({'url': push_to_hub(a.pop('folder'), a.pop('name', 'me/emotion'), **a)}))
except InputError as e: print(json.dumps({'error': str(e)}))
'''


def push(hub, home, folder, **more):
    env = {k: more.pop(k) for k in list(more) if k.isupper()}
    return python(
        PUSH,
        json.dumps({'folder': str(folder), 'token': WRITER} | more),
        env=ENV | hub.env(home, **env),
    )


def without_token(*folders):
    found = [
        p
        for folder in folders
        for p in Path(folder).rglob('*')
        if p.is_file() and b'hf_FAKE' in p.read_bytes()
    ]
    assert [p.name for p in found if p.name != 'token'] == []


def with_licenses(folder, target, *licenses):
    "A PyTorch folder that was trained on other data, as far as it says."
    shutil.copytree(folder, target)
    config = json.loads((target/'config.json').read_text())
    config['emotion_detection']['licenses'] = list(licenses)
    (target/'config.json').write_text(json.dumps(config))
    (target/'training_summary.json').unlink()
    return target


# Pushed and read back

READ = '''
import json, sys
from huggingface_hub import snapshot_download
from emotion_detection.predict import EmotionPredictor
here, name, revision, texts, private = json.loads(sys.argv[1])
there = snapshot_download(name, revision=revision, token=private)
print(json.dumps([EmotionPredictor(here)(texts), EmotionPredictor(there)(texts)]))
'''


@pytest.mark.parametrize('name', ['final_model', 'onnx', 'int8'])
def test_round_trip(hub, outputs, tmp_path, name):
    "What was pushed gives the same answers when it is downloaded."
    assert push(hub, tmp_path/'push', outputs/name) == {'url': f'{hub.url}/me/emotion'}
    assert hub.repos['model', 'me/emotion']['private'] and hub.tokens_seen() == {WRITER}
    files = hub.files('me/emotion')
    assert {'config.json', 'tokenizer.json', 'README.md', '.gitattributes'} <= set(
        files
    ) and b'license: cc0-1.0' in files['README.md']
    here, there = python(
        READ,
        json.dumps([str(outputs / name), 'me/emotion', None, TEXTS, WRITER]),
        env=ENV | hub.env(tmp_path / 'pull'),
        quiet=False,
    )
    assert here == there
    without_token(tmp_path, outputs)


def test_only_the_model(hub, outputs, tmp_path):
    "Notes, leftovers, checkpoints and runs stay at home."
    folder = shutil.copytree(outputs/'final_model', tmp_path/'model')
    kept = {p.name for p in folder.iterdir()} - {'.made_by_emotion_detection'}
    for path in (
        'notes.txt', '.env', 'x.partial', 'optimizer.pt', 'runs/events',
        'checkpoint-8/model.safetensors', '.git/config',
    ):
        (folder/path).parent.mkdir(exist_ok=True)
        (folder/path).write_text('hf_FAKEsecret')
    assert 'url' in push(hub, tmp_path/'home', folder)
    assert set(hub.files('me/emotion')) == kept | {'README.md', '.gitattributes'}


def test_push_again(hub, outputs, tmp_path):
    "The same model sends nothing twice; the card that somebody wrote on the Hub stays; another model on a branch of its own."
    bare = shutil.copytree(outputs/'int8', tmp_path/'bare')
    (bare/'README.md').unlink()  # a folder's own card is a file of it, and goes along
    push(hub, tmp_path/'home', bare)
    card = hub.files('me/emotion')['README.md']
    hub.add('me/emotion', hub.files('me/emotion') | {'README.md': b'my own'}, 'model', private=True)
    before = len(hub.asked('^/lfs/', 'PUT'))
    assert before == 1
    assert 'url' in push(hub, tmp_path/'home', bare)
    assert (
        len(hub.asked('^/lfs/', 'PUT')) == 1
        and hub.files('me/emotion')['README.md'] == b'my own' != card
    )
    assert push(hub, tmp_path / 'home', outputs / 'onnx')['error'].startswith(
        'me/emotion holds onnx/model_quantized.onnx already, which would stay beside this model'
    )
    assert push(hub, tmp_path / 'home', outputs / 'onnx', revision='fp32') == {
        'url': f'{hub.url}/me/emotion/tree/fp32'
    }
    assert 'onnx/model.onnx' in hub.files(
        'me/emotion', branch='fp32'
    ) and 'onnx/model_quantized.onnx' not in hub.files('me/emotion', branch='fp32')
    assert 'onnx/model_quantized.onnx' in hub.files('me/emotion')
    here, there = python(
        READ,
        json.dumps([str(outputs / 'onnx'), 'me/emotion', 'fp32', TEXTS, WRITER]),
        env=ENV | hub.env(tmp_path / 'pull'),
        quiet=False,
    )
    assert here == there


def test_public(hub, outputs, tmp_path):
    assert 'url' in push(hub, tmp_path/'home', outputs/'int8', private=False)
    assert not hub.repos['model', 'me/emotion']['private']
    assert push(hub, tmp_path / 'home', outputs / 'int8') == {
        'error': (
            'me/emotion exists and is public; pass --public if that is meant, or name another '
            'repository'
        )
    }


# Licenses

def test_license_refuses(hub, outputs, tmp_path):
    "Before anything is asked of the Hub; with the license's own words."
    closed = with_licenses(outputs/'final_model', tmp_path/'closed', 'CC BY 4.0', VIGO)
    (closed/'README.md').unlink()  # written for the licenses it had
    assert push(hub, tmp_path / 'home', closed) == {
        'error': (
            f"the training data forbid it: '{VIGO}'; pass --i_have_rights if you may publish it "
            "all the same"
        )
    }
    assert push(hub, tmp_path / 'home', closed, private=False)['error'].startswith(
        'the training data forbid it'
    )
    silent = with_licenses(outputs/'final_model', tmp_path/'silent')
    assert push(hub, tmp_path / 'home', silent)['error'].endswith(
        'does not say what its training data are licensed under; pass --i_have_rights if you '
        'may publish it all the same'
    )
    assert hub.requests == []
    assert 'url' in push(hub, tmp_path/'home', closed, i_have_rights=True)
    card = hub.files('me/emotion')['README.md'].decode()
    assert 'license: other' in card and VIGO in card


def test_damaged(hub, outputs, tmp_path):
    folder = shutil.copytree(outputs/'int8', tmp_path/'int8')
    graph = next(folder.rglob('*.onnx'))
    graph.write_bytes(graph.read_bytes()[:-1])
    assert ' bytes, not the ' in push(hub, tmp_path/'home', folder)['error']
    graph.write_bytes(graph.read_bytes() + b'x')
    assert (
        'model_quantized.onnx is not the file that was made'
        in push(hub, tmp_path / 'home', folder)['error']
    )
    assert hub.requests == []


# What is refused, and how it is said

REFUSED = {
    'no token': (
        dict(token=None),
        'publishing needs a Hub token that may write: set HF_TOKEN or run `hf auth login`',
    ),
    'wrong token': (
        dict(token=WRONG),
        'the Hub refuses the token: make a new one on '
        'https://huggingface.co/settings/tokens, or unset HF_TOKEN',
    ),
    'broken token': (
        dict(token='hf_FAKE…'),
        'the Hub token holds characters that no token has; copy it again',
    ),
    'may only read': (
        dict(token=READER),
        "your token may not write to me/emotion: make one that may on "
        "https://huggingface.co/settings/tokens, or check the owner's name",
    ),
    "somebody else's": (
        dict(name='you/emotion'),
        "your token may not write to you/emotion: make one that may on "
        "https://huggingface.co/settings/tokens, or check the owner's name",
    ),
    'no owner': (
        dict(name='emotion'),
        "'emotion' is not the name of a repository; write owner/name",
    ),
    'no such name': (dict(name='me/a--b'), 'me/a--b cannot be the name of a model on the Hub'),
    'offline': (dict(HF_HUB_OFFLINE='1'), 'HF_HUB_OFFLINE is set: unset it to publish'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refused(hub, outputs, tmp_path, case):
    what, words = REFUSED[case]
    assert push(hub, tmp_path, outputs/'int8', **what) == {'error': words}
    assert not hub.repos
    without_token(tmp_path)


@pytest.mark.parametrize('how', ['environment', 'login', 'argument first'])
def test_token_arrives(hub, outputs, tmp_path, how):
    env = {'HF_TOKEN': WRONG if how == 'argument first' else WRITER if how == 'environment' else ''}
    if how == 'login': (tmp_path/'token').write_text(WRITER)
    assert 'url' in push(
        hub, tmp_path, outputs / 'int8', token=WRITER if how == 'argument first' else None, **env
    )
    assert hub.tokens_seen() == {WRITER}
    without_token(tmp_path)


AGAIN = 'while me/emotion was written: nothing of it shows there yet, run this again'
FAULTS = {
    'no network': (None, f'the Hub cannot be reached {AGAIN}'),
    'silent': (dict(pattern='.', delay=5), f'the Hub did not answer within 1 s {AGAIN}'),
    'error 503': (dict(pattern='preupload', status=503), f'the Hub answers with error 503 {AGAIN}'),
    'cut upload': (
        dict(pattern='^/lfs/', method='PUT', cut=True),
        f'the Hub cannot be reached {AGAIN}',
    ),
    'error 500 for a file': (
        dict(pattern='^/lfs/', method='PUT', status=500),
        f'the Hub answers with error 500 {AGAIN}',
    ),
    'cut commit': (
        dict(pattern='/commit/', method='POST', cut=True),
        f'the Hub cannot be reached {AGAIN}',
    ),
}


@pytest.mark.parametrize('case', FAULTS)
def test_faults(hub, outputs, tmp_path, case):
    "Nothing shows of a push that failed, and the next one finishes it."
    fault, words = FAULTS[case]
    if fault: hub.fault(**fault)
    else: hub.stop()
    assert push(
        hub,
        tmp_path,
        outputs / 'int8',
        hurry=True,
        HF_HUB_ETAG_TIMEOUT='1' if case == 'silent' else '10',
    ) == {'error': words}
    without_token(tmp_path)
    if not hub.server: return
    hub.faults.clear()
    assert [list(hub.files(name)) for _,name in hub.repos] in ([], [['.gitattributes']])
    assert 'url' in push(
        hub, tmp_path, outputs / 'int8'
    ) and 'onnx/model_quantized.onnx' in hub.files('me/emotion')


def test_one_cut_is_nothing(hub, outputs, tmp_path):
    "The client tries again by itself."
    hub.fault('^/lfs/', 'PUT', cut=True, times=1)
    assert 'url' in push(hub, tmp_path, outputs/'int8', hurry=True)


# Processes

def test_fork(outputs):
    "A child of a process that has answered already answers too: threads do not survive a fork."
    code = '''
import json, os, sys
from emotion_detection.predict import EmotionPredictor
predictor = EmotionPredictor(sys.argv[1], threads=2)
texts = json.loads(sys.argv[2])
here = predictor(texts)
if (child := os.fork()) == 0: os._exit(0 if predictor(texts) == here else 1)
print(json.dumps(os.waitpid(child, 0)[1]))
'''
    assert python(code, outputs/'int8', json.dumps(TEXTS), timeout=60, quiet=False) == 0


def test_datasets_two_processes(outputs, tmp_path):
    "The same answers with `num_proc=2`; a second process finds them in the cache, and another model does not."
    code = '''
import json, os, sys
from datasets import Dataset, disable_progress_bars
from emotion_detection.predict import EmotionPredictor
disable_progress_bars()
if __name__ == '__main__':
    texts, folders, path = json.loads(sys.argv[1]), sys.argv[3:], sys.argv[2]
    if not os.path.exists(path): Dataset.from_dict({'text': texts}).save_to_disk(path)
    rows = Dataset.load_from_disk(path)
    out = {}
    for f in folders:
        done = rows.map(EmotionPredictor(f), batched=True, batch_size=8, num_proc=2)
        out[f] = {'label': done['label'][:], 'score': done['score'][:], 'files': sorted(c['filename'] for c in done.cache_files)}
    print(json.dumps([out, [[a['label'], a['score']] for a in EmotionPredictor(folders[0])(texts)]]))
'''
    texts = [f'{t} {i}' for i in range(6) for t in TEXTS]
    run = lambda *folders: python(
        code,
        json.dumps(texts),
        tmp_path / 'rows',
        *folders,
        env=ENV | {'HF_HOME': str(tmp_path / 'home')},
        quiet=False,
    )
    first, here = run(outputs/'int8', outputs/'onnx')
    a, b = first.values()
    assert [[l, s] for l,s in zip(a['label'], a['score'])] == here
    assert a['files'] != b['files']
    times = [os.stat(f).st_mtime_ns for f in a['files']]
    second, _ = run(outputs/'int8')
    assert (
        second[str(outputs / 'int8')] == a and [os.stat(f).st_mtime_ns for f in a['files']] == times
    )


RAY = '''
import json, os, shutil, sys, tempfile, time
os.environ |= {'RAY_USAGE_STATS_ENABLED': '0', 'RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER': '0'}  # no reports; 127.0.0.1 and no other address
import psutil, ray
from emotion_detection.predict import EmotionPredictor

folder, file = sys.argv[1:]
home = tempfile.mkdtemp(prefix='ray')  # short: a socket's path has 107 characters at most
predictor = EmotionPredictor(folder)

def met(way, batch):
    "The process that answered, once a second one has come: else a quick worker does it all."
    os.makedirs(f'{home}/{way}', exist_ok=True)
    open(f'{home}/{way}/{os.getpid()}', 'w').close()
    end = time.time() + 60
    while len(os.listdir(f'{home}/{way}')) < 2 and time.time() < end: time.sleep(.1)
    return {'pid': [os.getpid()]*len(batch['text'])}

def task(batch): return predictor(batch) | met('tasks', batch)

class Actor(EmotionPredictor):
    def __call__(self, batch): return super().__call__(batch) | met('actors', batch)

ray.init(address='local', num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level='error', _temp_dir=home)  # two for the actors, one to read
ray.data.DataContext.get_current().enable_progress_bars = False
comments, two = ray.data.read_csv(file, override_num_blocks=8), {'batch_size': 16}
ways = {'tasks': comments.map_batches(task, compute=ray.data.TaskPoolStrategy(size=2), **two),
        'actors': comments.map_batches(Actor, fn_constructor_args=[folder], fn_constructor_kwargs={'threads': 1}, compute=ray.data.ActorPoolStrategy(size=2, max_tasks_in_flight_per_actor=1), **two),
        'as it is': comments.map_batches(predictor, compute=ray.data.TaskPoolStrategy(size=2), **two),
        'as it is, a class': comments.map_batches(EmotionPredictor, fn_constructor_args=[folder], compute=ray.data.ActorPoolStrategy(size=2), **two),
        'pandas': comments.map_batches(predictor, batch_format='pandas', **two)}
out = {k: w.take_all() for k,w in ways.items()}
me = psutil.Process()
family = me.children(recursive=True)
sockets = {a.ip for p in [me, *family] for c in p.net_connections(kind='inet') for a in (c.laddr, c.raddr) if a}
ray.shutdown()
_, left = psutil.wait_procs(family, timeout=20)
shutil.rmtree(home, ignore_errors=True)
print(json.dumps({'out': out, 'sockets': sorted(sockets), 'left': [p.name() for p in left], 'here': predictor([r['text'] for r in sorted(out['tasks'], key=lambda r: r['id'])])}))
'''


def alone():
    "Words before a command that give it a network with nothing but 127.0.0.1, where this machine allows that."
    words = [
        'unshare', '--map-root-user', '--net', 'sh', '-c',
        'ip link set lo up && exec "$0" "$@"',
    ]
    try:
        return (
            words if subprocess.run([*words, 'true'], capture_output=True).returncode == 0 else []
        )
    except FileNotFoundError: return []


def test_ray(outputs, tmp_path):
    "Two workers, five ways, the same answers as in one process; nothing listens or talks beyond this machine, and nothing is left running."
    pytest.importorskip('ray', reason="ray is not installed: pip install 'emotion_detection[ray]'")
    import csv
    texts = [f'{t} {i}' for i in range(40) for t in TEXTS]
    with open(tmp_path/'comments.csv', 'w', encoding='utf8', newline='') as f:
        csv.writer(f).writerows([('text', 'id'), *((t, i) for i,t in enumerate(texts))])
    done = subprocess.run(
        [*alone(), sys.executable, '-c', RAY, outputs / 'int8', tmp_path / 'comments.csv'],
        env=ENV | {'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    got = json.loads(done.stdout.splitlines()[-1])
    assert set(got['sockets']) <= {'127.0.0.1', '::1', '::ffff:127.0.0.1'} and not got['left']
    for way,rows in got['out'].items():
        rows = sorted(rows, key=lambda r: r['id'])
        assert [r['text'] for r in rows] == texts
        for r,a in zip(rows, got['here'], strict=True):
            assert {
                'label': r['label'],
                'score': r['score'],
                'tokens': r['tokens'],
                'truncated': r['truncated'],
            } | {l: r[l] for l in a['scores']} == {
                k: a[k] for k in ('label', 'score', 'tokens', 'truncated')
            } | a['scores'], way
        if way in ('tasks', 'actors'): assert len({r['pid'] for r in rows}) == 2, way
