"""One verified model per predictor, folders that are not what they seem, and texts that are none."""
import io, json, logging, os, pickle, shutil, subprocess, sys
from pathlib import Path
import numpy as np
import onnx
import pandas as pd
import pytest
from conftest import ENV, emotion
from onnx import numpy_helper
from emotion_detection.artifact import listed_files, update_manifest
from emotion_detection.doctor import examine
from emotion_detection.files import InputError
from emotion_detection.predict import EmotionPredictor
from emotion_detection.int8_graph import spread_weights
from emotion_detection.runtime import find_onnx

TEXTS = ['Cảm ơn bạn nhiều!', 'I am so angry right now', 'Ủa thật hả?', 'Mai họp lúc chín giờ.']
POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 2183720\n'


@pytest.fixture(scope='module')
def folders(outputs, tmp_path_factory):
    "Two INT8 models with other answers, each in one file and with its weights apart."
    root = tmp_path_factory.mktemp('folders')
    for kind in ('one', 'apart'):
        for name in ('first', 'second'):
            folder = shutil.copytree(outputs/'int8', root/kind/name)
            graph = find_onnx(folder)
            if name == 'second':
                model = onnx.load(graph)
                bias = next(
                    t for t in model.graph.initializer if t.name == 'classifier.out_proj.bias'
                )
                bias.CopyFrom(
                    numpy_helper.from_array(
                        numpy_helper.to_array(bias)[::-1].copy() + np.float32([9, 0, 0, 0]),
                        bias.name,
                    )
                )
                onnx.save(model, graph)
            if kind == 'apart': spread_weights(graph, 0)
            update_manifest(
                folder, files=listed_files(folder), canary={'texts': 32, 'tolerance': 1.0}
            )
    return root


# A model that changes while it is open

def turned_link(home, second):
    (home/'current').unlink()
    (home/'current').symlink_to(second)


def changed_directory(home, second):
    shutil.copytree(second, home/'elsewhere/current')
    os.chdir(home/'elsewhere')


def replaced_folder(home, second):
    (home/'first').rename(home/'old')
    shutil.copytree(second, home/'first')


def replaced_files(home, second):
    for file in (home/'first/onnx').iterdir():
        shutil.copy(second/'onnx'/file.name, home/'next')
        (home/'next').replace(file)


def removed_folder(home, second): shutil.rmtree(home/'first')


def written_into(home, second):
    for file in (home/'first/onnx').iterdir(): shutil.copyfile(second/'onnx'/file.name, file)


def written_with_its_time(home, second):
    "As `rsync --inplace -t` and `cp -p` do, from a source of the same age"
    for file in (home/'first/onnx').iterdir():
        when = file.stat()
        shutil.copyfile(second/'onnx'/file.name, file)
        os.utime(file, ns=(when.st_atime_ns, when.st_mtime_ns))


CHANGES = [
    turned_link, changed_directory, replaced_folder, replaced_files, removed_folder,
    written_into, written_with_its_time,
]


@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('kind', ['one', 'apart'])
def test_lists_and_single_texts_are_answered_by_one_model(
    folders, tmp_path, monkeypatch, kind, change
):
    "The second session is opened after the change. Where mapped weights were written into there is no answer, and the reason."
    shutil.copytree(folders/kind/'first', tmp_path/'first')
    (tmp_path/'current').symlink_to('first')
    monkeypatch.chdir(tmp_path)
    predictor = EmotionPredictor('current', threads=2)
    single = [predictor(t) for t in TEXTS]
    change(tmp_path, folders/kind/'second')
    if kind == 'apart' and change.__name__.startswith('written'):
        for ask in (lambda: predictor(TEXTS), lambda: predictor(TEXTS[0])):
            with pytest.raises(
                InputError, match='was written to while it was in use; open the model again'
            ):
                ask()
    else:
        assert (
            predictor(TEXTS)
            == single
            == [predictor(t) for t in TEXTS]
            == list(predictor.stream(TEXTS))
        )


@pytest.mark.parametrize('change', [c for c in CHANGES if c not in (turned_link, changed_directory)])
@pytest.mark.parametrize('kind', ['one', 'apart'])
def test_a_pickled_predictor_notices(folders, tmp_path, kind, change):
    "Also where the folder was opened in this process before."
    shutil.copytree(folders/kind/'first', tmp_path/'first')
    sent = pickle.dumps(EmotionPredictor(tmp_path/'first'))
    assert pickle.loads(sent) is pickle.loads(sent)
    change(tmp_path, folders/kind/'second')
    with pytest.raises(
        InputError,
        match='has changed since|is not the file that was made|there is no folder|bytes, not the',
    ):
        pickle.loads(sent)


