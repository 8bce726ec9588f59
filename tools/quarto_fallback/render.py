"The notebooks that nbdev has processed, as a site (nbconvert, then mkdocs) or as a README (nbconvert)."
import ast, posixpath, re, shutil, subprocess, sys, tempfile
from pathlib import Path
from urllib.parse import urlsplit

import nbformat, yaml
from nbconvert import MarkdownExporter

HERE = Path(__file__).parent
_OPTION = re.compile(r'^#\|(.*)\n?', re.M)
_DIV = re.compile(r'^:::+ *(?:\{(.*)\}|([\w-]+))? *$')
_FENCE = re.compile(r'^ *(```+|~~~+)')
_LINK = re.compile(r'(\]\(|(?:src|href)=")((?!#)[^)"\s]+)')
CALLOUTS = {
    'note': 'note',
    'tip': 'tip',
    'warning': 'warning',
    'caution': 'danger',
    'important': 'info',
}
FEATURES = [
    'navigation.footer', 'navigation.top', 'toc.follow',
    'content.code.copy', 'search.highlight', 'search.suggest',
]
PALETTE = [  # as the system has it, until the reader chooses
    dict(
        media=f'(prefers-color-scheme{value})',
        scheme=scheme,
        primary='teal',
        accent='teal',
        toggle=dict(icon=f'material/{icon}', name=then),
    )
    for value, scheme, icon, then in (
        ('', 'default', 'brightness-auto', 'Light colors'),
        (': light', 'default', 'weather-sunny', 'Dark colors'),
        (': dark', 'slate', 'weather-night', "The system's colors"),
    )
]
EXTENSIONS = [
    'admonition', 'attr_list', 'footnotes', 'md_in_html', 'tables',
    {'toc': {'permalink': True}},
    'pymdownx.highlight',
    'pymdownx.superfences',
    'pymdownx.tilde',
    {'pymdownx.tasklist': {'custom_checkbox': True}},
    {
        'pymdownx.arithmatex': {
            'generic': True,
            'inline_syntax': ['dollar'],
            'block_syntax': ['dollar'],
        }
    },
]


class RenderError(Exception): "What is wrong, in a line for the user."


def project(folder):
    "`_quarto.yml` and its metadata files as one dict."
    def read(name):
        try: return yaml.safe_load((folder/name).read_text('utf8'))
        except FileNotFoundError:
            raise RenderError(f'there is no {name} in {folder.name}/') from None
    def merge(a, b):
        return a | {
            k: merge(a[k], v) if isinstance(v, dict) and isinstance(a.get(k), dict) else v
            for k, v in b.items()
        }
    conf = read('_quarto.yml')
    for name in conf.get('metadata-files', []):
        # nbdev_readme hides the sidebar, to have one page rendered
        if (folder/f'{name}.bak').exists() and not (folder/name).exists(): continue
        conf = merge(conf, read(name))
    return conf


def load(path):
    "A processed notebook without its front matter cell, and the front matter."
    nb, meta = nbformat.read(path, 4), {}
    if nb.cells and nb.cells[0].cell_type=='raw':
        meta = next(yaml.safe_load_all(nb.cells.pop(0).source.strip()))
    if 'title' not in meta: raise RenderError(f'{path.name} has no first cell with a `# Title`')
    return nb, meta


def figure_title(source):
    "The title that a cell gives its figure in so many words."
    try: calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    except SyntaxError: return ''
    for call in calls:
        name = getattr(call.func, 'attr', getattr(call.func, 'id', ''))
        given = [k.value for k in call.keywords if k.arg == 'title'] + (
            call.args if name in ('set_title', 'suptitle') or name.startswith('plot_') else []
        )
        for value in given:
            if (
                isinstance(value, ast.Constant)
                and isinstance(value.value, str)
                and len(value.value) > 15
            ):
                return value.value
    return ''


