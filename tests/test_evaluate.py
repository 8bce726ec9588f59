"""`emotion evaluate` as a process: a folder of folders, JSON, ratings, a report that keeps texts to itself, bad input."""
import csv, json, shutil
from html.parser import HTMLParser
import pytest
from conftest import emotion

FILES = {
    'report.json', 'report.md', 'report.html', 'scores.csv', 'classes.csv', 'slices.csv',
    'rewrites.csv', 'differences.csv', 'scores.png', 'confusion.png', 'reliability.png',
}
pytestmark = pytest.mark.xdist_group('evaluate')


@pytest.fixture(scope='module')
def evaluate(warm):
    def evaluate(*args, cwd='.'):
        return warm.run('evaluate', '--config', 'quickstart', *args, cwd=cwd)
    return evaluate


@pytest.fixture(scope='module')
def report(outputs, tmp_path_factory):
    "The whole of `outputs/`, evaluated once: the report's folder and what `--json` printed."
    folder = tmp_path_factory.mktemp('evaluate')/'report'
    done = emotion(
        'evaluate', '--config', 'quickstart', '--model_path', outputs, '--output_dir', folder, '--json'
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('\n') == 1
    return folder, json.loads(done.stdout)


def test_a_folder_of_folders(report):
    folder, said = report
    assert {p.name for p in folder.iterdir()} == FILES | {'.made_by_emotion_detection'}
    assert said == json.loads((folder/'report.json').read_text('utf8'))
    assert [m['name'] for m in said['models']] == [
        'phase1_final',
        'final_model',
        'onnx',
        'int8',
    ] and said['baseline']['form'] == 'baseline'
    for m in [said['baseline'], *said['models']]:
        for value,low,high in m['scores'].values(): assert 0 <= low <= value <= high <= 1
        assert [c['support'] for c in m['classes']] == [39]*8 and m['texts'] == 312


def test_the_figures_are_those_of_the_predictor(outputs, report):
    "Counted again from `emotion predict`, with scikit-learn, over the samples' own file."
    from sklearn.metrics import f1_score
    from emotion_detection.source import bundled_path
    for lang in ('en', 'vi'):
        rows = [
            r
            for r in csv.DictReader(bundled_path(lang).open(encoding='utf8'))
            if r['split'] == 'test'
        ]
        (tests := report[0].parent / f'{lang}.jsonl').write_text(
            ''.join(json.dumps({'text': r['text']}) + '\n' for r in rows)
        )
        done = emotion('predict', '--model_path', outputs/'int8', '--input', tests, '--json')
        answers = [json.loads(l)['label'] for l in done.stdout.splitlines()]
        assert report[1]['models'][-1]['scores'][f'macro_f1_{lang}'][0] == pytest.approx(
            f1_score([r['label'] for r in rows], answers, average='macro'), abs=1e-4
        )


class Page(HTMLParser):
    "Tags with their attributes, and all text"
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ''
        self.feed(text)
    def handle_starttag(self, tag, attrs): self.tags.append((tag, dict(attrs)))
    def handle_data(self, data): self.text += data


def test_the_page_stands_alone(report):
    page = Page((report[0]/'report.html').read_text('utf8'))
    links = [v for _,a in page.tags for k,v in a.items() if k in ('src', 'href')]
    assert len(links) == 3 and all(l.startswith('data:image/png;base64,') for l in links)
    assert (
        not {'script', 'link', 'iframe'} & {t for t, _ in page.tags}
        and ('meta', {'name': 'viewport', 'content': 'width=device-width, initial-scale=1'})
        in page.tags
    )
    assert all(a.get('alt') for t,a in page.tags if t == 'img')
    assert (
        'TF-IDF + logistic regression' in page.text and 'not known: one label per text' in page.text
    )


def test_one_folder_for_people(evaluate, outputs, tmp_path):
    done = evaluate(
        '--model_path', outputs / 'int8', '--onnx', '--no_baseline', '--split',
        'validation', '--output_dir', tmp_path / 'r',
    )
    assert (
        done.returncode == 0
        and 'noise ceiling' in done.stdout
        and 'macro-F1' in done.stdout
        and 'TF-IDF' not in done.stdout
    )
    said = json.loads((tmp_path/'r'/'report.json').read_text('utf8'))
    assert (said['split'], said['baseline'], [m['name'] for m in said['models']]) == (
        'validation',
        None,
        ['int8'],
    )


def own_data(tmp_path, texts=60):
    "Data of one's own with a hostile text, and single ratings of its test comments"
    words = {
        'positive': 'great lovely thanks',
        'negative': 'awful sad angry',
        'surprise': 'wow really what',
        'neutral': 'table at nine',
    }
    rows = [
        (f'c{i}', f'{words[l]} number {i}', l, 'train' if i % 3 else 'test')
        for i, l in enumerate(list(words) * texts)
    ]
    rows.append((
        'evil',
        '<script>alert("x")</script> | ![x](http://127.0.0.1:9/x.png) secret-word',
        'surprise',
        'test',
    ))
    with (tmp_path/'own.csv').open('w', newline='', encoding='utf8') as f:
        csv.writer(f).writerows([('id', 'text', 'label', 'split'), *rows])
    with (tmp_path/'ratings.csv').open('w', newline='', encoding='utf8') as f:
        csv.writer(f).writerows([
            ('id', 'rater_id', 'text', 'label'),
            *(
                (i, n, t, l if n else 'neutral')
                for i, t, l, s in rows
                if s == 'test'
                for n in range(3)
            ),
        ])
    return ['--set', 'data.phase1.source=own.csv', '--ratings', 'ratings.csv']


def test_ratings_give_a_ceiling(evaluate, outputs, tmp_path):
    done = evaluate(
        '--model_path', outputs / 'int8', '--output_dir', 'r', '--no_baseline',
        '--json',
        *own_data(tmp_path),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    ceiling = said['ceiling']['en']
    assert (
        ceiling['texts'] == said['data'][0]['rated_texts'] == 81
        and ceiling['raters'] == 3
        and said['ceiling']['vi'] is None
    )
    # raters agree on these alone
    neutral = sum(1 for i in range(240) if i % 3 == 0 and i % 4 == 3)/81
    assert ceiling['oracle']['accuracy'][0] == pytest.approx(neutral + (1-neutral)*2/3, abs=1e-3)
    assert (
        ceiling['held_out']['accuracy'][0] <= ceiling['oracle']['accuracy'][0]
        and said['models'][0]['against_raters']['en']['accuracy'][0]
        <= ceiling['oracle']['accuracy'][0] + 1e-9
    )
    assert [a['raters'] for a in said['models'][0]['agreement']] == ['all agree', 'a majority']


@pytest.mark.parametrize('license, shown', [(None, False), ('non-profit research only', False), ('CC BY 4.0', True)])
def test_texts_are_shown_only_with_a_license(evaluate, outputs, tmp_path, license, shown):
    stated = ['--set', f'data.phase1.license={license}'] if license else []
    done = evaluate(
        '--model_path', outputs / 'int8', '--output_dir', 'r', '--no_baseline',
        *own_data(tmp_path),
        *stated,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    files = {p.name: p.read_text('utf8') for p in (tmp_path/'r').iterdir() if p.suffix != '.png'}
    texts = [f'number {i}' for i in range(240)]
    assert any(t in f for f in files.values() for t in texts) == shown
    assert ('Not shown' in files['report.md']) == (not shown)
    page = Page(files['report.html'])
    assert not any(t == 'script' for t, _ in page.tags) and 'http://127.0.0.1:9' not in [
        a.get('src') for _, a in page.tags
    ]


BAD = {
    'no folder': (['--model_path', 'nowhere'], 'there is no folder nowhere'),
    'no model in it': (
        ['--model_path', '.'],
        'neither the folder of a model nor one of such folders',
    ),
    'no onnx': (['--model_path', '{o}/final_model', '--onnx'], 'no .onnx file'),
    'unknown split': (['--model_path', '{o}/int8', '--split', 'train'], 'invalid choice'),
    'no ratings': (['--model_path', '{o}/int8', '--ratings', 'none.csv'], 'none.csv'),
    'one label': (
        [
            '--model_path', '{o}/int8', '--set', 'data.phase1.source=one.csv',
            '--set', 'data.phase2.source=one2.csv',
        ],
        'there is nothing to tell apart',
    ),
    'no test texts': (
        ['--model_path', '{o}/int8', '--set', 'data.phase1.source=few.csv'],
        'has no test rows',
    ),
    'unknown setting': (
        ['--model_path', '{o}/int8', '--set', 'data.phase1.sauce=x'],
        'did you mean source?',
    ),
    'the report is a file': (
        ['--model_path', '{o}/int8', '--no_baseline'],
        'is a file; name a folder',
    ),
    'no model path': ([], '--model_path'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_input(evaluate, outputs, tmp_path, name):
    "One sentence that names the cause, exit code 2, nothing written."
    same = 'text,label,split\n' + ''.join(
        f'good {i},joy,{s}\n' for i, s in enumerate(['train'] * 8 + ['dev', 'test'])
    )
    for file, text in {
        'one.csv': same,
        'one2.csv': same.replace('good', 'fine'),
        'few.csv': 'text,label,split\nhi,joy,train\nno,anger,train\nho,joy,dev\nha,joy,dev\n',
    }.items():
        (tmp_path/file).write_text(text)
    if name == 'the report is a file': (tmp_path/'out').write_text('')
    before = sorted(p.name for p in tmp_path.iterdir())
    args, words = BAD[name]
    done = evaluate('--output_dir', 'out', *(a.format(o=outputs) for a in args), cwd=tmp_path)
    lines = [l for l in done.stderr.splitlines() if not l.startswith('evaluate: ')]  # progress
    assert (
        (done.returncode, done.stdout, len(lines)) == (2, '', 1)
        and lines[0].startswith('emotion: ')
        and words in lines[0]
    ), done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_broken_model_is_named(evaluate, outputs, tmp_path):
    shutil.copytree(outputs/'int8', tmp_path/'model')
    (tmp_path/'model'/'tokenizer.json').write_text('{}')
    done = evaluate('--model_path', 'model', '--no_baseline', '--output_dir', 'out', cwd=tmp_path)
    assert (
        done.returncode == 2 and 'tokenizer.json' in done.stderr and not (tmp_path / 'out').exists()
    )


def test_cards(outputs, tmp_path):
    "`--cards` writes what was measured into each folder; the folder stays the model that it was."
    folder = shutil.copytree(outputs/'int8', tmp_path/'int8')
    (folder/'README.md').unlink()
    done = emotion(
        'evaluate', '--model_path', folder, '--config', 'quickstart', '--output_dir',
        tmp_path / 'r', '--no_baseline', '--cards', '--json',
    )
    assert done.returncode == 0, done.stderr
    card = (folder/'README.md').read_text('utf8')
    scores = json.loads(done.stdout)['models'][0]['scores']
    for lang in ('en', 'vi'): assert f"| this model | {scores[f'macro_f1_{lang}'][0]:.3f} [" in card
    assert (
        card.startswith('---\n')
        and 'Share of failing cases' in card
        and (tmp_path / 'r/behavior/behavior.json').is_file()
    )
    assert emotion('predict', '--model_path', folder, '--text', 'ok').returncode == 0


def test_behavior(outputs, tmp_path):
    done = emotion(
        'behavior', '--model_path', outputs / 'onnx', '--model_path', outputs / 'int8',
        '--output_dir', tmp_path / 'b', '--json',
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(l) for l in done.stdout.splitlines()]
    assert (
        {r['language'] for r in rows} == {'en', 'vi'}
        and {r['kind'] for r in rows} == {'MFT', 'INV', 'DIR'}
        and {r['predictor'] for r in rows} == {'onnx', 'int8'}
    )
    for lang in ('en', 'vi'):
        assert len({r['capability'] for r in rows if r['language'] == lang}) >= 12
    for r in rows:
        assert (
            abs(r['rate'] - r['failures'] / r['cases']) < 1e-3
            and r['low'] <= r['rate'] <= r['high']
        )
    assert (
        sum(r['cases'] for r in rows if r['predictor'] == 'int8')
        == json.loads((tmp_path / 'b/behavior.json').read_text('utf8'))['cases']
        >= 300
    )


def test_behavior_with_a_suite_of_ones_own(outputs, tmp_path):
    (tmp_path / 'mine.yaml').write_text(
        'language: en\ncapabilities:\n- name: thanks\n  kind: MFT\n  about: Thanks are '
        'positive\n  cases:\n  - expect: positive\n    texts: [Thank you so much!]\n'
    )
    done = emotion(
        'behavior', '--model_path', outputs / 'int8', '--suite', tmp_path / 'mine.yaml', '--json'
    )
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)['capability'], json.loads(done.stdout)['cases']) == (
        'thanks',
        1,
    )
    (tmp_path/'mine.yaml').write_text('language: en\ncapabilities: [1]\n')
    done = emotion('behavior', '--model_path', outputs/'int8', '--suite', tmp_path/'mine.yaml')
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and 'mine.yaml' in done.stderr
