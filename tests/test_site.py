"""The documentation site as a reader gets it: built once, crawled, and opened in a browser where there is one."""
import ast, functools, http.server, json, os, re, shutil, subprocess, sys, threading
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import nbformat, pytest, yaml
from browser import CHROMIUM, Browser
from conftest import NOTEBOOKS, ROOT, SECTIONS

QUARTO = ROOT/'tools/quarto_fallback/quarto'
sys.path[:0] = [str(ROOT/'tools'), str(QUARTO.parent)]
from crawl import addresses, base_of, broken, crawl, soup, summary
from render import relative


def page_of(notebook):
    "Its address within the site."
    built = notebook.with_name(re.sub(r'^\d+[a-z]?_', '', notebook.stem) + '.html')
    return built.relative_to(ROOT/'nbs').as_posix()


PAGES = [page_of(notebook) for notebook in NOTEBOOKS]
BASE = base_of(ROOT/'settings.ini')
pytestmark = pytest.mark.xdist_group('site')  # one worker builds it once


def sources(root):
    return {
        p: p.read_bytes()
        for pattern in ('nbs/**/*.*', 'emotion_detection/*.*', 'tools/*.*')
        for p in sorted(root.glob(pattern))
        if p.is_file()
    }


@pytest.fixture(scope='session')
def built(tmp_path_factory): return build_site(tmp_path_factory.getbasetemp()/'site')


@functools.cache  # test_live.py asks for the same site
def build_site(folder):
    "A copy of the sources with the site built by the stand-in, and what was in the copy before."
    root = folder/'repository'
    for name in ('nbs', 'emotion_detection', 'tools'):
        shutil.copytree(
            ROOT / name,
            root / name,
            symlinks=True,
            ignore=shutil.ignore_patterns('__pycache__', '.*', 'nbdev.yml'),
        )
    for name in ('settings.ini', '_quarto.yml'): shutil.copy(ROOT/name, root)
    (ROOT/'.cache').mkdir(exist_ok=True)
    (root/'.cache').symlink_to(ROOT/'.cache')  # where its packages from npm are kept
    before = sources(root)
    done = subprocess.run(
        [sys.executable, 'tools/docs.py'],
        cwd=root,
        env=os.environ | {'PATH': '/usr/bin:/bin'},
        capture_output=True,
        text=True,
    )
    assert done.returncode==0, done.stderr
    return root, before


@pytest.fixture(scope='session')
def site(built): return built[0]/'_docs'


def markdown_cells(notebook):
    return [c.source for c in nbformat.read(notebook, 4).cells if c.cell_type=='markdown']


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.stem)
def test_imports_stand_alone(notebook):
    "nbdev_docs runs every cell that imports, without the cells before it: outside exported cells an import cell holds nothing else."
    for cell in nbformat.read(notebook, 4).cells:
        if cell.cell_type != 'code' or re.search(
            r'^#\| *(export|eval: *false)|nbdev_export\(', cell.source, re.M
        ):
            continue
        try: tree = ast.parse(cell.source)
        except SyntaxError: continue  # a magic or a shell command
        imports = (ast.Import, ast.ImportFrom)
        assert all(isinstance(n, imports) for n in tree.body) or not any(
            isinstance(n, imports) for n in ast.walk(tree)
        ), cell.source


def test_build_leaves_the_sources_alone(built):
    root, before = built
    changed = {p.name for p,data in sources(root).items() if before.get(p)!=data}
    assert changed <= {'nbdev.yml'}


def test_sidebar_is_the_series(site):
    links = [
        a['href']
        for a in soup(site / 'index.html').select(
            '.md-nav--primary .md-nav__item a.md-nav__link[href]'
        )
        if not a['href'].startswith('#')
    ]
    assert [l if l!='./' else 'index.html' for l in dict.fromkeys(links)]==PAGES


