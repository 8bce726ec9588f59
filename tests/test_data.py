"""Leaks planted one by one and seen removed and counted; local files of every format; data of one's own from a configuration alone."""
import csv, gzip, json, os, re, shutil, subprocess, unicodedata
import datasets
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from conftest import EMOTION, ENV
from emotion_detection.config import config_text, load_config
from emotion_detection.data import (
    SPLITS, DataModule, Examples, Source, check_splits, drop_leaks, encode, load_rows,
)
from emotion_detection.data import load_phases
from emotion_detection.data_mapping import GOEMOTIONS, LABELS, VIGOEMOTIONS
from emotion_detection.data_report import data_report, fingerprint, report_text
from emotion_detection.files import InputError
from emotion_detection.text import text_key


def splits(folder, **tables):
    "csv files of `(id, text, label)` rows"
    folder.mkdir(exist_ok=True)
    for s,rows in tables.items():
        pd.DataFrame(rows, columns=['id','text','label']).to_csv(folder/f'{s}.csv', index=False)
    return Source(str(folder))


def ratings(path, rows):
    "GoEmotions' raw layout: `(id, text, rater, emotions)`"
    pd.DataFrame([
        dict.fromkeys(GOEMOTIONS, 0)
        | dict.fromkeys(e.split(), 1)
        | dict(id=comment_id(i), text=t, rater_id=r, author='somebody')
        for i, t, r, e in rows
    ]).to_csv(path, index=False)


def comment_id(short): return f'e{short:0>6}'  # of the form that GoEmotions' have


def official(folder, **tables):
    "GoEmotions' TSV layout: `(id, text, ids)`"
    folder.mkdir(exist_ok=True)
    for s,rows in tables.items():
        (folder/f'{s}.tsv').write_text(''.join(f'{t}\t{l}\t{comment_id(i)}\n' for i,t,l in rows))
    return folder


def dropped(dm, split='train'): return {k: n for k,n in dm.dropped[split].items() if n}


VARIANTS = {
    'case': 'CẢM ƠN BẠN',
    'decomposed': unicodedata.normalize('NFD', 'cảm ơn bạn'),
    'zero width': 'cảm\u200b ơn\ufeff bạn',
    'HTML': 'c&#7843;m &#x1A1;n<br>bạn',
    'spaces': '  cảm\nơn\u00a0 bạn ',
    'escaped twice': 'cảm&amp;nbsp;ơn bạn',
    'no change': 'cảm ơn bạn',
}


@pytest.mark.parametrize('how', VARIANTS)
@pytest.mark.parametrize('split', ['dev', 'test'])
def test_text_under_another_id(tmp_path, how, split):
    "However it is written."
    held = {'dev': [('v1','chào','joy')], 'test': [('t1','ủa','surprise')]}
    held[split].append(('x9', 'cảm ơn bạn', 'joy'))
    dm = DataModule(
        splits(tmp_path / 'd', train=[('a', VARIANTS[how], 'anger'), ('b', 'khác', 'joy')], **held)
    )
    assert dm.train.text == ['khác'] and dropped(dm) == {'leak': 1}
    assert [len(dm.splits[s]) for s in SPLITS[1:]] == [len(held['dev']), len(held['test'])]


def test_runs_of_mixed_case(tmp_path):
    dm = DataModule(
        splits(
            tmp_path / 'd',
            train=[('a', 'SoOoOoO vui', 'joy'), ('b', 'khác', 'joy')],
            dev=[('c', 'x', 'joy')],
            test=[('d', 'sooooooo VUI', 'joy')],
        )
    )
    assert dm.train.text == ['khác']


def test_validation_yields_to_test_and_test_to_nobody(tmp_path):
    rows = [('t1','ok','joy'), ('t2','OK','anger'), ('t3','','neutral'), ('t4','ok','joy')]
    source = splits(
        tmp_path / 'd',
        train=[('a', 'ok', 'joy'), ('b', 'khác', 'joy')],
        dev=[('t2', 'edited since', 'joy'), ('v', 'Ok', 'joy'), ('w', 'mới', 'joy')],
        test=rows,
    )
    dm = DataModule(Source(source.source, id_column='id'))
    assert (dm.test.text, dm.test.id, dm.dropped['test']) == (
        ['ok', 'OK', '', 'ok'],
        ['t1', 't2', 't3', 't4'],
        dict.fromkeys(dm.dropped['test'], 0),
    )
    assert dm.validation.text == ['mới'] and dropped(dm, 'validation') == {'leak': 2}
    assert dm.train.text == ['khác']


def test_duplicates_and_empty_rows(tmp_path):
    "Of texts that occur twice in training the first stays, whatever the labels say; conflicts are counted."
    dm = DataModule(
        splits(
            tmp_path / 'd',
            train=[
                ('a', 'Hay quá', 'joy'),
                ('b', 'hay quá', 'anger'),
                ('c', 'HAY QUÁ', 'joy'),
                ('d', '', 'joy'),
                ('e', ' \u200b ', 'joy'),
                ('f', '&nbsp;<br>', 'joy'),
                ('g', 'khác', 'joy'),
            ],
            dev=[('h', '', 'joy'), ('i', 'x', 'joy')],
            test=[('j', 'y', 'joy')],
        )
    )
    assert list(zip(dm.train.text, dm.train.votes)) == [('Hay quá', [1,0,0,0]), ('khác', [1,0,0,0])]
    assert dropped(dm) == {'duplicate': 2, 'empty': 3} and dropped(dm, 'validation') == {'empty': 1}
    report = data_report(dm)
    assert report['conflicts'] == 1 and [s['conflicts'] for s in report['splits']] == [1, 0, 0]


