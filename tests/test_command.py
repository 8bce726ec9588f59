"""The `emotion` command as a process: answers, agreement of the forms, bad input, interruption."""
import csv, json, signal, subprocess, sys, unicodedata
import numpy as np
import pytest
from conftest import EMOTION, ENV, emotion

LABELS = ('positive', 'negative', 'surprise', 'neutral')
FILES = {
    'phase1_final': 'model.safetensors',
    'final_model': 'model.safetensors',
    'onnx': 'onnx/model.onnx',
    'int8': 'onnx/model_quantized.onnx',
}


def answers(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(l) for l in done.stdout.splitlines()]


def test_folders_are_complete(outputs):
    # `runs`: TensorBoard's event files, since it is installed with [dev]
    assert {p.name for p in outputs.iterdir()} == {*FILES, 'report', 'behavior', 'runs'}
    for folder,weights in FILES.items():
        for name in (
            weights, 'config.json', 'tokenizer.json', 'training_summary.json', 'README.md',
        ):
            assert (outputs/folder/name).stat().st_size, (folder, name)
        assert json.loads((outputs / folder / 'config.json').read_text())['id2label'] == dict(
            zip('0123', LABELS)
        )


@pytest.mark.parametrize('folder', ['final_model', 'onnx', 'int8'])
def test_answers(outputs, folder):
    got = answers(
        emotion(
            'predict',
            '--model_path',
            outputs / folder,
            *(['--onnx'] if folder != 'final_model' else []),
            '--text', 'Cảm ơn bạn nhiều!', '--text', 'I am so angry right now',
            '--json',
        )
    )
    assert [a['label'] for a in got] == ['positive', 'negative']
    for a in got:
        assert (
            list(a) == ['text', 'label', 'score', 'scores', 'tokens', 'truncated']
            and tuple(a['scores']) == LABELS
        )
        assert abs(sum(a['scores'].values()) - 1) < 1e-5 and a['score'] == max(a['scores'].values())


def test_forms_and_other_libraries_agree(outputs):
    "PyTorch, ONNX, `transformers.pipeline` and optimum give one answer."
    from optimum.onnxruntime import ORTModelForSequenceClassification
    from transformers import AutoTokenizer, pipeline
    from emotion_detection.predict import EmotionPredictor
    texts = [
        'Cảm ơn bạn nhiều!', 'I am so angry right now', 'Ủa thật hả?', 'mai hop luc 9 gio',
        '😡😡',
    ]
    def scores(dicts): return np.array([[d['scores'][l] for l in LABELS] for d in dicts])
    def piped(model):
        pipe = pipeline(
            'text-classification',
            model=model,
            tokenizer=AutoTokenizer.from_pretrained(outputs / 'onnx'),
            top_k=None,
        )
        return np.array([
            [{d['label']: d['score'] for d in ds}[l] for l in LABELS] for ds in pipe(texts)
        ])
    torch_scores = scores(EmotionPredictor(outputs/'final_model')(texts))
    # without the temperature, which other libraries do not know
    np.testing.assert_allclose(
        EmotionPredictor(outputs / 'onnx').probs(texts, 1.0), torch_scores, atol=1e-5
    )
    np.testing.assert_allclose(piped(str(outputs/'final_model')), torch_scores, atol=1e-5)
    np.testing.assert_allclose(
        piped(ORTModelForSequenceClassification.from_pretrained(outputs / 'onnx')),
        torch_scores,
        atol=1e-5,
    )
    int8 = piped(ORTModelForSequenceClassification.from_pretrained(outputs/'int8'))
    assert (int8.argmax(1) == torch_scores.argmax(1)).all()


@pytest.mark.parametrize('kind', ['txt', 'csv', 'jsonl'])
@pytest.mark.parametrize('out', ['csv', 'jsonl'])
def test_files(outputs, tmp_path, kind, out):
    texts = ['Cảm ơn bạn nhiều!', 'so, "angry" right now', 'Ủa thật hả?']
    source = tmp_path/f'in.{kind}'
    with source.open('w', encoding='utf8', newline='') as f:
        if kind=='txt': f.write('\n'.join(texts))
        elif kind=='csv': csv.writer(f).writerows([['n','text'], *enumerate(texts)])
        else: f.writelines(json.dumps({'text': t}) + '\n' for t in texts)
    done = emotion(
        'predict', '--model_path', outputs / 'int8', '--input', source,
        '--output', tmp_path / f'out.{out}',
    )
    assert (done.returncode, done.stdout) == (0, '') and '3 rows' in done.stderr
    with (tmp_path/f'out.{out}').open(encoding='utf8', newline='') as f:
        rows = list(csv.DictReader(f)) if out=='csv' else [json.loads(l) for l in f]
    assert [r['text'] for r in rows] == texts and rows[0]['label'] == 'positive'