def first_sentence(markdown):
    "What the last paragraph of a text begins with, without markup."
    prose = [
        p for p in re.split(r'\n\s*\n', markdown) if not re.match(r'\s*(#|\||```|:::|\$\$)', p)
    ]
    plain = (
        ' '.join(re.sub(r'\[([^]]*)]\([^)]*\)|[`*$]', r'\1', prose[-1]).split()) if prose else ''
    )
    return re.match(r'(.+?[.!?:](?= |$)|.*)', plain)[0].rstrip(':')


def apply_options(nb):
    "Do as the `#| key: value` lines say and take them out."
    said, cells = '', []
    for cell in nb.cells:
        if cell.cell_type=='markdown': said = first_sentence(cell.source) or said
        if cell.cell_type!='code':
            cells.append(cell)
            continue
        options = (
            yaml.safe_load('\n'.join(m for m in _OPTION.findall(cell.source) if ': ' in m)) or {}
        )
        cell.source = _OPTION.sub('', cell.source).strip('\n')
        # Quarto knows the first of these only
        alt = options.get('fig-alt') or figure_title(cell.source) or said
        cell.metadata |= {'options': options, 'alt': re.sub(r'[][\s]+', ' ', alt)}
        if options.get('output') is False: cell.outputs = []
        if options.get('echo') is False or not cell.source:
            cell.metadata['transient'] = {'remove_source': True}
        for output in cell.outputs:
            if 'text/html' in output.get('data', {}):
                output.data['text/html'] = plain_table(output.data['text/html'])
        if options.get('include') is not False: cells.append(cell)
    nb.cells = cells


def plain_table(html):
    "A DataFrame's HTML without its own style, so that the page's applies."
    return re.sub(r'<style scoped>.*?</style>\n?', '', html, flags=re.S).replace(
        ' border="1" class="dataframe"', ''
    )


def to_markdown(nb, stem, site):
    "The Markdown of a notebook, for the site or for GitHub, and its figures as a dict from relative path to bytes."
    apply_options(nb)
    exporter = MarkdownExporter(template_file=str(HERE/'cells.md.j2'))
    text, resources = exporter.from_notebook_node(
        nb, {'unique_key': 'cell', 'output_files_dir': f'{stem}_files', 'site': site}
    )
    return re.sub(r'\n{4,}', '\n\n', text), resources['outputs']


def write_files(folder, files):
    for name,data in files.items():
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        (folder/name).write_bytes(data)


def by_line(text, prose, code=lambda line: line):
    "`text` with one function applied to each line of prose and another to each line of a fenced block."
    out, fence = [], ''
    for line in text.splitlines():
        mark = _FENCE.match(line)
        out.append(line if mark else (code if fence else prose)(line))
        if mark and not fence: fence = mark[1]
        elif mark and mark[1].startswith(fence): fence = ''
    return '\n'.join(out) + '\n'


def div(line):
    "Quarto's fenced divs and callouts as HTML, with Markdown inside."
    if not (m := _DIV.match(line)): return line
    attributes = m[1] or (f'.{m[2]}' if m[2] else '')
    if not attributes: return '\n</div>\n'
    classes = re.findall(r'\.([\w-]+)', attributes)
    title = re.search(r'title="(.*?)"', attributes)
    kind = next((c.removeprefix('callout-') for c in classes if c.startswith('callout-')), None)
    if not kind: return f'\n<div class="{" ".join(classes)}" markdown="1">\n'
    name = title[1] if title else kind.capitalize()
    return (
        f'\n<div class="admonition {CALLOUTS[kind]}" markdown="1">\n<p '
        f'class="admonition-title">{name}</p>\n'
    )


def unlinked(line):
    "A line of code without the links that nbdev puts into the signatures it shows."
    return re.sub(r'\[(`[^`]+`)\]\(http[^)]*\)', r'\1', line)


def readme(folder, notebook, name):
    "Render one notebook as GitHub's Markdown into the output folder, its figures beside it."
    nb, meta = load(folder/notebook)
    text, files = to_markdown(nb, notebook.stem, site=False)
    here = lambda m: m[1] + (f'nbs/{m[2]}' if (folder/m[2].split('#')[0]).is_file() else m[2])
    text = by_line(text, lambda line: _LINK.sub(here, line), unlinked)
    out = folder/project(folder)['project']['output-dir']
    lead = f"> {meta['description']}\n\n" if 'description' in meta else ''
    write_files(out, files | {name: f"# {meta['title']}\n\n{lead}{text.strip()}\n".encode()})


