"""Follow every link of the built site: `python tools/crawl.py` says how many pages and links `_docs/` has, and which links lead nowhere."""
import argparse, functools, sys
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]


@functools.cache
def soup(page): return BeautifulSoup(page.read_text('utf8'), 'html.parser')


def addresses(page):
    "Tag and address of everything on a page that points somewhere."
    return [
        (tag, tag[name])
        for name in ('href', 'src', 'srcset', 'poster')
        for tag in soup(page).find_all(attrs={name: True})
    ]


def inside(page):
    "Addresses within the site."
    return [
        a
        for tag, a in addresses(page)
        if not urlsplit(a).scheme and not urlsplit(a).netloc and tag.get('rel') != ['canonical']
    ]


def broken(site, name, base):
    "Addresses on a page that lead to no file, or to no place in it."
    def lost(address):
        path, _, anchor = unquote(urljoin(base + name, address)).partition('#')
        target = site/(path.removeprefix(base) or 'index.html')
        if target.is_dir(): target = target/'index.html'
        if not path.startswith(base) or not target.is_file(): return True
        return (
            anchor
            and not anchor.startswith('__')
            and target.suffix == '.html'
            and not soup(target).find(id=anchor)
        )
    return [a for a in inside(site/name) if lost(a)]


def crawl(site, base):
    "How many `pages` and `links` within the site there are; those that are `broken`, as pairs of page and address."
    pages = sorted(p.relative_to(site).as_posix() for p in site.rglob('*.html'))
    return {
        'pages': len(pages),
        'links': sum(len(inside(site / p)) for p in pages),
        'broken': [(p, a) for p in pages for a in broken(site, p, base)],
    }


def summary(found):
    return (
        f"{found['pages']} pages, {found['links']:,} links within the site, "
        f"{len(found['broken'])} broken"
    )


def base_of(settings):
    "The path under which the site is published, such as `/emotion_detection/`."
    ini = ConfigParser(delimiters=['='])
    ini.read(settings, 'utf8')
    return ini['DEFAULT']['doc_baseurl'].rstrip('/') + '/'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('site', nargs='?', type=Path, default=ROOT/'_docs')
    found = crawl(parser.parse_args().site, base_of(ROOT/'settings.ini'))
    for page,address in found['broken']: print(f'{page}: {address}', file=sys.stderr)
    print(summary(found))
    return bool(found['broken'])


if __name__ == '__main__': sys.exit(main())