def test_export_beside_the_model(outputs, tmp_path):
    import shutil
    shutil.copytree(outputs/'final_model', tmp_path/'mine')
    done = emotion('predict', '--model_path', tmp_path/'mine', '--export')
    assert done.returncode == 0, done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {'mine', 'onnx', 'int8'}
    assert (
        answers(emotion('predict', '--model_path', tmp_path / 'int8', '--text', 'ok', '--json'))[0][
            'text'
        ]
        == 'ok'
    )


ODD = {
    '10,000 words': 'vui ' * 10_000,
    'emoji': '😂😂😂',
    'control': '\x01\x07ok\x1b[31m',
    'right to left': 'شكرا جزيلا لك',
    'decomposed': unicodedata.normalize('NFD', 'Cảm ơn bạn nhiều!'),
    'zero width': '\u200b\u200d',
    'one long word': 'a' * 50_000,
}


@pytest.mark.parametrize('name', ODD)
def test_odd_texts_get_an_answer(outputs, tmp_path, name):
    (tmp_path/'in.jsonl').write_text(json.dumps({'text': ODD[name]}))
    got = answers(
        emotion(
            'predict', '--model_path', outputs / 'int8', '--input', tmp_path / 'in.jsonl', '--json'
        )
    )[0]
    assert got['text'] == ODD[name] and got['truncated'] == (name == '10,000 words')


def test_lone_surrogate(outputs, tmp_path):
    "From a file, and as an argument that is no UTF-8."
    (tmp_path/'in.jsonl').write_text('{"text": "cut \\ud83d off"}')
    assert (
        answers(
            emotion(
                'predict', '--model_path', outputs / 'int8', '--input',
                tmp_path / 'in.jsonl', '--json',
            )
        )[0]['text']
        == 'cut \ud83d off'
    )
    assert (
        emotion(
            'predict', '--model_path', outputs / 'int8', '--input', tmp_path / 'in.jsonl'
        ).returncode
        == 0
    )
    assert (
        emotion(
            'predict', '--model_path', outputs / 'int8', '--input', tmp_path / 'in.jsonl',
            '--output', tmp_path / 'out.csv',
        ).returncode
        == 0
    )
    done = subprocess.run(
        [EMOTION, 'predict', '--model_path', outputs / 'int8', '--json', '--text', b'caf\xe9 ok'],
        env=ENV,
        capture_output=True,
    )
    assert done.returncode == 0 and json.loads(done.stdout)['text'] == 'caf\udce9 ok'


