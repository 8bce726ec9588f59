"""The model that comes with the package: its answers, its licenses, and how it gets there."""
import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings

import pytest
from conftest import EMOTION, ENV, ROOT, emotion

sys.path.insert(0, str(ROOT/'tools'))
import make_model
from emotion_detection import artifact
from emotion_detection.artifact import (
    check_files, listed_files, packaged_model, read_manifest, update_manifest,
)
from emotion_detection.doctor import examine
from emotion_detection.files import GateError, InputError, folder_mb, read_json, write_json
from emotion_detection.licenses import data_licenses, license_id
from emotion_detection.predict import EmotionPredictor

VI = 'non-profit research only, no commercial systems, no redistribution'
PLAIN = {
    'Thank you so much, this made my day!': 'positive',
    'I love this song': 'positive',
    'I am so angry right now': 'negative',
    'This is the worst service I have ever had.': 'negative',
    'Wait, what? Really?': 'surprise',
    'The meeting is at nine.': 'neutral',
    'Cảm ơn bạn nhiều!': 'positive',
    'Vui quá trời luôn á': 'positive',
    'Tức quá đi mất': 'negative',
    'Phim dở tệ, phí tiền.': 'negative',
    'Ủa thật hả?': 'surprise',
    'Mai họp lúc chín giờ.': 'neutral',
}


@pytest.fixture(scope='module')
def predictor():
    return EmotionPredictor()


@pytest.mark.parametrize('text', PLAIN)
def test_plain_sentences(predictor, text):
    assert predictor(text)['label'] == PLAIN[text]


def test_the_folder_is_whole():
    "Every byte is as it was made, and every canary text gets its answer."
    check_files(packaged_model())
    checks = examine(packaged_model())
    assert [c for c in checks if not c['ok']] == []
    assert {'manifest', 'files', 'canary'} <= {c['check'] for c in checks}


def test_it_is_small():
    assert folder_mb(packaged_model()) <= 40
    assert read_manifest(packaged_model())['precision'] == 'int8'


def test_it_is_calibrated_and_measured():
    manifest = read_manifest(packaged_model())
    assert manifest['calibration']['temperature'] > 0
    assert set(manifest['calibration']['languages']) == {'en', 'vi'}
    card = (packaged_model()/'README.md').read_text('utf8')
    assert 'Not measured' not in card
    assert 'was not run' not in card
    assert "EmotionPredictor()('Cảm ơn bạn nhiều!')" in card


def test_its_licenses_are_stated():
    folder = packaged_model()
    licenses = data_licenses(folder)
    assert licenses
    assert all(map(license_id, licenses))
    first = (folder/'LICENSES.md').read_text('utf8').split('\n\n')[1]
    assert first.startswith('**There is no ViGoEmotions in this model, so commercial use is free.**')
    card = (folder/'README.md').read_text('utf8')
    assert '(free to use, commercially too).**' in card.split('\n# ')[1].split('\n\n')[1]


def test_there_is_no_vigoemotions_in_it():
    "By what training wrote down, not by what the license file says."
    summary = read_json(packaged_model()/'training_summary.json')
    for data in summary['data']:
        assert make_model.credits_of(data)
        # `vi_goemotions` of the bundled samples is GoEmotions in Vietnamese
        own = data['source'].startswith('bundled:')
        assert own or 'vigoemotions' not in make_model.squeezed(data['source'])


def test_it_names_no_folder_of_the_machine():
    for file in packaged_model().rglob('*'):
        if file.suffix in ('.json', '.md'):
            text = file.read_text('utf8')
            assert not [p for p in ('/tmp/', '/root/', '/home/', str(ROOT)) if p in text], file.name


def test_everything_is_in_git():
    "No file of the folder was ignored or forgotten."
    if not (ROOT/'.git').exists():
        pytest.skip('no git checkout')
    listed = subprocess.run(
        ['git', 'ls-files', 'emotion_detection/model'],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )
    names = {os.path.relpath(name, 'emotion_detection/model') for name in listed.stdout.split()}
    made = check_files(packaged_model())['files']
    assert names >= {'manifest.json', 'README.md', 'LICENSES.md', *made}


def test_in_another_process(predictor):
    "A pickled predictor of the package's model names no folder."
    sent = pickle.dumps(predictor)
    assert str(packaged_model()).encode() not in sent
    assert pickle.loads(sent)('Cảm ơn bạn nhiều!') == predictor('Cảm ơn bạn nhiều!')


