"""Ratings of a comment gathered, and ids that are not believed."""
import datasets
import pytest
from emotion_detection.data import make_ids_unique
from emotion_detection.data_mapping import GOEMOTIONS
from emotion_detection.examples import Examples, by_rating, class_counts, decode_rows, majority
from emotion_detection.files import InputError
from emotion_detection.source import SPLITS, Source


def rating(id, text, rater, *emotions):
    flags = dict.fromkeys(GOEMOTIONS, 0) | dict.fromkeys(emotions, 1)
    return flags | {'id': id, 'text': text, 'rater_id': rater}


def table(*rows): return datasets.Dataset.from_list(list(rows))


RATINGS = table(
    rating('a', 'That game hurt.', 1, 'sadness'),
    rating('b', 'ok', 1),
    rating('a', 'That game hurt.', 2, 'sadness', 'joy'),
    rating('a', 'That game hurt.', 3, 'surprise'),
)


def test_votes():
    examples = decode_rows(RATINGS, Source('raw'))
    assert examples.votes == [[0, 2, 1, 0], [0, 0, 0, 1]]
    assert majority(examples).votes == [[0, 1, 0, 0], [0, 0, 0, 1]]
    assert class_counts(examples) == [0, 2, 1, 1]
    assert class_counts(Examples()) == [0, 0, 0, 0]


def test_a_tie_goes_by_the_priority_of_the_rule():
    tie = Examples(['a', 'b'], [[1, 1, 0, 0], [1, 0, 2, 2]])
    assert majority(tie).votes == [[0, 1, 0, 0], [0, 0, 1, 0]]


def test_ratings_as_rows():
    "Read as rows, or gathered and taken apart again: the same rows in another order."
    rows = decode_rows(RATINGS, Source('raw', targets='rows'))
    apart = by_rating(decode_rows(RATINGS, Source('raw')))
    assert len(rows) == 4
    assert sorted(zip(apart.text, apart.votes)) == sorted(zip(rows.text, rows.votes))


def test_unclear_ratings_may_be_dropped():
    kept = decode_rows(RATINGS, Source('raw'))
    left = decode_rows(RATINGS, Source('raw', unclear='drop'))
    assert (kept.unclear, kept.id) == (1, ['a', 'b'])
    assert (left.unclear, left.id) == (1, ['a'])


def test_ids_of_users_gather_nothing():
    users = decode_rows(table(
        rating('user1', 'good', 1, 'joy'),
        rating('user1', 'bad', 1, 'anger'),
        rating('user2', 'bad', 2, 'joy'),
    ), Source('mine'))
    assert users.shared_ids == 1
    assert users.text == ['good', 'bad']
    assert users.votes == [[1, 0, 0, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize('value, words', [
    (b'ok', 'the text is binary'), (5, 'the text is 5, a int'),
])
def test_a_text_is_text(value, words):
    rows = table({'text': value, 'label': 'joy'})
    with pytest.raises(InputError, match=rf'row 1 of mine.csv \(train\): {words}'):
        decode_rows(rows, Source('mine.csv'))


def test_a_label_that_is_not_understood_has_a_row():
    rows = table({'text': 'a', 'label': 'joy'}, {'text': 'b', 'label': 'hapy'})
    with pytest.raises(InputError, match=r"row 2 of mine.csv \(train\): unknown label 'hapy'"):
        decode_rows(rows, Source('mine.csv'))


def test_a_missing_text_column_is_named():
    "Also where an id column is there, whose texts would be compared first."
    rows = table({'comment': 'a', 'label': 'joy', 'id': '1'})
    with pytest.raises(InputError, match="mine.csv has no column 'text'"):
        decode_rows(rows, Source('mine.csv'))


def test_numbers_in_each_split_are_no_ids():
    numbered = {
        s: Examples([f'{s} {i}' for i in range(3)], [[1, 0, 0, 0]]*3, list('012'), ['en']*3)
        for s in SPLITS
    }
    for rated in (False, True):
        unique, _ = make_ids_unique(numbered, Source('mine'), rated)
        assert unique['test'].id == ['test:1', 'test:2', 'test:3']
    believed, _ = make_ids_unique(numbered, Source('mine', id_column='id'))
    assert believed['test'].id == list('012')
    same = {'train': numbered['train'], 'test': numbered['train']}
    assert make_ids_unique(same, Source('mine'))[0]['test'].id == list('012')
