"""Reading from the Hub with the real client libraries against a stand-in on 127.0.0.1: what works, and what each fault says."""
import json, subprocess, sys, textwrap
from pathlib import Path
import pytest
from conftest import EMOTION, ENV
from hub import Hub

READER = 'hf_FAKEreader0123456789'
STRANGER = 'hf_FAKEstranger0123456789'
WRONG = 'hf_FAKEwrong0123456789'
CARD = textwrap.dedent('''\
    ---
    configs:
    - config_name: raw
      data_files: [{split: train, path: raw/train.csv}]
    - config_name: simplified
      data_files: [{split: train, path: simplified/train.csv}, {split: validation, path: simplified/validation.csv}, {split: test, path: simplified/test.csv}]
    ---
    # A data set
    ''').encode()


def table(n, start=0, text='comment {}'):
    "ViGoEmotions' traps: a BOM, quoted line breaks, ids with leading zeros, labels as text, a text that pandas takes for a missing value"
    rows = [f'"{text.format(i)}\n2nd line","[2, 13]",{i:05d}' for i in range(start, start+n)]
    return (
        '\ufefftext,labels,id\n' + '\n'.join([*rows, f'null,[27],{start + n:05d}']) + '\n'
    ).encode()


FILES = {
    'README.md': CARD,
    'raw/train.csv': table(200, 0),
    'simplified/train.csv': table(40, 0),
    'simplified/validation.csv': table(5, 1000),
    'simplified/test.csv': table(5, 2000),
}
PLAIN = {f'{s}.csv': FILES[f'simplified/{s}.csv'] for s in ('train','validation','test')}


@pytest.fixture
def hub():
    with Hub() as hub:
        hub.commit = hub.add('own/data', FILES)
        hub.add('own/gated', FILES, gated=True)
        hub.add('own/plain', PLAIN)
        hub.token(READER, 'own/gated', 'own/encoder')
        hub.token(STRANGER)
        yield hub


LOAD = '''
import json, sys, time
from emotion_detection.data import DataModule, Source
from emotion_detection.files import InputError
a = json.loads(sys.argv[1])
if a.pop('hurry', False): time.sleep = lambda s: None   # the client's pauses between its own attempts
token = a.pop('token', None)
try:
    dm = DataModule(Source(**a), token)
    print(json.dumps({'rows': {s: len(e) for s,e in dm.loaded.items()}, 'commit': dm.commit, 'first': dm.loaded['train'].text[0], 'ids': dm.loaded['train'].id[-2:], 'last': dm.loaded['train'].text[-1]}))
except InputError as e: print(json.dumps({'error': str(e)}))
'''