def test_a_pickled_pytorch_predictor_notices(outputs, tmp_path):
    "`config.json` stays as it was, the weights do not."
    model = shutil.copytree(outputs/'final_model', tmp_path/'model')
    sent = pickle.dumps(EmotionPredictor(model))
    assert pickle.loads(sent)(TEXTS) == EmotionPredictor(outputs/'final_model')(TEXTS)
    shutil.copy(outputs/'phase1_final/model.safetensors', model/'model.safetensors')
    with pytest.raises(InputError, match='has changed since'): pickle.loads(sent)


def test_a_copy_of_the_same_folder_is_the_same_model(folders, tmp_path):
    shutil.copytree(folders/'one/first', tmp_path/'first')
    sent = pickle.dumps(EmotionPredictor(tmp_path/'first'))
    replaced_folder(tmp_path, folders/'one/first')
    assert pickle.loads(sent)(TEXTS) == EmotionPredictor(folders/'one/first')(TEXTS)


@pytest.mark.parametrize('name', ['tokenizer.json', 'canary.json', 'onnx/model_quantized.onnx'])
def test_changed_while_it_is_opened(folders, tmp_path, monkeypatch, name):
    "A file is written into, or replaced, between the manifest and the session: refused, or never seen."
    from emotion_detection import predict
    model = shutil.copytree(folders/'one/first', tmp_path/'first')
    plain = predict.check_sizes
    def then(change):
        def check(files, facts):
            plain(files, facts)
            change(model/name)
        monkeypatch.setattr(predict, 'check_sizes', check)
    def replace(file):
        (tmp_path/'x').write_bytes(b'another file')
        (tmp_path/'x').replace(file)
    then(replace)
    assert EmotionPredictor(model)(TEXTS) == [
        EmotionPredictor.__call__(p, t)
        for p in [_plain(folders, monkeypatch, plain)]
        for t in TEXTS
    ]
    shutil.copy(folders/'one/first'/name, model/name)
    then(lambda file: file.write_bytes(bytes(file.stat().st_size)))
    with pytest.raises(InputError, match='is not the file that was made|was written to'):
        EmotionPredictor(model)


def _plain(folders, monkeypatch, check):
    "The model as it is, opened without interference."
    from emotion_detection import predict
    monkeypatch.setattr(predict, 'check_sizes', check)
    return EmotionPredictor(folders/'one/first')


def test_files_are_closed(folders):
    "A predictor holds its model open, nothing else, and that ends with it."
    if not Path('/proc/self/fd').exists(): pytest.skip('this system does not list open files')
    open_files = lambda: len(os.listdir('/proc/self/fd'))
    before = open_files()
    predictor = EmotionPredictor(folders/'apart/first')
    assert open_files() - before <= 2
    del predictor
    assert open_files() == before


# Folders that are not what they seem

@pytest.mark.parametrize('folder, file', [('int8', f) for f in ('onnx/model_quantized.onnx', 'tokenizer.json', 'config.json', 'manifest.json', 'canary.json')]
                         + [('final_model', f) for f in ('model.safetensors', 'tokenizer.json', 'config.json')])
def test_git_lfs_pointers(outputs, tmp_path, folder, file):
    model = shutil.copytree(outputs/folder, tmp_path/'model')
    (model/file).write_text(POINTER)
    with pytest.raises(InputError, match=f'{file} is a Git LFS pointer.*git lfs pull'):
        EmotionPredictor(model)
    with pytest.raises(InputError, match=f'{file} is a Git LFS pointer.*git lfs pull'):
        EmotionPredictor(model, allow_mismatch=True)
    checks = examine(model)
    assert (
        not checks[0]['ok']
        and 'git lfs pull' in checks[0]['detail']
        and file in checks[0]['detail']
    )


def test_git_lfs_pointer_of_weights_apart(folders, tmp_path):
    model = shutil.copytree(folders/'apart/first', tmp_path/'model')
    (model/'onnx/model_quantized.onnx_data').write_text(POINTER)
    with pytest.raises(InputError, match='onnx_data is a Git LFS pointer'): EmotionPredictor(model)
    done = emotion('doctor', '--model_path', model)
    assert done.returncode != 0 and 'git lfs pull' in done.stdout + done.stderr


