"""`emotion serve` in a process of its own: what it answers, whom it sends away, how it ends."""
import asyncio
import http.client
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unicodedata
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import yaml
from browser import CHROMIUM, Browser
from conftest import EMOTION, ENV, ROOT, emotion
from fastapi import HTTPException, Request
from prometheus_client.parser import text_string_to_metric_families
from test_package import dist  # noqa: F401, a fixture

from emotion_detection.artifact import packaged_model, update_manifest
from emotion_detection.predict import EmotionPredictor
from emotion_detection.serve import running_server
from emotion_detection.service import Answer, Answers, Limits, read_body

CHATBOT = ROOT/'examples/chatbot'
THANKS = {'text': 'Cảm ơn bạn nhiều!'}
TEXTS = [
    'Cảm ơn bạn nhiều!', 'I am so angry right now', 'Ủa thật hả?', 'The meeting is at nine.', '😡',
    unicodedata.normalize('NFD', 'Tiếng Việt hay quá'), 'cut \ud83d off', 'dài ' * 200,
]
LONG = {'texts': ['Tôi chờ mãi mà không ai trả lời. ' * 20] * 150}  # some seconds on one thread


def ask(url, path, body=None):
    "Status, answer and headers of one request."
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        reply = urllib.request.urlopen(urllib.request.Request(url + path, data), timeout=120)
    except urllib.error.HTTPError as e:
        reply = e
    with reply:
        content = reply.read().decode()
        is_json = reply.headers.get_content_type() == 'application/json'
        return reply.status, json.loads(content) if is_json else content, reply.headers


def status(url, path, body=None):
    return ask(url, path, body)[0]


def numbers(url):
    "What Prometheus reads: values by name and labels."
    found = {}
    for family in text_string_to_metric_families(ask(url, '/metrics')[1]):
        for sample in family.samples:
            found[sample.name, *sample.labels.values()] = sample.value
    return found


def wait_for(check, seconds=60):
    "What `check` comes to when it is true; the test fails when it is not in time."
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, 'it did not happen in time'
        time.sleep(.02)
    return found


def in_progress(url):
    "Requests that wait or are at work, in all processes."
    return numbers(url).get(('emotion_requests_in_progress',), 0)


@contextmanager
def long_requests(url, count=1):
    "Requests that keep a server busy; afterwards their answers are in the list."
    answers = []
    callers = [
        threading.Thread(target=lambda: answers.append(ask(url, '/emotion', LONG)))
        for _ in range(count)
    ]
    for caller in callers:
        caller.start()
    wait_for(lambda: in_progress(url) == count)
    yield answers
    for caller in callers:
        caller.join()


@pytest.fixture(scope='module')
def predictor():
    return EmotionPredictor(abstain_below=.5, long='windows')


@pytest.fixture(scope='module')
def url():
    "A server for the tests that only ask."
    with running_server('--abstain_below', .5, '--long', 'windows') as (_, url):
        yield url


# What it answers

def test_a_list_gets_the_predictors_answers(url, predictor):
    assert ask(url, '/emotion', {'texts': TEXTS})[:2] == (200, {'answers': predictor(TEXTS)})


@pytest.mark.parametrize('text', TEXTS)
def test_a_text_gets_the_predictors_answer(url, predictor, text):
    assert ask(url, '/emotion', {'text': text})[:2] == (200, predictor(text))


def test_no_texts_get_no_answers(url):
    assert ask(url, '/emotion', {'texts': []})[:2] == (200, {'answers': []})


def test_letters_are_written_as_they_are(url):
    "A person who reads JSON sees Vietnamese, not escapes."
    with urllib.request.urlopen(f'{url}/emotion', json.dumps(THANKS).encode()) as reply:
        assert 'Cảm ơn bạn nhiều!' in reply.read().decode()


def test_many_clients_get_what_each_gets_alone(url, predictor):
    texts = TEXTS * 25
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda text: ask(url, '/emotion', {'text': text})[:2], texts))
    assert answers == [(200, answer) for answer in predictor(texts)]


@pytest.mark.parametrize('path, expected', [
    ('/live', 200), ('/ready', 200), ('/metrics', 200), ('/docs', 200), ('/openapi.json', 200),
    ('/', 200),  # leads to the documentation
    ('/emotion', 405), ('/nothing', 404),
])
def test_addresses(url, path, expected):
    assert status(url, path) == expected