@pytest.mark.parametrize('page', PAGES)
def test_links_resolve(site, page): assert broken(site, page, BASE)==[]


def test_crawl(site, tmp_path):
    "Every page and link is counted, and a dead one is found: a page or a heading that is not there, a place outside."
    found = crawl(site, BASE)
    print(summary(found))
    assert (
        found['pages'] == len(PAGES) + 1
        and found['links'] > 20 * found['pages']
        and found['broken'] == []
    )
    (tmp_path / 'a.html').write_text(
        f'<h2 id="here">x</h2><a href="#here">1</a><a href="{BASE}a.html#here">2</a><a '
        'href="b.html">3</a><a href="a.html#there">4</a><a href="../x.html">5</a><a '
        'href="https://example.org">6</a>'
    )
    assert crawl(tmp_path, BASE) == {
        'pages': 1,
        'links': 5,
        'broken': [('a.html', 'b.html'), ('a.html', 'a.html#there'), ('a.html', '../x.html')],
    }


@pytest.mark.parametrize('notebook', NOTEBOOKS[1:], ids=lambda p: p.stem)
def test_opening(notebook):
    "Under the title: what is learned, what is needed."
    title, opening = markdown_cells(notebook)[:2]
    assert re.fullmatch(r'# .+\n\n> .+', title.strip())
    assert re.fullmatch(
        r'- \*\*You learn\*\* [^\n]{20,260}\.\n- \*\*You need\*\* [^\n]{5,320}\.', opening.strip()
    )


BOOK = [*SECTIONS[''], *SECTIONS['The series'], *SECTIONS['Guides']]  # read from start to end


def may_follow(notebook):
    "Pages that a page may lead to: the next one of the book, or from a shelf its neighbor or back to the book."
    if notebook in BOOK:
        return [BOOK[(BOOK.index(notebook) + 1) % len(BOOK)]]
    shelf = next(pages for pages in SECTIONS.values() if notebook in pages)
    at = shelf.index(notebook) + 1
    return BOOK + shelf[at:at + 1]


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=PAGES)
def test_next(notebook):
    "A page ends with where to go on, and why; the last one of the book leads back to the first."
    found = re.match(
        r'\*\*Next\*\* \[[^]]+\]\(([^)#]+)\)[:,] \S.+', markdown_cells(notebook)[-1]
    )
    assert found
    assert (notebook.parent/found[1]).resolve() in may_follow(notebook)


def test_footer_leads_on(site):
    for page,then in zip(PAGES[:-1], PAGES[1:]):
        link = soup(site/page).select_one('.md-footer__link--next')['href']
        assert urljoin(page, link) == then
    # what Quarto calls it
    assert yaml.safe_load((ROOT/'_quarto.yml').read_text())['website']['page-navigation'] is True


@pytest.mark.parametrize('stem', ['00_data_mapping', '01_loss', '02_model', '03_phase1', '04_phase2', '05_export', '06_quantization', '07_evaluation', '08_predict'])
def test_exercises(site, stem):
    "Two tasks at the end of each of the numbered pages, each with a solution that is folded and asserts something."
    cells = nbformat.read(ROOT/f'nbs/{stem}.ipynb', 4).cells
    at = next(i for i,c in enumerate(cells) if c.source.startswith('## Exercises'))
    code = [c for c in cells[at:] if c.cell_type=='code' and not re.match(r'#\| hide|(from|import) ', c.source)]
    code = [c for c in code if not re.fullmatch(r'(#\|.*\n|(from|import) .*\n?)+', c.source)]
    assert [
        c.source.startswith('#| code-fold: true\n#| code-summary: "Solution"\n') for c in code
    ] == [True, True]
    assert all(re.search(r'assert|test_\w+\(', c.source) for c in code)
    folded = soup(site/f'{stem[3:]}.html').select('details.code-fold:not([open]) summary')
    assert [s.text for s in folded][-2:]==['Solution']*2


