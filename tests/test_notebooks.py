"""Every notebook under nbdev's own runner, one test each, and the tree that nbdev makes of them."""
import ast, functools, graphlib, json, re, subprocess, sys
from pathlib import Path
import nbformat
import pytest
from nbclient import NotebookClient
from conftest import ENV, NOTEBOOKS, ROOT, SECTIONS, copy_repository


READ = [page for page in NOTEBOOKS if page.parent.name in ('nbs', 'guides')]
# What a reader's machine does not have: where real data lie, and that this is a test
UNSET = ('GOEMOTIONS_DIR', 'FOREIGN_DIR', 'ENCODER_DIR', 'IN_TEST')


@pytest.mark.parametrize('path', READ, ids=lambda p: p.stem)
def test_run_all(path):
    "A page of the main path or a guide runs as a reader runs it in Jupyter: every cell, a fresh kernel, no variables."
    book = nbformat.read(path, 4)
    # the last cell of a page writes the modules, which other tests import meanwhile
    book.cells = [cell for cell in book.cells if 'nbdev_export(' not in cell.source]
    env = {name: value for name, value in ENV.items() if name not in UNSET}
    where = {'metadata': {'path': str(path.parent)}}
    NotebookClient(book, timeout=600, kernel_name='python3', resources=where).execute(env=env)


@pytest.mark.parametrize('path', [p for p in NOTEBOOKS if p not in READ], ids=lambda p: p.stem)
def test_notebook(path, monkeypatch):
    "Untagged cells of a shelf run, offline; `nbdev_test` does the same for all pages."
    from nbdev.config import get_config
    from nbdev.test import test_nb
    for name in ('HF_HUB_OFFLINE', 'OMP_NUM_THREADS', 'TOKENIZERS_PARALLELISM'):
        monkeypatch.setenv(name, ENV[name])
    monkeypatch.setenv('HF_DATASETS_DISABLE_PROGRESS_BARS', '1')
    import torch
    torch.set_num_threads(1)  # two workers with two threads each on two cores are five times slower
    passed, _ = test_nb(path, skip_flags=get_config(path=ROOT).tst_flags.split(), basepath=ROOT)
    assert passed, f'{path.name} failed, see its traceback above'


def test_there_are_notebooks():
    "Each stands in the sidebar, once."
    found = [p for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts]
    assert len(found) >= 19
    assert sorted(NOTEBOOKS) == sorted(found)


def test_export_and_clean_change_nothing(tmp_path):
    "The committed modules are what the notebooks export, and the notebooks are clean."
    copy = tmp_path/'copy'
    copy_repository(copy)
    files = {
        p: p.read_bytes()
        for folder in ('nbs', 'emotion_detection')
        for p in (copy / folder).rglob('*')
        if p.suffix in ('.ipynb', '.py')
    }
    for command in ('nbdev_clean', 'nbdev_export'):
        subprocess.run(
            [Path(sys.executable).with_name(command)],
            cwd=copy,
            env=ENV,
            check=True,
            capture_output=True,
        )
    assert [p.name for p,data in files.items() if p.read_bytes() != data] == []


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_outputs(path):
    "Outputs are there, without errors, machine paths, progress bars or figures over 60 KB."
    import base64
    cells = json.loads(path.read_text('utf8'))['cells']
    outputs = [o for c in cells if c['cell_type']=='code' for o in c['outputs']]
    assert outputs
    assert not [o for o in outputs if o['output_type']=='error' or o.get('name')=='stderr']
    for o in outputs:
        text = json.dumps({
            k: v
            for k, v in o.get('data', {'t': o.get('text')}).items()
            if not k.startswith('image')
        })
        assert not any(
            word in text for word in ('/tmp/', '/root/', '/home/', str(ROOT), 'it/s]')
        ), text
        if png := o.get('data', {}).get('image/png'): assert len(base64.b64decode(png)) < 60_000