def test_no_training_rows_left(tmp_path):
    with pytest.raises(InputError, match='has no training rows left'):
        DataModule(
            splits(
                tmp_path / 'd',
                train=[('a', 'ok', 'joy')],
                dev=[('b', 'x', 'joy')],
                test=[('c', 'OK', 'joy')],
            )
        )
    with pytest.raises(InputError, match='has no training rows'):
        DataModule(splits(tmp_path/'e', dev=[('b','x','joy')], test=[('c','OK','joy')]))


# Several ratings of one comment

RATINGS = [
    ('a', 'so good', 1, 'joy'),
    ('b', 'meh', 1, ''),
    ('a', 'so good', 2, 'anger'),
    ('c', 'edited', 1, 'joy'),
    ('a', 'so good', 3, 'joy'),
    ('d', 'dev TEXT', 1, 'joy'),
    ('e', 'only here', 1, 'joy'),
    ('e', 'only here', 2, 'joy'),
]


@pytest.mark.parametrize('targets', ['soft', 'rows', 'majority'])
def test_ratings(tmp_path, targets):
    "Comments of the official splits leave by id (`c`, whose text was edited) and by text (`d`), with all their ratings."
    ratings(tmp_path/'raw.csv', RATINGS)
    held = official(
        tmp_path / 'held',
        dev=[('c', 'as it was', '17'), ('v', 'Dev text', '27')],
        test=[('t', 'unseen', '2')],
    )
    dm = DataModule(Source(str(tmp_path/'raw.csv'), evaluation_source=str(held), targets=targets))
    assert sum(map(sum, dm.loaded['train'].votes)) == 8 and dm.read['train'] == [6, 1, 0, 1]
    assert set(dm.train.id) == {*map(comment_id, 'abe')} and dropped(dm) == {'leak': 2}
    assert dm.validation.id == [*map(comment_id, 'cv')] and dm.test.id == [comment_id('t')]
    votes = {i: [v for j,v in zip(dm.train.id, dm.train.votes) if j==comment_id(i)] for i in 'abe'}
    assert (
        votes
        == {
            'soft': {'a': [[2, 1, 0, 0]], 'b': [[0, 0, 0, 1]], 'e': [[2, 0, 0, 0]]},
            'majority': {'a': [[1, 0, 0, 0]], 'b': [[0, 0, 0, 1]], 'e': [[1, 0, 0, 0]]},
            'rows': {
                'a': [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]],
                'b': [[0, 0, 0, 1]],
                'e': [[1, 0, 0, 0]] * 2,
            },
        }[targets]
    )
    report = data_report(dm)
    assert (
        report['splits'][0]['rows'],
        report['splits'][0]['comments_read'],
        report['splits'][0]['comments'],
        report['conflicts'],
    ) == (8, 5, 3, 1)


@pytest.mark.parametrize('targets', ['soft', 'rows'])
def test_ratings_without_official_splits(tmp_path, targets):
    "All ratings of a comment go to one split."
    ratings(
        tmp_path / 'raw.csv',
        [(f'c{n // 4}', f'comment {n // 4}', n % 4, GOEMOTIONS[n % 28]) for n in range(800)],
    )
    dm = DataModule(Source(str(tmp_path/'raw.csv'), targets=targets))
    ids = [set(dm.splits[s].id) for s in SPLITS]
    assert all(ids) and sum(map(len, ids)) == len(set.union(*ids)) == 200
    assert not dropped(dm)


def test_three_official_files(tmp_path):
    "`goemotions_1.csv` to `_3.csv` are one table, also gzipped; one of them alone is refused."
    for n in range(3):
        ratings(
            tmp_path / f'goemotions_{n + 1}.csv',
            [(f'{n}{i}', f'text {n} {i}', r, 'joy') for i in range(20) for r in range(2)],
        )
        (tmp_path / f'goemotions_{n + 1}.csv.gz').write_bytes(
            gzip.compress((tmp_path / f'goemotions_{n + 1}.csv').read_bytes())
        ) if n == 2 else None
    (tmp_path/'goemotions_3.csv').unlink()
    dm = DataModule(Source(str(tmp_path)))
    assert sum(dm.read['train']) == 120 and sum(len(e) for e in dm.loaded.values()) == 60
    # it has the name of the raw release, and not its rows
    assert [w.split(' train:')[1][:9] for w in data_report(dm)['warnings']] == [' 120 rows']
    (tmp_path/'goemotions_3.csv.gz').unlink()
    with pytest.raises(InputError, match='has 2 of 3 files for train'):
        DataModule(Source(str(tmp_path)))


def test_author_is_not_read(tmp_path):
    ratings(tmp_path/'raw.csv', RATINGS)
    dm = DataModule(Source(str(tmp_path/'raw.csv')))
    assert 'somebody' not in repr([vars(e) for e in dm.splits.values()]) + json.dumps(
        data_report(dm)
    )


def test_row_numbers_are_no_ids(tmp_path):
    "Files that count their rows from 0 do not lose the training rows whose numbers test has too."
    dm = DataModule(
        splits(
            tmp_path / 'd',
            train=[(i, f'train {i}', 'joy') for i in range(9)],
            dev=[(i, f'dev {i}', 'joy') for i in range(5)],
            test=[(0, 'train 8', 'joy'), *((i, f'test {i}', 'joy') for i in range(1, 5))],
        )
    )
    assert len(dm.train) == 8 and dropped(dm) == {'leak': 1}


