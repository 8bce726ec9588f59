"""What a statement about a license opens: a report, a card, the Hub. Everything that is not an exact name opens nothing."""
from types import SimpleNamespace
import pytest
from emotion_detection.files import InputError
from emotion_detection.licenses import (
    BUNDLED_LICENSES, check_licenses, hub_license, license_id, license_notes, license_of, may_show,
    use_words,
)

OPEN = {
    'CC0 1.0': 'cc0-1.0',
    'CC0': 'cc0-1.0',
    'cc0-1.0': 'cc0-1.0',
    'CC BY 4.0': 'cc-by-4.0',
    'CC-BY-4.0': 'cc-by-4.0',
    'cc by-4.0': 'cc-by-4.0',
    ' CC  BY\t4.0\n': 'cc-by-4.0',
    'CC\u2011BY\u20114.0': 'cc-by-4.0',
    'CC\u00a0BY\u00a04.0': 'cc-by-4.0',
    'CC BY 4.0 International': 'cc-by-4.0',
    'CC BY-SA 4.0': 'cc-by-sa-4.0',
    'CC BY-SA 4.0 International': 'cc-by-sa-4.0',
    'CC BY 3.0': 'cc-by-3.0',
    'MIT': 'mit',
    'mit': 'mit',
    'MIT License': 'mit',
    'Apache-2.0': 'apache-2.0',
    'apache 2.0': 'apache-2.0',
    'BSD-3-Clause': 'bsd-3-clause',
    'ODC-By-1.0': 'odc-by',
    'ODbL-1.0': 'odbl',
    'CDLA-Permissive-2.0': 'cdla-permissive-2.0',
    'Unlicense': 'unlicense',
}

CLOSED = (
    None, '', ' ', '-', 4.0, True,
    ['MIT'],
    {'name': 'MIT'},
    b'MIT', 'CC BY 4.0, no redistribution', 'CC BY 4.0 for non-commercial use only',
    'CC0 1.0, ask first', 'MIT, research only', 'mitigated, internal',
    'MIT\nno redistribution', 'MITx', 'xMIT', 'MIT-0-like', 'CC0ish', 'public domain-ish',
    'CC BY 4.0 NC', 'CC BY 4.00', 'CC BY 40', 'CC BY 5.0', 'CC BY', 'Apache', 'BSD',
    'CC BY-NC 4.0', 'CC BY-ND 4.0', 'CC BY-NC-SA 4.0', 'cc-by-nc-4.0', 'GPL-3.0', 'AGPL',
    'proprietary', 'own data', 'unknown', 'other', 'none', 'MIT AND CC BY-NC 4.0',
    'MIT/CC0', 'MIT OR Apache-2.0', 'MIT, Apache-2.0', 'CC0 1.0; CC BY 4.0', 'not MIT',
    'like MIT', '(MIT)', 'MIT*', "'MIT'", 'license: MIT', 'not stated (MIT)',
    'not stated (comments.csv)', 'not stated (CC0 1.0)',
    'non-profit research only, no commercial systems, no redistribution', '\u041cIT',
    'M\u0406T', '\uff2d\uff29\uff34', 'MI\u03a4', 'C\u0421 BY 4.0', 'CC BY \u0664.0',
    'M\u200bIT', 'MIT\u202e', 'Unlicen\u017fe', 'CC\u2014BY\u20144.0',
)


@pytest.mark.parametrize('words', OPEN)
def test_open(words):
    assert (
        license_id(words) == OPEN[words] and may_show(words) and hub_license([words]) == OPEN[words]
    )
    check_licenses([words])
    assert license_notes([words]) == []
    assert use_words([words]) == f'data licensed {words} (free to use, commercially too)'


@pytest.mark.parametrize('words', CLOSED, ids=repr)
def test_closed(words):
    "Reports print no text, cards say `other`, `push` refuses, `predict` says what is written."
    assert license_id(words) is None and not may_show(words)
    if not isinstance(words, (list, dict)): assert hub_license([words]) == 'other'
    with pytest.raises(InputError, match='pass --i_have_rights'): check_licenses([words])
    with pytest.raises(InputError): check_licenses(['CC0 1.0', words])
    assert license_notes(['CC0 1.0', words]) == [f'training data licensed {words}']
    assert use_words(['CC0 1.0', words]).endswith(' (not free for every use)')


@pytest.mark.parametrize('licenses', [None, [], ()])
def test_silence(licenses):
    assert hub_license(licenses or ()) == 'other' and license_notes(licenses) == [
        'the model does not say what its training data are licensed under'
    ]
    with pytest.raises(InputError, match='does not say'): check_licenses(licenses)
    assert use_words(licenses) == 'data licensed not stated (ask before you use the model)'


@pytest.mark.parametrize('source, license, found', [
    ('bundled:en', None, 'CC0 1.0'), ('bundled:vi', '', 'CC0 1.0'), ('bundled:xx', None, 'not stated (bundled:xx)'),
    ('bundled:vi+vi_more', None, 'CC0 1.0'), ('bundled:vi+vi_more+vi_goemotions', None, 'CC BY 4.0'),
    ('bundled:vi+my_goemotions', None, 'not stated (bundled:vi+my_goemotions)'), ('bundled:en/../mine.csv', None, 'not stated (bundled:en/../mine.csv)'),
    ('owner/data', None, 'not stated (owner/data)'), ('owner/data', '  ', 'not stated (owner/data)'), ('owner/data', ' CC BY 4.0 ', 'CC BY 4.0'),
    ('bundled:en', 'research only', 'research only'), ('owner/MIT', None, 'not stated (owner/MIT)')])
def test_of_a_source(source, license, found):
    assert license_of(SimpleNamespace(source=source, license=license)) == found


def test_every_bundled_file_has_a_license():
    from emotion_detection.source import BUNDLED
    assert set(BUNDLED_LICENSES) == set(BUNDLED)


def test_two_licenses():
    assert (
        hub_license(['CC BY 4.0', 'MIT']) == 'other'
        and hub_license(['CC BY 4.0', 'cc-by-4.0', 'CC0']) == 'cc-by-4.0'
    )
    assert hub_license(['CC0', 'research only']) == 'other'


def test_one_place():
    "No module but `licenses` looks for names of licenses in a statement."
    import re
    from conftest import ROOT
    found = [
        p.name
        for p in (ROOT / 'emotion_detection').glob('*.py')
        if p.name != 'licenses.py'
        and re.search(
            r"re\.compile\([^\n]*(CC0|cc0|MIT|Apache)|== ?'CC0|!= ?'CC0", p.read_text('utf8')
        )
    ]
    assert found == []


@pytest.mark.parametrize('overrides, found', [
    ([], 'CC BY 4.0'), (['data.phase1.source=mine.csv'], None), (['data.phase1.source=mine.csv', 'data.phase1.license=MIT'], 'MIT'),
    (['data.phase1.license=MIT', 'data.phase1.source=mine.csv'], 'MIT'), ([' data.phase1.source = mine.csv'], None), (['data.phase1.language=vi'], 'CC BY 4.0'),
    (['data.phase1.source=google-research-datasets/go_emotions'], 'CC BY 4.0'), (['data.phase2.source=mine.csv'], 'CC BY 4.0'), (['data.phase1={source: mine.csv, language: en}'], None)])
def test_another_source(overrides, found):
    "The license that a configuration states is that of its own source, not of the file that `--set` puts in its place."
    from emotion_detection.config import load_config
    assert load_config('default', overrides).data.phase1.license == found
