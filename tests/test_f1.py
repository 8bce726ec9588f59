"""Macro-F1 where a class has no text: a mean over the others, and every table says so."""
import csv, json
import numpy as np
import pytest
from sklearn.metrics import f1_score
from emotion_detection.card import eval_results, results_part
from emotion_detection.config import QuantizationSection
from emotion_detection.data import DataModule, Source
from emotion_detection.data_mapping import LABELS
from emotion_detection.errors import evaluate_model
from emotion_detection.comparison import verdicts
from emotion_detection.evaluation import BASELINE, EvaluatedModel
from emotion_detection.gate import compare_probs, gate_failure
from emotion_detection.intervals import class_intervals, score_intervals
from emotion_detection.hub_metric import EmotionMetric
from emotion_detection.metrics import class_table, emotion_scores
from emotion_detection.report import write_report
from emotion_detection.slices import rewrite_table
from emotion_detection.progress import f1_line


@pytest.mark.parametrize('there', [[0, 1, 2, 3], [0, 1, 3], [2, 3], [1]])
def test_as_scikit_learn(there):
    "With `labels=` the labels of the references; the metric of `evaluate` and the intervals agree."
    rng = np.random.default_rng(len(there))
    y = np.array(there + list(rng.choice(there, 80)))
    p = rng.choice(4, 80+len(there))
    expected = f1_score(y, p, labels=there, average='macro', zero_division=0)
    scores = emotion_scores(y, p)
    assert scores['macro_f1'] == pytest.approx(expected, abs=1e-12) and scores['f1_classes'] == len(
        there
    )
    assert EmotionMetric().compute(predictions=list(p), references=list(y)) == scores
    assert score_intervals(y, p).loc['macro_f1', 'value'] == pytest.approx(expected, abs=1e-12)
    assert (
        class_table(y, p)['f1'].mean()
        == pytest.approx(expected, abs=1e-12)
        == class_intervals(y, p, resamples=9)['f1'].mean()
    )


def test_every_answer_right():
    "Accuracy 1 was macro-F1 .5 with two of four classes."
    y = [0]*50 + [1]*50
    assert emotion_scores(y, y) == {'accuracy': 1, 'macro_f1': 1, 'f1_classes': 2}
    assert score_intervals(y, y).loc['macro_f1'].tolist() == [1, 1, 1]


def test_a_language_without_a_class():
    scores = emotion_scores([0, 1, 2, 3, 0, 1], [0, 1, 2, 3, 0, 1], ['en']*4 + ['vi']*2)
    assert (scores['f1_classes'], scores['f1_classes_en'], scores['f1_classes_vi']) == (
        4,
        4,
        2,
    ) and scores['macro_f1'] == 1
    line = f1_line({f'eval_{k}': v for k,v in scores.items()})
    assert line == 'macro_f1 1.000  macro_f1_en 1.000  macro_f1_vi 1.000 (2 of 4 classes)'


def test_rare_class_in_drawn_sets():
    "A drawn test set without the one surprised text is scored over the classes that it has."
    y = [0]*20 + [1]*20 + [2] + [3]*19
    assert score_intervals(y, y).loc['macro_f1'].tolist() == [1, 1, 1]
    assert (
        class_intervals(y, y).loc['surprise', ['f1', 'f1_low', 'f1_high', 'recall_low']].tolist()
        == [1] * 4
    )


def test_gate():
    "A tenth of one class lost: 5.3 points of its F1, which are a third of the mean of three, not a quarter of four."
    y = np.repeat([0, 1, 3], 10)
    fp32 = np.eye(4)[y]
    int8 = fp32.copy()
    int8[0] = np.eye(4)[2]
    found = compare_probs(y, fp32, int8)
    assert found['f1_classes'] == 3
    assert found['f1_drop'] == pytest.approx((1 - 18/19)/3)
    # one text of thirty: it is not in a third of the draws
    assert found['f1_drop_low'] == 0
    assert gate_failure({'vi': found}, QuantizationSection()) is None
    # the same fall, as if from many texts
    refused = gate_failure({'vi': found | {'f1_drop_low': .004}}, QuantizationSection())
    assert 'points of macro-F1 over 3 of 4 classes on the vi' in refused


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    "A report on English texts of which none is surprised, and the model that answers all rightly."
    folder = tmp_path_factory.mktemp('f1')
    for split,n in (('train', 40), ('validation', 20), ('test', 60)):
        labels = [('positive', 'negative', 'neutral')[i % 3] for i in range(n)]
        with open(folder/f'{split}.csv', 'w', encoding='utf8') as f:
            writer = csv.writer(f)
            writer.writerow(['text', 'label'])
            writer.writerows(
                [f'{split} {label} number {i}', label] for i, label in enumerate(labels)
            )
    dm = DataModule(Source(str(folder)))
    def perfect(texts):
        return [
            {'label': t.split()[1], 'scores': {l: float(l == t.split()[1]) for l in LABELS}}
            for t in texts
        ]
    def positive(texts):
        return [{'label': 'positive', 'scores': dict(zip(LABELS, (.7, .1, .1, .1)))} for t in texts]
    models = []
    for name,model in ((BASELINE, positive), ('perfect', perfect)):
        results = evaluate_model(model, dm)
        models.append(EvaluatedModel(name, results, rewrite_table(model, results)))
    report = write_report(models, folder/'report', dm)
    return folder/'report', report


def test_report(written):
    folder, report = written
    assert (
        report['f1_classes']
        == json.loads((folder / 'report.json').read_text('utf8'))['f1_classes']
        == {'en': ['positive', 'negative', 'neutral']}
    )
    assert report['models'][0]['scores']['macro_f1_en'] == [1, 1, 1]
    text = (folder/'report.md').read_text('utf8')
    assert (
        '| macro-F1 over 3 of 4 classes |' in text
        and (
            'In English no text is labeled surprise: macro-F1 is the mean over the other 3 labels.'
        )
        in text
    )
    assert 'points of macro-F1 over 3 of 4 classes better' in verdicts(report)
    [surprise] = [
        line
        for line in text.splitlines()
        if line.startswith('| English | surprise |') or line.startswith('| en | surprise |')
    ]
    assert surprise.split('|')[4:6] == [' – ', ' – '] and ' 0 ' in surprise
    rows = [r for r in csv.DictReader((folder/'scores.csv').open()) if r['score'] == 'macro_f1_en']
    assert [float(r['classes']) for r in rows] == [3, 3]


def test_card(written):
    report = written[1]
    entry = report['models'][0]
    assert '| macro-F1 over 3 of 4 classes |' in results_part(entry, report)
    assert [r.metric_name for r in eval_results(entry, report)] == [
        'macro-F1 over 3 of 4 classes',
        'accuracy',
    ]