def test_without_ids(tmp_path):
    for s in ('train','dev','test'):
        pd.DataFrame([(f'{s} {i}', 'joy') for i in range(5)], columns=['text', 'label']).to_csv(
            tmp_path / f'{s}.csv', index=False
        )
    assert not dropped(DataModule(Source(str(tmp_path))))
    held = official(tmp_path/'held', dev=[('1','held 1','2')], test=[('2','held 2','2')])
    assert len(DataModule(Source(str(tmp_path/'train.csv'), evaluation_source=str(held))).train) == 5
    with pytest.raises(InputError, match='has no validation rows'):
        DataModule(Source(str(tmp_path/'train.csv'), evaluation_source=str(tmp_path/'test.csv')))


# Two phases

def phases(tmp_path, one, two):
    return load_phases(
        load_config(
            'quickstart',
            [f'data.phase1.source={one}', f'data.phase2.source={two}', 'data.phase2.language=vi'],
        ),
        needs=(),
    )


def test_other_phase(tmp_path):
    "What one phase is tested on, the other does not train on."
    one = splits(
        tmp_path / 'one',
        train=[('a', 'only one', 'joy'), ('b', 'TEST OF TWO', 'joy'), ('c', 'dev of two', 'joy')],
        dev=[('d', 'dev of one', 'joy')],
        test=[('e', 'test of one', 'joy')],
    ).source
    two = splits(
        tmp_path / 'two',
        train=[
            ('a', 'only two', 'joy'),
            ('b', 'Test of one', 'joy'),
            ('c', 'dev&nbsp;of one', 'joy'),
        ],
        dev=[('d', 'dev of two', 'joy')],
        test=[('e', 'test of two', 'joy')],
    ).source
    first, second = phases(tmp_path, one, two)
    assert (first.train.text, second.train.text) == (['only one'], ['only two'])
    for dm in (first, second):
        assert dropped(dm) == {'other_phase': 2} and [len(dm.splits[s]) for s in SPLITS[1:]] == [
            1,
            1,
        ]


def test_same_data_in_both_phases(tmp_path):
    source = splits(tmp_path/'d', train=[(f'a{i}', f'text {i}', 'joy') for i in range(100)]).source
    first, second = phases(tmp_path, source, source)
    assert first.train.text == second.train.text and not dropped(first)
    assert not set(first.train.keys) & second.evaluation_keys()


def test_nothing_left_for_a_phase(tmp_path):
    one = splits(
        tmp_path / 'one',
        train=[('a', 'x', 'joy')],
        dev=[('d', 'y', 'joy')],
        test=[('e', 'z', 'joy')],
    ).source
    two = splits(
        tmp_path / 'two',
        train=[('a', 'Z', 'joy')],
        dev=[('d', 'v', 'joy')],
        test=[('e', 'w', 'joy')],
    ).source
    with pytest.raises(InputError, match='are test or validation texts of the other phase'):
        phases(tmp_path, one, two)


# Any small data set

words = st.lists(
    st.sampled_from([
        'a', 'A', 'ế', 'e\u0302\u0301', 'Ế', '\u200b', '&amp;', '&', '<br>', ' ', '!',
        '!!!!', '@an', '@binh',
    ]),
    max_size=4,
).map(''.join)
part = st.lists(
    st.tuples(words, st.sampled_from(range(4)), st.sampled_from('abcdefgh')), max_size=8
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.tuples(part, part, part), st.booleans())
def test_no_leak_in_any_data(parts, repeats):
    loaded = {
        s: Examples(
            [t for t, _, _ in p],
            [[float(k == l) for k in range(4)] for _, l, _ in p],
            [i for _, _, i in p],
            ['en'] * len(p),
        )
        for s, p in zip(SPLITS, parts)
    }
    clean, counts = drop_leaks(loaded, repeats)
    keys = {s: [text_key(t) for t in clean[s].text] for s in SPLITS}
    ids = {s: set(clean[s].id) for s in SPLITS}
    for a,b in (('train','validation'), ('train','test'), ('validation','test')):
        assert not set(keys[a]) & set(keys[b]) - {''} and not ids[a] & ids[b]
    assert not ids['train'] & (set(loaded['validation'].id) | set(loaded['test'].id))
    assert clean['test'] == loaded['test'] and '' not in keys['train'] + keys['validation']
    assert repeats or len(keys['train']) == len(set(keys['train']))
    assert all(len(clean[s]) + sum(counts[s].values()) == len(loaded[s]) for s in SPLITS)
    assert all(clean[s].keys == keys[s] for s in SPLITS)


# Files of one's own

ROWS = [
    ('Cảm ơn bạn, "nhiều"\nlắm', 'joy', '007'),
    ('NA', 'neutral', '1e5'),
    ('null', 'anger,joy', ''),
    ('12', 'Positive', 'x'),
]


