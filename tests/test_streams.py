"""`emotion predict` as people call it: pipes, odd streams, dashes, bounds, rows that cannot be answered."""
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
from conftest import EMOTION, ENV, emotion

from emotion_detection import cli
from emotion_detection.data_mapping import LABELS
from emotion_detection.files import InputError
from emotion_detection.predict import EmotionPredictor
from emotion_detection.streams import own_columns

TABLE = 'id,label,text\n7,x,Vui quá\n8,y,\n9,z,"hi, there"\n'


@pytest.fixture(scope='module')
def model(untrained):
    return untrained/'onnx'


def predict(model, *args, stdin=None, env=ENV, **kwargs):
    "The command with a text at its standard input."
    command = [EMOTION, 'predict', '--model_path', model, *map(str, args)]
    return subprocess.run(
        command,
        input=stdin,
        env=env,
        capture_output=True,
        text=True,
        encoding='utf8',
        timeout=120,
        **kwargs,
    )


def rows_of(path):
    "Rows of a csv file."
    with path.open(encoding='utf8', newline='') as file:
        return list(csv.DictReader(file))


def objects(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize('args, stdin, texts', [
    (['--input', '-'], 'Cảm ơn\n\nok\n', ['Cảm ơn', 'ok']),
    ([], 'Cảm ơn\nok', ['Cảm ơn', 'ok']),
    (['--input', '/dev/stdin'], 'Cảm ơn\n', ['Cảm ơn']),
    (['--input', '-', '--input_format', 'csv'], 'text,n\n"a, b",1\n', ['a, b']),
    (['--input', '-', '--input_format', 'jsonl'], '{"text": "a"}\n', ['a']),
    (['--text', 'first', '--input', '-'], 'second\n', ['first', 'second']),
    (['--text', '-_-'], '', ['-_-']),
    (['--text', '--text-like', '--text', '-1 điểm'], '', ['--text-like', '-1 điểm']),
    (['--text=-_-'], '', ['-_-']),
    (['--text', '-'], '', ['-']),
    (['--text', '--'], '', ['--']),
    (['--text=--'], '', ['--']),
    (['--text', '-1', '--text=--json'], '', ['-1', '--json']),
    (['một', 'hai'], '', ['một', 'hai']),
    (['một', '--text', 'hai'], '', ['một', 'hai']),
    (['một', '--quiet', 'hai'], '', ['một', 'hai']),
    (['--', '-_-', '--json'], '', ['-_-', '--json']),
    (['-1 điểm', '-1'], '', ['-1 điểm', '-1']),
    (['first', '--input', '-'], 'second\n', ['first', 'second']),
])
def test_where_texts_come_from(model, args, stdin, texts):
    assert [
        answer['text'] for answer in objects(predict(model, '--json', *args, stdin=stdin))
    ] == texts


def test_a_redirected_table_is_read_as_a_table(model, tmp_path):
    "`< a.csv` must not answer the header line."
    (tmp_path/'a.csv').write_text('text\nok\n')
    for args in ([], ['--input', '-'], ['--input', '/dev/stdin']):
        with (tmp_path/'a.csv').open() as file:
            command = [EMOTION, 'predict', '--model_path', model, '--json', *args]
            done = subprocess.run(command, stdin=file, env=ENV, capture_output=True, text=True)
        assert [answer['text'] for answer in objects(done)] == ['ok'], args


def test_a_named_pipe(model, tmp_path):
    os.mkfifo(tmp_path/'pipe')
    writer = threading.Thread(target=(tmp_path/'pipe').write_text, args=['một\nhai\n'])
    writer.start()
    answers = objects(predict(model, '--json', '--input', tmp_path/'pipe'))
    writer.join()
    assert [answer['text'] for answer in answers] == ['một', 'hai']


def test_answers_come_while_texts_do(model):
    "The first answer is out before the second text is in."
    command = [EMOTION, 'predict', '--model_path', model, '--json']
    with subprocess.Popen(
        command, env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for text in ('one', 'two'):
            process.stdin.write(text + '\n')
            process.stdin.flush()
            assert json.loads(process.stdout.readline())['text'] == text
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.parametrize('ending', ['jsonl', 'csv'])
def test_the_columns_of_the_input_stay(model, tmp_path, ending):
    "`id` and the user's own `label` are in the output, beside our answer."
    (tmp_path/'a.csv').write_text(TABLE.replace('8,y,\n', ''))
    done = predict(model, '--input', tmp_path/'a.csv', '--output', tmp_path/f'out.{ending}')
    assert done.returncode == 0, done.stderr
    with (tmp_path/f'out.{ending}').open(encoding='utf8', newline='') as file:
        rows = (
            list(csv.DictReader(file)) if ending == 'csv' else [json.loads(line) for line in file]
        )
    assert [(row['id'], row['input_label'], row['text']) for row in rows] == [
        ('7', 'x', 'Vui quá'),
        ('9', 'z', 'hi, there'),
    ]
    assert {row['label'] for row in rows} <= set(LABELS)


def test_nested_values_and_missing_keys(model, tmp_path):
    (tmp_path/'a.jsonl').write_text('{"text": "a", "tags": ["x"], "n": 1}\n{"text": "b", "n": 2}\n')
    assert (
        predict(model, '--input', tmp_path / 'a.jsonl', '--output', tmp_path / 'out.csv').returncode
        == 0
    )
    with (tmp_path/'out.csv').open(encoding='utf8', newline='') as file:
        assert [(row['tags'], row['n']) for row in csv.DictReader(file)] == [
            ('["x"]', '1'),
            ('', '2'),
        ]


def test_a_late_key_gets_a_column(model, tmp_path):
    "Also one that only rows after the first have: nothing is answered in vain."
    (tmp_path/'b.jsonl').write_text('{"text": "a"}\n{"text": "b", "late": 2}\n')
    assert (
        predict(
            model, '--input', tmp_path / 'b.jsonl', '--output', tmp_path / 'late.csv'
        ).returncode
        == 0
    )
    assert [row['late'] for row in rows_of(tmp_path/'late.csv')] == ['', '2']
    assert {file.name for file in tmp_path.iterdir()} == {'b.jsonl', 'late.csv'}


def test_a_first_row_that_is_skipped_costs_no_columns(model, tmp_path):
    (tmp_path/'a.csv').write_text('id,text\n1,a,b\n2,ok\n')
    done = predict(
        model, '--input', tmp_path / 'a.csv', '--output', tmp_path / 'out.csv', '--on_error', 'skip'
    )
    assert done.returncode == 0, done.stderr
    assert [(row['id'], row['error'][:5]) for row in rows_of(tmp_path / 'out.csv')] == [
        ('', 'row 1'),
        ('2', ''),
    ]


@pytest.mark.parametrize('row, kept', [
    ({'label': 1, 'id': 2}, {'input_label': 1, 'id': 2}),
    ({'label': 1, 'input_label': 2}, {'input_input_label': 1, 'input_label': 2}),
    ({'input_label': 2, 'label': 1}, {'input_label': 2, 'input_input_label': 1}),
    ({'scores': [1], 'positive': 0, 'error': 'x'}, {'input_scores': [1], 'input_positive': 0, 'input_error': 'x'}),
])
def test_names_of_own_columns(row, kept):
    "What does not clash keeps its name, in whichever order the columns come."
    assert own_columns({'text': 'a'} | row) == kept


def test_a_new_name_is_said(model, tmp_path):
    (tmp_path/'a.csv').write_text('text,label\nok,x\n')
    done = predict(model, '--input', tmp_path/'a.csv', '--json')
    assert objects(done)[0]['input_label'] == 'x'
    assert "'label' of the input is 'input_label' in the output" in done.stderr


def test_numbers_that_json_does_not_know(model, tmp_path):
    (tmp_path/'a.jsonl').write_text('{"text": "a", "n": NaN, "m": [-Infinity, 1e999]}\n')
    line = predict(model, '--input', tmp_path/'a.jsonl', '--json').stdout
    assert json.loads(line, parse_constant=pytest.fail)['m'] == [None, None]


BAD_ROWS = {
    'an empty cell': ('csv', TABLE, 2),
    'too many fields': ('csv', 'id,text\n1,ok\n2,hi, there\n3,ok\n', 2),
    'no JSON': ('jsonl', '{"text": "ok"}\n{"text": \n{"text": "ok"}\n', 2),
    'no text': ('jsonl', '{"text": "ok"}\n{"txt": "a"}\n{"text": "ok"}\n', 2),
    'a number': ('jsonl', '{"text": "ok"}\n{"text": 5}\n{"text": "ok"}\n', 2),
    'null': ('jsonl', '{"text": "ok"}\n{"text": null}\n{"text": "ok"}\n', 2),
    'nested': (
        'jsonl',
        '{"text": "ok"}\n{"text": "a", "x": ' + '[' * 400 + ']' * 400 + '}\n{"text": "ok"}\n',
        2,
    ),
    'Latin-1': ('csv', b'text\nok\ncaf\xe9\nok\n', 2),
    'blank': ('jsonl', '{"text": "ok"}\n{"text": "  "}\n{"text": "ok"}\n', 2),
}


@pytest.mark.parametrize('name', BAD_ROWS)
def test_a_bad_row_ends_the_work_or_is_skipped(model, tmp_path, name):
    "stop: exit code 2, the row named, nothing written. skip: every other row answered, this one with its reason in its place, exit code 0."
    ending, content, bad = BAD_ROWS[name]
    (tmp_path / f'a.{ending}').write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    arguments = ['--input', tmp_path/f'a.{ending}', '--output', tmp_path/'out.jsonl']
    done = predict(model, *arguments)
    assert done.returncode == 2
    assert f'row {bad} of ' in done.stderr
    assert '--on_error skip' in done.stderr
    assert [line[:8] for line in done.stderr.splitlines() if not line.startswith('note: ')] == [
        'emotion:'
    ]
    assert [p.name for p in tmp_path.iterdir()] == [f'a.{ending}']
    done = predict(model, *arguments, '--on_error', 'skip')
    assert done.returncode == 0, done.stderr
    assert '1 of 3 rows skipped' in done.stderr
    rows = [json.loads(line) for line in (tmp_path/'out.jsonl').read_text('utf8').splitlines()]
    assert [row['label'] is None for row in rows] == [False, True, False]
    assert rows[1]['error'].startswith(f'row {bad} ')


def test_a_bad_row_after_thousands(model, tmp_path):
    "The row far down does not cost the answers before it."
    rows = [f'{n},text {n}' for n in range(3000)]
    rows[2900] = '2900,'
    (tmp_path/'a.csv').write_text('id,text\n' + '\n'.join(rows) + '\n')
    done = predict(
        model, '--input', tmp_path / 'a.csv', '--output', tmp_path / 'out.jsonl',
        '--on_error', 'skip', '--quiet',
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in (tmp_path/'out.jsonl').read_text('utf8').splitlines()]
    assert [row['id'] for row in found] == [str(n) for n in range(3000)]
    assert [row['id'] for row in found if row['error']] == ['2900']


@pytest.mark.parametrize('args, words', [
    (['--threads', '-1'], 'at least 1'), (['--threads', '0'], 'at least 1'), (['--threads', 'two'], 'whole number'),
    (['--abstain_below', '2'], 'from 0 to 1'), (['--abstain_below', 'nan'], 'from 0 to 1'),
    (['--text', ''], 'a text is empty'), (['--text', ' \t'], 'a text is empty'), (['--text'], 'expected one argument'),
    ([''], 'a text is empty'), (['-_-'], 'a text that starts with a dash comes after --'),
    (['--input', '/nowhere/a.csv'], 'there is no file'), (['--input', '.'], 'is a folder'), (['--input_format', 'xls'], 'invalid choice'),
    (['--on_error', 'never'], 'invalid choice'), (['--model_path=--', '--text', 'hi'], 'no folder --'),
    (['--threads', '1.5'], 'whole number'), (['--threads', '9' * 5000], 'whole number'), (['--abstain_below', '-0.1'], 'from 0 to 1'),
])
def test_bad_arguments(model, args, words):
    more = [] if any(a in args for a in ('--text', '--input')) else ['--text', 'hi']
    done = predict(model, *args, *more)
    assert (done.returncode, done.stdout) == (2, ''), done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize('command', ['bench --comments 0', 'bench --rounds -1', 'bench train --steps 0', 'trim --model_path a --output_dir b --vocab_size -5'])
def test_numbers_have_bounds(command):
    done = emotion(*command.split())
    assert done.returncode == 2
    assert 'at least 1' in done.stderr


def test_too_many_threads_are_bounded(model):
    done = predict(model, '--threads', '5000', '--text', 'hi', '--json')
    assert len(objects(done)) == 1
    assert f'{os.cpu_count()} are used' in done.stderr


@pytest.mark.parametrize('encoding', ['cp1252', 'ascii', 'latin-1', 'utf-16'])
def test_a_stdout_that_lacks_letters(model, encoding):
    "JSON is escaped and stays JSON; lines for people show the letter's number."
    env = ENV | {'PYTHONIOENCODING': encoding}
    command = [EMOTION, 'predict', '--model_path', model, '--text', 'Cảm ơn 😀']
    done = subprocess.run([*command, '--json'], env=env, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode(encoding))['text'] == 'Cảm ơn 😀'
    done = subprocess.run(command, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.decode(encoding).splitlines()) == 1


@pytest.mark.parametrize('redirect, code, words', [
    ('>&-', 2, 'standard output is closed'), ('>/dev/full', 1, 'No space left'), ('--input - <&-', 2, 'standard input is closed'),
    ('--input - </dev/null', 2, 'no texts'), ('2>&-', 0, ''), ('2>/dev/full', 0, ''), ('--threads 5000 2>/dev/full', 0, ''),
    ('<&-', 0, ''), ('>&- 2>&-', 2, ''), ('--help >/dev/full', 1, 'No space left'), ('--help >&-', 0, ''),
])
def test_closed_and_full_streams(model, redirect, code, words):
    line = f'{EMOTION} predict --model_path {model} --text hi {redirect}'
    if '--input' in redirect:
        line = line.replace('--text hi', '')
    done = subprocess.run(['bash', '-c', line], env=ENV, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_lost_reader_of_stderr_costs_no_answers(model, tmp_path):
    "The note about threads meets a pipe that nobody reads; the answers are on stdout all the same."
    (tmp_path/'in.txt').write_text('ok\n' * 300)
    read, write = os.pipe()
    os.close(read)
    command = [
        EMOTION, 'predict', '--model_path', model, '--threads', '5000',
        '--input', tmp_path / 'in.txt',
    ]
    done = subprocess.run(
        command, env=ENV, stdout=subprocess.PIPE, stderr=write, text=True, stdin=subprocess.DEVNULL
    )
    os.close(write)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 300)


@pytest.mark.parametrize('head, words', [
    (b'PK\x03\x04\x14\x00 cut', 'zip archive'), (b'PK\x01 cut', "no column 'text'"), (b'te\x1b[31mxt\nhi\n', 'te\\x1b[31mxt'),
    (b'"a\nb"\nhi\n', 'columns are a b,'), (b'\x1f\x8bcut', 'cannot be unpacked'), (b'\xff\xfet\x00', 'UTF-16'),
])
def test_a_file_that_is_no_table(model, tmp_path, head, words):
    "One line, and nothing in it that controls a terminal."
    (tmp_path/'a.csv').write_bytes(head)
    done = predict(model, '--input', tmp_path/'a.csv')
    assert (done.returncode, done.stdout) == (2, '')
    assert words in done.stderr
    assert done.stderr.splitlines()[-1].startswith('emotion: ')
    assert all(line.isprintable() for line in done.stderr.splitlines())


def test_an_argument_is_utf8_whatever_the_locale(model):
    env = ENV | {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}
    done = predict(model, '--text', 'Cảm ơn', '--json', env=env)
    assert objects(done) == objects(predict(model, '--text', 'Cảm ơn', '--json'))


def test_help_without_arguments():
    done = emotion()
    assert done.returncode == 0
    assert 'predict' in done.stdout
    assert emotion('--help').stdout == done.stdout


def test_python_m(model):
    command = [
        sys.executable, '-m', 'emotion_detection', 'predict', '--model_path', model,
        '--text', 'hi', '--json',
    ]
    assert len(objects(subprocess.run(command, env=ENV, capture_output=True, text=True))) == 1


def test_main_leaves_the_process_as_it_was(model, capsys):
    "The handler of SIGTERM, the streams and the environment."
    def mine(number, frame): pass
    before = signal.signal(signal.SIGTERM, mine)
    environment = dict(os.environ)
    argv = list(sys.argv)
    filters = list(warnings.filters)
    streams = sys.stdin, sys.stdout, sys.stderr
    errors = sys.stdout.errors
    try:
        assert cli.main(['predict', '--model_path', str(model), '--text', 'hi']) == 0
        assert cli.main(['predict', '--model_path', 'nowhere', '--text', 'hi']) == 2
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
    assert dict(os.environ) == environment
    assert sys.stdout.errors == errors
    assert (sys.stdin, sys.stdout, sys.stderr) == streams
    assert (sys.argv, warnings.filters) == (argv, filters)


def test_main_returns_the_code_of_help(capsys):
    "It does not end the notebook that calls it."
    assert cli.main(['--help']) == cli.main(['--version']) == cli.main([]) == 0


def test_main_in_a_thread(model, capsys):
    codes = []
    thread = threading.Thread(
        target=lambda: codes.append(
            cli.main(['predict', '--model_path', str(model), '--text', 'hi'])
        )
    )
    thread.start()
    thread.join()
    assert codes == [0]


def test_sigterm_ends_the_command_like_ctrl_c(model, tmp_path):
    "Also while it waits for a pipe; nothing half-written is left."
    command = [
        EMOTION, 'predict', '--model_path', model, '--input', '-', '--output',
        tmp_path / 'out.jsonl',
    ]
    with subprocess.Popen(
        command, env=ENV, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write('ok\n')
        process.stdin.flush()
        deadline = time.time() + 60
        while not list(tmp_path.iterdir()) and time.time() < deadline:
            time.sleep(.1)
        time.sleep(.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
    assert list(tmp_path.iterdir()) == []


def test_one_by_one_is_as_in_a_list(model):
    "The answers of a pipe are those of a list, to the last digit."
    texts = ['Cảm ơn bạn', 'ok', 'a much longer text that has more tokens than the others']
    answers = objects(predict(model, '--json', stdin='\n'.join(texts)))
    assert answers == EmotionPredictor(model)(texts)


@pytest.mark.parametrize('threads', [-1, 0])
def test_threads_have_a_lower_bound_in_python_too(model, threads):
    with pytest.raises(InputError, match='at least 1'):
        EmotionPredictor(model, threads=threads)
