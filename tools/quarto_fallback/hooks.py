"mkdocs hooks: pandoc's anchors, and maths that needs no script."
import re
from html import escape, unescape
from latex2mathml.converter import convert

_SECTION = re.compile(r'<li class="md-nav__item( md-nav__item--active)? md-nav__item--nested">')
_MATHS = re.compile(r'<(span|div) class="arithmatex">\\[([](.*?)\\[])]</\1>', re.S)


def anchor(title, separator='-'):
    "The id that pandoc, and so Quarto and nbdev's links, give a heading."
    kept = re.sub(r'[^\w\s.-]', '', title.lower())
    return re.sub(r'^[^a-z]+', '', re.sub(r'\s+', separator, kept.strip())) or 'section'


def mathml(found):
    "The MathML of a formula that arithmatex has marked."
    tag, latex = found[1], unescape(found[2])
    formula = convert(latex, display='block' if tag=='div' else 'inline')
    # latex2mathml leaves `<` in \text
    formula = re.sub(
        r'(<mtext[^>]*>)(.*?)(</mtext>)', lambda m: m[1] + escape(unescape(m[2])) + m[3], formula
    )
    return f'<{tag} class="maths">{formula}</{tag}>'


def on_config(config): config.mdx_configs['toc']['slugify'] = anchor


def on_page_content(content, **kwargs): return _MATHS.sub(mathml, content)


def open_series(html):
    "The first section of the sidebar is the series and always open; the theme folds the others."
    opened = r'<li class="md-nav__item\1 md-nav__item--section md-nav__item--nested">'
    return _SECTION.sub(opened, html, count=1)


def on_post_page(output, **kwargs): return open_series(output)


def on_post_template(output_content, **kwargs): return open_series(output_content)  # 404.html