@pytest.mark.parametrize('end', ['csv', 'csv.gz', 'tsv', 'tsv.gz', 'jsonl', 'jsonl.gz', 'json', 'parquet'])
def test_formats(tmp_path, end):
    "One table in every format gives the same rows and the same fingerprint."
    path = tmp_path/f'mine.{end}'
    rows = [dict(zip(('text','label','id'), r)) for r in ROWS]
    frame = pd.DataFrame(rows)
    if end == 'parquet': frame.to_parquet(path)
    elif 'json' in end:
        frame.to_json(path, orient='records', lines='jsonl' in end, force_ascii=False)
    else: frame.to_csv(path, index=False, sep='\t' if 'tsv' in end else ',', encoding='utf-8-sig')
    assert load_rows(Source(str(path)))['train'].to_list() == rows
    dm = DataModule(Source(str(path)))
    everything = sum((dm.loaded[s] for s in SPLITS), Examples())
    assert fingerprint(everything) == fingerprint(
        Examples(
            ['Cảm ơn bạn, "nhiều" lắm', 'NA', 'null', '12'],
            [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]],
        )
    )
    assert sorted(everything.id) == ['007', '1e5', 'train:3', 'x']


def test_official_layout_gzipped(tmp_path):
    "Stray quotes, no header, CRLF line ends."
    text = 'He said "no\t27\teaaaid1\r\n"WOW!\t26,13\teaaaid2\r\n'
    (tmp_path/'train.tsv.gz').write_bytes(gzip.compress(text.encode()))
    (tmp_path/'test.tsv').write_bytes(text.replace('aid','bno').replace('27','2').encode())
    rows = load_rows(Source(str(tmp_path)))
    assert rows['train'].to_list() == [
        {'text': 'He said "no', 'labels': '27', 'id': 'eaaaid1'},
        {'text': '"WOW!', 'labels': '26,13', 'id': 'eaaaid2'},
    ]
    assert rows['test']['id'][:] == ['eaabno1', 'eaabno2']


def test_vigoemotions_layout(tmp_path):
    "Labels as the text of a list, in the other order; BOM; quoted line breaks; ids that are no numbers."
    (tmp_path / 'train.csv').write_text(
        '\ufefftext,labels,id\n"hai\ndòng","[2, 8]",00012\n"vui",[],00013\nsợ,[16],9e99\n',
        encoding='utf8',
    )
    dm = DataModule(Source(str(tmp_path/'train.csv'), emotions='vigoemotions'))
    got = {
        t: (LABELS[v.index(1)], i)
        for s in SPLITS
        for t, v, i in zip(dm.loaded[s].text, dm.loaded[s].votes, dm.loaded[s].id)
    }
    assert (
        got
        == {
            'hai dòng': ('positive', '00012'),
            'vui': ('neutral', '00013'),
            'sợ': ('negative', '9e99'),
        }
        and VIGOEMOTIONS[16] == 'fear'
    )


BROKEN = {
    'cut.csv.gz': gzip.compress(b'text,label\n' + b'a,joy\n' * 5000)[:-20],
    'not.csv.gz': b'text,label\na,joy\n',
    'not.parquet': b'text,label\n',
    'open.csv': b'text,label\na,"joy\nb,joy\n',
    'wide.csv': b'text,label\noh,no,joy\nwell,well,joy\n',
    'latin.csv': 'text,label\nCảm ơn,joy\n'.encode('utf-16'),
    'cut.jsonl': b'{"text": "a", "label": "joy"}\n{"text": "b"',
    'empty.csv': b'',
    'head.csv': b'text,label\n',
    'nolabel.csv': b'text,y\na,joy\n',
    'notext.csv': b'comment,label\na,joy\n',
    'zip.csv': b'PK\x03\x04' + bytes(60),
    'latin.jsonl': '{"text": "café", "label": "joy"}\n'.encode('latin1'),
    'twice.csv': b'text,text,label\na,b,joy\n',
    'short.csv': b'text,label\na\n',
    'word.csv': b'text,label\na,hapy\n',
    'number.csv': b'text,label\na,2\n',
    'range.csv': b'text,labels\na,28\n',
    'code.csv': b'text,labels\na,"[__import__(\'os\').getcwd()]"\n',
    'split.csv': b'text,label,split\na,joy,trian\n',
}


@pytest.mark.parametrize('name', BROKEN)
def test_broken_files(tmp_path, name):
    "One line that names the file."
    (tmp_path/name).write_bytes(BROKEN[name])
    with pytest.raises(InputError) as e: DataModule(Source(str(tmp_path/name)))
    assert (
        name in str(e.value)
        and len(str(e.value).splitlines()) == 1
        and 'An error occurred' not in str(e.value)
    )


# Labels that are understood, and labels that are not

def table(path, label, column='label', text='some text'):
    "A file of three rows, whose second has `label`"
    rows = [
        {'text': 'first', column: 'joy'},
        {'text': text, column: label},
        {'text': 'last', column: 'anger'},
    ]
    if path.suffix == '.csv': pd.DataFrame(rows).to_csv(path, index=False)
    else: path.write_text(''.join(json.dumps(r) + '\n' for r in rows))
    return path


def labels_of(dm):
    return {
        t: LABELS[v.index(1)] for s in SPLITS for t, v in zip(dm.loaded[s].text, dm.loaded[s].votes)
    }


UNDERSTOOD = [
    ('joy', None, 'positive'),
    (' Joy ', None, 'positive'),
    ('NEGATIVE', None, 'negative'),
    ('joy, Anger', None, 'negative'),
    ("['joy', 'surprise']", None, 'positive'),
    ('2', 'goemotions', 'negative'),
    ('2,17', 'goemotions', 'negative'),
    ('[2, 8]', 'vigoemotions', 'positive'),
    ('[]', 'vigoemotions', 'neutral'),
    ('[]', 'goemotions', 'neutral'),
    ('27', 'vigoemotions', 'neutral'),
]