def test_answers_go_through_a_closed_pipe(outputs, tmp_path):
    (tmp_path/'in.txt').write_text('ok\n' * 3000)
    done = subprocess.run(
        f'"{EMOTION}" predict --model_path "{outputs}/int8" --input "{tmp_path}/in.txt" | '
        'head -1',
        shell=True,
        env=ENV,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count('\n') == 1 and done.stderr == ''


def spoil(folder, tmp_path, change):
    import shutil
    shutil.copytree(folder, tmp_path/'model')
    change(tmp_path/'model')
    return tmp_path/'model'


BAD = {
    'blank text': (['predict', '--model_path', '{o}/int8', '--text', '  '], 'empty'),
    'no text': (['predict', '--model_path', '{o}/int8'], 'there is no text'),
    'export of nothing': (['predict', '--export'], 'name it with --model_path'),
    'missing file': (['predict', '--model_path', '{o}/int8', '--input', 'none.txt'], 'none.txt'),
    'no folder': (['predict', '--model_path', 'nowhere', '--text', 'hi'], 'nowhere'),
    'no model': (['predict', '--model_path', '.', '--text', 'hi'], 'not the folder of a model'),
    'no onnx': (
        ['predict', '--model_path', '{o}/final_model', '--onnx', '--text', 'hi'],
        'no .onnx file',
    ),
    'csv without text': (
        ['predict', '--model_path', '{o}/int8', '--input', 'a.csv', '--output', 'out.csv'],
        "no column 'text'",
    ),
    'blank row': (
        ['predict', '--model_path', '{o}/int8', '--input', 'blank.csv', '--output', 'out.csv'],
        'row 2',
    ),
    'empty file': (
        ['predict', '--model_path', '{o}/int8', '--input', 'empty.txt', '--output', 'out.jsonl'],
        'no texts',
    ),
    'unknown key': (
        ['train', '--config', 'quickstart', '--set', 'phase1.lerning_rate=1'],
        'did you mean learning_rate?',
    ),
    'unknown config': (['train', '--config', 'quikstart'], 'quikstart'),
    'unknown label': (
        ['train', '--config', 'quickstart', '--set', 'data.phase1.source=label.csv'],
        "row 2 of label.csv (train): unknown label 'hapy'",
    ),
    'csv without columns': (
        ['train', '--config', 'quickstart', '--set', 'data.phase1.source=a.csv'],
        "no column 'text'",
    ),
    'settings that clash': (
        [
            'train', '--config', 'quickstart', '--set', 'phase1.save_strategy=hourly',
            '--output_dir', 'nowhere',
        ],
        'do not go together',
    ),
    'no checkpoint of this run': (
        ['train', '--config', 'quickstart', '--resume', '--set', 'data.phase1.source=none.csv'],
        'none.csv',
    ),
    'missing data': (
        ['train', '--config', 'quickstart', '--set', 'data.phase1.source=none.csv'],
        'none.csv',
    ),
    'wrong type': (
        ['train', '--config', 'quickstart', '--set', 'phase1.learning_rate=fast'],
        'phase1.learning_rate',
    ),
    'unknown command': (['predikt'], 'predikt'),
    'no export': (
        ['export', '--model_path', '{o}/onnx', '--output_dir', 'out'],
        'model.safetensors is missing',
    ),
    'no quantize': (
        ['quantize', '--onnx_path', '{o}/final_model', '--output_dir', 'out'],
        'model.onnx is missing',
    ),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_input(warm, outputs, tmp_path, name):
    "One line that names the cause, exit code 2, nothing written."
    for file, text in {
        'a.csv': 'comment\nhi\n',
        'blank.csv': 'text\nhi\n \n',
        'empty.txt': '',
        'label.csv': 'text,label\nhi,joy\nho,hapy\n',
    }.items():
        (tmp_path/file).write_text(text)
    before = sorted(p.name for p in tmp_path.iterdir())
    args, words = BAD[name]
    run = warm.run if args[0] == 'train' else emotion
    done = run(*(a.format(o=outputs) for a in args), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, '') and words in done.stderr, done.stderr
    assert done.stderr.count('\n') == 1 and done.stderr.startswith('emotion: ')
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize('folder,file', [(f, n) for f,w in FILES.items() for n in (w, 'config.json', 'tokenizer.json') if f != 'phase1_final'])
def test_a_missing_file_is_named(outputs, tmp_path, folder, file):
    done = emotion(
        'predict',
        '--model_path',
        spoil(outputs / folder, tmp_path, lambda p: (p / file).unlink()),
        '--text',
        'hi',
    )
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert file in done.stderr or 'model.safetensors' in done.stderr


def test_pytorch_folder_without_the_training_extra(outputs, tmp_path):
    "As on a machine where only the runtime is installed: torch cannot be imported."
    (tmp_path / 'torch.py').write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
    )
    done = emotion(
        'predict', '--model_path', outputs / 'final_model', '--text', 'hi',
        env=ENV | {'PYTHONPATH': str(tmp_path)},
    )
    assert (
        done.returncode == 2
        and "pip install 'emotion_detection[train]'" in done.stderr
        and done.stderr.count('\n') == 1
    )
    assert (
        emotion(
            'predict', '--model_path', outputs / 'int8', '--text', 'hi',
            env=ENV | {'PYTHONPATH': str(tmp_path)},
        ).returncode
        == 0
    )


@pytest.mark.parametrize('sig,after', [(signal.SIGINT, 'epoch 2/'), (signal.SIGTERM, 'phase 2: epoch 1/'), (signal.SIGKILL, 'phase 2: epoch 2/')])
def test_interrupting_leaves_nothing_that_looks_finished(tmp_path, sig, after):
    def listen():
        # a shell's background job, which a CI may be, is started deaf to Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        [
            EMOTION, 'train', '--config', 'quickstart', '--set', 'model.scratch.hidden_size=32',
            '--output_dir', tmp_path / 'outputs',
        ],
        env=ENV,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=listen,
    )
    for line in process.stderr:
        if after in line:
            process.send_signal(sig)
            break
    rest = process.communicate()[1]
    assert process.returncode != 0
    folders = {p.name for p in (tmp_path/'outputs').iterdir() if p.name in FILES}
    assert folders == ({'phase1_final'} if 'phase 2' in after else set())
    assert {p.name for p in (tmp_path / 'outputs').iterdir()} == folders | {
        'checkpoints',
        'runs',
    } | ({'.lock'} if sig == signal.SIGKILL else set())
    assert sig == signal.SIGKILL or (
        'interrupted; go on with --resume' in rest and 'Traceback' not in rest
    )


def test_no_torch_after_import_and_prediction(outputs):
    code = f'''import sys, emotion_detection.predict as p; before = "torch" in sys.modules
p.EmotionPredictor({str(outputs/"int8")!r})("ok"); print(before, "torch" in sys.modules, "transformers" in sys.modules)'''
    assert (
        subprocess.run(
            [sys.executable, '-c', code], env=ENV, capture_output=True, text=True, check=True
        ).stdout.split()
        == ['False'] * 3
    )
