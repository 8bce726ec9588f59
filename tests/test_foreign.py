"""Texts on foreign ground, read through the data module and evaluated by the command."""
import json, os, re
import numpy as np, pytest
from conftest import ROOT, emotion

SETS = ROOT/'examples/foreign.yaml'
real = pytest.mark.skipif(
    'FOREIGN_DIR' not in os.environ,
    reason='FOREIGN_DIR does not name a folder with the files of examples/foreign.yaml',
)


@real
def test_the_sets():
    "As many texts as the files have in each class; what is of two classes or of none is left aside."
    from emotion_detection.foreign import load_sets
    found = {
        s.name: (np.array(s.examples.votes).sum(0).astype(int).tolist(), s.aside)
        for s in load_sets(SETS)
    }
    assert found == {
        'xed_en': ([4317, 8336, 1535, 8779], 3338),
        'xed_vi': ([249, 429, 69, 0], 209),
        'brighter_en': ([428, 1168, 113, 237], 813),
    }


@real
def test_the_command(outputs, tmp_path):
    "Each set beside the baseline, on the page and in the JSON; where a class has no texts, the score says so."
    done = emotion(
        'evaluate', '--config', 'quickstart', '--model_path', outputs / 'int8',
        '--output_dir', 'report', '--foreign', SETS,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path/'report/report.json').read_text('utf8'))['foreign']
    assert (
        len(rows) == 6
        and {r['set'] for r in rows} == {'xed_en', 'xed_vi', 'brighter_en'}
        and {r['model'] for r in rows} > {'int8'}
    )
    assert all(low <= value <= high for value, low, high in (r['macro_f1'] for r in rows)) and {
        len(r['classes']) for r in rows
    } == {3, 4}
    assert '3 of 4 classes' in done.stdout and 'On foreign ground' in (
        tmp_path / 'report/report.md'
    ).read_text('utf8')


def test_what_is_missing(warm, outputs, tmp_path):
    "Said before anything is read."
    (tmp_path / 'sets.yaml').write_text(
        SETS.read_text('utf8').replace('FOREIGN_DIR', 'NOT_SET'), 'utf8'
    )
    for file, words in {
        'sets.yaml': 'the environment variable NOT_SET is not set',
        'nowhere.yaml': 'nowhere.yaml',
    }.items():
        done = warm.run(
            'evaluate', '--config', 'quickstart', '--model_path', outputs / 'int8',
            '--output_dir', 'report', '--foreign', file,
            cwd=tmp_path,
        )
        assert done.returncode == 2 and words in done.stderr and done.stderr.count('\n') == 1, (
            done.stderr
        )
        assert not (tmp_path/'report').exists()


def test_never_for_training():
    "No configuration of the package reads them."
    for file in (ROOT/'emotion_detection').rglob('*.yaml'):
        assert not re.search('xed|brighter|FOREIGN', file.read_text('utf8')), file
