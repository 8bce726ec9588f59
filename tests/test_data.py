"""Leaks planted one by one and seen removed and counted; local files of every format; data of one's own from a configuration alone."""
import csv, gzip, json, unicodedata
from pathlib import Path
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from conftest import emotion
from emotion_detection.data import SPLITS, DataModule, Examples, Source, drop_leaks, load_rows
from emotion_detection.data_mapping import GOEMOTIONS, LABELS, VIGOEMOTIONS
from emotion_detection.data_report import data_report, fingerprint
from emotion_detection.files import InputError
from emotion_detection.text import text_key


def splits(folder, **tables):
    "csv files of `(id, text, label)` rows"
    folder.mkdir(exist_ok=True)
    for s,rows in tables.items(): pd.DataFrame(rows, columns=['id','text','label']).to_csv(folder/f'{s}.csv', index=False)
    return Source(str(folder))


def ratings(path, rows):
    "GoEmotions' raw layout: `(id, text, rater, emotions)`"
    pd.DataFrame([dict.fromkeys(GOEMOTIONS, 0) | dict.fromkeys(e.split(), 1) | dict(id=i, text=t, rater_id=r, author='somebody') for i,t,r,e in rows]).to_csv(path, index=False)


def official(folder, **tables):
    "GoEmotions' TSV layout: `(id, text, ids)`"
    folder.mkdir(exist_ok=True)
    for s,rows in tables.items(): (folder/f'{s}.tsv').write_text(''.join(f'{t}\t{l}\t{i}\n' for i,t,l in rows))
    return folder


def dropped(dm, split='train'): return {k: n for k,n in dm.dropped[split].items() if n}


VARIANTS = {'case': 'CẢM ƠN BẠN', 'decomposed': unicodedata.normalize('NFD', 'cảm ơn bạn'), 'zero width': 'cảm\u200b ơn\ufeff bạn', 'HTML': 'c&#7843;m &#x1A1;n<br>bạn', 'spaces': '  cảm\nơn\u00a0 bạn ',
            'escaped twice': 'cảm&amp;nbsp;ơn bạn', 'no change': 'cảm ơn bạn'}


@pytest.mark.parametrize('how', VARIANTS)
@pytest.mark.parametrize('split', ['dev', 'test'])
def test_text_under_another_id(tmp_path, how, split):
    "However it is written."
    held = {'dev': [('v1','chào','joy')], 'test': [('t1','ủa','surprise')]}
    held[split].append(('x9', 'cảm ơn bạn', 'joy'))
    dm = DataModule(splits(tmp_path/'d', train=[('a', VARIANTS[how], 'anger'), ('b', 'khác', 'joy')], **held))
    assert dm.train.text == ['khác'] and dropped(dm) == {'leak': 1}
    assert [len(dm.splits[s]) for s in SPLITS[1:]] == [len(held['dev']), len(held['test'])]


def test_runs_of_mixed_case(tmp_path):
    dm = DataModule(splits(tmp_path/'d', train=[('a','SoOoOoO vui','joy'), ('b','khác','joy')], dev=[('c','x','joy')], test=[('d','sooooooo VUI','joy')]))
    assert dm.train.text == ['khác']


def test_validation_yields_to_test_and_test_to_nobody(tmp_path):
    rows = [('t1','ok','joy'), ('t2','OK','anger'), ('t3','','neutral'), ('t4','ok','joy')]
    dm = DataModule(splits(tmp_path/'d', train=[('a','ok','joy'), ('b','khác','joy')], dev=[('t2','edited since','joy'), ('v','Ok','joy'), ('w','mới','joy')], test=rows))
    assert (dm.test.text, dm.test.id, dm.dropped['test']) == (['ok','OK','','ok'], ['t1','t2','t3','t4'], dict.fromkeys(dm.dropped['test'], 0))
    assert dm.validation.text == ['mới'] and dropped(dm, 'validation') == {'leak': 2}
    assert dm.train.text == ['khác']