def test_nothing_waits_for_an_acknowledgment(url):
    "Head and body of an answer go out at once; the second part would come 40 ms later otherwise."
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    times = []
    for _ in range(31):
        begin = time.perf_counter()
        connection.request('GET', '/live')
        connection.getresponse().read()
        times.append(time.perf_counter() - begin)
    connection.close()
    assert sorted(times)[15] < .03


def test_answers_are_as_documented(url):
    Answer.model_validate(ask(url, '/emotion', THANKS)[1], extra='forbid')
    Answers.model_validate(ask(url, '/emotion', {'texts': TEXTS})[1], extra='forbid')
    described = ask(url, '/openapi.json')[1]['paths']['/emotion']['post']
    assert set(described['responses']) == {'200', '400', '408', '413', '422', '503'}
    assert set(described['requestBody']['content']) == {'application/json'}


# Whom it sends away

@pytest.mark.parametrize('body, expected, words', [
    (b'hello', 400, 'the body is not JSON; send {"text": "..."}'),
    (b'', 400, 'the body is not JSON'),
    (b'{"text": "\xff"}', 400, 'the body is not JSON'),
    (b'[' * 100_000, 400, 'the body is not JSON'),
    (b'{"text": ' + b'9' * 5000 + b'}', 400, 'the body is not JSON'),
    (['ok'], 422, 'the body is no JSON object'),
    (None, 405, 'Method Not Allowed'),
    ({}, 422, 'texts: Field required; send {"text": "..."}'),
    ({'text': None}, 422, 'text: Input should be a valid string'),
    ({'text': ''}, 422, 'the text is empty'),
    ({'text': ' \n'}, 422, 'the text is empty'),
    ({'texts': ['ok', ' ']}, 422, 'text 2 is empty'),
    ({'texts': ['ok', 1]}, 422, 'text 2: Input should be a valid string'),
    ({'texts': 'ok'}, 422, 'texts: Input should be a valid list'),
    ({'texts': ['ok'] * 1001}, 422, '1,001 texts; send at most 1,000 at a time'),
    ({'text': 'a' * 10_001}, 422, 'the text has 10,001 characters; send at most 10,000'),
    ({'texts': ['ok', 'a' * 10_001]}, 422, 'text 2 has 10,001 characters'),
    ({'text': 'a' * 2_000_000}, 413, 'the body has more than 1,048,576 bytes; send less'),
], ids=repr)
def test_what_strangers_send(url, body, expected, words):
    code, answer, _ = ask(url, '/emotion', body)
    assert code == expected
    assert answer['error'].startswith(words)
    assert status(url, '/emotion', THANKS) == 200