@pytest.mark.parametrize('column', ['label', 'labels', 'feeling'])
@pytest.mark.parametrize('label,emotions,expected', UNDERSTOOD)
def test_label_understood(tmp_path, column, label, emotions, expected):
    "The name of the column does not decide what a label means."
    dm = DataModule(
        Source(
            str(table(tmp_path / 'a.csv', label, column)), label_column=column, emotions=emotions
        )
    )
    assert labels_of(dm)['some text'] == expected


REFUSED = {
    'own number': ('2', None, "label 2 is a number, and nothing says what it means"),
    'own numbers': ('0,1', None, 'label [0, 1] is a number'),
    'own list of numbers': ('[0]', None, 'label 0 is a number'),
    'empty': ('', None, "label '' is empty"),
    'empty, with a table': ('', 'vigoemotions', "label '' is empty"),
    'spaces': ('  ', 'goemotions', 'is empty'),
    'empty list of nobody': ('[]', None, 'label [] is an empty list'),
    'unknown name': ('hapy', None, "unknown label 'hapy'"),
    'name with a space': ('very happy', None, "unknown label 'very happy'"),
    'other separator': ('joy;anger', None, "unknown label 'joy;anger'"),
    'float': ('1.0', 'goemotions', "unknown label '1.0'"),
    'NaN': ('nan', 'goemotions', "unknown label 'nan'"),
    'null as text': ('null', None, "unknown label 'null'"),
    'negative': ('-1', 'goemotions', "unknown label '-1'"),
    'out of range': ('28', 'goemotions', 'label id 28 is not in 0..27'),
    'nested': ('[[2]]', 'goemotions', "is not a list of label ids"),
    'open list': ('[2', 'goemotions', 'is not a list of names or ids'),
    'name and number': ('joy,2', 'goemotions', "unknown label '2'"),
    'label and emotion': ('joy,positive', None, "'positive' beside other names"),
    'other digits': ('\u0662', 'goemotions', 'unknown label'),
    'truth': ('True', None, "unknown label 'true'"),
}


@pytest.mark.parametrize('case', REFUSED)
def test_label_refused(tmp_path, case):
    "By row and value, in every column."
    label, emotions, words = REFUSED[case]
    for column in ('label', 'labels'):
        with pytest.raises(InputError, match=re.escape('row 2 of') + '.*' + re.escape(words)):
            DataModule(Source(str(table(tmp_path/'a.csv', label, column)), emotions=emotions))


@pytest.mark.parametrize('label,words', [(None, 'label None: there is no label'), (2, 'is of another kind'), (True, 'is of another kind'), (['joy'], 'is of another kind'), ({'a': 1}, 'is of another kind')])
def test_label_of_another_kind(tmp_path, label, words):
    with pytest.raises(InputError, match=f'row 2 of .*{words}'):
        DataModule(Source(str(table(tmp_path/'a.jsonl', label))))


@pytest.mark.parametrize('values,emotions,words', [([0, 1, 2], None, 'row 1 of .*label 0 is a number'), ([0., 1., 2.], 'goemotions', 'row 1 of .*label 0.0 is of the kind float'), ([True, False, True], 'goemotions', 'of the kind bool'),
                                                   (['joy', None, 'joy'], None, 'row 2 of .*there is no label'), ([[0], [], [1]], None, 'row 1 of .*label 0 is a number'), ([['joy'], [], ['joy']], None, r'row 2 of .*label \[\] is an empty list'),
                                                   ([[['joy']], [['joy']], []], None, 'is not a list of names'), ([b'joy', b'joy', b'joy'], None, 'of the kind bytes')])
def test_parquet_labels_refused(tmp_path, values, emotions, words):
    pd.DataFrame({'text': ['a', 'b', 'c'], 'labels': values}).to_parquet(tmp_path/'a.parquet')
    with pytest.raises(InputError, match=words):
        DataModule(Source(str(tmp_path/'a.parquet'), emotions=emotions))


@pytest.mark.parametrize('text,words', [(b'ok', 'the text is binary'), (5, 'the text is 5, a int'), (1.5, 'the text is 1.5, a float')])
def test_text_of_another_kind(tmp_path, text, words):
    pd.DataFrame({'text': [text]*3, 'label': 'joy'}).to_parquet(tmp_path/'a.parquet')
    with pytest.raises(InputError, match=f'row 1 of .*{words}'):
        DataModule(Source(str(tmp_path/'a.parquet')))


@pytest.mark.parametrize('names,values,found', [(['Neutral', 'negative', ' joy'], [0, 1, 2], ['neutral', 'negative', 'positive']), (GOEMOTIONS, [17, 27, 2], ['positive', 'neutral', 'negative'])])
def test_names_of_a_class_label(tmp_path, names, values, found):
    "They are used, alone or in lists; a table that the configuration names would be another's."
    single = datasets.ClassLabel(names=list(names))
    several = datasets.List(datasets.ClassLabel(names=list(names)))
    for feature,cells in ((single, values), (several, [[v] for v in values])):
        rows = datasets.Dataset.from_dict(
            {'text': ['a', 'b', 'c'], 'label': cells},
            features=datasets.Features({'text': datasets.Value('string'), 'label': feature}),
        )
        rows.to_parquet(tmp_path/'a.parquet')
        for emotions in (None, 'vigoemotions'):
            assert labels_of(
                DataModule(Source(str(tmp_path / 'a.parquet'), emotions=emotions))
            ) == dict(zip('abc', found))