def test_duplicates_and_empty_rows(tmp_path):
    "Of texts that occur twice in training the first stays, whatever the labels say; conflicts are counted."
    dm = DataModule(splits(tmp_path/'d', train=[('a','Hay quá','joy'), ('b','hay quá','anger'), ('c','HAY QUÁ','joy'), ('d','','joy'), ('e',' \u200b ','joy'), ('f','&nbsp;<br>','joy'), ('g','khác','joy')],
                           dev=[('h','','joy'), ('i','x','joy')], test=[('j','y','joy')]))
    assert list(zip(dm.train.text, dm.train.votes)) == [('Hay quá', [1,0,0,0]), ('khác', [1,0,0,0])]
    assert dropped(dm) == {'duplicate': 2, 'empty': 3} and dropped(dm, 'validation') == {'empty': 1}
    report = data_report(dm)
    assert report['conflicts'] == 1 and [s['conflicts'] for s in report['splits']] == [1, 0, 0]


def test_no_training_rows_left(tmp_path):
    with pytest.raises(InputError, match='has no training rows left'): DataModule(splits(tmp_path/'d', train=[('a','ok','joy')], dev=[('b','x','joy')], test=[('c','OK','joy')]))
    with pytest.raises(InputError, match='has no training rows'): DataModule(splits(tmp_path/'e', dev=[('b','x','joy')], test=[('c','OK','joy')]))


# Several ratings of one comment

RATINGS = [('a','so good',1,'joy'), ('b','meh',1,''), ('a','so good',2,'anger'), ('c','edited',1,'joy'), ('a','so good',3,'joy'), ('d','dev TEXT',1,'joy'), ('e','only here',1,'joy'), ('e','only here',2,'joy')]


@pytest.mark.parametrize('targets', ['soft', 'rows', 'majority'])
def test_ratings(tmp_path, targets):
    "Comments of the official splits leave by id (`c`, whose text was edited) and by text (`d`), with all their ratings."
    ratings(tmp_path/'raw.csv', RATINGS)
    held = official(tmp_path/'held', dev=[('c','as it was','17'), ('v','Dev text','27')], test=[('t','unseen','2')])
    dm = DataModule(Source(str(tmp_path/'raw.csv'), held_out=str(held), targets=targets))
    assert sum(map(sum, dm.loaded['train'].votes)) == 8 and dm.read['train'] == [6, 1, 0, 1]
    assert set(dm.train.id) == {'a','b','e'} and dropped(dm) == {'leak': 2}
    assert dm.validation.id == ['c','v'] and dm.test.id == ['t']
    votes = {i: [v for j,v in zip(dm.train.id, dm.train.votes) if j==i] for i in 'abe'}
    assert votes == {'soft': {'a': [[2,1,0,0]], 'b': [[0,0,0,1]], 'e': [[2,0,0,0]]}, 'majority': {'a': [[1,0,0,0]], 'b': [[0,0,0,1]], 'e': [[1,0,0,0]]},
                     'rows': {'a': [[1,0,0,0],[0,1,0,0],[1,0,0,0]], 'b': [[0,0,0,1]], 'e': [[1,0,0,0]]*2}}[targets]
    report = data_report(dm)
    assert (report['splits'][0]['rows'], report['splits'][0]['comments_read'], report['splits'][0]['comments'], report['conflicts']) == (8, 5, 3, 1)


@pytest.mark.parametrize('targets', ['soft', 'rows'])
def test_ratings_without_official_splits(tmp_path, targets):
    "All ratings of a comment go to one split."
    ratings(tmp_path/'raw.csv', [(f'c{n//4}', f'comment {n//4}', n%4, GOEMOTIONS[n%28]) for n in range(800)])
    dm = DataModule(Source(str(tmp_path/'raw.csv'), targets=targets))
    ids = [set(dm.splits[s].id) for s in SPLITS]
    assert all(ids) and sum(map(len, ids)) == len(set.union(*ids)) == 200
    assert not dropped(dm)