def cut(file): file.write_bytes(file.read_bytes()[:-1000])
def emptied(file): file.write_bytes(b'')
def header(file): file.write_bytes(file.read_bytes()[:300])
def longer(file): file.write_bytes(file.read_bytes() + b'x')


def without_a_tensor(file):
    from safetensors.numpy import load_file, save_file
    tensors = load_file(file)
    del tensors['classifier.out_proj.weight']
    save_file(tensors, file, {'format': 'pt'})


def not_a_number(file):
    from safetensors.numpy import load_file, save_file
    tensors = load_file(file)
    tensors['classifier.out_proj.bias'][:] = np.nan
    save_file(tensors, file, {'format': 'pt'})


def of_another_shape(file):
    config = json.loads(file.with_name('config.json').read_text())
    file.with_name('config.json').write_text(
        json.dumps(config | {'vocab_size': 77, 'num_hidden_layers': 9})
    )


@pytest.mark.parametrize('damage', [cut, emptied, header, longer, without_a_tensor, not_a_number, of_another_shape])
def test_doctor_opens_pytorch_folders(outputs, tmp_path, damage):
    model = shutil.copytree(outputs/'final_model', tmp_path/'model')
    assert [c['ok'] for c in examine(model)] == [True]*4
    damage(model/'model.safetensors')
    checks = examine(model)
    assert not all(c['ok'] for c in checks), checks
    assert all('\n' not in c['detail'] and str(model) in c['detail'] for c in checks if not c['ok'])


@pytest.mark.parametrize('damage', [cut, emptied, header, longer, of_another_shape])
def test_doctor_without_pytorch(outputs, tmp_path, monkeypatch, damage):
    "The header and the length are read all the same, and the doctor says that this is all."
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    model = shutil.copytree(outputs/'final_model', tmp_path/'model')
    checks = {c['check']: c for c in examine(model)}
    assert (
        all(c['ok'] for c in checks.values())
        and 'by their header and length only' in checks['answer']['detail']
    )
    damage(model/'model.safetensors')
    assert not {c['check']: c for c in examine(model)}['weights']['ok']


def test_weights_that_are_missing_are_not_made_up(outputs, tmp_path):
    "`transformers` would fill in random ones, and say so where nobody looks."
    model = shutil.copytree(outputs/'final_model', tmp_path/'model')
    without_a_tensor(model/'model.safetensors')
    with pytest.raises(InputError, match='model.safetensors has no classifier.out_proj.weight'):
        EmotionPredictor(model)


