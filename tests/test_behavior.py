"""The behavioral suite: changes of a text, the reading of suite files, the bundled cases, answers of another form."""
import math
import unicodedata
import numpy as np
import pytest
from emotion_detection.changes import new_tone_place, swap_letters, swap_words, telex_slip
from emotion_detection.data_mapping import LABELS
from emotion_detection.files import InputError
from emotion_detection.judging import ask, judge
from emotion_detection.suite import KINDS, Case, load_suite
from emotion_detection.text import normalize

SMALL = '''
language: en
fill:
  name: [Anna, Yusuf, Linh]
  thing: [phone, bike]
capabilities:
- name: praise denied
  kind: MFT
  about: A good word under a negation is a complaint
  cases:
  - expect: negative
    texts:
    - I am not happy with the {thing}.
    - I hate it here.
- name: names
  kind: INV
  about: Whose name it is does not matter
  cases:
  - vary: name
    texts: ["{name} made me happy.", "I hate Linh, not {name}."]
- name: slips
  kind: INV
  about: A slip or a capital changes nothing
  cases:
  - change: typo
    texts: &plain [I am so happy., I hate this place., The shop opens at nine.]
  - change: upper
    texts: *plain
- name: directions
  kind: DIR
  about: Negation and a verdict move the answer
  cases:
  - expect: less positive
    texts:
    - I am happy. => I am not happy.
    - I am happy. => I am sad.
  - expect: more negative
    add: [I hate it.]
    texts: [The shop opens at nine.]
'''


@pytest.mark.parametrize('text, slip', [
    ('Mình vui.', 'Minhf vui.'),
    ('được', 'đươcj'),
    ('nay vui', 'nay vui'),
    ('quyết', 'quyêts'),
    (unicodedata.normalize('NFD', 'mình buồn'), 'minhf buồn'),
])
def test_telex_slip(text, slip):
    assert telex_slip(text) == slip


@pytest.mark.parametrize('text', ['a bc ddd', '', '12 34'])
def test_nothing_to_swap(text):
    assert swap_letters(text) == text


@pytest.mark.parametrize('old, new', [
    ('Hòa, khỏe, thủy, ỦY, tùy, dọa', 'Hoà, khoẻ, thuỷ, UỶ, tuỳ, doạ'),
    ('hoàn toàn quý của mùa bộ gió ngoài', 'hoàn toàn quý của mùa bộ gió ngoài'),
    ('loét tòan chuyện hoà khoẻ huỷ', 'loét tòan chuyện hoà khoẻ huỷ'),
])
def test_place_of_a_tone(old, new):
    assert new_tone_place(old) == new


def test_swap_words():
    "Whole words and phrases, the longest first, whatever their case."
    words = {'không': 'ko', 'Với': 'vs', 'mọi người': 'mn'}
    assert swap_words('Không biết mọi người với khôngai', words) == 'ko biết mn vs khôngai'


def read(tmp_path, text):
    (tmp_path/'small.yaml').write_text(text, encoding='utf8')
    return load_suite(tmp_path/'small.yaml')


def test_a_small_file(tmp_path):
    denied, names, slips, directions = read(tmp_path, SMALL)
    assert [case.text for case in denied.cases] == [
        'I am not happy with the phone.',
        'I am not happy with the bike.',
        'I hate it here.',
    ]
    assert denied.templates == 2
    # the first name beside each of the others, in both texts
    assert len(names.cases) == 4
    assert names.cases[0].changed == 'Yusuf made me happy.'
    assert slips.cases[0].changed == 'I am so hpapy.'
    assert directions.cases[0] == Case(
        'I am happy. => I am not happy.', 'I am happy.', 'I am not happy.', 'less positive'
    )
    assert directions.cases[2].changed == 'The shop opens at nine. I hate it.'