def test_three_official_files(tmp_path):
    "`goemotions_1.csv` to `_3.csv` are one table, also gzipped; one of them alone is refused."
    for n in range(3):
        ratings(tmp_path/f'goemotions_{n+1}.csv', [(f'{n}{i}', f'text {n} {i}', r, 'joy') for i in range(20) for r in range(2)])
        (tmp_path/f'goemotions_{n+1}.csv.gz').write_bytes(gzip.compress((tmp_path/f'goemotions_{n+1}.csv').read_bytes())) if n==2 else None
    (tmp_path/'goemotions_3.csv').unlink()
    dm = DataModule(Source(str(tmp_path)))
    assert sum(dm.read['train']) == 120 and sum(len(e) for e in dm.loaded.values()) == 60
    assert [w.split(' train:')[1][:9] for w in data_report(dm)['warnings']] == [' 120 rows']  # it has the name of the raw release, and not its rows
    (tmp_path/'goemotions_3.csv.gz').unlink()
    with pytest.raises(InputError, match='has 2 of 3 files for train'): DataModule(Source(str(tmp_path)))


def test_author_is_not_read(tmp_path):
    ratings(tmp_path/'raw.csv', RATINGS)
    dm = DataModule(Source(str(tmp_path/'raw.csv')))
    assert 'somebody' not in repr([vars(e) for e in dm.splits.values()]) + json.dumps(data_report(dm))


def test_row_numbers_are_no_ids(tmp_path):
    "Files that count their rows from 0 do not lose the training rows whose numbers test has too."
    dm = DataModule(splits(tmp_path/'d', train=[(i, f'train {i}', 'joy') for i in range(9)], dev=[(i, f'dev {i}', 'joy') for i in range(5)], test=[(0,'train 8','joy'), *((i, f'test {i}', 'joy') for i in range(1, 5))]))
    assert len(dm.train) == 8 and dropped(dm) == {'leak': 1}


def test_without_ids(tmp_path):
    for s in ('train','dev','test'): pd.DataFrame([(f'{s} {i}', 'joy') for i in range(5)], columns=['text','label']).to_csv(tmp_path/f'{s}.csv', index=False)
    assert not dropped(DataModule(Source(str(tmp_path))))
    held = official(tmp_path/'held', dev=[('1','held 1','2')], test=[('2','held 2','2')])
    assert len(DataModule(Source(str(tmp_path/'train.csv'), held_out=str(held))).train) == 5
    with pytest.raises(InputError, match='has no validation rows'): DataModule(Source(str(tmp_path/'train.csv'), held_out=str(tmp_path/'test.csv')))


# Two phases

def phases(tmp_path, one, two):
    from emotion_detection.config import load_config
    from emotion_detection.phase1 import load_phases
    return load_phases(load_config('quickstart', [f'data.phase1.source={one}', f'data.phase2.source={two}', 'data.phase2.language=vi']))


def test_other_phase(tmp_path):
    "What one phase is tested on, the other does not train on."
    one = splits(tmp_path/'one', train=[('a','only one','joy'), ('b','TEST OF TWO','joy'), ('c','dev of two','joy')], dev=[('d','dev of one','joy')], test=[('e','test of one','joy')]).source
    two = splits(tmp_path/'two', train=[('a','only two','joy'), ('b','Test of one','joy'), ('c','dev&nbsp;of one','joy')], dev=[('d','dev of two','joy')], test=[('e','test of two','joy')]).source
    first, second = phases(tmp_path, one, two)
    assert (first.train.text, second.train.text) == (['only one'], ['only two'])
    for dm in (first, second): assert dropped(dm) == {'other_phase': 2} and [len(dm.splits[s]) for s in SPLITS[1:]] == [1, 1]


