"""The source distribution and the wheel, and the wheel alone in an empty environment."""
import json, subprocess, sys, tarfile, zipfile
from pathlib import Path
import pytest
from conftest import ENV, ROOT, copy_repository


@pytest.fixture(scope='module')
def dist(tmp_path_factory):
    copy = tmp_path_factory.mktemp('source')/'copy'
    out = tmp_path_factory.mktemp('dist')
    copy_repository(copy)
    subprocess.run(
        [sys.executable, '-m', 'build', '--no-isolation', '--outdir', out],
        cwd=copy,
        env=ENV,
        check=True,
        capture_output=True,
    )
    return out


def test_contents(dist):
    wheel = zipfile.ZipFile(next(dist.glob('*.whl'))).namelist()
    sdist = tarfile.open(next(dist.glob('*.tar.gz'))).getnames()
    for name in (
        'configs/default.yaml', 'configs/quickstart.yaml', 'configs/small.yaml',
        'samples/vi_more.csv', 'samples/vi_goemotions.csv', 'samples/en.csv',
        'samples/vi.csv', 'suite/en.yaml', 'suite/vi.yaml', 'predict.py', 'cli.py',
        '__main__.py',
    ):
        assert f'emotion_detection/{name}' in wheel and any(
            n.endswith(f'/emotion_detection/{name}') for n in sdist
        )
    assert any(n.endswith('/settings.ini') for n in sdist) and not any(
        'nbs/' in n or 'tests/' in n for n in wheel
    )


def test_wheel_predicts_in_an_empty_environment(dist, outputs, tmp_path):
    "Only the base requirements are there; no PyTorch, no transformers."
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', tmp_path/'venv'], check=True)
    python = tmp_path/'venv/bin/python'
    pip = [sys.executable, '-m', 'pip', '--python', python]
    subprocess.run(
        [*pip, 'install', '-q', '-c', ROOT / 'constraints.txt', next(dist.glob('*.whl'))],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    installed = {
        p['name'].lower()
        for p in json.loads(
            subprocess.run(
                [*pip, 'list', '--format=json'], check=True, capture_output=True, text=True
            ).stdout
        )
    }
    assert not installed & {'torch', 'transformers', 'datasets', 'nbdev'}
    command = [python.with_name('emotion'), 'predict', '--model_path']
    done = subprocess.run(
        [*command, outputs / 'int8', '--onnx', '--text', 'Cảm ơn bạn nhiều!', '--json'],
        env=ENV,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert json.loads(done.stdout)['label'] == 'positive', done.stderr
    done = subprocess.run(
        [python, '-m', 'emotion_detection', '--version'],
        env={k: v for k, v in ENV.items() if k != 'PYTHONPATH'},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, 'emotion_detection'), done.stderr
    done = subprocess.run(
        [python.with_name('emotion'), 'doctor', '--model_path', outputs / 'int8', '--json'],
        env=ENV,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0 and all(c['ok'] for c in json.loads(done.stdout)['checks']), (
        done.stderr
    )
    done = subprocess.run(
        [*command, outputs / 'final_model', '--text', 'hi'],
        env=ENV,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2 and "pip install 'emotion_detection[train]'" in done.stderr
    done = subprocess.run(
        [python.with_name('emotion'), 'train', '--config', 'quickstart'],
        env=ENV,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (
        done.returncode == 2
        and "pip install 'emotion_detection[train]'" in done.stderr
        and list(tmp_path.iterdir()) == [tmp_path / 'venv']
    )