def test_a_body_of_unknown_length(url):
    "It is refused at the limit, not when the memory is full."
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    parts = (b'a' * 65_536 for _ in range(20))
    connection.request('POST', '/emotion', parts, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_sender_who_falls_asleep():
    async def receive():
        await asyncio.sleep(60)
    request = Request({'type': 'http', 'method': 'POST', 'headers': []}, receive)
    with pytest.raises(HTTPException, match='did not arrive within 0.1 seconds') as refused:
        asyncio.run(read_body(request, Limits(seconds=.1)))
    assert refused.value.status_code == 408


def test_own_limits():
    "Each limit is an argument."
    limits = '--max_texts 2 --max_characters 5 --max_bytes 100'.split()
    with running_server(*limits) as (_, url):
        assert status(url, '/emotion', {'texts': ['ok'] * 2}) == 200
        assert status(url, '/emotion', {'texts': ['ok'] * 3}) == 422
        assert status(url, '/emotion', {'text': 'quick!'}) == 422
        assert status(url, '/emotion', {'text': 'a' * 100}) == 413


def test_a_full_queue():
    "One at work, one waiting: the third is told to come back, and nobody is lost."
    with running_server('--threads', 1, '--queue', 1) as (_, url):
        with long_requests(url, 2) as answers:
            code, answer, headers = ask(url, '/emotion', THANKS)
            assert (code, answer) == (503, {'error': 'busy; try again in a second'})
            assert headers['Retry-After'] == '1'
            assert ask(url, '/ready')[:2] == (503, {'ready': False, 'in_progress': 2})
            assert status(url, '/live') == 200
        assert [code for code, _, _ in answers] == [200, 200]
        assert status(url, '/emotion', THANKS) == 200
        assert status(url, '/ready') == 200


# Clients that go away

def test_clients_that_go_away():
    "They take nothing with them: no place in the queue, no file, no answer of another client."
    predictor = EmotionPredictor()
    with running_server('--threads', 1) as (server, url):
        assert ask(url, '/emotion', THANKS)[1] == predictor(THANKS['text'])
        process = psutil.Process(server.pid)
        files = process.num_fds()
        body = json.dumps(LONG).encode()
        head = f'POST /emotion HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
        place = urlsplit(url)
        for sent in [head + body] * 20 + [head + body[:100]] * 20 + [b'']:
            with socket.create_connection((place.hostname, place.port)) as client:
                client.sendall(sent)
        assert ask(url, '/emotion', THANKS)[:2] == (200, predictor(THANKS['text']))
        wait_for(lambda: in_progress(url) == 0)
        assert numbers(url)['emotion_requests_in_progress',] == 0
        assert numbers(url)['emotion_requests_total', '499'] >= 19  # whose turn had not come
        wait_for(lambda: process.num_fds() <= files + 1)


# How it ends

@pytest.mark.parametrize('sig, workers', [
    (signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGTERM, 2), (signal.SIGINT, 2),
])
def test_what_was_begun_is_answered(sig, workers):
    "A signal in the middle of a request: nobody else gets in, this one is answered, exit code 0."
    with running_server('--threads', 1, '--workers', workers) as (server, url):
        with long_requests(url) as answers:
            server.send_signal(sig)
            wait_for(lambda: refuses(url), 5)
            assert answers == []
        assert server.wait(30) == 0
        assert server.stderr.read() == ''
    code, answer, _ = answers[0]
    assert (code, len(answer['answers'])) == (200, len(LONG['texts']))


def refuses(url):
    "Is nobody let in any more?"
    try:
        ask(url, '/ready')
    except OSError:
        return True


@pytest.mark.parametrize('workers', [1, 2])
def test_grace_that_is_too_short(workers):
    "Requests that are cut off are told so, and show in the exit code."
    arguments = ['--threads', 1, '--workers', workers, '--grace', .2]
    with running_server(*arguments) as (server, url), ThreadPoolExecutor(1) as client:
        slow = client.submit(ask, url, '/emotion', LONG)
        wait_for(lambda: in_progress(url) == 1)
        server.terminate()
        code, answer, headers = slow.result()
        assert (code, headers['Retry-After']) == (503, '1')
        assert answer == {'error': 'the server ended before the answer was there; ask again'}
        assert server.wait(30) == 1
        assert 'had no answer after 0.2 s; see --grace' in server.stderr.read()


def test_a_server_ends_with_the_program_around_it():
    "Also when that is killed, as a run of a page may be."
    code = (
        'from emotion_detection.serve import running_server\n'
        'with running_server() as (server, url):\n'
        '    print(server.pid, flush=True)\n'
        '    server.wait()'
    )
    command = [sys.executable, '-c', code]
    parent = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    assert 'serve' in child.cmdline()
    parent.kill()
    parent.communicate()
    gone, _ = psutil.wait_procs([child], timeout=20)
    assert gone or child.status() == psutil.STATUS_ZOMBIE


def test_workers_end_with_their_supervisor():
    with running_server('--workers', 2) as (server, url):
        workers = psutil.Process(server.pid).children()
        server.kill()
        gone, left = psutil.wait_procs(workers, timeout=20)
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in left)


# Several processes

def serving(server):
    "The processes that answer: children of the supervisor, without multiprocessing's helper."
    found = set()
    for child in psutil.Process(server.pid).children():
        try:
            if 'spawn_main' in ' '.join(child.cmdline()):
                found.add(child)
        except psutil.Error:  # it has just ended
            pass
    return found


def test_several_processes_count_together():
    "Whichever is asked for the metrics knows what all have done."
    with running_server('--workers', 2) as (server, url):
        assert len(serving(server)) == 2
        assert {status(url, '/emotion', THANKS) for _ in range(40)} == {200}
        seen = [numbers(url)['emotion_requests_total', '200'] for _ in range(10)]
        assert seen == [40] * 10
        assert numbers(url)['emotion_texts_total', 'positive'] == 40