FAULTS = {
    # a place of the file, what stands there instead, what the message says
    'a label': ('expect: negative', 'expect: sad', "line 11: expect is 'sad'; for MFT it is one"),
    'a key': ('expect: negative', 'expects: negative', 'line 11: unknown key .* mean expect?'),
    'a far key': ('kind: MFT', 'zzz: 3', "unknown key 'zzz'; known are name, kind"),
    'a slot': ('{thing}', '{things}', "line 11: there is no 'things' in fill; it has name, thing"),
    'a change': ('change: typo', 'change: typos', "line 25: there is no change 'typos'; there are"),
    'a kind': ('kind: MFT', 'kind: mft', "line 7: kind is 'mft'; it is one of MFT, INV, DIR"),
    'twice': ('shop opens at nine.]', 'shop opens at nine., I hate this place.]', 'is there twice'),
    'no change': ('change: upper', 'change: curly', "line 27: the change leaves 'I am so happy.'"),
    'no pair': ('I am happy. => I am sad.', 'I am sad.', "'I am sad.' is not changed; write"),
    'a pair': ('I hate it here.', 'I hate it. => I do.', 'is a pair; an MFT has one text'),
    'words': ('thing: [', 'color: [red]\n  thing: [', "line 4: no text uses 'color' of fill"),
    'no words': ('[phone, bike]', '[]', 'line 4: thing of fill must be a list of texts'),
    'no list': ('[phone, bike]', 'phone', 'line 4: thing of fill must be a list of texts'),
    'one word': ('[Anna, Yusuf, Linh]', '[Anna]', 'has one word; it takes two to vary'),
    'equal keys': ('  kind: INV', '  kind: INV\n  kind: DIR', "'kind' is given twice at line 15"),
    'a sentence': ('add: [I', 'add: [It rains., I', 'line 37: more sentences in add than texts'),
    'no sentences': ('add: [I hate it.]', 'add: nine', 'add must be a list of texts'),
    'no language': ('language: en', '', 'language is missing'),
    'no line': ('name: names', 'name: [names]', "line 15: name is .* not a word or a line"),
    'nothing': ('vary: name', 'vary: ', "line 19: vary is '', not a word or a line"),
    'not varied': ('"{name} made', '"Nobody made', 'line 19: .* does not hold {name}, which varies'),
    'no texts': ('texts: *plain', 'texts: plain', 'line 27: texts must be a list of texts'),
    'two ways': ('change: typo', 'change: typo\n    vary: name', 'give one of vary and change'),
    'MFT': ('expect: negative', 'expect: negative\n    add: [a]', 'line 11: add is for INV and DIR'),
    'swap': ('vary: name', 'swap: [made]', 'line 19: swap must be a mapping of words to words'),
    'empty swap': ('vary: name', 'swap: {made: }', 'swap must be a mapping of words to words'),
    'unused swap': ('vary: name', 'swap: {hated: x}', "line 19: no text holds 'hated'"),
    'a slot left': ('vary: name', 'swap: {made: "{thing}"}', 'line 19: {thing} is left over'),
    'equal names': ('name: slips', 'name: names', "there are two capabilities named 'names'"),
    'a block': ('- change: upper\n    texts: *plain', '- 7', "'7' stands where texts are expected"),
    'no YAML': ('texts: &plain [', 'texts: &plain [[', 'cannot be read as YAML: while parsing .* line'),
    'no file': (SMALL, '', "'None' stands where language, capabilities are expected"),
    'no capabilities': (SMALL, 'language: en\ncapabilities: []', 'capabilities must be a list'),
    'a capability': (SMALL, 'language: en\ncapabilities: [1]', "'1' stands where name, kind"),
}


@pytest.mark.parametrize('what', FAULTS)
def test_a_broken_file(what, tmp_path):
    old, new, message = FAULTS[what]
    assert old in SMALL
    with pytest.raises(InputError, match=message.replace('{', r'\{').replace('[', r'\[')) as error:
        read(tmp_path, SMALL.replace(old, new, 1))
    assert 'small.yaml' in str(error.value)
    assert '\n' not in str(error.value)


def test_a_folder(tmp_path):
    with pytest.raises(InputError, match='there is no suite file'): load_suite(tmp_path/'none.yaml')
    with pytest.raises(InputError, match='there is no .yaml file in'): load_suite(tmp_path)
    for name in ('one', 'two'): (tmp_path/f'{name}.yaml').write_text(SMALL, encoding='utf8')
    with pytest.raises(InputError, match="two files of .* have a capability 'praise denied' in en"):
        load_suite(tmp_path)


@pytest.fixture(scope='module')
def suite(): return load_suite()