@pytest.mark.parametrize('names,values,words', [(['bad', 'good'], [0, 1, 0], "calls its labels bad, good; 'bad' is none of"), (['0', '1'], [0, 1, 0], 'calls its labels 0, 1'), (['joy', 'anger'], [0, -1, 1], 'row 2 of .*label -1 has no name'), (['joy', 'anger'], [0, None, 1], 'row 2 of .*there is no label')])
def test_class_label_refused(tmp_path, names, values, words):
    features = datasets.Features({
        'text': datasets.Value('string'),
        'label': datasets.ClassLabel(names=names),
    })
    datasets.Dataset.from_dict(
        {'text': ['a', 'b', 'c'], 'label': values}, features=features
    ).to_parquet(tmp_path / 'a.parquet')
    with pytest.raises(InputError, match=words): DataModule(Source(str(tmp_path/'a.parquet')))


def test_own_numbers_without_header(tmp_path):
    "Three columns with tabs are GoEmotions' only with GoEmotions' comment ids."
    for id,words in (('user17', "no column 'text'"), ('eaaaaa1', None)):
        (tmp_path/'train.tsv').write_text(''.join(f'text {i}\t2\t{id}\n' for i in range(30)))
        if words is None:
            assert set(labels_of(DataModule(Source(str(tmp_path)))).values()) == {'negative'}
        else:
            with pytest.raises(InputError, match=words): DataModule(Source(str(tmp_path)))
    pd.DataFrame({'text': ['a', 'b'], 'labels': ['2', '3'], 'id': ['eaaaaa1', 'mine']}).to_csv(
        tmp_path / 'own.csv', index=False
    )
    with pytest.raises(InputError, match='label 2 is a number'):
        DataModule(Source(str(tmp_path/'own.csv')))


def test_row_numbers_are_those_of_the_file(tmp_path):
    "Also where a `split` column divides it, and where a jsonl file has empty lines."
    (tmp_path / 'a.csv').write_text(
        'text,label,split\na,joy,test\nb,joy,train\nc,joy,test\nd,hapy,train\n'
    )
    (tmp_path / 'a.jsonl').write_text(
        '{"text": "a", "label": "joy"}\n\n\n{"text": "b", "label": "hapy"}\n'
    )
    for name in ('a.csv', 'a.jsonl'):
        with pytest.raises(InputError, match="row 4 of .*unknown label 'hapy'"):
            DataModule(Source(str(tmp_path/name)))


@pytest.mark.parametrize('value', [0, 1, '1', True])
@pytest.mark.parametrize('bad', [None, 2, .5, '', 'x', '1.0'])
def test_emotion_columns(tmp_path, value, bad):
    "Each holds 0 or 1, and nothing else is made to fit."
    rows = [
        dict.fromkeys(GOEMOTIONS, 0) | {'text': 'a', 'joy': value},
        dict.fromkeys(GOEMOTIONS, 0) | {'text': 'b'},
    ]
    (tmp_path/'a.jsonl').write_text(json.dumps(rows[0]) + '\n')
    assert labels_of(DataModule(Source(str(tmp_path / 'a.jsonl'))))['a'] == (
        'positive' if int(value) else 'neutral'
    )
    frame = pd.DataFrame(
        [rows[0] | {'joy': int(value)}, rows[1], rows[1] | {'joy': '' if bad is None else bad}],
        dtype=object,
    )
    frame.to_csv(tmp_path/'a.csv', index=False)
    with pytest.raises(
        InputError, match="row 3 of .*the emotion column 'joy' holds .*, not 0 or 1"
    ):
        DataModule(Source(str(tmp_path/'a.csv')))


# Ratings without an emotion

@pytest.mark.parametrize('unclear,neutral,left', [('neutral', 1, {*'abe'}), ('drop', 0, {*'ae'})])
def test_unclear_ratings(tmp_path, unclear, neutral, left):
    "A vote for neutral, as published, or none; the report says how many and which."
    ratings(tmp_path/'raw.csv', RATINGS)
    held = official(
        tmp_path / 'held',
        dev=[('c', 'as it was', '17'), ('v', 'Dev text', '27')],
        test=[('t', 'unseen', '2')],
    )
    dm = DataModule(Source(str(tmp_path/'raw.csv'), evaluation_source=str(held), unclear=unclear))
    assert (
        set(dm.train.id) == {*map(comment_id, left)}
        and sum(v[3] for v in dm.train.votes) == neutral
    )
    assert dm.read['train'] == [6, 1, 0, 1]  # what the published counts are compared with
    report = data_report(dm)
    assert report['unclear'] == {'ratings': 1, 'counted': unclear=='neutral'}
    assert (
        "1 ratings name no emotion (very unclear): "
        f"{'counted as neutral' if neutral else 'left out'}"
    ) in report_text(report)


# Ids that name something else

def test_ids_of_users(tmp_path):
    "Texts of one user are no leaks, in one split or across splits; the report says so."
    train = [(f'user{i%5}', f'train {i}', 'joy') for i in range(20)]
    dm = DataModule(
        splits(
            tmp_path / 'd',
            train=train,
            dev=[('user1', 'dev', 'joy')],
            test=[('user2', 'test', 'anger')],
        )
    )
    assert len(dm.train) == 20 and not dropped(dm) and len(set(dm.train.id)) == 20
    assert "'id' is not used: " in data_report(dm)['ids']
    assert "ids: 'id' is not used: " in report_text(data_report(dm))