def test_same_data_in_both_phases(tmp_path):
    source = splits(tmp_path/'d', train=[(f'a{i}', f'text {i}', 'joy') for i in range(100)]).source
    first, second = phases(tmp_path, source, source)
    assert first.train.text == second.train.text and not dropped(first)
    assert not set(first.train.keys) & second.held_out()


def test_nothing_left_for_a_phase(tmp_path):
    one = splits(tmp_path/'one', train=[('a','x','joy')], dev=[('d','y','joy')], test=[('e','z','joy')]).source
    two = splits(tmp_path/'two', train=[('a','Z','joy')], dev=[('d','v','joy')], test=[('e','w','joy')]).source
    with pytest.raises(InputError, match='are test or validation texts of the other phase'): phases(tmp_path, one, two)


# Any small data set

words = st.lists(st.sampled_from(['a', 'A', 'ế', 'e\u0302\u0301', 'Ế', '\u200b', '&amp;', '&', '<br>', ' ', '!', '!!!!', '@an', '@binh']), max_size=4).map(''.join)
part = st.lists(st.tuples(words, st.sampled_from(range(4)), st.sampled_from('abcdefgh')), max_size=8)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.tuples(part, part, part), st.booleans())
def test_no_leak_in_any_data(parts, repeats):
    loaded = {s: Examples([t for t,_,_ in p], [[float(k==l) for k in range(4)] for _,l,_ in p], [i for _,_,i in p], ['en']*len(p)) for s,p in zip(SPLITS, parts)}
    clean, counts = drop_leaks(loaded, repeats)
    keys, ids = {s: [text_key(t) for t in clean[s].text] for s in SPLITS}, {s: set(clean[s].id) for s in SPLITS}
    for a,b in (('train','validation'), ('train','test'), ('validation','test')): assert not set(keys[a]) & set(keys[b]) - {''} and not ids[a] & ids[b]
    assert not ids['train'] & (set(loaded['validation'].id) | set(loaded['test'].id))
    assert clean['test'] == loaded['test'] and '' not in keys['train'] + keys['validation']
    assert repeats or len(keys['train']) == len(set(keys['train']))
    assert all(len(clean[s]) + sum(counts[s].values()) == len(loaded[s]) for s in SPLITS)
    assert all(clean[s].keys == keys[s] for s in SPLITS)


# Files of one's own

ROWS = [('Cảm ơn bạn, "nhiều"\nlắm', 'joy', '007'), ('NA', 'neutral', '1e5'), ('null', 'anger,joy', ''), ('12', 'Positive', 'x')]


@pytest.mark.parametrize('end', ['csv', 'csv.gz', 'tsv', 'tsv.gz', 'jsonl', 'jsonl.gz', 'json', 'parquet'])
def test_formats(tmp_path, end):
    "One table in every format gives the same rows and the same fingerprint."
    path, rows = tmp_path/f'mine.{end}', [dict(zip(('text','label','id'), r)) for r in ROWS]
    frame = pd.DataFrame(rows)
    if end == 'parquet': frame.to_parquet(path)
    elif 'json' in end: frame.to_json(path, orient='records', lines='jsonl' in end, force_ascii=False)
    else: frame.to_csv(path, index=False, sep='\t' if 'tsv' in end else ',', encoding='utf-8-sig')
    assert load_rows(Source(str(path)))['train'].to_list() == rows
    dm = DataModule(Source(str(path)))
    everything = sum((dm.loaded[s] for s in SPLITS), Examples())
    assert fingerprint(everything) == fingerprint(Examples(['Cảm ơn bạn, "nhiều" lắm','NA','null','12'], [[1,0,0,0],[0,0,0,1],[0,1,0,0],[1,0,0,0]]))
    assert sorted(everything.id) == ['007', '1e5', 'train:3', 'x']


