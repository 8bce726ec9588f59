"""The one reader of csv, tsv, jsonl and txt: what is read right, what is refused, in which words."""
import csv, gzip, io, json, os, subprocess, sys, threading
import pytest
from conftest import ENV
from emotion_detection.files import InputError
from emotion_detection.rows import RowError, read_rows

ROWS = [
    {'text': 'Cảm ơn, "bạn"', 'label': 'joy'},
    {'text': 'hai\ndòng; thật', 'label': 'anger'},
    {'text': ' null ', 'label': '007'},
]


def table(sep, end='\n'):
    out = io.StringIO(newline='')
    writer = csv.DictWriter(
        out,
        ['text', 'label'],
        delimiter=sep,
        lineterminator=end,
        quoting=csv.QUOTE_ALL if end == '\r' else csv.QUOTE_MINIMAL,
    )
    writer.writeheader()
    writer.writerows(ROWS)
    return out.getvalue()


RIGHT = {
    'commas.csv': table(',').encode(),
    'CRLF.CSV': table(',', '\r\n').encode(),
    'CR only.csv': table(',', '\r').encode(),
    'BOM.csv': table(',').encode('utf-8-sig'),
    'semicolons.csv': table(';').encode(),
    'Excel.csv': b'sep=;\r\n' + table(';', '\r\n').encode(),
    'tabs.csv': table('\t').encode(),
    'tabs.tsv': table('\t').encode(),
    'commas.tsv': table(',').encode(),
    'spaces.csv': table(',').replace('text,label', ' text , label ').encode(),
    'blank lines.csv': b'\n\n' + table(',').encode() + b'\n\n',
    'packed.csv.gz': gzip.compress(table(',').encode()),
    'packed without saying so.csv': gzip.compress(table(',').encode()),
    'no newline.csv': table(',').rstrip('\n').encode(),
    'lines.jsonl': '\n\n'.join(json.dumps(r, ensure_ascii=False) for r in ROWS).encode(),
    'lines.jsonl.gz': gzip.compress(''.join(json.dumps(r) + '\r\n' for r in ROWS).encode()),
    '[a]?*.csv': table(',').encode(),
}


@pytest.mark.parametrize('name', RIGHT)
def test_read_right(tmp_path, name):
    (tmp_path/name).write_bytes(RIGHT[name])
    assert [row for _,row in read_rows(tmp_path/name, needs=('text', 'label'))] == ROWS