def test_ids_that_are_configured(tmp_path):
    "They are believed: what has one id is in one split, whatever the texts."
    train = [(f'user{i%50}', f'train {i}', 'joy') for i in range(500)]
    source = splits(tmp_path/'d', train=train)
    dm = DataModule(Source(source.source, id_column='id'))
    assert sum(len(dm.splits[s]) for s in SPLITS) == 500 and not any(dropped(dm, s) for s in SPLITS)
    users = [set(dm.splits[s].id) for s in SPLITS]
    assert sum(map(len, users)) == len(set.union(*users)) == 50 and all(users)
    with pytest.raises(InputError, match="has no column 'user'"):
        DataModule(Source(source.source, id_column='user'))


def test_ids_of_products_in_ratings(tmp_path):
    "A rater's texts about one product are not one comment."
    ratings(
        tmp_path / 'raw.csv',
        [
            ('p', 'good', 1, 'joy'),
            ('p', 'bad', 2, 'anger'),
            ('q', 'good', 3, 'joy'),
            ('q', 'Good', 4, 'anger'),
        ],
    )
    dm = DataModule(Source(str(tmp_path/'raw.csv')))
    assert sorted(
        labels for s in SPLITS for labels in zip(dm.loaded[s].text, map(tuple, dm.loaded[s].votes))
    ) == [
        ('Good', (0.0, 1.0, 0.0, 0.0)),
        ('bad', (0.0, 1.0, 0.0, 0.0)),
        ('good', (2.0, 0.0, 0.0, 0.0)),
    ]


# Files that are not what their name or time says

@pytest.mark.parametrize('end', ['csv', 'jsonl', 'json', 'parquet'])
def test_changed_with_its_time_kept(tmp_path, end):
    "`cp -p`, `rsync -t`: same name, same size, same time, other rows."
    def write(path, label):
        frame = pd.DataFrame({'text': [f'text {i}' for i in range(30)], 'label': label})
        if end == 'csv': frame.to_csv(path, index=False)
        elif end == 'parquet': frame.to_parquet(path)
        else: frame.to_json(path, orient='records', lines=end=='jsonl')
        os.utime(path, (1_000_000_000, 1_000_000_000))
    for label,at in (('grief', 1), ('pride', 0)):
        write(tmp_path/f'new.{end}', label)
        shutil.copy2(tmp_path/f'new.{end}', tmp_path/f'a.{end}')
        assert DataModule(Source(str(tmp_path/f'a.{end}'))).train.votes[0][at] == 1


@pytest.mark.parametrize('name', ['a[1].csv', 'a?.csv', 'a*.csv', '[ab].csv', 'a #1.csv', "it's.csv", '{a}.csv', 'a%20b.csv', 'hf:x.csv', '@a.csv', '- a.csv', 'a: b.csv'])
def test_a_name_is_no_pattern(tmp_path, name):
    "The file that was named is read, from a folder of others that the name would match; also by `--set`."
    for other in ('a1.csv', 'aa.csv', 'a.csv', 'b.csv'):
        (tmp_path/other).write_text('text,label\nwrong,joy\n')
    (tmp_path/name).write_text('text,label\n' + ''.join(f'right {i},joy\n' for i in range(30)))
    config = load_config('quickstart', [f'data.phase1.source={tmp_path/name}'])
    assert config.data.phase1.source == str(tmp_path/name)
    assert all(t.startswith('right') for t in DataModule(config.data.phase1).train.text)