def test_a_worker_that_dies_is_replaced():
    predictor = EmotionPredictor()
    with running_server('--workers', 2) as (server, url):
        before = serving(server)
        assert {status(url, '/emotion', THANKS) for _ in range(20)} == {200}
        victim = min(before, key=lambda process: process.pid)
        victim.kill()
        wait_for(lambda: len(serving(server) - before) == 1)
        answers = [ask(url, '/emotion', THANKS)[:2] for _ in range(20)]
        assert answers == [(200, predictor(THANKS['text']))] * 20
        assert numbers(url)['emotion_requests_total', '200'] == 40
        server.terminate()
        assert server.wait(30) == 0
        assert f'worker {victim.pid} has ended, another one takes its place' in server.stderr.read()


def test_a_new_model_while_people_ask(tmp_path):
    "SIGHUP: every answer is the old model's or the new one's; a damaged folder changes nothing."
    folder = tmp_path/'model'
    shutil.copytree(packaged_model(), folder)
    old = EmotionPredictor(folder)(THANKS['text'])
    answers, enough = [], threading.Event()

    def go_on_asking():
        while not enough.is_set():
            answers.append(ask(url, '/emotion', THANKS)[:2])

    with running_server('--workers', 2, '--model_path', folder) as (server, url):
        caller = threading.Thread(target=go_on_asking)
        caller.start()
        change_temperature(folder, 2.)
        new = EmotionPredictor(folder)(THANKS['text'])
        assert new != old
        first = serving(server)
        server.send_signal(signal.SIGHUP)
        wait_for(lambda: not first & serving(server))
        wait_for(lambda: [ask(url, '/emotion', THANKS)[1] for _ in range(10)] == [new] * 10)
        second = serving(server)
        (folder/'tokenizer.json').write_text('{}')
        server.send_signal(signal.SIGHUP)
        time.sleep(3)
        enough.set()
        caller.join()
        assert ask(url, '/emotion', THANKS)[:2] == (200, new)
        assert serving(server) == second
        server.terminate()
        assert server.wait(30) == 0
        assert str(folder/'tokenizer.json') in server.stderr.read()
    assert {code for code, _ in answers} == {200}
    assert all(answer in (old, new) for _, answer in answers)
    assert old in [answer for _, answer in answers]


def change_temperature(folder, temperature):
    "Another model to all appearances: its probabilities come closer together."
    manifest = json.loads((folder/'manifest.json').read_text('utf8'))
    calibration = manifest['calibration'] | {'temperature': temperature}
    update_manifest(folder, calibration=calibration)


def test_two_servers_on_one_port():
    "--reuse_port: one takes over from the other."
    with running_server('--reuse_port') as (first, url):
        port = urlsplit(url).port
        with running_server('--reuse_port', '--port', port) as (_, same):
            assert same == url
            assert {status(url, '/emotion', THANKS) for _ in range(10)} == {200}
            first.terminate()
            assert first.wait(30) == 0
            assert {status(url, '/emotion', THANKS) for _ in range(10)} == {200}


# What is counted

def test_metrics():
    with running_server() as (server, url):
        for body in (THANKS, {'texts': TEXTS}, {}, b'hello', b'hello'):
            ask(url, '/emotion', body)
        found = numbers(url)
        codes = [found['emotion_requests_total', code] for code in ('200', '422', '400')]
        assert codes == [2, 1, 2]
        texts = [value for key, value in found.items() if key[0] == 'emotion_texts_total']
        assert sum(texts) == 1 + len(TEXTS)
        assert found['emotion_request_seconds_count',] == 5
        assert found['emotion_wait_seconds_count',] == 2
        assert found['emotion_requests_in_progress',] == 0
        assert found['emotion_model_info', EmotionPredictor().identity, '0.1.0'] == 1
        resident = psutil.Process(server.pid).memory_info().rss
        assert found['process_resident_memory_bytes',] == pytest.approx(resident, rel=.2)
        assert not [text for text in TEXTS if text in ask(url, '/metrics')[1]]


# How it starts

