"""The documentation site as a reader gets it: built once, crawled, and opened in a browser where there is one."""
import ast, functools, http.server, json, os, re, shutil, subprocess, sys, threading
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import nbformat, pytest, yaml
from bs4 import BeautifulSoup
from browser import CHROMIUM, Browser

ROOT = Path(__file__).resolve().parents[1]
QUARTO = ROOT/'tools/quarto_fallback/quarto'
NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'), key=lambda p: (p.stem!='index', p.name))
PAGES = [re.sub(r'^\d+[a-z]?_', '', nb.stem) + '.html' for nb in NOTEBOOKS]
BASE = '/emotion_detection/'
pytestmark = pytest.mark.xdist_group('site')  # one worker builds it once


def sources(root): return {p: p.read_bytes() for folder in ('nbs', 'emotion_detection', 'tools') for p in sorted((root/folder).glob('*.*')) if p.is_file()}


@pytest.fixture(scope='session')
def built(tmp_path_factory, outputs): return build_site(tmp_path_factory.getbasetemp()/'site', outputs)


@functools.cache  # test_live.py asks for the same site
def build_site(folder, outputs):
    "A copy of the sources with the site built by the stand-in, and what was in the copy before."
    root = folder/'repository'
    for name in ('nbs', 'emotion_detection', 'tools'):
        shutil.copytree(ROOT/name, root/name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__', '.*', 'nbdev.yml'))
    for name in ('settings.ini', '_quarto.yml'): shutil.copy(ROOT/name, root)
    shutil.copytree(outputs/'int8', root/'outputs/int8')  # the live page's model, trained once for all tests
    (ROOT/'.cache').mkdir(exist_ok=True)
    (root/'.cache').symlink_to(ROOT/'.cache')  # where its packages from npm are kept
    before = sources(root)
    done = subprocess.run([sys.executable, 'tools/docs.py'], cwd=root, env=os.environ | {'PATH': '/usr/bin:/bin'}, capture_output=True, text=True)
    assert done.returncode==0, done.stderr
    return root, before


@pytest.fixture(scope='session')
def site(built): return built[0]/'_docs'


@functools.cache
def soup(path): return BeautifulSoup(path.read_text('utf8'), 'html.parser')


def addresses(page):
    "Tag, attribute's value of everything on a page that points somewhere."
    return [(tag, tag[name]) for name in ('href', 'src', 'srcset', 'poster') for tag in soup(page).find_all(attrs={name: True})]


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.stem)
def test_imports_stand_alone(notebook):
    "nbdev_docs runs every cell that imports, without the cells before it: outside exported cells an import cell holds nothing else."
    for cell in nbformat.read(notebook, 4).cells:
        if cell.cell_type!='code' or re.search(r'^#\| *(export|eval: *false)|nbdev_export\(', cell.source, re.M): continue
        try: tree = ast.parse(cell.source)
        except SyntaxError: continue  # a magic or a shell command
        imports = (ast.Import, ast.ImportFrom)
        assert all(isinstance(n, imports) for n in tree.body) or not any(isinstance(n, imports) for n in ast.walk(tree)), cell.source


def test_build_leaves_the_sources_alone(built):
    root, before = built
    changed = {p.name for p,data in sources(root).items() if before.get(p)!=data}
    assert changed <= {'nbdev.yml'}


def test_sidebar_is_the_series(site):
    links = [a['href'] for a in soup(site/'index.html').select('.md-nav--primary .md-nav__item a.md-nav__link[href]') if not a['href'].startswith('#')]
    assert [l if l!='./' else 'index.html' for l in dict.fromkeys(links)]==PAGES


@pytest.mark.parametrize('page', PAGES)
def test_links_resolve(site, page):
    for tag,address in addresses(site/page):
        if urlsplit(address).scheme or tag.get('rel')==['canonical']: continue
        path, _, anchor = unquote(urljoin(BASE + page, address)).partition('#')
        target = site/(path.removeprefix(BASE) or 'index.html')
        assert target.is_file(), address
        assert not anchor or anchor.startswith('__') or soup(target).find(id=anchor), address


@pytest.mark.parametrize('page', [*PAGES, '404.html'])
def test_nothing_comes_from_outside(site, page):
    site_url = yaml.safe_load((site.parent/'nbs/nbdev.yml').read_text())['website']['site-url']
    for tag,address in addresses(site/page):
        if tag.get('rel')==['canonical']: continue
        assert tag.name=='a' or not urlsplit(address).netloc, tag
        assert not address.startswith(site_url), f'{address} should be a relative link'


def test_styles_load_nothing_from_outside(site):
    for css in site.rglob('*.css'): assert not re.search(r'url\(["\']?(https?:)?//|@import', css.read_text('utf8')), css


