"""Values of label columns: what is read, and what is refused rather than guessed."""
import datasets
import pytest
from emotion_detection.data_mapping import GOEMOTIONS, LABELS
from emotion_detection.files import InputError
from emotion_detection.row_labels import class_names, label_columns, name_classes, row_decoder
from emotion_detection.source import Source

NUMBER = 'is a number, and nothing says what it means'
TWEETS = Source('tweets', mapping={
    'joy': 'positive', 'fear': 'negative', 'anger': 'negative', 'hope': None, 'none': 'neutral',
})
FLAGS = ['joy', 'fear', 'anger', 'hope']


@pytest.mark.parametrize('value, label', [
    ('joy', 'positive'), (' Surprise ', 'surprise'), ('positive', 'positive'),
    (['joy', 'anger'], 'negative'), ("['joy']", 'positive'), ('2,13', 'negative'),
    ('2', 'negative'), (2, 'negative'), ([2], 'negative'), ('[]', 'neutral'), ([], 'neutral'),
])
def test_names_and_ids(value, label):
    decode = row_decoder(['text', 'labels'], Source('mine.csv', emotions='goemotions'))
    assert LABELS[decode({'labels': value})] == label


@pytest.mark.parametrize('value, words', [
    (2, NUMBER), ('2', NUMBER), ('2, 8', NUMBER), ([2], NUMBER),
    ([], 'is an empty list'), ('', 'is empty'), (' ', 'is empty'), (None, 'there is no label'),
    (True, 'is of the kind bool'), (1.0, 'is of the kind float'),
    (float('nan'), 'is of the kind float'), (b'joy', 'is of the kind bytes'),
    ([['joy']], 'is not a list of names'), ('[joy]', 'is not a list of names or ids'),
    ('very happy', 'unknown label'), ('-1', 'unknown label'), ('1.0', 'unknown label'),
    ('joy,2', 'unknown label'),
])
def test_no_value_is_guessed(value, words):
    decode = row_decoder(['text', 'label'], Source('mine.csv'))
    with pytest.raises(ValueError, match=words): decode({'label': value})


@pytest.mark.parametrize('flags, label', [
    ((0, 1, 1, 0), 'negative'), ((1, 0, 0, 1), 'positive'), ((1, 1, 0, 0), None),
    ((0, 0, 0, 0), 'neutral'), ((0, 0, 0, 1), None), (('1', ' 0', '0', '0 '), 'positive'),
])
def test_columns_of_flags(flags, label):
    decode = row_decoder(['text', *FLAGS], TWEETS)
    found = decode(dict(zip(FLAGS, flags)))
    assert (None if found is None else LABELS[found]) == label


def test_mapped_names():
    decode = row_decoder(['text', 'label'], TWEETS)
    assert LABELS[decode({'label': 'fear, anger'})] == 'negative'
    with pytest.raises(ValueError, match="'awe' is not in the mapping, which has joy, fear"):
        decode({'label': 'fear, awe'})


def test_mapped_classes():
    "Names of a data set are mapped, and need not be known."
    source = Source('mine', mapping={'bad': 'negative', 'good': 'positive'})
    names = class_names(datasets.ClassLabel(names=['bad', 'good']), source)
    decode = row_decoder(['text', 'label'], source, names)
    assert [LABELS[decode({'label': i})] for i in (0, 1)] == ['negative', 'positive']


def test_a_flag_is_0_or_1():
    decode = row_decoder(['text', *FLAGS], TWEETS)
    with pytest.raises(ValueError, match="'joy' is 2, not 0 or 1"):
        decode({'joy': 2, 'fear': 0, 'anger': 0, 'hope': 0})


@pytest.mark.parametrize('value, words', [
    (-1, 'label -1 has no name; there are 3'), (3, 'label 3 has no name'),
    (None, 'there is no label'),
])
def test_numbers_without_a_name(value, words):
    names = ['Negative', 'Neutral', 'Positive']
    decode = row_decoder(['text', 'label'], Source('mine.parquet'), names)
    assert LABELS[decode({'label': 1})] == 'neutral'
    with pytest.raises(ValueError, match=words): decode({'label': value})


def test_lists_of_numbers_are_named():
    assert name_classes([1, [0]], ['a', 'b']) == ['b', ['a']]


@pytest.mark.parametrize('columns, words', [
    (['comment', 'label'], "mine.csv has no column 'text'; its columns are comment, label"),
    (['text', 'y'], "no column 'labels' or 'label'"),
])
def test_missing_columns(columns, words):
    with pytest.raises(InputError, match=words): row_decoder(columns, Source('mine.csv'))


def test_the_columns_of_28_emotions():
    assert label_columns(['text', *GOEMOTIONS, 'label'], Source('raw')) == list(GOEMOTIONS)