def test_command_reference_is_current():
    "The stored tables hold what the parser takes now."
    from emotion_detection.cli import build_parser
    cells = nbformat.read(ROOT/'nbs/reference/command.ipynb', 4).cells
    shown = '\n'.join(
        o.data['text/markdown']
        for c in cells
        if c.cell_type == 'code'
        for o in c.outputs
        if 'text/markdown' in o.get('data', {})
    )
    commands = next(
        a for a in build_parser()._actions if hasattr(a, 'choices') and isinstance(a.choices, dict)
    ).choices
    assert re.findall(r'^### `emotion (\w+)`', shown, re.M) == list(commands), (
        'run tools/run_notebooks.py nbs/reference/command.ipynb'
    )
    for name,parser in commands.items():
        part = shown.partition(f'### `emotion {name}`')[2].partition('\n### ')[0]
        assert re.findall(r'^\| `(\S+?)`', part, re.M) == [
            (a.option_strings or [a.dest])[0] for a in parser._actions if a.dest != 'help'
        ], 'run tools/run_notebooks.py nbs/reference/command.ipynb'


def test_examples_are_shown_as_they_are():
    "The deployment page holds the files of examples/chatbot."
    shown = [
        o.data['text/markdown']
        for c in nbformat.read(ROOT / 'nbs/guides/deployment.ipynb', 4).cells
        if c.cell_type == 'code'
        for o in c.outputs
        if 'text/markdown' in o.get('data', {})
    ]
    for file in (ROOT/'examples/chatbot').iterdir():
        if file.is_file():
            assert any(file.read_text('utf8') in text for text in shown), (
                f'run tools/run_notebooks.py nbs/guides/deployment.ipynb: {file.name} has changed'
            )


@pytest.mark.parametrize('page', [*PAGES, '404.html'])
def test_nothing_comes_from_outside(site, page):
    site_url = yaml.safe_load((site.parent/'nbs/nbdev.yml').read_text())['website']['site-url']
    for tag,address in addresses(site/page):
        if tag.get('rel')==['canonical']: continue
        assert tag.name=='a' or not urlsplit(address).netloc, tag
        assert not address.startswith(site_url), f'{address} should be a relative link'


def test_styles_load_nothing_from_outside(site):
    for css in site.rglob('*.css'):
        assert not re.search(r'url\(["\']?(https?:)?//|@import', css.read_text('utf8')), css


@pytest.mark.parametrize('notebook,page', list(zip(NOTEBOOKS, PAGES)), ids=PAGES)
def test_figures_are_shown(site, notebook, page):
    cells = [
        c
        for c in nbformat.read(notebook, 4).cells
        if c.cell_type == 'code'
        and not re.search(r'^#\| *(hide\b|include: *false|output: *false)', c.source, re.M)
    ]
    figures = sum('image/png' in o.get('data', {}) for c in cells for o in c.outputs)
    images = soup(site/page).select('article img[src$=".png"]')
    assert len(images)==figures
    for image in images:
        assert len(image['alt'].split()) > 3 and not image['alt'].startswith('Figure'), image['alt']


def test_search_knows_the_words(site):
    docs = json.loads((site/'search/search_index.json').read_text('utf8'))['docs']
    assert any('normalize' in d['text'] and d['location'].startswith('reference/text.html') for d in docs)


@pytest.mark.parametrize('root', ['rendered', 'committed'])
def test_readme_is_the_index(built, root):
    root = built[0] if root=='rendered' else ROOT
    text = (root/'README.md').read_text('utf8')
    for cell in nbformat.read(ROOT/'nbs/index.ipynb', 4).cells:
        if cell.cell_type=='markdown':
            assert all(h in text for h in re.findall(r'^#+ .*', cell.source, re.M))
    for address in re.findall(r'\]\(([^)\s#]+)|src="([^"]+)', text):
        address = ''.join(address)
        assert urlsplit(address).scheme or (root/address).exists(), address