def test_official_layout_gzipped(tmp_path):
    "Stray quotes, no header, CRLF line ends."
    text = 'He said "no\t27\tid1\r\n"WOW!\t26,13\tid2\r\n'
    (tmp_path/'train.tsv.gz').write_bytes(gzip.compress(text.encode())); (tmp_path/'test.tsv').write_bytes(text.replace('id','no').replace('27','2').encode())
    rows = load_rows(Source(str(tmp_path)))
    assert rows['train'].to_list() == [{'text': 'He said "no', 'labels': '27', 'id': 'id1'}, {'text': '"WOW!', 'labels': '26,13', 'id': 'id2'}]
    assert rows['test']['id'][:] == ['no1', 'no2']


def test_vigoemotions_layout(tmp_path):
    "Labels as the text of a list, in the other order; BOM; quoted line breaks; ids that are no numbers."
    (tmp_path/'train.csv').write_text('\ufefftext,labels,id\n"hai\ndòng","[2, 8]",00012\n"vui",[],00013\nsợ,[16],9e99\n', encoding='utf8')
    dm = DataModule(Source(str(tmp_path/'train.csv'), emotions='vigoemotions'))
    got = {t: (LABELS[v.index(1)], i) for s in SPLITS for t,v,i in zip(dm.loaded[s].text, dm.loaded[s].votes, dm.loaded[s].id)}
    assert got == {'hai dòng': ('positive', '00012'), 'vui': ('neutral', '00013'), 'sợ': ('negative', '9e99')} and VIGOEMOTIONS[16] == 'fear'


BROKEN = {'cut.csv.gz': gzip.compress(b'text,label\n' + b'a,joy\n'*5000)[:-20], 'not.csv.gz': b'text,label\na,joy\n', 'not.parquet': b'text,label\n', 'open.csv': b'text,label\na,"joy\nb,joy\n', 'wide.csv': b'text,label\noh,no,joy\nwell,well,joy\n',
          'latin.csv': 'text,label\nCảm ơn,joy\n'.encode('utf-16'), 'cut.jsonl': b'{"text": "a", "label": "joy"}\n{"text": "b"', 'empty.csv': b'', 'head.csv': b'text,label\n', 'nolabel.csv': b'text,y\na,joy\n', 'notext.csv': b'comment,label\na,joy\n', 'word.csv': b'text,label\na,hapy\n', 'number.csv': b'text,label\na,2\n', 'range.csv': b'text,labels\na,28\n', 'code.csv': b'text,labels\na,"[__import__(\'os\').getcwd()]"\n', 'split.csv': b'text,label,split\na,joy,trian\n'}


@pytest.mark.parametrize('name', BROKEN)
def test_broken_files(tmp_path, name):
    "One line that names the file."
    (tmp_path/name).write_bytes(BROKEN[name])
    with pytest.raises(InputError) as e: DataModule(Source(str(tmp_path/name)))
    assert name in str(e.value) and len(str(e.value).splitlines()) == 1 and 'An error occurred' not in str(e.value)


@pytest.mark.parametrize('labels', [LABELS, GOEMOTIONS], ids=['four labels', '28 names'])
def test_own_data_needs_only_a_configuration(tmp_path, labels):
    "`emotion data` on a csv of one's own, columns named otherwise."
    with (tmp_path/'mine.csv').open('w', encoding='utf8', newline='') as f:
        csv.writer(f).writerows([('comment','feeling'), *((f'text {i}', labels[i % len(labels)]) for i in range(280))])
    (tmp_path/'mine.yaml').write_text('model:\n  scratch: {vocab_size: 300}\ndata:\n  phase1: {source: bundled:en}\n  phase2: {source: mine.csv, language: fr, text_column: comment, label_column: feeling}\nphase1: {}\nphase2: {}\n')
    done = emotion('data', '--config', 'mine.yaml', '--json', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    mine = [json.loads(l) for l in done.stdout.splitlines()][1]
    assert (mine['source'], mine['language'], mine['published'], sum(s['rows'] for s in mine['splits'])) == ('mine.csv', 'fr', [], 280)
    assert {s['split']: bool(s['comments']) for s in mine['splits']} == dict.fromkeys(SPLITS, True)