def test_no_cache_is_needed(tmp_path):
    "A HOME that cannot be written: local files are read."
    (tmp_path/'home').write_text('')
    env = {k: v for k, v in ENV.items() if not k.startswith(('HF_HOME', 'HF_DATASETS', 'XDG'))} | {
        'HOME': str(tmp_path / 'home/x'),
        'HF_HUB_OFFLINE': '1',
        'MPLCONFIGDIR': str(tmp_path),
    }
    done = subprocess.run(
        [EMOTION, 'data', '--config', 'quickstart', '--json'],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2, done.stderr


# Enough rows for what comes after

@pytest.mark.parametrize('needs', [SPLITS, SPLITS[1:]])
@pytest.mark.parametrize('rows', [5, 12])
def test_too_few_rows(tmp_path, needs, rows):
    "Found before anything is trained, exported or written."
    (tmp_path / 'few.csv').write_text(
        'text,label\n' + ''.join(f'text {i},{LABELS[i % 4]}\n' for i in range(rows))
    )
    with pytest.raises(
        InputError,
        match=r'few.csv has no (validation|test) rows: a hash of each text puts about one in ten there',
    ):
        load_phases(
            load_config('quickstart', [f'data.phase2.source={tmp_path}/few.csv']), needs=needs
        )


def test_too_few_rows_for_the_command(warm, tmp_path):
    "One line, exit code 2, and no folder; `emotion data` still shows what there is."
    (tmp_path / 'few.csv').write_text(
        'text,label\n' + ''.join(f'text {i},{LABELS[i % 4]}\n' for i in range(12))
    )
    done = warm.run(
        'train', '--config', 'quickstart', '--set', 'data.phase2.source=few.csv',
        '--output_dir', 'out',
        cwd=tmp_path,
    )
    assert (
        done.returncode == 2
        and done.stderr.startswith('emotion: few.csv has no validation rows')
        and len(done.stderr.splitlines()) == 1
    )
    assert not (tmp_path/'out').exists()
    done = warm.run(
        'data', '--config', 'quickstart', '--set', 'data.phase2.source=few.csv',
        '--json',
        cwd=tmp_path,
    )
    assert done.returncode == 0 and 'few.csv has no validation rows' in done.stderr


@pytest.mark.parametrize('given', [['train'], ['train', 'test'], ['train', 'dev'], ['train', 'dev', 'test']])
def test_splits_that_are_not_there_are_cut(tmp_path, given):
    "From training, whether files or a column `split` name the others."
    rows = pd.DataFrame({
        'text': [f'text {i}' for i in range(300)],
        'label': 'joy',
        'split': [given[i % len(given)] for i in range(300)],
    })
    rows.to_csv(tmp_path/'a.csv', index=False)
    assert all(len(DataModule(Source(str(tmp_path/'a.csv'))).splits[s]) for s in SPLITS)


def test_one_label(tmp_path):
    "A baseline cannot be trained on it, and would say so after training."
    dm = DataModule(
        splits(
            tmp_path / 'd',
            train=[('a', 'x', 'joy'), ('b', 'y', 'love')],
            dev=[('c', 'z', 'joy')],
            test=[('d', 'w', 'anger')],
        )
    )
    with pytest.raises(InputError, match='are positive: there is nothing to tell apart'):
        check_splits(dm)
    check_splits(dm, needs=SPLITS[1:])


def test_all_test_rows_are_elsewhere(tmp_path):
    dm = DataModule(
        splits(
            tmp_path / 'd',
            train=[('a', 'x', 'joy'), ('b', 'y', 'anger')],
            dev=[('c', 'z', 'joy')],
            test=[('d', 'Z', 'anger')],
        )
    )
    with pytest.raises(
        InputError, match='has no validation rows left: all 1 are empty or in a later split'
    ):
        check_splits(dm)


# Configurations in other encodings

@pytest.mark.parametrize('data,words', [('seed: 1\n# café\n'.encode('cp1252'), 'line 2 of .*is not UTF-8 text'), ('seed: 1\n'.encode('utf-16'), 'is UTF-16 text'), ('seed: 1\n'.encode('utf-16-le'), 'NUL bytes'),
                                        (b'PK\x03\x04', 'is a zip archive'), (b'seed: 1\nseed: 2\n', "the key 'seed' is there twice"), (b'seed: [', 'is not valid YAML'), (b'[' * 50_000, 'nested too deeply|not valid YAML'), (b'\xef\xbb\xbfseed: 1\n', 'data is missing|model is missing')])
def test_configurations(tmp_path, data, words):
    "One line that names the file, or the line in it."
    (tmp_path/'c.yaml').write_bytes(data)
    with pytest.raises(InputError, match=words) as e: load_config(str(tmp_path/'c.yaml'))
    assert 'c.yaml' in str(e.value) and len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize('labels', [LABELS, GOEMOTIONS], ids=['four labels', '28 names'])
def test_own_data_needs_only_a_configuration(warm, tmp_path, labels):
    "`emotion data` on a csv of one's own, columns named otherwise."
    with (tmp_path/'mine.csv').open('w', encoding='utf8', newline='') as f:
        csv.writer(f).writerows([
            ('comment', 'feeling'),
            *((f'text {i}', labels[i % len(labels)]) for i in range(280)),
        ])
    (tmp_path / 'mine.yaml').write_text(
        'model:\n  scratch: {vocab_size: 300}\ndata:\n  phase1: {source: bundled:en}\n  '
        'phase2: {source: mine.csv, language: fr, text_column: comment, label_column: '
        'feeling}\nphase1: {}\nphase2: {}\n'
    )
    done = warm.run('data', '--config', 'mine.yaml', '--json', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    mine = [json.loads(l) for l in done.stdout.splitlines()][1]
    assert (
        mine['source'],
        mine['language'],
        mine['published'],
        sum(s['rows'] for s in mine['splits']),
    ) == ('mine.csv', 'fr', [], 280)
    assert {s['split']: bool(s['comments']) for s in mine['splits']} == dict.fromkeys(SPLITS, True)


def test_keys_of_earlier_configurations(tmp_path):
    "What was once spelled otherwise is read under today's name, in a file and with `--set`."
    old = config_text('quickstart').replace(
        'source: bundled:en\n', 'source: bundled:en\n    licence: mine\n    held_out: other\n'
    )
    (tmp_path/'old.yaml').write_text(old)
    first = load_config(str(tmp_path/'old.yaml')).data.phase1
    assert (first.license, first.evaluation_source) == ('mine', 'other')
    second = load_config('quickstart', ['data.phase2.licence=CC BY 4.0']).data.phase2
    assert second.license == 'CC BY 4.0'


def test_encoded_examples_are_cut_and_keep_their_votes():
    "With a toy that gives each word its length as an id."
    def toy_tokenizer(texts, truncation, max_length):
        ids = [[len(w) for w in t.split()][:max_length] for t in texts]
        return {'input_ids': ids, 'attention_mask': [[1]*len(i) for i in ids]}
    examples = Examples(['so good', 'one two three four'], [[2, 0, 1, 0], [0, 1, 0, 0]])
    rows = encode(examples, toy_tokenizer, max_length=3)
    assert rows['input_ids'][:] == [[2, 4], [3, 3, 5]]
    assert rows['attention_mask'][:] == [[1, 1], [1, 1, 1]]
    assert rows['labels'][:] == [[2, 0, 1, 0], [0, 1, 0, 0]]
    assert rows['length'][:] == [2, 3]