def render(folder, *cells, **entry):
    "Run the stand-in on a site of one notebook."
    head = nbformat.v4.new_raw_cell(
        '---\ntitle: One\ndescription: A page\noutput-file: index.html\n---'
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[head, *cells]), folder/'index.ipynb')
    shutil.copy(ROOT/'_quarto.yml', folder)
    (folder/'styles.css').touch()
    site = {
        'title': 'T',
        'site-url': 'https://example.org/x',
        'description': 'D',
        'repo-branch': 'main',
        'repo-url': 'https://example.org/r',
    }
    (folder / 'nbdev.yml').write_text(
        yaml.safe_dump({'project': {'output-dir': '_docs'}, 'website': site})
    )
    (folder / 'sidebar.yml').write_text(
        yaml.safe_dump({'website': {'sidebar': {'contents': ['index.ipynb']}}})
    )
    return subprocess.run(
        [sys.executable, QUARTO, 'render', '--no-cache'], cwd=folder, capture_output=True, text=True
    )


MARKUP = r'''## A `b`

::: {.callout-warning title="License"}
Read *this*, see [b](https://example.org/x/index.html#a-b).
:::

The weight $w_k$ costs $5 or $6.

$$\sum_k p_k \text{<s>&}$$

```
$x$ ::: [a](index.ipynb)
```'''


def test_quarto_markup(tmp_path):
    new = nbformat.v4
    done = render(
        tmp_path,
        new.new_markdown_cell(MARKUP),
        new.new_code_cell(
            '#| echo: false\nhidden()',
            outputs=[new.new_output('stream', text='\x1b[1mshown\x1b[0m <b>')],
        ),
        new.new_code_cell('#| code-fold: true\n#| code-summary: "More"\nfolded()'),
        new.new_code_cell('#| include: false\nabsent()'),
    )
    assert done.returncode==0, done.stderr
    page = soup(tmp_path/'_docs/index.html').select_one('article')
    assert page.select_one('.admonition.warning .admonition-title').text=='License'
    assert page.select_one('.admonition a')['href']=='index.html#a-b' and page.find(id='a-b')
    assert [m['display'] for m in page.find_all('math')] == [
        'inline',
        'block',
    ] and '<s>&' in page.text
    assert '$5 or $6' in page.text
    assert '$x$ ::: [a](index.ipynb)' in page.text
    assert (
        page.select_one('details summary').text == 'More'
        and 'folded' in page.select_one('details').text
    )
    assert 'shown <b>' in page.select_one('.cell-output').text
    assert not re.search('hidden|absent', page.text)


@pytest.mark.parametrize('here, link, wanted', [
    ('.', 'reference/text.ipynb#x', 'reference/text.md#x'),
    ('.', 'https://example.org/x/', 'index.md'),
    ('reference', 'https://example.org/x/', '../index.md'),
    ('reference', '../01_loss.ipynb', '../loss.md'),
    ('reference', 'https://example.org/x/loss.html#y', '../loss.md#y'),
    ('reference', 'https://example.org/x/reference/text.html', 'text.md'),
    ('reference', './text.ipynb', 'text.md'),
    ('guides', '../live/live.css', '../live/live.css'),
    ('guides', 'gone.ipynb', 'gone.ipynb'),
    ('guides', 'https://example.com/a/../b', 'https://example.com/a/../b'),
    ('guides', 'mailto:a@example.com', 'mailto:a@example.com'),
])
def test_links_between_folders(here, link, wanted):
    "Links to pages become links to their Markdown; other files keep their place, other sites are left alone."
    pages = {
        '.': 'index.md',
        '01_loss.ipynb': 'loss.md',
        'loss.html': 'loss.md',
        'reference/text.ipynb': 'reference/text.md',
        'reference/text.html': 'reference/text.md',
    }
    assert relative(link, here, pages, 'https://example.org/x/') == wanted


