"""The bundled texts: what README says of them holds."""
import csv
import os
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT

from emotion_detection.data_mapping import EMOTION2LABEL, LABELS, decode_label
from emotion_detection.text import text_key

FOLDER = ROOT/'emotion_detection'/'samples'
COLUMNS = {
    'en': ['text', 'label', 'split'],
    'vi': ['text', 'label', 'split'],
    'vi_more': ['text', 'label'],
    'vi_goemotions': ['text', 'label', 'emotions', 'id'],
}


def rows_of(name):
    with (FOLDER/f'{name}.csv').open(encoding='utf8', newline='') as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize('name', COLUMNS)
def test_texts_are_whole(name):
    "Known labels, composed letters, one line each."
    rows = rows_of(name)
    assert list(rows[0]) == COLUMNS[name]
    assert {row['label'] for row in rows} == set(LABELS)
    for row in rows:
        assert row['text'] == unicodedata.normalize('NFC', row['text']).strip(), row
        assert '\n' not in row['text']


def test_counts():
    assert Counter(
        (row['split'], row['label']) for row in rows_of('vi') if row['split'] != 'train'
    ) == {(split, label): 39 for split in ('dev', 'test') for label in LABELS}
    assert len(rows_of('vi_more')) == 1506
    assert len(rows_of('vi_goemotions')) == 1556


def test_no_text_twice_and_none_that_is_tested():
    "A Vietnamese text is in one place only."
    places = Counter()
    for name in ('vi', 'vi_more', 'vi_goemotions'):
        places.update(row['text'].lower() for row in rows_of(name))
    assert [text for text, count in places.items() if count > 1] == []
    tested = {text_key(row['text']) for row in rows_of('vi') if row['split'] != 'train'}
    trained = {
        text_key(row['text']) for name in ('vi_more', 'vi_goemotions') for row in rows_of(name)
    }
    assert tested & trained == set()


def test_labels_of_the_translations_follow_from_their_ratings():
    rows = rows_of('vi_goemotions')
    assert all(LABELS[decode_label(row['emotions'])] == row['label'] for row in rows)
    emotions = Counter(emotion for row in rows for emotion in row['emotions'].split(','))
    assert emotions.keys() == EMOTION2LABEL.keys()
    assert min(emotions.values()) >= 50


def test_emoji_alone_and_texts_without_marks_are_there():
    texts = [row['text'] for name in ('vi_more', 'vi_goemotions') for row in rows_of(name)]
    assert sum(not re.search(r'\w', text) for text in texts) >= 30
    plain = [text for text in texts if re.search(r'[a-z]{3}.*[a-z]{3}', text) and text.isascii()]
    assert len(plain) >= 300


@pytest.mark.skipif('GOEMOTIONS_DIR' not in os.environ, reason='GOEMOTIONS_DIR is not set')
def test_translations_are_of_training_comments():
    "Ids and ratings are the official ones, of the training split alone."
    folder = Path(os.environ['GOEMOTIONS_DIR'])
    names = (folder/'emotions.txt').read_text().split()
    official = {}
    for line in (folder/'train.tsv').read_text('utf8').splitlines():
        _, labels, comment = line.split('\t')
        official[comment] = ','.join(names[int(label)] for label in labels.split(','))
    for row in rows_of('vi_goemotions'):
        assert official[row['id']] == row['emotions']