@pytest.mark.parametrize('notebook,page', list(zip(NOTEBOOKS, PAGES)), ids=PAGES)
def test_figures_are_shown(site, notebook, page):
    cells = [c for c in nbformat.read(notebook, 4).cells if c.cell_type=='code' and not re.search(r'^#\| *(hide\b|include: *false|output: *false)', c.source, re.M)]
    figures = sum('image/png' in o.get('data', {}) for c in cells for o in c.outputs)
    assert len(soup(site/page).select('article img[src$=".png"]'))==figures


def test_search_knows_the_words(site):
    docs = json.loads((site/'search/search_index.json').read_text('utf8'))['docs']
    assert any('normalise' in d['text'] and d['location'].startswith('text.html') for d in docs)


@pytest.mark.parametrize('root', ['rendered', 'committed'])
def test_readme_is_the_index(built, root):
    root = built[0] if root=='rendered' else ROOT
    text = (root/'README.md').read_text('utf8')
    for cell in nbformat.read(ROOT/'nbs/index.ipynb', 4).cells:
        if cell.cell_type=='markdown': assert all(h in text for h in re.findall(r'^#+ .*', cell.source, re.M))
    for address in re.findall(r'\]\(([^)\s#]+)|src="([^"]+)', text):
        address = ''.join(address)
        assert urlsplit(address).scheme or (root/address).exists(), address


def render(folder, *cells, **entry):
    "Run the stand-in on a site of one notebook."
    head = nbformat.v4.new_raw_cell('---\ntitle: One\ndescription: A page\noutput-file: index.html\n---')
    nbformat.write(nbformat.v4.new_notebook(cells=[head, *cells]), folder/'index.ipynb')
    shutil.copy(ROOT/'_quarto.yml', folder)
    (folder/'styles.css').touch()
    site = {'title': 'T', 'site-url': 'https://example.org/x', 'description': 'D', 'repo-branch': 'main', 'repo-url': 'https://example.org/r'}
    (folder/'nbdev.yml').write_text(yaml.safe_dump({'project': {'output-dir': '_docs'}, 'website': site}))
    (folder/'sidebar.yml').write_text(yaml.safe_dump({'website': {'sidebar': {'contents': ['index.ipynb']}}}))
    return subprocess.run([sys.executable, QUARTO, 'render', '--no-cache'], cwd=folder, capture_output=True, text=True)


MARKUP = r'''## A `b`

::: {.callout-warning title="Licence"}
Read *this*, see [b](https://example.org/x/index.html#a-b).
:::

The weight $w_k$ costs $5 or $6.

$$\sum_k p_k \text{<s>&}$$

```
$x$ ::: [a](index.ipynb)
```'''


def test_quarto_markup(tmp_path):
    new = nbformat.v4
    done = render(tmp_path,
        new.new_markdown_cell(MARKUP),
        new.new_code_cell('#| echo: false\nhidden()', outputs=[new.new_output('stream', text='\x1b[1mshown\x1b[0m <b>')]),
        new.new_code_cell('#| code-fold: true\n#| code-summary: "More"\nfolded()'),
        new.new_code_cell('#| include: false\nabsent()'))
    assert done.returncode==0, done.stderr
    page = soup(tmp_path/'_docs/index.html').select_one('article')
    assert page.select_one('.admonition.warning .admonition-title').text=='Licence'
    assert page.select_one('.admonition a')['href']=='index.html#a-b' and page.find(id='a-b')
    assert [m['display'] for m in page.find_all('math')]==['inline', 'block'] and '<s>&' in page.text
    assert '$5 or $6' in page.text
    assert '$x$ ::: [a](index.ipynb)' in page.text
    assert page.select_one('details summary').text=='More' and 'folded' in page.select_one('details').text
    assert 'shown <b>' in page.select_one('.cell-output').text
    assert not re.search('hidden|absent', page.text)


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
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=served))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}{BASE}'
    server.shutdown()


@pytest.mark.parametrize('page', [*PAGES, '404.html'])
def test_page_opens(browser, url, page):
    browser.open(url + page)
    assert browser.troubles==[] and browser.js('document.title') and browser.js('document.querySelector("h1").innerText')


@pytest.mark.parametrize('page', PAGES)
def test_page_fits_a_phone(browser, url, page):
    browser.open(url + page, width=390, scheme='dark')
    assert browser.troubles==[] and browser.js('document.documentElement.scrollWidth')==390
    assert browser.js('document.body.dataset.mdColorScheme')=='slate'


def test_search_answers(browser, url):
    browser.open(url + 'index.html?q=normalise')
    browser.wait(lambda: browser.js('document.querySelectorAll(".md-search-result__item").length'))
    assert browser.troubles==[]