def test_dead_link_fails_in_one_line(tmp_path):
    done = render(tmp_path, nbformat.v4.new_markdown_cell('[gone](09_gone.ipynb)'))
    assert done.returncode==1 and '09_gone.ipynb' in done.stderr and done.stderr.count('\n')==1
    assert not (tmp_path/'_docs').exists()


@pytest.fixture(scope='session')
def browser(tmp_path_factory):
    if not CHROMIUM: pytest.skip('no Chromium on PATH (Debian: apt-get install chromium)')
    browser = Browser(tmp_path_factory.mktemp('profile'))
    yield browser
    browser.process.terminate()
    browser.process.wait(10)


@pytest.fixture(scope='session')
def url(site, tmp_path_factory):
    "The site on 127.0.0.1, under the path it has when published."
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    (served := tmp_path_factory.mktemp('served')).joinpath(BASE.strip('/')).symlink_to(site)
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Quiet, directory=served)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}{BASE}'
    server.shutdown()


@pytest.mark.parametrize('page', [*PAGES, '404.html'])
def test_page_opens(browser, url, page):
    "On a phone in the dark, where nothing is wider than the screen, then in the light on a desk, without a new visit."
    browser.open(url + page, width=390, scheme='dark')
    assert browser.troubles == []
    assert browser.js('document.title')
    assert browser.js('document.querySelector("h1").innerText')
    assert browser.js('document.documentElement.scrollWidth') == 390
    assert browser.js('document.body.dataset.mdColorScheme') == 'slate'
    browser.show(width=1280, scheme='light')
    browser.wait(lambda: browser.js('document.body.dataset.mdColorScheme') == 'default')
    assert browser.js('document.documentElement.scrollWidth <= document.documentElement.clientWidth')
    assert browser.troubles == []


OPEN = """Array.from(
  document.querySelectorAll('.md-nav--primary > ul > li.md-nav__item--nested > nav'),
  part => getComputedStyle(part).visibility === 'visible')"""


@pytest.mark.parametrize('page, section', [('index.html', None), ('404.html', None), ('loss.html', None), ('guides/try_it.html', 'Guides'), ('reference/text.html', 'Reference: data'), ('measured/recipe.html', 'Measured')])
def test_shelves_are_folded(browser, url, page, section):
    "The sidebar shows the series on every page, and of the shelves the one that the page stands on."
    browser.open(url + page)
    names = [name for name in SECTIONS if name]
    assert browser.js(OPEN) == [name in ('The series', section) for name in names]


def test_search_reads_what_is_said(site):
    "The index, which every page loads, has the words and the names of the functions, and not each line of code."
    index = (site/'search/search_index.json').read_text('utf8')
    found = json.loads(index)['docs']
    assert 'class_weights' in {section['title'] for section in found}
    assert any('macro-F1' in section['text'] for section in found)
    assert 'np.testing.assert_allclose(' not in index


@pytest.mark.parametrize('words,page', [('label smoothing', 'loss.html'), ('quantization', 'quantization.html'), ('normalize', 'text.html')])
def test_search_answers(browser, url, words, page):
    "Typed into the field, as a reader would: results appear, the page among them, and the first one opens."
    browser.open(url + 'index.html')
    browser.js('document.querySelector(".md-search__input").focus()')
    for letter in words: browser.call('Input.insertText', text=letter)
    found = (
        'Array.from(document.querySelectorAll(".md-search-result__link"), a => new '
        'URL(a.href).pathname.split("/").pop())'
    )
    browser.wait(lambda: page in browser.js(found))
    shown = browser.js('document.querySelector(".md-search-result__list").innerText').lower()
    assert words.split()[-1] in shown and browser.troubles==[]
    assert browser.js('document.querySelector(".md-search-result__link").checkVisibility()')


