"""The source distribution and the wheel, and the wheel alone in an empty environment."""
import json, re, subprocess, sys, tarfile, zipfile
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


def test_the_model_is_in_it(dist):
    "All its files, with their sizes, and the wheel stays small."
    wheel = next(dist.glob('*.whl'))
    assert wheel.stat().st_size < 60e6
    packed = {item.filename: item.file_size for item in zipfile.ZipFile(wheel).infolist()}
    sdist = tarfile.open(next(dist.glob('*.tar.gz'))).getnames()
    folder = ROOT/'emotion_detection/model'
    listed = json.loads((folder/'manifest.json').read_text('utf8'))['files']
    for name in ('manifest.json', 'README.md', *listed):
        path = f'emotion_detection/model/{name}'
        assert packed.get(path) == (folder/name).stat().st_size, name
        assert any(n.endswith(path) for n in sdist), name


def readme_lines():
    "README's first lines of Python and what it says they print."
    text = (ROOT/'README.md').read_text('utf8')
    python = text.partition('```python')[2]
    code, _, answer = ('```python' + python).partition('```text')
    blocks = re.findall(r'```python\n(.*?)```', code, re.S)
    return ''.join(blocks), without_scores(answer.partition('```')[0])


def without_scores(lines):
    "Labels and texts: the last digit of a score is another one on another processor."
    return [re.sub(r'\d\.\d\d', '', line).split() for line in lines.strip().splitlines()]


def answers_of_its_own(python, folder):
    "The package without anything else: the command as README has it, and README's lines of Python."
    folder.mkdir()
    env = {k: v for k, v in ENV.items() if k != 'PYTHONPATH'}
    run = {'env': env, 'cwd': folder, 'capture_output': True, 'text': True, 'check': True}
    command = [python.with_name('emotion'), 'predict', 'Cảm ơn bạn nhiều!']
    done = subprocess.run(command, stdin=subprocess.DEVNULL, **run)
    assert done.stdout.startswith('positive')
    assert done.stderr == ''
    code, answer = readme_lines()
    assert 'EmotionPredictor()' in code
    assert len(code.splitlines()) == 5
    assert without_scores(subprocess.run([python, '-c', code], **run).stdout) == answer
    assert list(folder.iterdir()) == []


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
    answers_of_its_own(python, tmp_path/'empty')
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
        and {p.name for p in tmp_path.iterdir()} == {'venv', 'empty'}
    )


@pytest.mark.parametrize('given, found', [({}, '10000'), ({'GOMP_SPINCOUNT': '5'}, '5')])
def test_threads_are_told_when_to_sleep(given, found):
    "By the package, unless somebody has said something else."
    env = {name: value for name, value in ENV.items() if name != 'GOMP_SPINCOUNT'} | given
    code = "import os, emotion_detection; print(os.environ['GOMP_SPINCOUNT'])"
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == found


def test_the_benchmark_measures_pytorch_as_people_use_it():
    "A worker's threads wait as GNU OpenMP lets them, not as this package does."
    from emotion_detection.bench_worker import _environment
    assert _environment(2)['GOMP_SPINCOUNT'] == '300000'


@pytest.mark.parametrize('module, heavy', [
    ('behavior', 'torch'), ('card', 'torch'), ('metrics', 'torch'), ('sharing', 'torch'),
    ('data', 'torch'), ('config', 'transformers.generation.utils'),
])
def test_a_module_loads_no_more_than_it_needs(module, heavy):
    "Bad input is told, and a folder pushed, without the seconds that PyTorch or the models of `transformers` take."
    code = f'import sys, emotion_detection.{module}; print({heavy!r} in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], env=ENV, capture_output=True, text=True)
    assert done.stdout.strip() == 'False', done.stderr