@pytest.mark.parametrize('folder, file', [('int8', 'onnx/model_quantized.onnx'), ('int8', 'tokenizer.json'), ('int8', 'canary.json'), ('final_model', 'model.safetensors'), ('final_model', 'tokenizer.json')])
def test_files_of_another_user(outputs, tmp_path, folder, file):
    "A service account that may not read the model is told so, by predict and doctor."
    model = shutil.copytree(outputs/folder, tmp_path/'model')
    (model/file).chmod(0)
    for p in (tmp_path, *tmp_path.parents):
        if p.stat().st_uid == os.getuid() and p != Path('/'): p.chmod(p.stat().st_mode | 0o055)
    code = f'''
import os, sys
import emotion_detection.doctor as doctor, emotion_detection.model, transformers.models.xlm_roberta
from emotion_detection.predict import EmotionPredictor
if os.getuid() == 0: os.setuid(65534)
try: EmotionPredictor({str(model)!r})
except Exception as e: print(type(e).__name__, e)
try: print([c['detail'] for c in doctor.examine({str(model)!r}) if not c['ok']])
except Exception as e: print(type(e).__name__, e)
'''
    done = subprocess.run([sys.executable, '-c', code], env=ENV, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert len(said) == 2 and said[0].startswith('Unreadable'), (done.stdout, done.stderr)
    assert all(file in line and 'may not be read' in line for line in said), said


@pytest.mark.parametrize('name', ['onnx/._model_quantized.onnx', '._model.onnx', '.model.onnx', 'onnx/.model.onnx.swp', '.cache/model.onnx', '.DS_Store', 'onnx/.DS_Store'])
def test_dot_files_are_no_models(outputs, tmp_path, name):
    model = shutil.copytree(outputs/'int8', tmp_path/'int8')
    (model/name).parent.mkdir(exist_ok=True)
    (model/name).write_bytes(b'\0\5\x16\7')
    assert EmotionPredictor(model)(TEXTS) == EmotionPredictor(outputs/'int8')(TEXTS)
    assert find_onnx(model) == model/'onnx/model_quantized.onnx'
    assert name not in listed_files(model)
    pytorch = shutil.copytree(outputs/'final_model', tmp_path/'final')
    (pytorch/name).parent.mkdir(exist_ok=True)
    (pytorch/name).write_bytes(b'\0\5\x16\7')
    assert find_onnx(pytorch) is None and examine(pytorch)[-1]['ok']


def as_dvc(folder, store):
    "Each file a link to a blob in a folder of its own, as DVC and git-annex lay them out"
    for i,file in enumerate(sorted(p for p in folder.rglob('*') if p.is_file())):
        blob = store/f'{i:02x}/blob'
        blob.parent.mkdir(parents=True)
        file.rename(blob)
        file.symlink_to(blob)


def as_hub(folder, store):
    "All blobs in one folder, as the Hub's cache has them"
    store.mkdir()
    for i,file in enumerate(sorted(p for p in folder.rglob('*') if p.is_file())):
        file.rename(store/f'{i:02x}')
        file.symlink_to(store/f'{i:02x}')


def weights_alone(folder, store):
    data = folder/'onnx/model_quantized.onnx_data'
    if not data.exists(): return
    store.mkdir()
    data.rename(store/'abc')
    data.symlink_to(store/'abc')


@pytest.mark.parametrize('layout', [as_dvc, as_hub, weights_alone])
@pytest.mark.parametrize('kind', ['one', 'apart'])
def test_files_behind_links(folders, tmp_path, kind, layout):
    model = shutil.copytree(folders/kind/'first', tmp_path/'model')
    layout(model, tmp_path/'store')
    predictor = EmotionPredictor(model, threads=2)
    plain = EmotionPredictor(folders/kind/'first')
    assert predictor(TEXTS) == plain(TEXTS) == [predictor(t) for t in TEXTS]
    assert all(c['ok'] for c in examine(model))


def test_no_reason_is_cut(tmp_path):
    "The end of a long message is where the file is named."
    from emotion_detection.runtime import open_session
    deep = tmp_path/('a'*100)/('b'*100)
    deep.mkdir(parents=True)
    (deep/'model.onnx').write_bytes(b'no graph')
    with pytest.raises(InputError, match='Protobuf parsing failed') as e:
        open_session(deep/'model.onnx')
    assert str(e.value).count(str(deep/'model.onnx')) == 2 and '/proc/' not in str(e.value)


# Texts that are none

WRONG = {
    'str': 'vui quá',
    'bytes': b'vui',
    'bytearray': bytearray(b'vui'),
    'dict': {'text': ['vui']},
    'None': None,
    'number': 3,
    'float': 1.5,
    'frame': pd.DataFrame({'text': ['vui']}),
    'in a list: number': ['vui', 3],
    'in a list: NaN': ['vui', float('nan')],
    'in a list: None': [None],
    'in a list: bytes': [b'vui'],
    'in a list: NA': pd.Series(['vui', pd.NA]),
    'list of lists': [['vui']],
    'two dimensions': np.array([['a', 'b']]),
}


@pytest.mark.parametrize('what', WRONG)
@pytest.mark.parametrize('method', ['stream', 'probs'])
def test_what_is_not_many_texts(folders, method, what):
    "Refused in words; nothing is answered letter by letter, by keys or by names of columns."
    predictor = EmotionPredictor(folders/'one/first', threads=1)
    with pytest.raises(TypeError, match='takes|text must be a str'):
        list(getattr(predictor, method)(WRONG[what]))
    if not what.startswith('in a list') and what not in ('list of lists', 'two dimensions'):
        # at once, not at the first answer
        with pytest.raises(TypeError, match=method): getattr(predictor, method)(WRONG[what])


RIGHT = {
    'list': TEXTS,
    'tuple': tuple(TEXTS),
    'generator': (t for t in TEXTS),
    'Series': pd.Series(TEXTS, index=[5, 5, 6, 7]),
    'Index': pd.Index(TEXTS),
    'categories': pd.Series(TEXTS, dtype='category'),
    'array': np.array(TEXTS),
    'objects': np.array(TEXTS, object),
    'keys': dict.fromkeys(TEXTS).keys(),
    'lines': io.StringIO('\n'.join(TEXTS)),
}


@pytest.mark.parametrize('what', RIGHT)
def test_what_is_many_texts(folders, what):
    predictor = EmotionPredictor(folders/'one/first', threads=1)
    assert [a['label'] for a in predictor(RIGHT[what])] == [a['label'] for a in predictor(TEXTS)]


def test_other_functions_that_take_many_texts(outputs):
    from emotion_detection import (
        baseline, behavior, comparison, data_report, model, slices, static, trimming,
        vocabulary,
    )
    classifier = model.EmotionClassifier.load(outputs/'final_model')
    calls = {
        'classifier.probs': classifier.probs,
        'train_tokenizer': model.train_tokenizer,
        'count_tokens': lambda t: vocabulary.count_tokens(classifier.tokenizer, t),
        'trim_model': lambda t: trimming.trim_model(outputs / 'final_model', t, outputs / 'never'),
        'token_lengths': lambda t: data_report.token_lengths(t, classifier.tokenizer),
        'find_slices': lambda t: slices.find_slices(t, ['en'] * len(t)),
        'text_feeds': lambda t: static.text_feeds(outputs / 'onnx', t),
        'ms_per_text': lambda t: comparison.ms_per_text(len, t),
        'ask': lambda t: behavior.ask(len, t),
        'baseline.probs': lambda t: baseline.Baseline(None, None).probs(t),
    }
    for name,call in calls.items():
        for given in ('vui quá', b'vui', pd.DataFrame({'text': ['a']})):
            with pytest.raises(TypeError, match='takes'): call(given)
    with pytest.raises(TypeError, match='was given one'):
        trimming.trim_model(outputs/'final_model', {'vi': 'vui quá'}, outputs/'never')


TABLES = {
    'two columns text': (pd.DataFrame([['a', 'b']], columns=['text', 'text']), "2 columns 'text'"),
    'levels': (
        pd.DataFrame(
            [['a', 'b']], columns=pd.MultiIndex.from_tuples([('text', 'x'), ('text', 'y')])
        ),
        "no column 'text'",
    ),
    'nothing': (pd.DataFrame(), 'none at all'),
    'NA': (pd.DataFrame({'text': ['a', pd.NA]}), 'row 1'),
    'NaN': ({'text': ['a', float('nan')]}, 'row 1'),
    'bytes': ({'text': [b'a']}, 'row 0'),
    'number': ({'text': 7}, 'not texts'),
    'None': ({'text': None}, 'not texts'),
    'lengths': ({'text': ['a', 'b'], 'id': [1]}, "'id' has 1"),
    'label taken': (pd.DataFrame({'text': ['a'], 'label': ['b']}), "a column 'label' already"),
}


@pytest.mark.parametrize('what', TABLES)
def test_tables_that_are_refused(folders, what):
    table, words = TABLES[what]
    with pytest.raises(InputError, match=words):
        EmotionPredictor(folders/'one/first', threads=1)(table)


def test_tables_that_are_answered(folders):
    predictor = EmotionPredictor(folders/'one/first', threads=1)
    assert len(predictor(pd.DataFrame({'text': []}))) == 0
    doubled = pd.DataFrame([['vui', 1, 2]], columns=['text', 'n', 'n'])
    assert predictor(doubled)['label'].tolist() == [predictor('vui')['label']]
    assert predictor({'text': 'vui', 'tags': ['a', 'b']})['label'] == predictor('vui')['label']
    from datasets import Dataset, DatasetDict
    rows = Dataset.from_dict({'text': ['vui', 'ok']})
    assert (
        predictor(rows['text']) == predictor(['vui', 'ok']) == list(predictor.stream(rows['text']))
    )
    with pytest.raises(InputError, match='use its map'): predictor(DatasetDict({'train': rows}))


# The warning that is meant for another family of models

def large_tokenizer(folder, **config):
    "A Unigram tokenizer of more than 100,000 tokens, with XLM-R's way of cutting, and a configuration"
    from tokenizers import Tokenizer
    from transformers import XLMRobertaTokenizerFast
    from emotion_detection.tokenizer import train_tokenizer
    spec = json.loads(
        train_tokenizer(['vui quá', 'I am so angry', 'ok bạn'] * 5, 60).backend_tokenizer.to_str()
    )
    spec['model']['vocab'] += [[f'\ue000{i:06d}', -30.-i*1e-5] for i in range(100_050)]
    XLMRobertaTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(spec)), model_max_length=32
    ).save_pretrained(folder)
    (folder/'config.json').write_text(json.dumps(config))
    return folder