def test_the_command(tmp_path):
    "Answers and nothing else: neither a note nor a file."
    texts = list(PLAIN)[:3]
    done = emotion('predict', *texts, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    assert [line.split('  ')[-1] for line in done.stdout.splitlines()] == texts
    assert list(tmp_path.iterdir()) == []


def test_a_pipe(tmp_path):
    done = emotion('predict', '--json', cwd=tmp_path, input='Cảm ơn bạn nhiều!\n')
    assert (done.returncode, done.stderr) == (0, '')
    assert json.loads(done.stdout)['label'] == 'positive'


def test_options_go_with_it(tmp_path):
    (tmp_path/'in.txt').write_text('Cảm ơn bạn nhiều!\nTức quá đi mất\n', encoding='utf8')
    done = emotion('predict', '--onnx', '--input', 'in.txt', '--output', 'out.jsonl', cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '2 rows in out.jsonl\n')
    labels = [json.loads(line)['label'] for line in (tmp_path/'out.jsonl').open(encoding='utf8')]
    assert labels == ['positive', 'negative']


def test_a_model_that_is_not_free_says_so(outputs, tmp_path):
    "Each time it is opened, which the model of the package does not."
    folder = shutil.copytree(outputs/'int8', tmp_path/'int8')
    update_manifest(folder, licenses=['CC BY 4.0', VI])
    done = emotion('predict', '--model_path', folder, 'hi')
    assert (done.returncode, done.stderr) == (0, f'note: training data licensed {VI}\n')
    detail = json.loads(emotion('doctor', '--model_path', folder, '--json').stdout)['checks'][0]
    assert 'not free for every use' in detail['detail']


def test_doctor(tmp_path):
    done = emotion('doctor', '--json', cwd=tmp_path)
    checks = json.loads(done.stdout)['checks']
    assert done.returncode == 0
    assert all(c['ok'] for c in checks)
    assert 'free to use, commercially too' in checks[0]['detail']


def test_a_prediction_imports_little():
    "What takes long to import and is not needed for an answer: the time to the first one is mostly imports."
    code = (
        'import sys; from emotion_detection.cli import main; main(["predict", "ok"]); '
        'print(*sys.modules, file=sys.stderr)'
    )
    done = subprocess.run([sys.executable, '-c', code], env=ENV, capture_output=True, text=True)
    loaded = set(done.stderr.split())
    assert 'onnxruntime' in loaded
    assert not loaded & {
        'torch', 'transformers', 'pandas', 'tqdm', 'asyncio', 'importlib.metadata', 'tempfile',
    }


@pytest.fixture
def package(tmp_path):
    "A copy of the package without its model, and the command that runs it."
    copy = tmp_path/'site'
    leave_out = shutil.ignore_patterns('model', '__pycache__')
    shutil.copytree(ROOT/'emotion_detection', copy/'emotion_detection', ignore=leave_out)

    def run(*args, **kwargs):
        return subprocess.run(
            [sys.executable, '-m', 'emotion_detection', *args],
            cwd=tmp_path,
            env=ENV | {'PYTHONPATH': str(copy)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            **kwargs,
        )

    return copy/'emotion_detection', run


@pytest.mark.parametrize('command', ['predict hi', 'predict --onnx hi', 'doctor', 'bench', 'serve'])
def test_an_installation_without_its_model(package, command):
    "One sentence with the way out, and exit code 2."
    done = package[1](*command.split())
    assert (done.returncode, done.stdout) == (2, ''), done.stderr
    assert done.stderr.count('\n') == 1
    for words in ('has no model of its own', 'install it again', '--model_path'):
        assert words in done.stderr


def test_a_model_that_lost_a_file(package, outputs):
    folder, run = package
    shutil.copytree(outputs/'int8', folder/'model')
    assert run('predict', 'hi').returncode == 0
    graph = next((folder/'model/onnx').glob('*.onnx'))
    graph.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n')
    assert 'is a Git LFS pointer' in run('predict', 'hi').stderr
    graph.unlink()
    done = run('predict', 'hi')
    assert done.returncode == 2
    assert f'{graph.name} is missing' in done.stderr
    assert 'install it again' in done.stderr


def test_another_model_needs_no_packaged_one(package, outputs):
    done = package[1]('predict', '--model_path', str(outputs/'int8'), 'hi')
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('path, words', [
    ('nowhere', 'there is no folder nowhere'),
    ('.', 'is not the folder of a model'),
    ('', 'a path is empty'),
])
def test_a_path_that_is_no_model(tmp_path, path, words):
    "The model of the package does not step in for one that was named."
    done = emotion('predict', '--model_path', path, 'hi', cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, '')
    assert words in done.stderr


def test_no_text_and_a_terminal():
    "Somebody who types `emotion predict` alone is told what to type."
    import pty
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [EMOTION, 'predict'], env=ENV, stdin=theirs, capture_output=True, text=True
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stdout) == (2, '')
    assert 'there is no text; give one' in done.stderr


# How a model gets there, with the quickstart, whose data are free.


def resealed(folder, **facts):
    "A changed folder, its manifest made anew."
    update_manifest(folder, **facts, files=listed_files(folder))


@pytest.fixture
def finished(outputs, tmp_path):
    "A copy of the quickstart's INT8 folder, to be changed."
    return shutil.copytree(outputs/'int8', tmp_path/'int8')


def make(folder, outputs, target):
    return make_model.make_model(folder, target, reports=outputs/'report')


def test_a_free_model_is_taken(outputs, finished, tmp_path):
    made = make(finished, outputs, tmp_path/'model')
    assert [c for c in examine(made) if not c['ok']] == []
    text = 'Cảm ơn bạn nhiều!'
    assert EmotionPredictor(made)(text) == EmotionPredictor(finished)(text)
    licenses = (made/'LICENSES.md').read_text('utf8')
    assert 'samples: CC0 1.0' in licenses
    assert 'GoEmotions: CC BY' not in licenses  # it learned from the samples alone
    assert '**Training data licensed CC0 1.0 (free to use' in (made/'README.md').read_text('utf8')


def with_old_keys(folder):
    "The folder as the first version wrote it, in British spelling."
    for name in ('config.json', 'training_summary.json', 'manifest.json'):
        text = (folder/name).read_text('utf8')
        text = text.replace('"license', '"licence').replace('"normalizer_', '"normaliser_')
        (folder/name).write_text(text, 'utf8')
    facts = json.loads((folder/'manifest.json').read_text('utf8'))
    facts['files'] = listed_files(folder)
    facts['sha256'] = artifact._checksum(facts)
    write_json(folder/'manifest.json', facts)


def test_folders_of_the_first_version(finished, tmp_path):
    "They are read as before: the same licenses, the same answers, no warning."
    now = EmotionPredictor(finished)
    old = shutil.copytree(finished, tmp_path/'old')
    with_old_keys(old)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        before = EmotionPredictor(old)
    assert '"licence' in (old/'config.json').read_text('utf8')
    assert before.licenses == now.licenses == ['CC0 1.0']
    assert before('Cảm ơn bạn nhiều!') == now('Cảm ơn bạn nhiều!')
    assert data_licenses(old) == ['CC0 1.0']


def test_the_earlier_model_is_replaced_as_a_whole(outputs, finished, tmp_path):
    made = make(finished, outputs, tmp_path/'model')
    make(finished, outputs, made)
    check_files(made)
    (made/'mine.txt').write_text('notes')
    with pytest.raises(InputError, match='mine.txt'):
        make(finished, outputs, made)
    assert (made/'mine.txt').read_text() == 'notes'


def with_source(folder, source, license):
    summary = read_json(folder/'training_summary.json')
    summary['data'][1] |= {'source': source, 'license': license}
    write_json(folder/'training_summary.json', summary)
    resealed(folder)


def with_stated(folder, words):
    config = read_json(folder/'config.json')
    config['emotion_detection']['licenses'] = [words]
    write_json(folder/'config.json', config)
    resealed(folder)


def with_encoder(folder, name):
    summary = read_json(folder/'training_summary.json') | {'encoder': {'name': name}}
    write_json(folder/'training_summary.json', summary)
    resealed(folder)


def with_figures(folder, **change):
    quantization = read_manifest(folder)['quantization']
    for figures in quantization['after'].values():
        figures |= change
    resealed(folder, quantization=quantization)


def without_card(folder): (folder/'README.md').unlink()
def with_own_card(folder): (folder/'README.md').write_text('my own')


def without_figures(folder):
    from emotion_detection.card import write_card
    write_card(folder)


REFUSED = {
    'ViGoEmotions': (lambda f: with_source(f, 'uitnlp/vigoemotions', VI), 'trained on ViGoEmotions'),
    'ViGoEmotions by a kinder name': (
        lambda f: with_source(f, 'data/ViGoEmotions', 'CC BY 4.0'), 'trained on ViGoEmotions',
    ),
    'a closed license': (lambda f: with_source(f, 'mine.csv', 'ask first'), 'is not open'),
    'no license': (lambda f: with_source(f, 'mine.csv', None), 'is not open'),
    'a license in the configuration': (lambda f: with_stated(f, VI), 'is not open'),
    'nobody to credit': (lambda f: with_source(f, 'mine.csv', 'CC BY 4.0'), 'whom to credit'),
    'an encoder of which nothing is known': (
        lambda f: with_encoder(f, 'roberta'), 'started from roberta',
    ),
    'no card': (without_card, 'has no model card'),
    "somebody's card": (with_own_card, 'README.md'),
    'a card without figures': (without_figures, 'has no figures'),
    'never compared': (
        lambda f: resealed(f, quantization={'nodes': 1, 'in_fp32': [], 'after': {}}),
        'was not compared',
    ),
    'too many other labels': (lambda f: with_figures(f, changed=20), 'did not pass its gate'),
    'a fall of macro-F1': (
        lambda f: with_figures(f, f1_drop=.03, f1_drop_low=.01), 'did not pass its gate',
    ),
    'a damaged file': (lambda f: (f/'config.json').write_text('{}'), 'config.json'),
}


@pytest.mark.parametrize('fault', REFUSED)
def test_what_is_refused(outputs, finished, tmp_path, fault):
    "With the reason, and the earlier model stays."
    earlier = make(finished, outputs, tmp_path/'model')
    before = read_manifest(earlier)
    change, words = REFUSED[fault]
    change(finished)
    with pytest.raises(InputError, match=words):
        make(finished, outputs, earlier)
    assert check_files(earlier) == before


def test_fp32_is_refused(outputs, tmp_path):
    with pytest.raises(InputError, match='name an INT8 folder'):
        make(outputs/'onnx', outputs, tmp_path/'model')


def test_a_large_model_is_refused(outputs, finished, tmp_path):
    (finished/'vocab.txt').write_bytes(bytes(41_000_000))
    resealed(finished)
    with pytest.raises(GateError, match='may take 40'):
        make(finished, outputs, tmp_path/'model')
    assert not (tmp_path/'model').exists()


def test_a_model_with_other_answers_is_refused(outputs, finished, tmp_path):
    resealed(finished, canary={'texts': 32, 'tolerance': 1e-12})
    with pytest.raises(GateError, match='is not well'):
        make(finished, outputs, tmp_path/'model')
    assert not (tmp_path/'model').exists()


def test_figures_of_another_model_are_refused(outputs, finished, tmp_path):
    other = finished.rename(tmp_path/'other')
    with pytest.raises(InputError, match='other'):
        make(other, outputs, tmp_path/'model')


def test_credits_of_the_released_data():
    "The names that a training of `small` writes down, from the Hub and from files."
    credits = make_model.credits_of
    vietnamese = {'source': 'bundled:vi+vi_more+vi_goemotions', 'license': None}
    assert set(credits(vietnamese)) == {'samples', 'vi_goemotions'}
    for source in ('google-research-datasets/go_emotions', 'goemotions', 'GoEmotions'):
        assert credits({'source': source, 'license': 'CC BY 4.0'}) == ['goemotions']


def test_the_license_of_the_encoder(tmp_path):
    part = make_model.encoder_part('intfloat/multilingual-e5-small', None)
    assert 'Copyright (c) 2023 Intfloat contributors' in part
    assert 'The above copyright notice and' in part
    assert '4-bit' not in part  # the original's weights
    folder = tmp_path/'encoder'
    folder.mkdir()
    (folder/'README.md').write_text(make_model.make_encoder.origin_text(), encoding='utf8')
    assert '4-bit copy' in make_model.encoder_part('encoder', folder)
    with pytest.raises(InputError, match='is not the folder e5'):
        make_model.encoder_part('e5', folder)


def test_the_tool_as_a_command(finished, tmp_path):
    without_card(finished)
    done = subprocess.run(
        [sys.executable, ROOT/'tools/make_model.py', finished, tmp_path/'model'],
        env=ENV, capture_output=True, text=True,
    )
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith('make_model: ')
    assert done.stderr.count('\n') == 1
