"""The chatbot example as a process of its own, and the commands of its Containerfile without a container."""
import json, re, shlex, signal, subprocess, sys, threading, urllib.error, urllib.request
from contextlib import contextmanager
from pathlib import Path
import psutil
import pytest
from conftest import ENV, ROOT
from test_package import dist  # noqa: F401, a fixture

CHATBOT = ROOT/'examples/chatbot'
LINES = re.sub(r'\\\n', ' ', (CHATBOT/'Containerfile').read_text('utf8')).splitlines()


def told(word): return [l.partition(' ')[2] for l in LINES if l.startswith(f'{word} ')]


@contextmanager
def server(*arguments, python=sys.executable, env=ENV, program=CHATBOT/'server.py'):
    "A server on a free port: its process and address."
    process = subprocess.Popen(
        [python, program, *map(str, arguments), '--port', '0'],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, re.search(r'http://[\d.]+:(\d+)', line)[1]
    finally:
        process.kill()
        process.communicate()


def ask(port, path, body=None):
    try:
        with urllib.request.urlopen(
            urllib.request.Request(
                f'http://127.0.0.1:{port}{path}',
                body if body is None else json.dumps(body).encode(),
            ),
            timeout=60,
        ) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as e: return e.code, e.read().decode()


def test_answers_are_the_predictors(outputs):
    from emotion_detection.predict import EmotionPredictor
    texts = ['Cảm ơn bạn nhiều!', 'I am so angry right now', 'cut \ud83d off', 'dài ' * 200]
    predictor = EmotionPredictor(outputs/'int8', abstain_below=.5, long='windows')
    with server('--model_path', outputs / 'int8', '--abstain_below', 0.5, '--long', 'windows') as (
        _,
        port,
    ):
        assert ask(port, '/emotion', {'texts': texts}) == (200, {'answers': predictor(texts)})
        for text in texts: assert ask(port, '/emotion', {'text': text}) == (200, predictor(text))
        assert [ask(port, p)[0] for p in ('/live', '/ready', '/emotion', '/')] == [
            200,
            200,
            405,
            404,
        ]


@pytest.mark.parametrize('sig', [signal.SIGTERM, signal.SIGINT])
def test_what_was_begun_is_answered(outputs, sig):
    "A signal in the middle of a request: no further one is taken, this one is answered whole, exit code 0, nothing on stderr but the licence."
    texts, got = ['Tôi chờ mãi mà không ai trả lời. ' * 20] * 600, []
    with server('--model_path', outputs / 'int8', '--threads', 1, '--long', 'windows') as (
        process,
        port,
    ):
        asking = threading.Thread(
            target=lambda: got.append(ask(port, '/emotion', {'texts': texts}))
        )
        asking.start()
        while asking.is_alive() and ask(port, '/ready')[1] == {'at_work': 0}: pass
        assert asking.is_alive()
        process.send_signal(sig)
        asking.join()
        assert (
            process.wait(30) == 0 and got[0][0] == 200 and len(got[0][1]['answers']) == len(texts)
        )
        assert 'Traceback' not in process.stderr.read()
        with pytest.raises(OSError): ask(port, '/live')


@pytest.mark.parametrize('what', ['damaged', 'missing', 'PyTorch'])
def test_a_wrong_folder_ends_in_one_line(outputs, tmp_path, what):
    "Before anything listens."
    import shutil
    folder = outputs/'final_model' if what == 'PyTorch' else tmp_path/'model'
    if what == 'damaged':
        shutil.copytree(outputs/'int8', folder)
        (folder/'canary.json').write_text('{}')
    done = subprocess.run(
        [sys.executable, CHATBOT / 'server.py', '--model_path', folder, '--port', '0'],
        env=ENV,
        capture_output=True,
        text=True,
    )
    assert (
        (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1)
        and done.stderr.startswith('server: ')
        and str(folder) in done.stderr
    )


@pytest.mark.parametrize('arguments', ['--threads -1', '--threads 0', '--abstain_below 2', '--abstain_below nan', '--port -1', '--port 65536',
                                       '--most_waiting -1', '--grace -1', '--grace inf'])
def test_numbers_have_bounds(arguments):
    "Before a model is opened."
    done = subprocess.run(
        [sys.executable, CHATBOT / 'server.py', '--model_path', 'x', *arguments.split()],
        env=ENV,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert re.search('is not a (whole )?number', done.stderr.splitlines()[-1])


@pytest.mark.skipif(sys.platform != 'linux', reason='prctl(2) is of Linux')
def test_the_pages_server_ends_with_the_page(outputs):
    "Its own cell starts a server in a process that is killed, as a run of the page may be."
    page = json.loads((ROOT/'nbs/guides/deployment.ipynb').read_text('utf8'))
    cells = [''.join(cell['source']) for cell in page['cells']]
    start = next(cell for cell in cells if 'def start(' in cell)
    imports = next(cell for cell in cells if 'import atexit' in cell).split('import pandas')[0]
    code = (
        f"{imports}\nfrom pathlib import Path\nint8, chatbot = Path({str(outputs / 'int8')!r}), "
        f"Path({str(CHATBOT)!r})\n{start}\nserver, _ = start()\nprint(server.pid, "
        "flush=True)\nserver.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, '-c', code], env=ENV, stdout=subprocess.PIPE, text=True
    )
    try:
        child = psutil.Process(int(parent.stdout.readline()))
        assert 'server.py' in ' '.join(child.cmdline())
    finally:
        parent.kill()
        parent.communicate()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone or child.status() == psutil.STATUS_ZOMBIE


def test_a_taken_port_ends_in_one_line(outputs):
    with server('--model_path', outputs/'int8') as (_, port):
        done = subprocess.run(
            [
                sys.executable, CHATBOT / 'server.py', '--model_path', outputs / 'int8',
                '--port', port,
            ],
            env=ENV,
            capture_output=True,
            text=True,
        )
    assert (
        done.returncode == 2
        and 'Traceback' not in done.stderr
        and f'127.0.0.1:{port}: Address already in use' in done.stderr
    )


def test_containerfile(dist, outputs, tmp_path):
    "Its sources exist; what it installs, installs into an empty environment; what it starts, starts there, as it would be started there."
    assert told('FROM') == ['python:3.11-slim'] and int(told('USER')[0].split(':')[0]) > 0
    for line in told('COPY'):
        for source in line.split()[:-1]:
            assert (
                list(dist.glob('*.whl')) if source == 'dist/*.whl' else (ROOT / source).is_file()
            ), source
    where = dict(l.rsplit(' ', 1) for l in told('COPY'))
    assert where == {
        'constraints.txt dist/*.whl': '/install/',
        'examples/chatbot/server.py': '/app/server.py',
    }
    pip = shlex.split(told('RUN')[0].partition(' && ')[0])
    assert pip[:2] == ['pip', 'install']
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', tmp_path/'venv'], check=True)
    real = {
        '/install/constraints.txt': ROOT / 'constraints.txt',
        '/install/*.whl': next(dist.glob('*.whl')),
    }
    python = tmp_path/'venv/bin/python'
    subprocess.run(
        [
            sys.executable, '-m', 'pip', '--python', python, 'install', '-q',
            *[real.get(a, a) for a in pip[2:]],
        ],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    entry = json.loads(told('ENTRYPOINT')[0])
    assert entry[:2] == ['python', '/app/server.py']
    arguments = [
        str(outputs / 'int8') if a == '/model' else '127.0.0.1' if a == '0.0.0.0' else a
        for a in entry[2:]
    ]
    assert arguments[-2:] == ['--port', told('EXPOSE')[0]]
    files = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in (outputs/'int8').rglob('*')}
    with server(
        *arguments[:-2], python=python, env={k: v for k, v in ENV.items() if k != 'PYTHONPATH'}
    ) as (process, port):
        assert ask(port, '/emotion', {'text': 'Cảm ơn bạn nhiều!'})[1]['label'] == 'positive'
        check = json.loads(told('HEALTHCHECK')[0].removeprefix('CMD '))
        assert (
            subprocess.run([python, *check[1:-1], check[-1].replace('8080', port)]).returncode == 0
        )
        if sys.platform == 'linux':
            assert not re.search(
                r'/(torch|transformers)/', Path(f'/proc/{process.pid}/maps').read_text()
            )
    assert (
        subprocess.run(
            [python, *check[1:-1], check[-1].replace('8080', port)], capture_output=True
        ).returncode
        != 0
    )
    # the folder may be read-only
    assert {
        p: (p.stat().st_mtime_ns, p.stat().st_size) for p in (outputs / 'int8').rglob('*')
    } == files