HIDDEN = {'hide', 'default_exp', 'export', 'exports', 'exporti'}  # the first word of a directive
# return None
NOTHING = {
    'unlink', 'rmdir', 'rmtree', 'close', 'assert_close', 'assert_array_equal',
    'assert_allclose', 'assert_frame_equal', 'test_eq', 'test_ne', 'test_close',
    'test_fail', 'test_is',
}
# where the value is None, and something else is to be seen; other values are results or figures
SHOWS = {'print': {'stream'}}


@functools.cache
def cells_of(path):
    return [
        cell for cell in json.loads(path.read_text('utf8'))['cells'] if cell['cell_type'] == 'code'
    ]


@functools.cache
def functions_of(path):
    "Names of the functions that a page defines, and whether they return a value."
    found = {}
    for cell in cells_of(path):
        for node in ast.walk(parse_cell(''.join(cell['source']))):
            if not isinstance(node, ast.FunctionDef): continue
            gives = any(
                isinstance(n, (ast.Yield, ast.YieldFrom))
                or isinstance(n, ast.Return)
                and n.value is not None
                for n in ast.walk(node)
            )
            found[node.name] = found.get(node.name, False) or gives
    return found


def silent_functions(path):
    "Functions without a value, the page's own or of other pages: called last in a cell, they show nothing by themselves."
    every = {}
    for page in NOTEBOOKS:
        for name,gives in functions_of(page).items(): every[name] = every.get(name, False) or gives
    return {name for name,gives in (every | functions_of(path)).items() if not gives}


def parse_cell(source):
    "A cell without its directives and magic lines."
    return ast.parse(
        '\n'.join('' if line.startswith(('%', '!', '#|')) else line for line in source.splitlines())
    )


def shown_value(cell, silent):
    "The kinds of output that show the value of the last line of a visible cell; `None` where there is no such value."
    source = ''.join(cell['source'])
    directives = [line[2:].strip() for line in source.splitlines() if line.startswith('#|')]
    if any(
        d.split()[0].rstrip(':') in HIDDEN or d.replace(' ', '') == 'eval:false'
        for d in directives
        if d
    ):
        return None
    body = parse_cell(source).body
    if not body or not isinstance(body[-1], ast.Expr): return None
    code = ast.get_source_segment(source, body[-1])
    after = source.rstrip()[
        source.rstrip().rindex(code.splitlines()[-1]) + len(code.splitlines()[-1]) :
    ]
    if after.lstrip().startswith(';'): return None
    value = body[-1].value
    if isinstance(value, ast.Constant) and value.value is None: return None
    if isinstance(value, ast.Call):
        name = getattr(value.func, 'attr', getattr(value.func, 'id', ''))
        if name in NOTHING | silent: return None
        return SHOWS.get(name, {'execute_result', 'display_data'})
    return {'execute_result', 'display_data'}


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_values_are_stored(path):
    "A visible cell that ends on a value has it stored, slow cells too: what a page promises to show is there."
    silent = silent_functions(path)
    missing = []
    for cell in cells_of(path):
        kinds = shown_value(cell, silent)
        if kinds and not kinds & {o['output_type'] for o in cell['outputs']}:
            missing.append(''.join(cell['source']).splitlines()[-1])
    assert missing == []


@pytest.mark.parametrize('source, kinds', [
    ('1+1', True), ('a = 1\na', True), ('f"{a}"', True), ('#| slow\ntable.head()', True), ('#| echo: false\ntable', True), ('print(1)', True), ('plt.show()', True), ('x.show()  # ; no', True),
    ('"a;"', True), ('f(";")', True), ('(a,\n b)', True), ('#| fig-alt: "export"\nplot()', True),
    ('a = 1', False), ('plot();', False), ('a;  # hidden', False), ('#| hide\na', False), ('#| export\na', False), ('#| eval: false\na', False), ('test_eq(1, 1)', False),
    ('np.testing.assert_allclose(1, 1)', False), ('(tmp/"x").unlink()', False), ('for x in y: x', False), ('assert a', False), ('quiet_one()', False), ('', False), ('# nothing', False), ('None', False)])