WRONG = {
    'unquoted comma': (
        'a.csv',
        b'id,text\n1,ok\n2,oh, no\n',
        'row 2 of .*a.csv \\(line 3\\) has 3 fields, the header has 2',
    ),
    'unquoted comma in a middle column': (
        'a.csv',
        b'id,text,label\n1,oh, no,joy\n',
        'row 1 of .* has 4 fields, the header has 3',
    ),
    'too few fields': ('a.csv', b'id,text\n1,ok\n2\n', 'row 2 of .*\\(line 3\\) has 1 of 2 fields'),
    'line break without quotes': (
        'a.csv',
        b'text,id\noh\nno,1\n',
        'row 1 of .*\\(line 2\\) has 1 of 2 fields',
    ),
    'open quote to the end': (
        'a.csv',
        b'id,text\n1,"oh\n2,no\n',
        'row 1 of .*\\(lines 2 to 3\\) opens a quote that is never closed',
    ),
    'open quote to the next quote': (
        'a.csv',
        b'id,text\n1,"oh\n2,no\n3,"ah, yes"\n',
        'row 1 of .*\\(lines 2 to 4\\) has text after a closing quote',
    ),
    'quote inside quotes': (
        'a.csv',
        b'id,text\n1,"say "no" now"\n',
        'row 1 of .*\\(line 2\\) has text after a closing quote',
    ),
    'two text columns': ('a.csv', b'text,id,text\nok,1,no\n', "two columns 'text'"),
    'two columns that differ in spaces': ('a.csv', b'text, text\nok,no\n', "two columns 'text'"),
    'semicolons and commas': (
        'a.csv',
        b'text;label,x\nok;joy,1\n',
        "no column 'text'; its columns are text;label, x",
    ),
    'no header': ('a.csv', b'ok,1\nno,2\n', "no column 'text'; its columns are ok, 1"),
    'NUL': (
        'a.csv',
        b'id,text\n' + b'1,ok\n' * 20 + b'2,o\0h\n',
        'row 21 of .*\\(line 22\\) holds a NUL byte',
    ),
    'NUL at the start': ('a.csv', b'text\no\0k\n', 'holds NUL bytes'),
    'Latin-1': (
        'a.csv',
        'id,text\n1,ok\n2,café\n'.encode('latin1'),
        'row 2 of .*\\(line 3\\) is not UTF-8 text \\(byte 0xe9\\)',
    ),
    'Latin-1 header': (
        'a.csv',
        'text,thème\nok,1\n'.encode('latin1'),
        'the header of .* is not UTF-8',
    ),
    'Latin-1 jsonl': (
        'a.jsonl',
        '{"text": "ok"}\n{"text": "café"}\n'.encode('latin1'),
        'row 2 of .*a.jsonl is not UTF-8 text',
    ),
    'Latin-1 lines': ('a.txt', 'ok\ncafé\n'.encode('latin1'), 'row 2 of .*a.txt is not UTF-8 text'),
    'UTF-16': ('a.csv', 'text\nok\n'.encode('utf-16'), 'is UTF-16 text'),
    'UTF-16 without a mark': ('a.csv', 'text\nok\n'.encode('utf-16-le'), 'holds NUL bytes'),
    'UTF-32': ('a.txt', 'ok\n'.encode('utf-32'), 'is UTF-32 text'),
    'damaged zip': ('a.csv', b'PK\x03\x04' + bytes(40), 'is a zip archive or an Excel workbook'),
    'Parquet': ('a.csv', b'PAR1\x15\x04', 'is a Parquet file'),
    'cut gzip': ('a.csv.gz', gzip.compress(b'text\n' + b'ok\n' * 9999)[:-20], 'is damaged'),
    'gzip in name only': ('a.csv.gz', b'text\nok\n', 'is not gzip-compressed'),
    'Git LFS pointer': (
        'a.csv',
        b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
        'Git LFS pointer',
    ),
    'key twice': ('a.jsonl', b'{"text": "ok", "text": "no"}\n', 'row 1 of .* has a key twice'),
    'array with a key twice': (
        'a.json',
        b'[{"text": "ok", "text": "no"}]',
        'a.json has a key twice',
    ),
    'array of texts': ('a.json', b'[{"text": "ok"},\n"no"]', 'row 2 of .* is not a JSON object'),
    'list': ('a.jsonl', b'{"text": "ok"}\n["no"]\n', 'row 2 of .* is not a JSON object'),
    'cut line': ('a.jsonl', b'{"text": "ok"}\n{"text": "n', 'row 2 of .* is not a JSON object'),
    'no key': (
        'a.jsonl',
        b'{"text": "ok"}\n{"txt": "no"}\n',
        "row 2 of .* without a key 'text'; its keys are txt",
    ),
    'deep': ('a.jsonl', b'{"text": ' + b'[' * 100_000 + b'\n', 'row 1 of .* nested too deeply'),
    'a long number': (
        'a.jsonl',
        b'{"text": "ok", "n": ' + b'1' * 5000 + b'}\n',
        'row 1 of .* too many digits',
    ),
    'unknown ending': ('a.xls', b'text\nok\n', 'give a .csv, .tsv, .jsonl, .json, .txt file'),
    'empty': ('a.csv', b'', "no column 'text'; its columns are \\(none\\)"),
}