def python(code, *args, env):
    done = subprocess.run(
        [sys.executable, '-c', code, *args],
        env=ENV | env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for token in (READER, STRANGER, WRONG): assert token not in done.stdout + done.stderr
    assert done.stderr == ''
    return json.loads(done.stdout)


def load(hub, home, name='own/data', **more):
    env = {k: more.pop(k) for k in list(more) if k.isupper()}
    return python(
        LOAD,
        json.dumps(
            {
                'source': name,
                'config': 'simplified' if name in ('own/data', 'own/gated') else None,
                'emotions': 'goemotions',
            }
            | more
        ),
        env=hub.env(home, **env),
    )


def without_token(home):
    "No file of the caches holds a token."
    found = [p for p in Path(home).rglob('*') if p.is_file() and b'hf_FAKE' in p.read_bytes()]
    assert [p.name for p in found if p.name != 'token'] == []


# What works

def test_good_download(hub, tmp_path):
    got = load(hub, tmp_path)
    assert got['rows'] == {'train': 41, 'validation': 6, 'test': 6} and got['commit'] == hub.commit
    assert (got['first'], got['last'], got['ids']) == (
        'comment 0 2nd line',
        'null',
        ['00039', '00040'],
    )
    assert hub.asked(r'/simplified/', 'GET') and not hub.asked(r'/raw/', 'GET')
    assert not hub.asked(r'\.py$', 'GET')


def test_second_load_downloads_nothing(hub, tmp_path):
    load(hub, tmp_path)
    before = len(hub.requests)
    load(hub, tmp_path)
    assert not [r for r in hub.requests[before:] if r.method == 'GET' and '/resolve/' in r.path]


@pytest.mark.parametrize('how', ['no network', 'offline', 'late answers', 'errors'])
def test_cached(hub, tmp_path, how):
    "Once loaded, the Hub is not needed."
    first = load(hub, tmp_path)
    if how == 'no network': hub.stop()
    if how == 'late answers': hub.fault('.', delay=5)
    if how == 'errors': hub.fault('.', status=503)
    assert (
        load(
            hub, tmp_path, HF_HUB_ETAG_TIMEOUT='1', HF_HUB_OFFLINE='1' if how == 'offline' else '0'
        )
        == first
    )


def test_pinned_revision(hub, tmp_path):
    "A pinned commit is what is read, online and from the cache, whatever is newest; `datasets` alone would take the newest from the cache."
    new = hub.add('own/data', FILES | {'simplified/train.csv': table(30)})
    assert load(hub, tmp_path)['commit'] == new
    old = load(hub, tmp_path, revision=hub.commit)
    assert (old['commit'], old['rows']['train']) == (hub.commit, 41)
    hub.stop()
    assert load(hub, tmp_path, revision=hub.commit) == old
    assert load(hub, tmp_path, revision=new[:8])['rows']['train'] == 31
    error = load(hub, tmp_path, revision='0'*40)['error']
    assert (
        error.startswith(
            f"the Hub cannot be reached, and own/data (simplified) at {'0' * 40} is not in the "
            "cache; cached is "
        )
        and hub.commit in error
    )
    # which commit a tag means, only the Hub knows
    assert 'at v1 is not in the cache' in load(hub, tmp_path, revision='v1')['error']


def test_plain_repository(hub, tmp_path):
    "Without a card: files named after their splits."
    assert load(hub, tmp_path, 'own/plain')['rows'] == {'train': 41, 'validation': 6, 'test': 6}


def test_held_out_configuration(hub, tmp_path):
    "Training rows from one configuration, the comments that stay out of training from another."
    got = load(hub, tmp_path, config='raw', evaluation_source='simplified')
    assert got['rows'] == {'train': 201, 'validation': 6, 'test': 6}


def test_ids_need_a_table(hub, tmp_path):
    "Numbers in a column `labels` are nobody's ids until the configuration says so."
    assert (
        'label [2, 13] is a number, and nothing says what it means'
        in load(hub, tmp_path, emotions=None)['error']
    )


def test_cache_that_cannot_be_written(hub, tmp_path):
    "A HOME that is no folder to this user: the message names the variable that helps."
    (tmp_path/'home').write_text('')
    env = {
        k: str(tmp_path / 'home/cache')
        for k in ('HOME', 'HF_HOME', 'HF_DATASETS_CACHE', 'HF_HUB_CACHE', 'XDG_CACHE_HOME')
    }
    assert 'set HF_HOME to a folder of yours' in load(hub, tmp_path, **env)['error']


def test_cut_once(hub, tmp_path):
    "A download that breaks off goes on where it stopped, to the client's last piece of 10 MiB."
    hub.add(
        'own/large',
        {
            'train.csv': (
                'text,labels,more\n' + ''.join(f'comment {i},2,{"x" * 2**20}\n' for i in range(24))
            ).encode()
        },
    )
    hub.fault(r'/train\.csv', 'GET', cut=True, times=1)
    assert sum(load(hub, tmp_path, 'own/large')['rows'].values()) == 24
    first, second = hub.asked(r'/train\.csv', 'GET')
    assert first.range is None and second.range == f'bytes={10*2**20}-'


# Tokens

@pytest.mark.parametrize('how', ['argument', 'environment', 'login', 'argument first'])
def test_token_arrives(hub, tmp_path, how):
    "The Hub gets the token, and nothing else does."
    env, more = {}, {}
    if how.startswith('argument'): more['token'] = READER
    if how == 'argument first': env['HF_TOKEN'] = WRONG
    if how == 'environment': env['HF_TOKEN'] = READER
    if how == 'login': (tmp_path/'token').write_text(READER)
    assert load(hub, tmp_path, 'own/gated', **more, **env)['rows']['train'] == 41
    assert hub.tokens_seen() == {READER}
    without_token(tmp_path)


# What is refused, and how it is said

PAGE = 'https://huggingface.co/datasets/'
REFUSED = {
    'gated, no token': (
        dict(name='own/gated'),
        f"own/gated is gated: ask for access on {PAGE}own/gated, then set HF_TOKEN or run `hf "
        "auth login`",
    ),
    'gated, no access': (
        dict(name='own/gated', token=STRANGER),
        "own/gated is gated and your token has no access to it: ask for access on "
        f"{PAGE}own/gated, then run this again",
    ),
    'wrong token': (
        dict(name='own/gated', token=WRONG),
        "the Hub refuses the token: make a new one on "
        "https://huggingface.co/settings/tokens, or unset HF_TOKEN",
    ),
    'wrong token, public set': (
        dict(HF_TOKEN=WRONG),
        "the Hub refuses the token: make a new one on "
        "https://huggingface.co/settings/tokens, or unset HF_TOKEN",
    ),
    'broken token': (
        dict(token='hf_FAKE…'),
        "the Hub token holds characters that no token has; copy it again",
    ),
    'token with a line break': (
        dict(token='hf_FAKE\nx'),
        "the Hub token holds characters that no token has; copy it again",
    ),
    'no such set': (
        dict(name='own/none'),
        "the Hub has no data set own/none, or it is private: check the name on "
        f"{PAGE}own/none, or set HF_TOKEN",
    ),
    'no such set, token': (
        dict(name='own/none', token=READER),
        "the Hub has no data set own/none, or it is private: check the name on "
        f"{PAGE}own/none, or set HF_TOKEN",
    ),
    'no such name': (dict(name='own/a--b'), "own/a--b cannot be the name of a data set on the Hub"),
    'no such configuration': (
        dict(config='rwa'),
        "own/data cannot be read: it has no configuration rwa, but raw, simplified",
    ),
    'configuration missing': (
        dict(config=None),
        "own/data cannot be read: set `config` to one of raw, simplified",
    ),
    'no such revision': (
        dict(revision='v9'),
        f"own/data has no revision v9; its commits are on {PAGE}own/data/commits/main",
    ),
    'offline': (
        dict(HF_HUB_OFFLINE='1'),
        "HF_HUB_OFFLINE is set, and own/data (simplified) is not in the cache: connect once, "
        "or name local files",
    ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refused(hub, tmp_path, case):
    what, words = REFUSED[case]
    assert load(hub, tmp_path, **what) == {'error': words}
    without_token(tmp_path)


FAULTS = {
    'no network': (
        None,
        "the Hub cannot be reached, and own/data (simplified) is not in the cache: connect "
        "once, or name local files",
    ),
    'late answer': (
        dict(pattern='.', delay=5),
        "the Hub did not answer within 1 s, and own/data (simplified) is not in the cache: "
        "connect once, or name local files",
    ),
    'error 503': (
        dict(pattern='.', status=503),
        "the Hub answers with error 503, and own/data (simplified) is not in the cache: "
        "connect once, or name local files",
    ),
    'cut half-way': (
        dict(pattern=r'simplified/train\.csv', method='GET', cut=True),
        "the connection to the Hub broke off 3 times while own/data was read: run this "
        "again, it goes on where it stopped",
    ),
    'late file': (
        dict(pattern=r'simplified/train\.csv', delay=5),
        "the Hub did not answer within 1 s while own/data was read: run this again, it goes "
        "on where it stopped",
    ),
    'error 500 for a file': (
        dict(pattern=r'simplified/train\.csv', status=500),
        "the Hub answers with error 500 while own/data was read: run this again, it goes on "
        "where it stopped",
    ),
}


@pytest.mark.parametrize('case', FAULTS)
def test_faults(hub, tmp_path, case):
    "Each says what happened and what to do; afterwards the same caches still work."
    fault, words = FAULTS[case]
    if fault: hub.fault(**fault)
    else: hub.stop()
    short = {'HF_HUB_ETAG_TIMEOUT': '1', 'HF_HUB_DOWNLOAD_TIMEOUT': '1'} if 'late' in case else {}
    assert load(hub, tmp_path, hurry=True, **short) == {'error': words}
    if case in ('cut half-way', 'late answer'):
        hub.faults.clear()
        assert load(hub, tmp_path)['rows']['train'] == 41


def test_code_is_not_fetched(hub, tmp_path):
    "A data set that comes as a script is refused before the script is."
    hub.add(
        'own/script',
        {
            'README.md': b'# script',
            'script.py': f"open({str(tmp_path / 'ran')!r}, 'w')".encode(),
            'train.csv': table(3),
        },
    )
    assert load(hub, tmp_path, 'own/script')['error'] == (
        "own/script comes as a Python script, and code of others is neither fetched nor run: "
        "look for a branch with data files (`revision: refs/convert/parquet`)"
    )
    assert not hub.asked(r'\.py$') and not (tmp_path/'ran').exists()


def test_broken_data(hub, tmp_path):
    "Files that are not what their names say."
    hub.add('own/broken', {'train.parquet': b'not parquet at all'})
    assert load(hub, tmp_path, 'own/broken')['error'].startswith('own/broken cannot be read: ')
    hub.add('own/columns', {'train.csv': table(3), 'test.csv': b'text,label\na,joy\n'})
    assert (
        load(hub, tmp_path, 'own/columns')['error']
        == 'own/columns cannot be read: its files or splits do not have the same columns'
    )
    hub.add('own/empty', {'README.md': b'# nothing here'})
    assert load(hub, tmp_path, 'own/empty')['error'].startswith('own/empty cannot be read: ')
    hub.add(
        'own/odd',
        {
            'README.md': b'---\nconfigs:\n- config_name: default\n  data_files: [{split: odd, path: a.csv}]\n---\n',
            'a.csv': table(3),
        },
    )
    assert (
        load(hub, tmp_path, 'own/odd')['error']
        == 'own/odd has no split train, validation or test, but odd'
    )


# The command

def config(folder, source, **more):
    lines = ''.join(
        f'    {k}: {v}\n'
        for k, v in (
            {'source': source, 'config': 'simplified', 'emotions': 'goemotions'} | more
        ).items()
    )
    (folder / 'c.yaml').write_text(
        f'model:\n  scratch: {{vocab_size: 300}}\ndata:\n  phase1:\n{lines}  phase2:\n    '
        f'source: bundled:vi\n    language: vi\nphase1: {{}}\nphase2: {{}}\n'
    )
    return folder/'c.yaml'


def data(hub, folder, source='own/data', *args, env=None, **more):
    done = subprocess.run(
        [EMOTION, 'data', '--config', config(folder, source, **more), *args],
        env=ENV | hub.env(folder / 'home', **(env or {})),
        capture_output=True,
        text=True,
        timeout=180,
    )
    for token in (READER, STRANGER, WRONG): assert token not in done.stdout + done.stderr
    return done


def test_command_good(hub, tmp_path):
    done = data(hub, tmp_path, 'own/gated', '--json', '--hf_token', READER)
    assert done.returncode == 0, done.stderr
    phases = [json.loads(l) for l in done.stdout.splitlines()]
    assert [p['source'] for p in phases] == ['own/gated', 'bundled:vi'] and len(
        phases[0]['commit']
    ) == 40
    assert [s['rows'] for s in phases[0]['splits']] == [41, 6, 6]
    assert hub.tokens_seen() == {READER}
    without_token(tmp_path)


COMMAND = {
    'gated, no token': (dict(source='own/gated'), REFUSED['gated, no token'][1]),
    'no such set': (dict(source='own/none'), REFUSED['no such set'][1]),
    'no such revision': (dict(revision='v9'), REFUSED['no such revision'][1]),
    'cut half-way': ({}, FAULTS['cut half-way'][1]),
    'no network': ({}, FAULTS['no network'][1]),
}


@pytest.mark.parametrize('case', COMMAND)
def test_command_refuses(hub, tmp_path, case):
    "Exit code 2, nothing on stdout, one line on stderr."
    what, words = COMMAND[case]
    if case == 'cut half-way': hub.fault(r'simplified/train\.csv', 'GET', cut=True)
    if case == 'no network': hub.stop()
    done = data(hub, tmp_path, **what)
    assert (done.returncode, done.stdout, done.stderr) == (2, '', f'emotion: {words}\n')


def test_command_no_access(hub, tmp_path):
    done = data(hub, tmp_path, 'own/gated', env={'HF_TOKEN': STRANGER})
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        '',
        f"emotion: {REFUSED['gated, no access'][1]}\n",
    )
    assert hub.tokens_seen() == {STRANGER}


# Encoders

@pytest.fixture(scope='session')
def encoder(tmp_path_factory):
    "The files of a small encoder, as another library would have published it."
    from transformers import XLMRobertaConfig, XLMRobertaModel, set_seed
    from emotion_detection.data import DataModule, Source
    from emotion_detection.tokenizer import train_tokenizer
    folder = tmp_path_factory.mktemp('encoder')
    tokenizer = train_tokenizer(DataModule(Source('bundled:vi', language='vi')).train.text, 400)
    set_seed(0)
    model = XLMRobertaModel(
        XLMRobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=66,
            type_vocab_size=1,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {p.name: p.read_bytes() for p in folder.iterdir()}


ENCODE = '''
import json, logging, sys, time, warnings
warnings.simplefilter('ignore')
from emotion_detection.files import InputError
from emotion_detection.model import EmotionClassifier
from transformers.utils import logging as hf_logging
hf_logging.set_verbosity_error()   # that the head is new, which it says, is the point
a = json.loads(sys.argv[1])
if a.pop('hurry', False): time.sleep = lambda s: None
out = []
for name,revision,token in a['encoders']:
    try:
        clf = EmotionClassifier.from_encoder(name, 64, revision, token)
        out.append({'commit': clf.model.config._commit_hash, 'size': clf.model.config.hidden_size, 'answers': clf.probs(['ok', 'Cảm ơn']).shape})
    except InputError as e: out.append({'error': str(e)})
print(json.dumps(out))
'''


def encode(hub, home, *encoders, hurry=False, **env):
    return python(
        ENCODE,
        json.dumps({'encoders': [(*e, None, None)[:3] for e in encoders], 'hurry': hurry}),
        env=hub.env(home, **env),
    )


def test_encoder_good_then_cached(hub, encoder, tmp_path):
    commit = hub.add('own/encoder', encoder, kind='model', gated=True)
    good = [{'commit': commit, 'size': 32, 'answers': [2, 4]}]
    assert encode(hub, tmp_path, ('own/encoder', None, READER)) == good
    assert hub.tokens_seen() == {READER} and not hub.asked(r'\.(py|bin)$', 'GET')
    without_token(tmp_path)
    hub.stop()
    assert encode(hub, tmp_path, ('own/encoder',)) == good
    assert encode(hub, tmp_path, ('own/encoder', commit), HF_HUB_OFFLINE='1') == good


def test_encoder_refused(hub, encoder, tmp_path):
    hub.add('own/encoder', encoder, kind='model', gated=True)
    hub.add('own/open', encoder, kind='model')
    hub.add(
        'own/pickle',
        {('pytorch_model.bin' if n == 'model.safetensors' else n): d for n, d in encoder.items()},
        kind='model',
    )
    got = encode(
        hub,
        tmp_path,
        ('own/encoder',),
        ('own/encoder', None, STRANGER),
        ('own/none',),
        ('own/open', 'v9'),
        ('own/open', None, WRONG),
        ('own/pickle',),
    )
    page = 'https://huggingface.co/own'
    assert [g['error'] for g in got[:5]] == [
        f"own/encoder is gated: ask for access on {page}/encoder, then set HF_TOKEN or "
        "run `hf auth login`",
        "own/encoder is gated and your token has no access to it: ask for access on "
        f"{page}/encoder, then run this again",
        f"the Hub has no model own/none, or it is private: check the name on {page}/none, "
        "or set HF_TOKEN",
        f"own/open has no revision v9; its commits are on {page}/open/commits/main",
        "the Hub refuses the token: make a new one on "
        "https://huggingface.co/settings/tokens, or unset HF_TOKEN",
    ]
    assert 'own/pickle cannot be loaded' in got[5]['error'] and not hub.asked(r'\.bin$', 'GET')


def test_encoder_cut(hub, encoder, tmp_path):
    hub.add('own/open', encoder, kind='model')
    hub.fault(r'model\.safetensors', 'GET', cut=True)
    assert encode(hub, tmp_path, ('own/open',)) == [
        {
            'error': (
                "the connection to the Hub broke off 3 times while own/open was read: run this "
                "again, it goes on where it stopped"
            )
        }
    ]
    hub.faults[0]['times'] = 1
    assert encode(hub, tmp_path, ('own/open',))[0]['size'] == 32


def test_encoder_no_network(hub, tmp_path):
    hub.stop()
    assert encode(hub, tmp_path, ('own/open',)) == [
        {
            'error': (
                "the Hub cannot be reached, and the encoder own/open is not in the cache: connect "
                "once, or name a folder"
            )
        }
    ]