def mistral_tokenizer(folder, **config):
    "A byte-level BPE of more than 100,000 tokens behind a regular expression, as Mistral's are built"
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tok = Tokenizer(
        models.BPE({t: i for i, t in enumerate(letters + [f'{i:06d}' for i in range(100_050)])}, [])
    )
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r'\p{L}+|\s+'), 'isolated'),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    PreTrainedTokenizerFast(tokenizer_object=tok).save_pretrained(folder)
    (folder/'config.json').write_text(json.dumps(config))
    return folder


@pytest.fixture
def warnings_logged(caplog):
    "Whatever ran before in this process, warnings of `transformers` are logged"
    with caplog.at_level(logging.WARNING, 'transformers'): yield


def said_while_loading(folder):
    "What `transformers` logs while our function loads a tokenizer"
    from emotion_detection.encoders import load_tokenizer
    seen, handler = [], logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    logger = logging.getLogger('transformers.tokenization_utils_base')
    logger.addHandler(handler)
    try: tokenizer = load_tokenizer(str(folder))
    finally: logger.removeHandler(handler)
    assert len(tokenizer) > 100_000 and not logger.filters
    return [s for s in seen if 'regex' in s]


@pytest.mark.parametrize('make, config, warned', [
    (large_tokenizer, {'model_type': 'xlm-roberta'}, False), (large_tokenizer, {'model_type': 'xlm-roberta', 'transformers_version': '4.57.6'}, False),
    (large_tokenizer, {'model_type': 'mistral', 'transformers_version': '4.57.6'}, False), (mistral_tokenizer, {'model_type': 'mistral', 'transformers_version': '4.57.6'}, True),
    (mistral_tokenizer, {'model_type': 'ministral'}, True), (mistral_tokenizer, {'model_type': 'eurobert'}, False)])