def relative(link, here, pages, address):
    "A link of a page in the folder `here`, to one of `pages` or to another file of the site, as mkdocs wants it."
    parts = urlsplit(link)
    if not link.startswith(address) and (parts.scheme or parts.netloc): return link
    target, mark, anchor = link.removeprefix(address).partition('#')
    if not link.startswith(address): target = posixpath.join(here, target)
    target = posixpath.normpath(target)
    return posixpath.relpath(pages.get(target, target), here) + mark + anchor


def page(path, here, pages, address):
    "The Markdown page of a notebook, and its figures."
    nb, meta = load(path)
    stem = Path(meta['output-file']).stem
    def inside(m): return m[1] + relative(m[2], here, pages, address)
    text, files = to_markdown(nb, stem, site=True)
    text = by_line(text, lambda line: _LINK.sub(inside, div(line)), unlinked)
    head = yaml.safe_dump(
        {'title': meta['title'], 'description': meta.get('description', '')}, allow_unicode=True
    )
    lead = f"{meta['description']}\n{{: .lead }}\n\n" if 'description' in meta else ''
    return files | {f'{stem}.md': f"---\n{head}---\n\n# {meta['title']}\n\n{lead}{text}".encode()}


def mkdocs_config(conf, pages, docs):
    "What mkdocs needs to know, from what Quarto would be told."
    web, html = conf['website'], conf['format']['html']
    def nav(items): return [entry(i) for i in items]
    def entry(i):
        if isinstance(i, str): return pages.get(i, i)
        return (
            {i['section']: nav(i['contents'])} if 'section' in i else {i['text']: entry(i['href'])}
        )
    return dict(
        site_name=web['title'],
        site_description=web['description'],
        site_url=web['site-url'] + '/',
        repo_url=web['repo-url'],
        docs_dir=str(docs),
        use_directory_urls=False,
        nav=nav(web['sidebar']['contents']),
        theme=dict(
            name='material',
            custom_dir=str(HERE / 'overrides'),
            font=False,
            features=FEATURES,
            palette=PALETTE,
        ),
        extra_css=[html['css'], 'material.css'],
        extra=dict(generator=False),
        plugins=['search'],
        hooks=[str(HERE / 'hooks.py')],
        markdown_extensions=EXTENSIONS,
        validation=dict.fromkeys(
            ['anchors', 'absolute_links', 'unrecognized_links', 'omitted_files'], 'warn'
        ),
    )


def site(folder):
    "Render every notebook of `folder` into the site's output folder."
    conf = project(folder)
    address = conf['website']['site-url'] + '/'
    notebooks = sorted(folder.rglob('*.ipynb'))
    pages = {'.': 'index.md'}
    for nb in notebooks:
        name = nb.relative_to(folder)
        built = name.with_name(load(nb)[1]['output-file'])
        pages[name.as_posix()] = pages[built.as_posix()] = built.with_suffix('.md').as_posix()
    with tempfile.TemporaryDirectory() as tmp:
        docs, built, config = (Path(tmp)/name for name in ('docs', 'site', 'mkdocs.yml'))
        shutil.copytree(
            folder,
            docs,
            ignore=shutil.ignore_patterns('*.ipynb', '*.yml', '*.bak', '*.log', '_*', '.*'),
        )
        shutil.copy(HERE/'material.css', docs)
        for nb in notebooks:
            here = nb.parent.relative_to(folder)
            write_files(docs/here, page(nb, here.as_posix(), pages, address))
        config.write_text(yaml.safe_dump(mkdocs_config(conf, pages, docs)), 'utf8')
        command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-f', config, '-d', built]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            troubles = (
                re.findall(r'^(?:WARNING|ERROR) +- +(.*)', done.stderr, re.M)
                or done.stderr.strip().splitlines()[-1:]
            )
            raise RenderError('; '.join(troubles))
        out = folder/conf['project']['output-dir']
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(built, out)