def test_the_rule_for_values(source, kinds):
    assert bool(shown_value({'source': source.splitlines(True)}, {'quiet_one'})) == kinds


def module_of(notebook):
    "The module that a notebook exports, where it has one."
    found = re.search(r'#\| default_exp (\w+)', notebook.read_text('utf8'))
    return found[1] if found else None


def imports_of(source, modules):
    "Those of `modules` that a module imports, inside its functions too."
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom):
            continue
        # nbdev writes `from .files import …`
        prefix = 'emotion_detection.' if node.level else ''
        package, _, rest = (prefix + (node.module or '')).partition('.')
        if package == 'emotion_detection':
            named = [rest.split('.')[0]] if rest else [alias.name for alias in node.names]
            found.update(set(named) & set(modules))
    return found


def import_cycle(sections, sources):
    "Modules that cannot be put in one list, each after those that it imports and each section in its order; [] where they can."
    graph = {name: imports_of(source, sources) for name, source in sources.items()}
    for section in sections:
        for before, after in zip(section, section[1:]):
            graph[after].add(before)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_imports_point_down():
    "The sections of the sidebar can be merged into one list in which each module imports only from modules before it."
    sections = [[module_of(p) for p in pages if module_of(p)] for pages in SECTIONS.values()]
    sources = {
        name: (ROOT/'emotion_detection'/f'{name}.py').read_text('utf8')
        for section in sections
        for name in section
    }
    assert import_cycle(sections, sources) == []


@pytest.mark.parametrize('files, loss, good', [
    ('', 'from .files import f', True),
    ('from .model import m', '', False),  # a page of the series that stands later
    ('', 'from .trainer import t', True),
    ('def f(): from emotion_detection.trainer import t', '', False),  # further down its own shelf
    ('from . import trainer', '', False),
    ('from numpy import model', '', True),
])
def test_the_rule_for_imports(files, loss, good):
    sources = {'loss': loss, 'model': 'from .loss import l\nfrom .trainer import t'}
    shelf = {'files': files, 'trainer': 'from .files import f'}
    found = import_cycle([list(sources), list(shelf)], sources | shelf)
    assert (found == []) == good


LOADS_PYTORCH = {'torch', 'transformers', 'optimum', 'accelerate', 'safetensors', 'evaluate'}


@pytest.mark.parametrize('path', sorted((ROOT/'nbs').glob('0*.ipynb')), ids=lambda p: p.stem)
def test_the_package_is_imported_before_pytorch(path):
    "It tells PyTorch's threads to sleep between products, which they hear only when they are loaded; `nbdev_test` runs two pages at once."
    for cell in cells_of(path):
        for node in parse_cell(''.join(cell['source'])).body:
            if isinstance(node, ast.ImportFrom): names = [node.module]
            elif isinstance(node, ast.Import): names = [alias.name for alias in node.names]
            else: continue
            packages = {name.split('.')[0] for name in names}
            if 'emotion_detection' in packages: return
            assert not packages & LOADS_PYTORCH, ''.join(cell['source'])


def test_an_output_goes_with_its_reason(tmp_path):
    "`tools/run_notebooks.py` stores what cells put out today: nothing, where they put nothing out; flagged cells keep theirs."
    old = nbformat.v4.new_output('stream', name='stdout', text='of yesterday')
    sources = ['print("of today")', 'silent = 1', '#| slow\nprint("not run")']
    cells = [nbformat.v4.new_code_cell(source, outputs=[old]) for source in sources]
    page = tmp_path/'page.ipynb'
    nbformat.write(nbformat.v4.new_notebook(cells=cells), page)
    command = [sys.executable, ROOT/'tools/run_notebooks.py', page]
    subprocess.run(command, cwd=ROOT, env=ENV, check=True, capture_output=True)
    stored = [[output.text for output in cell.outputs] for cell in nbformat.read(page, 4).cells]
    assert stored == [['of today\n'], [], ['of yesterday']]