@pytest.mark.parametrize('language', ['en', 'vi'])
def test_the_bundled_suite(suite, language):
    "Enough capabilities and cases, every kind and label, and a language in its own letters."
    mine = [capability for capability in suite if capability.language == language]
    assert len(mine) >= 12
    assert all(len(capability.cases) >= 25 for capability in mine)
    assert {capability.kind for capability in mine} == set(KINDS)
    labels = {c.expect for capability in mine if capability.kind == 'MFT' for c in capability.cases}
    assert labels == set(LABELS)
    for capability in mine:
        for case in capability.cases:
            letters = {character for character in case.text if character.isalpha()}
            assert (max(letters) > '\x7f') == (language == 'vi'), case
            assert '{' not in case.text + (case.changed or ''), case


def test_what_reaches_a_model(suite):
    "The normalizer leaves each text as it is and undoes changes of form, and no others."
    for capability in suite:
        undone = capability.name in ('white space', 'decomposed marks')
        for case in capability.cases:
            assert normalize(case.text) == case.text, case
            if case.changed:
                assert (normalize(case.changed) == case.text) == undone, case


SCORES = dict.fromkeys(LABELS, .25)
GOOD = {'label': 'positive', 'scores': SCORES}
WRONG = {
    'no predictor': ([GOOD], 'is a list; give something that can be called'),
    'one answer': (lambda texts: [GOOD], 'gave 1 answers for 2 texts; one for each'),
    'a dict': (lambda texts: GOOD, 'returned a dict; a list of dicts is needed'),
    'labels': (lambda texts: ['positive'] * 2, "answered 'hi' with 'positive'; a dict with 'label'"),
    'a label': (lambda texts: [{'label': 'joy'}] * 2, "gave 'hi' the label 'joy'; the labels are"),
    'one score': (lambda texts: [GOOD | {'scores': {'positive': 1}}] * 2, 'scores for positive; one'),
    'percent': (lambda texts: [GOOD | {'scores': dict.fromkeys(LABELS, 25)}] * 2, 'from 0 to 1'),
    'no scores': (lambda texts: [GOOD | {'scores': dict.fromkeys(LABELS)}] * 2, 'None, None'),
    'nan': (lambda texts: [GOOD | {'scores': SCORES | {'neutral': math.nan}}] * 2, 'from 0 to 1'),
    'some scores': (lambda texts: [GOOD, {'label': 'positive'}], 'scores for some texts only'),
}


@pytest.mark.parametrize('what', WRONG)
def test_an_answer_of_another_form(what):
    predictor, message = WRONG[what]
    with pytest.raises(InputError, match=message) as error: ask(predictor, ['hi', 'hello'])
    assert '\n' not in str(error.value)


def test_each_text_is_asked_once():
    asked = []
    def predictor(texts):
        asked.extend(texts)
        return [{'label': None} for _ in texts]
    assert ask(predictor, ['hi', 'hello', 'hi']) == {'hi': (None, None), 'hello': (None, None)}
    assert asked == ['hi', 'hello']


def answer(label, *probabilities):
    return label, np.array(probabilities) if probabilities else None


@pytest.mark.parametrize('label, passed', [('neutral', True), ('positive', False), (None, False)])
def test_a_label(label, passed):
    assert judge(Case('', 'a', None, 'neutral'), answer(label))['passed'] == passed


@pytest.mark.parametrize('before, after, passed', [
    (answer('positive', .8, .1, .1, 0), answer('positive', .7, .1, .1, .1), True),
    (answer('positive', .8, .1, .1, 0), answer('positive', .69, .1, .1, .11), False),
    (answer('positive', .5, .49, 0, .01), answer('negative', .49, .5, 0, .01), False),
    (answer('positive'), answer('positive'), True),
    (answer('positive'), answer(None), False),
])
def test_no_change(before, after, passed):
    assert judge(Case('', 'a', 'b', 'same'), before, after)['passed'] == passed


@pytest.mark.parametrize('way, after, passed', [
    ('more', .2, False), ('more', .3, False), ('more', .305, False), ('more', .32, True),
    ('less', .2, True), ('less', .295, False), ('less', .4, False),
])
def test_a_direction(way, after, passed):
    case = Case('', 'a', 'b', f'{way} positive')
    before = answer('neutral', .3, .2, .2, .3)
    assert judge(case, before, answer('neutral', after, .2, .2, .6 - after))['passed'] == passed


def test_no_direction_without_scores():
    case = Case('', 'a', 'b', 'more positive')
    assert judge(case, answer('neutral'), answer('positive'))['passed'] is None