def test_what_it_says_when_it_listens():
    "One line on stdout, nothing on stderr."
    server = subprocess.Popen(
        [EMOTION, 'serve', '--port', '0', '--threads', '1'],
        env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    line = server.stdout.readline()
    found = re.fullmatch(r'listening on (http://127\.0\.0\.1:\d+), 1 thread\n', line)
    assert ask(found[1], '/emotion', THANKS)[0] == 200
    server.terminate()
    assert server.communicate(timeout=30) == ('', '')
    assert server.returncode == 0


def test_ipv6():
    if not socket.has_ipv6 or not Path('/proc/net/if_inet6').exists():
        pytest.skip('this machine has no IPv6')
    with running_server('--host', '::1') as (_, url):
        assert url.startswith('http://[::1]:')
        assert status(url, '/emotion', THANKS) == 200


@pytest.mark.parametrize('what, words', [
    ('damaged', 'tokenizer.json'), ('another canary', 'canary'), ('missing', 'there is no folder'),
    ('PyTorch', 'make it ONNX with `emotion export`'), ('empty', 'is not the folder of a model'),
])
@pytest.mark.parametrize('workers', [1, 2])
def test_a_wrong_folder_ends_in_one_line(request, tmp_path, what, words, workers):
    "Exit code 2 before anything listens."
    folder = tmp_path/'model'
    if what == 'PyTorch':
        folder = request.getfixturevalue('untrained')/'final_model'
    elif what == 'empty':
        folder.mkdir()
    elif what != 'missing':
        shutil.copytree(packaged_model(), folder)
        (folder/('canary.json' if 'canary' in what else 'tokenizer.json')).write_text('{}')
    done = emotion('serve', '--model_path', folder, '--port', 0, '--workers', workers)
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1)
    assert done.stderr.startswith('emotion: ')
    assert str(folder) in done.stderr
    assert words in done.stderr


@pytest.mark.parametrize('arguments', [
    '--threads -1', '--threads 0', '--abstain_below 2', '--abstain_below nan', '--port -1',
    '--port 65536', '--queue -1', '--grace -1', '--grace inf', '--workers 0', '--max_texts 0',
    '--max_characters 0', '--max_bytes 0', '--max_bytes 1.5',
])
def test_numbers_have_bounds(arguments):
    "Before a model is opened."
    done = emotion('serve', '--model_path', 'x', *arguments.split())
    assert (done.returncode, done.stderr.count('\n')) == (2, 1)
    assert re.search('is not a (whole )?number', done.stderr)


@pytest.mark.parametrize('host', ['nowhere.invalid', '203.0.113.1', 'a' * 300])
def test_a_host_that_is_not_ours(host):
    done = emotion('serve', '--host', host, '--port', 0)
    assert (done.returncode, done.stderr.count('\n')) == (2, 1)
    assert done.stderr.endswith('see --host and --port\n')


def test_a_taken_port_ends_in_one_line(url):
    port = urlsplit(url).port
    done = emotion('serve', '--port', port)
    assert (done.returncode, done.stderr.count('\n')) == (2, 1)
    assert f'127.0.0.1:{port}: Address already in use' in done.stderr