def test_the_regex_warning_is_silent_where_it_is_false(
    warnings_logged, tmp_path, make, config, warned
):
    from transformers import AutoTokenizer
    folder = make(tmp_path, **config)
    assert bool(said_while_loading(folder)) == warned
    theirs = AutoTokenizer.from_pretrained(folder)
    from emotion_detection.encoders import load_tokenizer
    assert (
        load_tokenizer(str(folder)).backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
    )


def test_other_warnings_are_heard(warnings_logged, tmp_path):
    "A tokenizer class of another kind than the folder's is reported as before."
    from emotion_detection.encoders import quiet_tokenizer
    seen, handler = [], logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    logger = logging.getLogger('transformers.tokenization_utils_base')
    logger.addHandler(handler)
    try: quiet_tokenizer(lambda: logger.warning('something else') or 'a tokenizer', tmp_path)
    finally: logger.removeHandler(handler)
    assert seen == ['something else']


@pytest.mark.skipif('ENCODER_DIR' not in os.environ, reason=('ENCODER_DIR does not name a folder with an encoder (shared/encoder/make_encoder.py ' 'makes one)'))
def test_the_real_encoder_is_silent():
    "Loading XLM-R's vocabulary in a process of its own prints nothing."
    code = (
        "import sys; from emotion_detection.encoders import load_tokenizer; t = "
        "load_tokenizer(sys.argv[1]); print(t('Cảm ơn bạn').input_ids)"
    )
    done = subprocess.run(
        [sys.executable, '-c', code, os.environ['ENCODER_DIR']],
        env=ENV,
        capture_output=True,
        text=True,
    )
    assert (
        done.returncode == 0 and 'regex' not in done.stderr and json.loads(done.stdout)[0] == 0
    ), done.stderr


def test_scores_are_counted_on_the_answers_that_users_get(outputs):
    "PyTorch in batches moves no probability by a millionth, over all texts of the suite; INT8 is asked one text at a time."
    from emotion_detection.predict import open_for_scores
    from emotion_detection.suite import load_suite
    cases = [case for capability in load_suite() for case in capability.cases]
    texts = sorted({text for case in cases for text in (case.text, case.changed) if text})
    in_batches = open_for_scores(outputs/'final_model').probs(texts)
    alone = EmotionPredictor(outputs/'final_model').probs(texts)
    assert np.abs(in_batches - alone).max() < 1e-6
    assert (in_batches.argmax(1) == alone.argmax(1)).all()
    assert open_for_scores(outputs/'int8').options['mode'] == 'deterministic'
