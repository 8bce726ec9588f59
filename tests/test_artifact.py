"""The deployed folder: what is damaged is refused by the command, the doctor says where, and prediction stays light."""
import json, random, shutil, subprocess, sys
import pytest
from conftest import ENV, emotion

FILES = [
    'onnx/model_quantized.onnx', 'tokenizer.json', 'config.json', 'canary.json',
    'manifest.json',
]


def flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path, rng): path.write_bytes(path.read_bytes()[:rng.randrange(path.stat().st_size)])
def lose(path, rng): path.unlink()


@pytest.mark.parametrize('damage', [flip, cut, lose])
@pytest.mark.parametrize('file', FILES)
def test_damage_is_refused_by_name(outputs, tmp_path, damage, file):
    "One line, exit code 2, no answer; and the doctor finds it too."
    model = shutil.copytree(outputs/'int8', tmp_path/'int8')
    damage(model/file, random.Random(f'{damage.__name__} {file}'))
    done = emotion('predict', '--model_path', model, '--text', 'hi')
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1), done.stderr
    assert file in done.stderr or 'config.json' in done.stderr, done.stderr
    assert emotion('doctor', '--model_path', model).returncode in (1, 2)


@pytest.mark.parametrize('file', FILES[:-1])
def test_files_of_another_model_are_refused(outputs, tmp_path, file):
    "FP32's file of the same name is a good file, and not this model's."
    model = shutil.copytree(outputs/'int8', tmp_path/'int8')
    shutil.copy(outputs/'onnx'/file.replace('_quantized', ''), model/file)
    done = emotion('predict', '--model_path', model, '--text', 'hi')
    # the two models share these, byte for byte
    if file in ('tokenizer.json', 'config.json', 'canary.json'): assert done.returncode == 0
    else: assert done.returncode == 2 and file in done.stderr


def test_a_mismatch_can_be_allowed(outputs, tmp_path):
    model = shutil.copytree(outputs/'int8', tmp_path/'int8')
    (model/'manifest.json').unlink()
    assert '--allow_mismatch' in emotion('predict', '--model_path', model, '--text', 'hi').stderr
    done = emotion('predict', '--model_path', model, '--text', 'hi', '--json', '--allow_mismatch')
    assert (
        done.returncode == 0
        and json.loads(done.stdout)['label']
        and 'no manifest.json' in done.stderr
    )


def test_doctor(outputs):
    done = emotion('doctor', '--model_path', outputs/'int8', '--json')
    report = json.loads(done.stdout)
    assert (
        done.returncode == 0
        and [c['ok'] for c in report['checks']] == [True] * 4
        and report['machine']['threads'] >= 1
    )
    assert 'well   canary' in emotion('doctor', '--model_path', outputs/'int8').stdout
    assert emotion('doctor').returncode == 0


def test_threads_modes_and_windows(outputs, tmp_path):
    "Every way of asking gives the same labels; abstaining gives null."
    (tmp_path / 'in.txt').write_text(
        'Cảm ơn bạn nhiều!\nI am so angry right now\n' + 'thật hả ' * 200 + '\n'
    )
    def labels(*args):
        done = emotion(
            'predict', '--model_path', outputs / 'int8', '--input', tmp_path / 'in.txt',
            '--json', *args,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(l)['label'] for l in done.stdout.splitlines()]
    plain = labels()
    assert plain[:2] == ['positive', 'negative'] and plain == labels('--threads', 3) == labels(
        '--mode', 'throughput'
    )
    assert labels('--long', 'windows')[:2] == plain[:2]
    assert labels('--abstain_below', 1.) == [None]*3
    assert (
        emotion(
            'predict', '--model_path', outputs / 'int8', '--text', 'hi', '--abstain_below', 2
        ).returncode
        == 2
    )


def test_prediction_imports_little(outputs):
    "Neither PyTorch nor pandas, scikit-learn, matplotlib or huggingface_hub, after an answer."
    heavy = (
        'torch', 'transformers', 'pandas', 'sklearn', 'scipy', 'matplotlib',
        'huggingface_hub', 'datasets', 'onnx',
    )
    code = (
        "import sys; from emotion_detection.predict import EmotionPredictor; "
        f"EmotionPredictor({str(outputs / 'int8')!r})(['hi', 'ok']); print([m for m in "
        f"{heavy!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], env=ENV, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == '[]'


def test_memory_stays_flat(outputs):
    "Resident memory over 12,000 texts of all lengths, after a warm-up on 3,000."
    code = f"""
import random, psutil
from emotion_detection.predict import EmotionPredictor
p, rng, rss, n = EmotionPredictor({str(outputs/'int8')!r}), random.Random(0), psutil.Process().memory_info, 0
texts = (' '.join(rng.choice(['vui', 'so', 'angry', 'Ủa', 'qua', '😂', str(rng.random())]) for _ in range(rng.randrange(1, 60))) for _ in range(15_000))
for n,_ in enumerate(p.stream(texts), 1):
    if n == 3000: start = rss().rss
print(n, (rss().rss - start)/1e6)"""
    n, grown = subprocess.run(
        [sys.executable, '-c', code], env=ENV, capture_output=True, text=True, check=True
    ).stdout.split()
    assert n == '15000' and float(grown) < 25


def test_prediction_reports_to_nobody(outputs, tmp_path):
    "ONNX Runtime's telemetry is off: it leaves no device id behind."
    env = {k: v for k, v in ENV.items() if k != 'ORT_DISABLE_TELEMETRY'} | {
        'HOME': str(tmp_path),
        'XDG_CACHE_HOME': str(tmp_path / '.cache'),
    }
    code = (
        "from emotion_detection.predict import EmotionPredictor; "
        f"EmotionPredictor({str(outputs / 'int8')!r})('hi')"
    )
    subprocess.run([sys.executable, '-c', code], env=env, check=True)
    assert not list(tmp_path.rglob('*onnxruntime*'))
