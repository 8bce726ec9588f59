"What the decoders of the three label formats take, and what they refuse."
import pytest
from emotion_detection.data_mapping import (
    EMOTION2LABEL, GOEMOTIONS, LABEL_EMOTIONS, LABELS, OFFICIAL_COUNTS, VIGOEMOTIONS, decode_columns,
    decode_ids, decode_label, language_name, map_emotions, parse_ids,
)


@pytest.mark.parametrize('first', EMOTION2LABEL)
def test_pairs_follow_the_sentence(first):
    "Any negative, else any positive, else any surprise, else neutral: read word by word."
    for second in EMOTION2LABEL:
        expected = 'neutral'
        for label in ('surprise', 'positive', 'negative'):
            if first in LABEL_EMOTIONS[label] or second in LABEL_EMOTIONS[label]:
                expected = label
        assert LABELS[map_emotions([first, second])] == expected


def test_each_emotion_has_one_label():
    assert len(EMOTION2LABEL) == 28
    assert [len(names) for names in LABEL_EMOTIONS.values()] == [12, 12, 3, 1]


def test_vigoemotions_ids_are_grouped_by_label():
    labels = [EMOTION2LABEL[emotion] for emotion in VIGOEMOTIONS]
    assert labels == (
        ['positive'] * 12 + ['surprise'] * 3 + ['negative'] * 12 + ['neutral']
    )


@pytest.mark.parametrize('value', [None, '', 2, .5, 1., '1.0', 'x'])
def test_a_column_is_0_or_1(value):
    row = dict.fromkeys(GOEMOTIONS, 0) | {'joy': value}
    with pytest.raises(ValueError) as error:
        decode_columns(row)
    assert f"column 'joy' holds {value!r}, not 0 or 1" in str(error.value)


def test_columns_may_be_text():
    row = dict.fromkeys(GOEMOTIONS, '0')
    assert decode_columns(row) == []
    assert decode_columns(row | {'joy': '1'}) == ['joy']


def test_no_column_may_be_missing():
    with pytest.raises(ValueError, match="column 'admiration' is missing"):
        decode_columns({'text': 'x'})


@pytest.mark.parametrize('value', [[2, 13], (2, 13), '2,13', '[2, 13]', ' [2,13] '])
def test_ids_in_any_spelling(value):
    assert decode_ids(value) == ['anger', 'excitement']


@pytest.mark.parametrize('value', [[], '[]', '[ ]'])
def test_an_empty_list_is_no_emotion(value):
    assert decode_ids(value) == []


@pytest.mark.parametrize('value', [
    '__import__("os")', 'joy', '[1, [2]]', '1.5', '[true]', '', ' ', None, [2.0], [[2]], [True], 2,
    '[' * 9999, 'x' * 9999,
], ids=lambda value: repr(value)[:20])
def test_no_list_of_ids(value):
    with pytest.raises(ValueError, match='not a list of label ids'):
        parse_ids(value)


@pytest.mark.parametrize('value', ['28', '-1'])
def test_an_id_outside_the_table(value):
    with pytest.raises(ValueError, match=rf'label id {value} is not in 0\.\.27'):
        decode_ids(value)


@pytest.mark.parametrize('emotion', EMOTION2LABEL)
def test_an_emotion_is_a_label_too(emotion):
    assert decode_label(emotion) == map_emotions([emotion])


@pytest.mark.parametrize('value, message', [
    ('happy', "unknown label 'happy'; use positive, negative, surprise, neutral"),
    ('joy,negative', "'negative' beside other names"),
    ('', "unknown label ''"),
])
def test_a_label_that_is_none(value, message):
    with pytest.raises(ValueError) as error:
        decode_label(value)
    assert message in str(error.value)


def test_published_rows():
    "The class counts add up to the published numbers of rows."
    rows = {split: sum(counts) for split, counts in OFFICIAL_COUNTS.items()}
    assert rows['goemotions', 'raw'] == 211_225
    assert rows['vigoemotions', 'train'] == 16_531
    assert rows['vigoemotions', 'validation'] == 2_066
    assert rows['vigoemotions', 'test'] == 2_067


def test_a_language_without_a_name_is_its_code():
    assert [language_name(code) for code in ('en', 'vi', 'fr')] == ['English', 'Vietnamese', 'fr']