def test_without_its_libraries():
    "Other commands go on; this one says what to install."
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        'from emotion_detection.cli import main\n'
        "sys.exit(main(['serve']))"
    )
    done = subprocess.run([sys.executable, '-c', code], env=ENV, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'emotion_detection[serve]'" in done.stderr


def test_nowhere_to_put_the_metrics(tmp_path):
    "A container without a writable folder: one process needs none, several say what is missing."
    code = (
        'import sys, tempfile\n'
        "tempfile._candidate_tempdir_list = lambda: ['/proc']\n"
        'from emotion_detection.cli import main\n'
        "sys.exit(main(['serve', '--port', '0', '--workers', '2']))"
    )
    done = subprocess.run([sys.executable, '-c', code], env=ENV, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count('\n')) == (2, 1)
    assert 'let TMPDIR name one' in done.stderr


# Its documentation

@pytest.mark.skipif(not CHROMIUM, reason='no Chromium')
@pytest.mark.parametrize('width', [390, 1280])
def test_docs_in_a_browser(url, tmp_path, width):
    "Everything comes from this machine, nothing scrolls sideways, and a request can be tried out."
    browser = Browser(tmp_path)
    try:
        browser.open(f'{url}/docs', width)
        browser.wait(lambda: browser.js("document.querySelectorAll('.opblock').length") == 4)
        browser.js("document.querySelector('.opblock-post .opblock-summary-control').click()")
        browser.wait(lambda: browser.js("!!document.querySelector('.try-out__btn')"))
        browser.js("document.querySelector('.try-out__btn').click()")
        browser.wait(lambda: browser.js("!!document.querySelector('.execute')"))
        browser.js("document.querySelector('.execute').click()")
        answer = browser.wait(
            lambda: browser.js("document.querySelector('.live-responses-table td pre')?.innerText")
        )
        assert '"label": "positive"' in answer
        assert browser.js('document.documentElement.scrollWidth') <= width
        assert browser.troubles == []
    finally:
        browser.close() if hasattr(browser, 'close') else browser.process.kill()


# The files in examples/chatbot

LINES = re.sub(r'\\\n', ' ', (CHATBOT/'Containerfile').read_text('utf8')).splitlines()


def told(word):
    "What the Containerfile says after a word."
    return [line.partition(' ')[2] for line in LINES if line.startswith(f'{word} ')]


def test_the_bot(url):
    done = subprocess.run(
        [sys.executable, CHATBOT/'bot.py', url],
        input='Cảm ơn bạn nhiều!\nI am so angry right now\n',
        env=ENV, capture_output=True, text=True,
    )
    assert done.returncode == 0
    assert [line.split(':')[0] for line in done.stdout.splitlines()] == ['positive', 'negative']


def test_the_bot_without_a_server():
    "The chat goes on."
    done = subprocess.run(
        [sys.executable, CHATBOT/'bot.py', 'http://127.0.0.1:9'],
        input='Cảm ơn bạn nhiều!\n', env=ENV, capture_output=True, text=True,
    )
    assert (done.returncode, done.stdout) == (0, 'not sure: go on\n')


def test_kubernetes():
    "Probes ask addresses that exist, and a pod has the time that the server asks for."
    document = yaml.safe_load((CHATBOT/'kubernetes.yaml').read_text('utf8'))
    pod = document['spec']['template']['spec']
    container = pod['containers'][0]
    assert container['readinessProbe']['httpGet']['path'] == '/ready'
    for probe in ('startupProbe', 'livenessProbe'):
        assert container[probe]['httpGet']['path'] == '/live'
    ports = {p['containerPort'] for p in container['ports']}
    assert ports == {int(told('EXPOSE')[0])}
    pause = float(container['lifecycle']['preStop']['exec']['command'][1])
    assert pod['terminationGracePeriodSeconds'] > 20. + pause  # --grace, as it is by default
    assert container['resources']['limits'] == container['resources']['requests']
    assert container['resources']['limits']['cpu'].isdigit()


def test_containerfile(dist, tmp_path):
    "What it installs, installs into an empty environment, and what it starts, starts there."
    assert told('FROM') == ['python:3.11-slim']
    assert int(told('USER')[0].split(':')[0]) > 0
    assert told('COPY') == ['constraints.txt dist/*.whl /install/']
    wheel = next(dist.glob('*.whl'))
    python = tmp_path/'venv/bin/python'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', tmp_path/'venv'], check=True)
    places = {
        '/install/constraints.txt': str(ROOT/'constraints.txt'),
        '$(echo /install/*.whl)[serve]': f'{wheel}[serve]',
    }
    pip = shlex.split(told('RUN')[0].partition(' && ')[0])
    assert pip[:2] == ['pip', 'install']
    arguments = [places.get(word, word) for word in pip[2:]]
    assert set(places.values()) <= set(arguments)
    subprocess.run(
        [sys.executable, '-m', 'pip', '--python', python, 'install', '-q', *arguments],
        check=True, capture_output=True, cwd=tmp_path,
    )
    entry = json.loads(told('ENTRYPOINT')[0])
    assert entry == ['emotion', 'serve', '--host', '0.0.0.0', '--port', told('EXPOSE')[0]]
    check = json.loads(told('HEALTHCHECK')[0].removeprefix('CMD '))
    with installed_server(python, tmp_path) as (server, url):
        assert ask(url, '/emotion', THANKS)[1]['label'] == 'positive'
        here = check[-1].replace('127.0.0.1:8080', urlsplit(url).netloc)
        assert subprocess.run([python, *check[1:-1], here]).returncode == 0
        if sys.platform == 'linux':
            maps = Path(f'/proc/{server.pid}/maps').read_text()
            assert not re.search(r'/(torch|transformers)/', maps)
    assert subprocess.run([python, *check[1:-1], here], capture_output=True).returncode != 0


@contextmanager
def installed_server(python, folder):
    "The command of an environment, where nothing may be written."
    env = {name: value for name, value in ENV.items() if name != 'PYTHONPATH'}
    server = subprocess.Popen(
        [python.with_name('emotion'), 'serve', '--port', '0', '--json'],
        env=env, cwd=folder, stdout=subprocess.PIPE, text=True,
    )
    try:
        yield server, json.loads(server.stdout.readline())['url']
    finally:
        server.terminate()
        server.communicate(timeout=60)