@pytest.mark.parametrize('case', WRONG)
def test_refused(tmp_path, case):
    "One line that names the file and, where there is one, the row."
    name, data, words = WRONG[case]
    (tmp_path/name).write_bytes(data)
    with pytest.raises(InputError, match=words) as e:
        list(read_rows(tmp_path/name, needs=('text',)))
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize('name,data,kept', [
    ('a.csv', b'text,id\nfirst,1\noh, no,2\nlast,3\n', ['first', 'last']),
    ('a.csv', 'text,id\nfirst,1\ncafé,2\nlast,3\n'.encode('latin1'), ['first', 'last']),
    ('a.csv', b'text,id\nfirst,1\n"say "no"",2\nlast,3\n', ['first', 'last']),
    ('a.csv', b'text,id\nfirst,1\nlast,3\n"open,4\nno,5\n', ['first', 'last']),
    ('a.jsonl', b'{"text": "first"}\n{"txt": "no"}\n{"text": "last"}\n', ['first', 'last']),
    ('a.txt', b'first\n' + b'x'*80 + b'\0\nlast\n', ['first', 'last'])])
def test_skip(tmp_path, name, data, kept):
    "The error comes in the row's place and has its number; the other rows are read."
    (tmp_path/name).write_bytes(data)
    rows = list(read_rows(tmp_path/name, needs=('text',), skip=True))
    errors = [(n, row) for n,row in rows if isinstance(row, RowError)]
    assert [row['text'] for _,row in rows if isinstance(row, dict)] == kept
    assert [n for n,_ in errors] == [e.row for _,e in errors] and len(errors) == 1


@pytest.mark.parametrize('size', [131_072, 131_073, 1_000_000])
def test_long_cell(tmp_path, size):
    "Longer than the limit of Python's csv module, which stays as it was."
    (tmp_path/'a.csv').write_text(f'text,id\n{"x"*size},1\n"{"y"*size}",2\n')
    assert [len(row['text']) for _,row in read_rows(tmp_path/'a.csv')] == [size, size]
    assert csv.field_size_limit() == 131_072


def test_open_quote_in_a_large_file(tmp_path):
    "It ends at the longest cell, not at the end of the file."
    (tmp_path/'a.csv').write_text('id,text\n1,"oh\n' + '2,a line of some length\n'*500_000)
    with pytest.raises(InputError, match='a cell of over 10,000,000 characters from line 2 on'):
        list(read_rows(tmp_path/'a.csv'))


def test_pipe_and_open_file():
    "A stream is read as it comes, and stays open."
    end, begin = os.pipe()
    def write():
        with open(begin, 'wb') as f: f.write('text,id\nmột,1\n'.encode())
    threading.Thread(target=write).start()
    assert list(read_rows(f'/dev/fd/{end}', 'csv')) == [(1, {'text': 'một', 'id': '1'})]
    os.close(end)
    stream = io.BufferedReader(io.BytesIO(b'a\nb\n'))
    assert [n for n,_ in read_rows(stream, 'txt')] == [1, 2] and not stream.closed


def test_one_row_at_a_time():
    "A hundred thousand rows cost no more memory than ten."
    code = """
import tracemalloc
from emotion_detection.rows import read_rows
class Endless:
    n = 0
    def read(self, size=-1):
        self.n += 1
        return b'text,id\\n' if self.n==1 else b'some text,1\\n'*1000 if self.n < 100 else b''
    read1 = read
    def readable(self): return True
    def peek(self, n): return b'text'
    closed, writable, seekable, flush = False, lambda self: False, lambda self: False, lambda self: None
tracemalloc.start()
print(sum(1 for _ in read_rows(Endless(), 'csv')), tracemalloc.get_traced_memory()[1] < 1_000_000)
"""
    done = subprocess.run([sys.executable, '-c', code], env=ENV, capture_output=True, text=True)
    assert done.stdout == '98000 True\n', done.stderr


def test_imports_no_more_than_prediction_has():
    "pandas and datasets are an extra; `emotion predict` reads files without them."
    code = (
        'import sys, emotion_detection.rows; print(sorted({"pandas", "datasets", "numpy", '
        '"torch"} & set(sys.modules)))'
    )
    assert (
        subprocess.run([sys.executable, '-c', code], env=ENV, capture_output=True, text=True).stdout
        == '[]\n'
    )
