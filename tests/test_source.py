"""Which file holds which split, and that each format gives the same rows."""
import gzip
import random
import pandas as pd
import pytest
from emotion_detection.data_mapping import GOEMOTIONS
from emotion_detection.files import InputError
from emotion_detection.hub import load_rows
from emotion_detection.source import (
    Source, find_files, first_failure, load_bundled, load_local, make_table, read_table,
)


def touch(folder, *names):
    for name in names: (folder/name).touch()
    return folder


@pytest.mark.parametrize('names, found', [
    (['train.tsv', 'dev.tsv', 'test.tsv.gz', 'notes.txt'],
     {'train': ['train.tsv'], 'validation': ['dev.tsv'], 'test': ['test.tsv.gz']}),
    (['goemotions_1.csv', 'goemotions_2.csv', 'goemotions_3.csv'],
     {'train': ['goemotions_1.csv', 'goemotions_2.csv', 'goemotions_3.csv']}),
    (['train-00000-of-00002.parquet', 'train-00001-of-00002.parquet', 'test.csv'],
     {'train': ['train-00000-of-00002.parquet', 'train-00001-of-00002.parquet'],
      'test': ['test.csv']}),
])
def test_names_say_which_split(tmp_path, names, found):
    files = find_files(touch(tmp_path, *names))
    assert {split: [p.name for p in paths] for split,paths in files.items()} == found


@pytest.mark.parametrize('names, words', [
    (['goemotions_1.csv', 'goemotions_3.csv'],
     r'has 2 of 3 files for train \(goemotions_1.csv, goemotions_3.csv\); get the others'),
    (['train.tsv', 'train.csv.gz'],
     r'has several files for train \(train.csv.gz, train.tsv\); leave one'),
    (['train.tsv', 'goemotions_1.csv'],
     r'has several files for train \(goemotions_1.csv, train.tsv\); leave one'),
    (['data.csv'],
     'has no train, dev or test file with an ending of .csv, .tsv, .jsonl, .json, .parquet'),
])
def test_what_does_not_belong_together_is_refused(tmp_path, names, words):
    with pytest.raises(InputError, match=words): find_files(touch(tmp_path, *names))


@pytest.mark.parametrize('name', [
    't.csv', 't.tsv', 't.csv.gz', 't.tsv.gz', 't.jsonl', 't.jsonl.gz', 't.parquet', 't.parquet.gz',
])
def test_each_format_gives_the_same_rows(tmp_path, name):
    table = pd.DataFrame({
        'text': ['vui quá', 'NA', 'hai\ndòng'], 'label': ['joy', 'neutral', 'anger'],
    })
    path = tmp_path/name
    if '.csv' in name: table.to_csv(path, index=False, encoding='utf-8-sig')
    elif '.tsv' in name: table.to_csv(path, index=False, sep='\t')
    elif '.jsonl' in name: table.to_json(path, orient='records', lines=True, force_ascii=False)
    else:
        table.to_parquet(tmp_path/'t.parquet')
        data = (tmp_path/'t.parquet').read_bytes()
        path.write_bytes(gzip.compress(data) if name.endswith('.gz') else data)
    assert load_local(path)['train'].to_list() == table.to_dict('records')


def test_gzip_changes_nothing(tmp_path):
    path = tmp_path/'train.tsv'
    path.write_text('He said "no\t27\tee84bjg\nWOW!\t26,13\tedcu99z\n')
    (tmp_path/'z.tsv.gz').write_bytes(gzip.compress(path.read_bytes()))
    assert load_local(path)['train']['text'][:] == ['He said "no', 'WOW!']
    assert read_table(tmp_path/'z.tsv.gz').to_list() == read_table(path).to_list()


def test_a_path_is_no_pattern(tmp_path):
    (tmp_path/'my[1].csv').write_text('text,label\nright,joy\n')
    (tmp_path/'my1.csv').write_text('text,label\nwrong,joy\n')
    assert load_local(tmp_path/'my[1].csv')['train']['text'][:] == ['right']


@pytest.mark.parametrize('name', ['no/where.csv', 'nowhere', '/no/x.txt', 'x'*9999])
def test_there_is_no_such_source(name):
    with pytest.raises(InputError, match='there is no data file or folder'):
        load_rows(Source(name))


@pytest.mark.parametrize('name, words', [
    ('x.txt', 'is a list of texts'), ('x.pdf', 'is not a csv, tsv, jsonl, json, parquet file'),
])
def test_no_table(tmp_path, name, words):
    (tmp_path/name).write_text('x')
    with pytest.raises(InputError, match=words): load_local(tmp_path/name)


@pytest.mark.parametrize('damage', [
    b'no parquet', gzip.compress(b'no parquet'), gzip.compress(b'PAR1'*99)[:-9],
    gzip.compress(b'PAR1'*99)[:10] + b'\xff'*30,
])
def test_a_damaged_parquet_file(tmp_path, damage):
    path = tmp_path/('x.parquet.gz' if damage[:2]==b'\x1f\x8b' else 'x.parquet')
    path.write_bytes(damage)
    with pytest.raises(InputError, match='cannot be read as parquet: .'): read_table(path)


@pytest.mark.parametrize('names, words', [
    ('bundled:fr', "no bundled samples 'fr'; there are en, vi, vi_more, vi_goemotions"),
    ('bundled:vi+de', "no bundled samples 'de'"),
    ('bundled:vi+vi', 'names samples twice'),
])
def test_unknown_samples(names, words):
    with pytest.raises(InputError, match=words): load_rows(Source(names))


def test_more_samples_are_for_training():
    "The texts that a model is tested on stay the same."
    few, many = load_bundled('vi'), load_bundled('vi+vi_more+vi_goemotions')
    assert len(many['train']) > len(few['train'])
    for split in ('validation', 'test'): assert many[split]['text'][:] == few[split]['text'][:]


def test_the_first_failing_row_is_found():
    "Whatever the place, and in few questions."
    for n in (1, 2, 3, 1000):
        for place in {0, n//2, n-1, random.Random(n).randrange(n)}:
            asked = []
            def fails(rows):
                asked.append(rows)
                return rows > place
            assert first_failure(fails, n) == place
            assert len(asked) <= 10


@pytest.mark.parametrize('column', ['text', 'labels', 'rater_id', 'mood', GOEMOTIONS[3]])
def test_odd_values_of_used_columns_are_refused(tmp_path, column):
    source = Source('mine.jsonl', label_column='mood')
    columns = {column: ['a', 'b', 3], 'other': [1, 'x', None]}
    with pytest.raises(InputError, match=f"row 9 of mine.jsonl: '{column}' is 3"):
        make_table(columns, [1, 2, 9], 'mine.jsonl', source)


def test_odd_values_of_other_columns_are_left_out():
    table, numbers = make_table({'text': ['a', 'b'], 'stars': [1, 'x']}, [1, 2], 'mine.jsonl')
    assert table.to_pydict() == {'text': ['a', 'b']}
    assert numbers == [1, 2]