CONTRAST = (Path(__file__).parent/'contrast.js').read_text('utf8')
TOKENS = """# a comment
@decorator
class A(ValueError):
    "docstring"
    def f(self, x:int=0x1F)->bool: return not (x > 1.5e-3 and f'{x!r}\\n' != b"y") or None is print(len([*range(3)]))
try: import os
except Exception as e: raise
"""


def dim(found):
    return [
        f"{b['ratio']:.2f} {b['color']} on {b['under']}: {b['what']} {b['text']!r}"
        for b in found['bad']
    ]


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('page', ['index.html', 'loss.html', 'evaluation.html', 'reference/predict.html', 'quantization.html', 'reference/command.html', 'guides/deployment.html', 'guides/own_data.html', '404.html'])
def test_contrast(browser, url, page, scheme):
    "All text that is visible stands out from what is under it as WCAG 2 asks for (AA): 4.5 to 1, 3 to 1 where it is large."
    browser.open(url + page, scheme=scheme)
    found = browser.js(CONTRAST)
    assert found['texts'] > (10 if page == '404.html' else 20)
    assert dim(found) == []
    if page!='404.html': assert found['kinds'].get('a') and found['kinds'].get('p')


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_contrast_of_everything(browser, tmp_path, scheme):
    "A page with what no page may have today: each kind of callout, every color of code in four languages, a table, maths, a quotation."
    new = nbformat.v4
    table = (
        '<div><table border="1" '
        'class="dataframe"><thead><tr><th></th><th>a</th></tr></thead><tbody><tr><th>0</th><td>1.5</td></tr></tbody></table></div>'
    )
    callouts = '\n'.join(
        f'::: {{.callout-{k}}}\nA *{k}* with `code` and a [link](index.ipynb).\n:::\n'
        for k in ('note', 'tip', 'warning', 'caution', 'important')
    )
    blocks = '\n'.join([
        '```sh\nemotion train --set "a=$B" | head -1  # comment\n```',
        '```yaml\na: {b: [1, true, "x"]}  # comment\n```',
        '```js\nconst a = /x+/g.test(`y`) ? null : new Map();  // comment\n```',
        '> A quotation with `code`.\n\n| a | b |\n|---|---|\n| `c` | [d](index.ipynb) |\n\n$w_k$',
    ])
    done = render(
        tmp_path,
        new.new_markdown_cell(f'## Heading\n\n{callouts}'),
        new.new_markdown_cell(blocks),
        new.new_code_cell(
            TOKENS,
            outputs=[
                new.new_output('stream', text='printed'),
                new.new_output('display_data', data={'text/html': table}),
            ],
        ),
        new.new_code_cell('#| code-fold: true\nfolded()'),
    )
    assert done.returncode==0, done.stderr
    browser.open((tmp_path/'_docs/index.html').as_uri(), scheme=scheme)
    found = browser.js(CONTRAST)
    assert (
        dim(found) == []
        and {
            '.admonition', 'code', 'span', 'td', 'th', 'blockquote', 'summary', 'a',
            '.cell-output',
        }
        <= found['kinds'].keys()
    ), found['kinds']


def test_contrast_is_measured(browser, tmp_path):
    "The measure itself, on colors whose ratio is known: gray 118 on white is just under 4.5."
    (tmp_path / 'a.html').write_text(
        '<body style="background:#fff"><p style="color:#767676">passes</p><p style="color:#777">fails</p><p style="color:#777;font-size:24px">large</p>'
        '<p style="color:#000;opacity:.5">faded</p><div style="background:rgba(0,0,0,.9)"><p style="color:#444">dark</p></div><details><p style="color:#ccc">folded</p></details><p style="color:#fff;display:none">no</p>'
    )
    browser.open((tmp_path/'a.html').as_uri())
    found = browser.js(CONTRAST)
    assert [b['text'] for b in found['bad']] == [
        'fails',
        'faded',
        'dark',
        'folded',
    ] and 4.47 < found['bad'][0]['ratio'] < 4.5
