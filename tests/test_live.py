"""The live page: the same tokens and nearly the same probabilities as in Python, and what a reader sees and hears."""
import base64, functools, http.server, json, os, random, re, runpy, shutil, subprocess, sys
import threading, unicodedata
from pathlib import Path

import numpy as np, pytest
from conftest import ROOT
# fixtures: one site for both files
from test_site import BASE, CONTRAST, browser, built, dim, site, soup, url

from tokenizers import normalizers

from emotion_detection.artifact import update_manifest
from emotion_detection.files import InputError
from emotion_detection.predict import EmotionPredictor
from emotion_detection.text import normalize

sys.path.insert(0, str(ROOT/'tools/live'))
from measure import (
    LOAD, RELEASED, ask, browser_probs, differences, nudged_probs, sample_texts,
)

pytestmark = pytest.mark.xdist_group('site')

THANKS = 'Cảm ơn bạn nhiều!'
SAMPLES = sample_texts('en', 'vi')
NASTY = [
    THANKS, '', ' ', '\u200b\n', '\x00\x01', 'a', '?',
    unicodedata.normalize('NFD', 'Tiếng Việt hay quá, Đặng Thị Ngọc Ánh ơi'),
    'ca\u0309\u200bm o\u031b\u200bn',
    'zero\u200bwidth\u200c \u2060joiner\ufeff soft\u00adhyphen \u202eturned\u202c',
    'một<br>hai<br />ba</br>bốn< BR >năm<\u00a0br\x85/>sáu<ʙr>', '<br',
    '&lt;br&gt; &amp;lt;br&amp;gt;',
    '&' + 'amp;' * 40 + 'lt;br&gt;',
    '&nbsp;đẹp&nbsp;&notit; &not &hellip;&hellip; &NotEqualTilde; &Aacute &eacute;m '
    '&ngE; &constructor; &toString; &__proto__; &;',
    'AT&T R&D a&ampb &Ampb',
    '&#65; &#00065 &#x41; &#128514; &#x1F602; &#8203;a &#1; &#128; &#xD83D; &#1114112; '
    '&#99999999; &#x110000; &#; &#x; &#xfffe; &#13; &#0;',
    '&#' + '9' * 5000 + ';',
    '&#' + '0' * 5000 + '65;',
    '&#x' + 'f' * 400 + ';',
    '👩\u200d💻 ❤\ufe0f\u200d🔥 👍🏽 🇻🇳 x\u200dy 👨\u200d👩\u200d👧\u200d👦 \u200d 🏴\u200d☠\ufe0f '
    '1\ufe0f⃣ ^\u200d`', 'cut \ud83d off', '\ude00\ud83d', '\ud800', '👍\udfff',
    'line one\nline two\r\n'
    'three\ttab\x0bvt\x0cff\x1cfs\x1dgs\x85nel\u2028ls\u2029ps\u3000wide\u00a0nbsp\ufeffbom',
    'một ' * 300,
    'một hai ba bốn năm ' * 10,
    'ab' * 1500,
    '!' * 99,
    'soooooo good 😂😂😂😂😂😂 !!!!!!! 100000 ١١١١١ ____ ………… ⅣⅣⅣⅣⅣ',
    'xem https://vi.example/x?y=1 HTTPſ://a www.b.example WWW.c xhttp://d éhttp://e '
    '\u0345http://f _www.g 5www.h (http://i) http:// www.',
    '@lan_99 me@site.example /u/abc u/ab u/abcd @Đặng_é @\u0301a .@x //u/abcd @@y ಠ@z',
    'ΟΔΥΣΣΕΥΣ ἈΘῆΝΑΙ', 'İstanbul ſ \u212a \u212b ǅ ẞ', 'ﬁ ﬂ Ｆｕｌｌ ① ½',
    '한국어 日本語 ไทย العربية हिन्दी', '▁ a▁b ▁▁ ▁x', 'hello <mask> there<mask>',
    '<s> </s> <unk> <pad>', 'a<s>b', 'hi <S> you',
    'ế' + '\u0301\u0323\u0f73' * 50 + 'ok',
    'TÔI RẤT VUI',
    'ko thich ti nao',
    '[NAME] is my hero',
    '𝓱𝓮𝓵𝓵𝓸 𐐀',
    # what the tokenizer's own table makes of a text: a special token's name, a ligature with a mark
    '＜s＞', '＜unk＞ ＜pad＞', 'a＜mask＞ b', 'ﬁ\u0301 ½\u0323', 'x\u0301' * 40, '㎏㍻㌔ ﷺ',
    '𐞄 𐞑 𠌑',
]
PIECES = [
    *'aăâeêioôơuưyđ AĐE',
    '\u0300', '\u0301', '\u0323', '&amp;', 'amp;', 'lt;', 'gt;', '&#', '&#x', '0', '8203;',
    '<', '<br>', '/', 'br', '>', '\u200b', '\u200d', '\ufe0f', '👩', '💻', '@', 'u/', '://',
    'http', 'www.', '\ud83d ', '\x00', '!!!', ' ', '\n',
]


# the characters that this Python knows
KNOWN = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ('Cn', 'Cs', 'Co')]


def made_up(count=400, seed=0):
    "Texts of troublesome pieces and of any characters."
    draw = random.Random(seed)
    return [
        ''.join(
            draw.choice(PIECES if draw.random() < 0.8 else KNOWN)
            for _ in range(draw.randint(1, 24))
        )
        for _ in range(count)
    ]


@pytest.fixture(scope='module')
def facts(site):
    "What the build says of the live part; only a machine without npm's packages may do without it."
    facts = json.loads((site/'live/live.json').read_text('utf8'))
    if not facts['built'] and not os.environ.get('CI'): pytest.skip(facts['why'])
    assert facts['built'], facts['why']
    return facts


@pytest.fixture(scope='module')
def predictor(): return EmotionPredictor(RELEASED, threads=1)


@pytest.fixture
def unloaded(browser, url, facts):
    "The page before anything is pressed."
    browser.open(url + 'guides/try_it.html')
    browser.wait(lambda: button(browser).startswith('Load the model'))
    return browser


@pytest.fixture
def page(unloaded):
    "The page with its model."
    unloaded.wait_for(f'{LOAD}.then(Boolean)')
    return unloaded


@pytest.fixture
def model(browser, url, facts):
    "A page whose model is asked through its functions; visited anew only where the browser has gone elsewhere."
    there = url + 'guides/try_it.html'
    if browser.js('location.href') != there: browser.open(there)
    browser.wait_for(f'{LOAD}.then(Boolean)')
    return browser


def text_of(browser, part):
    "What a reader sees in a part of the widget; empty when it is hidden."
    return browser.js(f'document.getElementById("live-{part}").innerText')


def status(browser): return text_of(browser, 'status')


def button(browser): return text_of(browser, 'button')


def press(browser, key, code, text='', **more):
    browser.press(key, text, windowsVirtualKeyCode=code, **more)


def different(texts, here, there):
    return [(t, h, p) for t,h,p in zip(texts, here, there, strict=True) if h != p]


def check_tokens(page, predictor, texts):
    "The same ids for every text, as many tokens, and cut where Python cuts."
    function = (
        '(model, text) => model.encode(text).then('
        '({ ids, tokens, all }) => [ids, all, tokens.length < all])'
    )
    there = []
    for text in texts:
        (ids,), _, cut = predictor._windows(text)
        encoding = predictor.tokenizer.encode(normalize(text))
        parts = [encoding, *encoding.overflowing]
        there.append([ids, sum(len(p.ids) - sum(p.special_tokens_mask) for p in parts), cut])
    assert different(texts, ask(page, function, texts), there) == []


DECOMPOSED = [unicodedata.normalize('NFD', text) for text in sample_texts('vi', 'vi_more')]


TEXTS = {'samples': SAMPLES, 'nasty': NASTY, 'made up': made_up(), 'decomposed': DECOMPOSED}


@pytest.mark.parametrize('kind', TEXTS)
def test_normalizer(model, kind):
    texts = TEXTS[kind]
    here = ask(model, '(model, text) => model.normalize(text)', texts)
    assert different(texts, here, map(normalize, texts)) == []


@pytest.mark.parametrize('kind', TEXTS)
def test_tokens(model, predictor, kind): check_tokens(model, predictor, TEXTS[kind])


def test_tokens_of_comments(model, predictor):
    "Thousands of real comments."
    folder = os.environ.get('GOEMOTIONS_DIR')
    if not folder: pytest.skip('GOEMOTIONS_DIR is not set')
    lines = []
    for name in ('train', 'dev', 'test'):
        lines += (Path(folder)/f'{name}.tsv').read_text('utf8').splitlines()
    check_tokens(model, predictor, [line.split('\t')[0] for line in lines[::6]])


def test_character_table_alone(model):
    "Without the steps before it: characters alone and letters with two marks, as `tokenizers` replaces them."
    spec = json.loads((RELEASED/'tokenizer.json').read_text('utf8'))
    marks = [c for c in KNOWN if unicodedata.category(c)[0] == 'M']
    draw = random.Random(0)
    letters, first, second = (draw.choices(kind, k=5000) for kind in (KNOWN[:2000], marks, marks))
    texts = KNOWN[::7] + list(map(''.join, zip(letters, first, second)))
    table = table_of(spec['normalizer'])
    here = model.wait_for(
        "import(new URL('../live/charsmap.js', document.baseURI)).then(({ makeCharsmap }) => "
        f'{json.dumps(texts)}.map(makeCharsmap({json.dumps(table)})))'
    )
    library = normalizers.Precompiled(base64.b64decode(table))
    assert different(texts, here, map(library.normalize_str, texts)) == []


def table_of(step):
    "The character table in a `normalizer` of tokenizer.json."
    found = [s for s in step.get('normalizers', [step]) if s['type'] == 'Precompiled']
    return found[0]['precompiled_charsmap']


def test_probabilities(model, predictor):
    "As near to Python as a model in Python whose FP32 numbers end on another bit: INT8 magnifies that."
    texts = SAMPLES[::2]
    there = predictor.probs(texts)
    browser = differences(browser_probs(model, texts), there)
    nudged = differences(nudged_probs(predictor, texts), there)
    print(f'browser {browser}\nnudged {nudged}')
    assert browser['other_labels'] <= .002*len(texts)
    assert browser['mean'] <= 2*nudged['mean']
    assert browser['p99'] <= 2*nudged['p99']
    assert browser['largest'] <= 2*nudged['largest']


def test_probabilities_of_nasty_texts(model, predictor):
    here, there = browser_probs(model, NASTY), predictor.probs(NASTY)
    assert differences(here, there)['largest'] < .1


def test_what_runs_is_the_released_model(site, facts):
    loaded = sorted((site/'live/model').rglob('*.*'))
    assert {'manifest.json', 'tokenizer.json', 'canary.json'} < {path.name for path in loaded}
    for path in loaded:
        original = RELEASED/path.relative_to(site/'live/model')
        assert path.is_dir() or path.read_bytes() == original.read_bytes(), path


def test_its_size_is_said(unloaded, site, facts):
    "Before anything is loaded, in the words above the button and on it: all files that it brings."
    sizes = [
        path.stat().st_size
        for path in (site/'live').rglob('*')
        if path.is_file() and path.parent.name != 'licenses' and path.suffix != '.css'
    ]
    assert facts['megabytes'] == pytest.approx(sum(sizes)/1e6, abs=.1)
    assert f"{facts['megabytes']} MB" in status(unloaded)
    assert button(unloaded) == f"Load the model ({facts['megabytes']} MB)"


def test_nothing_is_loaded_before(unloaded):
    "The page alone brings a script, its styles, and the list of what the button would load."
    requests = unloaded.js(
        'performance.getEntriesByType("resource").filter(e => e.name.includes("/live/"))'
        '.map(e => [e.name.split("/live/")[1], e.decodedBodySize])'
    )
    assert {name for name, _ in requests} == {'live.js', 'live.css', 'live.json'}
    assert sum(size for _, size in requests) < 30_000


BUILD = runpy.run_path(str(ROOT/'tools/live/build.py'))


def test_only_open_models_are_published(tmp_path):
    "A model whose training data may not be passed on is never put into the site."
    model = shutil.copytree(RELEASED, tmp_path/'model')
    assert BUILD['check_model'](model)['licenses']
    closed = 'CC BY 4.0, no redistribution'
    update_manifest(model, licenses=['CC0 1.0', closed])
    why = f'may not be published: its training data are licensed {closed}'
    with pytest.raises(InputError, match=why):
        BUILD['check_model'](model)
    update_manifest(model, licenses=[])
    with pytest.raises(InputError, match='under terms that it does not state'):
        BUILD['check_model'](model)


def test_without_the_model_no_site_is_built(tmp_path):
    "In one line, before the minutes that the pages take."
    for name in ('tools', 'emotion_detection'):
        shutil.copytree(ROOT/name, tmp_path/name, ignore=shutil.ignore_patterns('model'))
    command = [sys.executable, 'tools/docs.py']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(
        r'live: \S+/emotion_detection/model is missing, .*; `make model` makes it .*\n', done.stderr
    )
    assert not (tmp_path/'_docs').exists()


def type_text(browser, text):
    "Into the box, in place of what stands there."
    browser.js('document.getElementById("live-text").focus()')
    browser.press('a', modifiers=2, commands=['selectAll'])
    press(browser, 'Backspace', 8)
    for c in text: browser.press(c, c)


def shown(browser):
    "The bars, as label to number and width, and the line above them."
    bars = browser.js(
        'JSON.stringify(Array.from(document.querySelectorAll("#live dl > div"), row => '
        '[row.querySelector("dt").textContent, row.querySelector(".live-value").textContent, '
        'row.querySelector(".live-fill").style.width]))'
    )
    bars = {label: (value, width) for label, value, width in json.loads(bars)}
    return bars, text_of(browser, 'answer')


CLEAR = [(THANKS, 'positive'), ('I am so angry right now', 'negative')]


@pytest.mark.parametrize('text,label', CLEAR)
def test_typing(page, predictor, text, label):
    assert page.js('document.getElementById("live-text").labels[0].innerText')
    # the first text is what stands in the box: its answer must go before it can be awaited
    type_text(page, '')
    page.wait(lambda: shown(page)[1] == 'Type something.')
    type_text(page, text)
    expected = predictor(text)
    assert expected['label'] == label
    pieces = predictor.tokenizer.encode(normalize(text)).tokens[1:-1]
    listed = 'Array.from(document.querySelectorAll("#live-tokens li"), li => li.textContent)'
    page.wait(lambda: page.js(listed) == pieces)
    bars, answer = shown(page)
    assert answer.startswith(f'{label}, ')
    for name, p in expected['scores'].items():
        value, width = bars[name]
        assert float(value) == pytest.approx(p, abs=.06)
        assert float(width.rstrip('%')) == pytest.approx(100*float(value), abs=.51)
    assert re.fullmatch(rf"{expected['tokens']} tokens, [\d.]+ ms", text_of(page, 'facts'))
    assert page.troubles==[]


def test_keys_alone(unloaded):
    "From the button to the box, to an example and back to an empty box, without a mouse."
    unloaded.js('document.getElementById("live-button").focus()')
    press(unloaded, 'Enter', 13, '\r')
    unloaded.wait(lambda: status(unloaded).startswith('Ready'))
    assert unloaded.js('document.activeElement.id') == 'live-text'
    type_text(unloaded, 'x')
    press(unloaded, 'Tab', 9)
    assert unloaded.js('document.activeElement.tagName') == 'BUTTON'
    press(unloaded, 'Enter', 13, '\r')
    chosen = unloaded.js('document.activeElement.textContent')
    assert unloaded.js('document.getElementById("live-text").value') == chosen
    type_text(unloaded, '')
    unloaded.wait(lambda: shown(unloaded)[1]=='Type something.')
    assert {value for value,_ in shown(unloaded)[0].values()}=={'–'}
    assert unloaded.troubles == []


def test_typed_before_it_is_loaded(unloaded):
    "What stands in the box is kept, and answered when the model is there."
    type_text(unloaded, 'thanks')
    assert shown(unloaded)[1] == 'The model is not loaded.'
    unloaded.wait_for(f'{LOAD}.then(Boolean)')
    assert shown(unloaded)[1].startswith('positive, ')
    assert unloaded.js('document.getElementById("live-text").value') == 'thanks'


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [390, 1280])
def test_nothing_jumps(browser, url, facts, width, scheme):
    "The widget keeps its height, whatever is loaded or typed, and its text can be read."
    browser.open(url + 'guides/try_it.html', width=width, scheme=scheme, motion='no-preference')
    heights = []
    def look():
        heights.append(browser.js('document.getElementById("live").offsetHeight'))
        assert dim(browser.js(CONTRAST)) == []
        assert browser.js('document.documentElement.scrollWidth') <= width
    look()
    browser.wait_for(f'{LOAD}.then(Boolean)')
    look()
    for text, words in (('Ủa thật hả?', ''), ('một hai ba bốn '*60, 'Cut: the first '), ('', '')):
        browser.js(
            f'{{ const box = document.getElementById("live-text"); box.value = '
            f'{json.dumps(text)}; box.dispatchEvent(new Event("input")) }}'
        )
        there = '(document.getElementById("live-tokens").children.length > 0)'
        browser.wait(lambda: browser.js(there) == bool(text))
        browser.wait(lambda: text_of(browser, 'facts').startswith(words))
        look()
    assert len(set(heights)) == 1, heights
    assert browser.troubles == []


@pytest.mark.parametrize('width', [390, 1280])
def test_numbers_stand_in_their_rows(browser, url, facts, width):
    "Bold or not, a number takes one line, and the rows are evenly spaced."
    browser.open(url + 'guides/try_it.html', width=width)
    browser.wait_for(f'{LOAD}.then(Boolean)')
    rows = browser.js(
        'Array.from(document.querySelectorAll("#live dl > div"), row => '
        '[row.getBoundingClientRect().top, row.querySelector(".live-value").offsetHeight])'
    )
    tops, heights = zip(*rows)
    assert len(set(np.diff(tops).round())) == 1
    assert max(heights) < 30


PATCHES = """for (const color of ['#2a9d8f', '#888']) {
  const patch = Object.assign(document.createElement('p'), { textContent: color });
  patch.style.cssText = `color: ${color}; font-size: 24px`;
  document.getElementById('live').append(patch);
}"""


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_bars_stand_out(browser, url, scheme):
    "Bars and borders have 3 to 1 against their ground (WCAG 2, 1.4.11), which is what large letters need too."
    styles = (ROOT/'tools/live/live.css').read_text('utf8')
    assert {'#2a9d8f', '#888'} < set(re.findall(r'#[0-9a-f]{3,6}\b', styles))
    browser.open(url + 'guides/try_it.html', scheme=scheme)
    browser.js(PATCHES)
    found = browser.js(CONTRAST)
    assert found['kinds']['p'] > 2 and dim(found) == []


@pytest.fixture
def copy(site, facts, tmp_path):
    "The site again, to be changed, and where it is served; most of the weights wait until `go` is set."
    class Slow(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
        def copyfile(self, source, outputfile):
            if 'model_quantized' in self.path:
                outputfile.write(source.read(300_000))
                outputfile.flush()
                go.wait(20)
            try: super().copyfile(source, outputfile)
            except ConnectionError: pass  # the reader has stopped it
    go = threading.Event()
    go.set()
    folder = tmp_path/BASE.strip('/')
    shutil.copytree(site, folder)
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Slow, directory=tmp_path)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f'http://127.0.0.1:{server.server_port}{BASE}guides/try_it.html', go
    go.set()
    server.shutdown()


def press_load(browser, address):
    browser.open(address)
    browser.wait(lambda: button(browser).startswith('Load the model'))
    browser.js('document.getElementById("live-button").click()')


def test_progress_and_stop(browser, copy, facts):
    "Half way: how much has come, in numbers and on the bar. Stopped, it can be loaded again."
    _, address, go = copy
    go.clear()
    press_load(browser, address)
    total = sum(facts['files'].values())/1e6
    browser.wait(lambda: text_of(browser, 'loaded').endswith(f' of {total:.1f} MB'))
    bar = 'document.getElementById("live-progress").value'
    browser.wait(lambda: browser.js(bar) > .1)
    came = float(text_of(browser, 'loaded').split()[0])
    assert browser.js(bar) == pytest.approx(came/total, abs=.01)
    assert came < total/2
    assert (status(browser), button(browser)) == ('Loading the model …', 'Stop')
    browser.js('document.getElementById("live-button").click()')
    assert status(browser).startswith('The model is not loaded yet.')
    assert text_of(browser, 'loaded') == '' and button(browser).startswith('Load the model')
    go.set()
    browser.js('document.getElementById("live-button").click()')
    browser.wait(lambda: status(browser).startswith('Ready'))
    times = r'Loaded in [\d.]+ s, started in [\d.]+ s, checked in [\d.]+ s'
    assert re.fullmatch(times, text_of(browser, 'loaded').replace('\xa0', ' '))


PARTS = [
    'model/tokenizer.json', 'model/onnx/model_quantized.onnx_data', 'vendor/tokenizers.min.js',
    'vendor/ort-wasm-simd-threaded.wasm.packed', 'worker.js',
]


@pytest.mark.parametrize('name', PARTS)
def test_missing_file_is_named(browser, copy, name):
    "A browser names only the script that imports a missing one. With the file in place, trying again is enough."
    folder, address, _ = copy
    shutil.move(folder/'live'/name, folder/'away')
    press_load(browser, address)
    browser.wait(lambda: 'could not be loaded' in status(browser))
    named = {'worker.js': 'worker.js did not start', 'vendor/tokenizers.min.js': 'module: '}
    assert named.get(name, f'{name} is missing (404)') in status(browser)
    assert all(
        name in t or 'Failed to load resource' in t or 'net::ERR' in t for t in browser.troubles
    )
    assert button(browser) == 'Try again'
    shutil.move(folder/'away', folder/'live'/name)
    browser.js('document.getElementById("live-button").click()')
    browser.wait(lambda: status(browser).startswith('Ready'))


def test_missing_description(browser, copy):
    folder, address, _ = copy
    (folder/'live/live.json').unlink()
    browser.open(address)
    why = 'The model cannot be loaded: live.json is missing (404).'
    browser.wait(lambda: status(browser) == why)
    assert button(browser) == ''


def test_file_that_is_cut_short_is_named(browser, copy):
    folder, address, _ = copy
    tokenizer = folder/'live/model/tokenizer.json'
    size = tokenizer.stat().st_size
    tokenizer.write_bytes(tokenizer.read_bytes()[:1000])
    press_load(browser, address)
    why = f'model/tokenizer.json came with 1000 bytes, not {size}'
    browser.wait(lambda: why in status(browser))


def test_other_answers_than_in_python_are_refused(browser, copy):
    folder, address, _ = copy
    manifest = folder/'live/model/manifest.json'
    text = manifest.read_text('utf8')
    strict = re.sub(r'"tolerance": [\d.e-]+', lambda m: '"tolerance": 0'.ljust(len(m[0])), text)
    manifest.write_text(strict, 'utf8')
    press_load(browser, address)
    browser.wait(
        lambda: 'could not be loaded: a probability differs from FP32 by 0.0' in status(browser)
    )
    assert browser.troubles==[]


def test_without_the_registry(browser, copy, tmp_path):
    "The site is whole without npm's packages, and the page says how to get them."
    folder, address, _ = copy
    env = os.environ | {
        'PYTHONPATH': str(ROOT),
        'EMOTION_LIVE_CACHE': str(tmp_path / 'cache'),
        'npm_config_registry': 'http://127.0.0.1:9/',
        'npm_config_cache': str(tmp_path / 'npm'),
    }
    done = subprocess.run(
        [sys.executable, ROOT / 'tools/live/build.py', folder],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode==0, done.stderr
    assert (
        not (folder / 'live/vendor').exists()
        and (folder / 'live/licenses/onnxruntime-LICENSE.txt').is_file()
    )
    browser.open(address)
    browser.wait(
        lambda: (
            'npm could not fetch its packages' in status(browser)
            and '`make docs`' in status(browser)
        )
    )
    assert browser.troubles==[]


def test_page_shows_the_source(site):
    "What is printed on the page is what runs."
    code = [block.get_text() for block in soup(site/'guides/try_it.html').select('article pre')]
    for name in BUILD['SCRIPTS']:
        assert (ROOT/'tools/live'/name).read_text('utf8').strip() in [c.strip() for c in code], name


def test_packages_are_pinned():
    wanted, lock = (
        json.loads((ROOT / 'tools/live' / name).read_text('utf8'))
        for name in ('package.json', 'package-lock.json')
    )
    assert (
        all(re.fullmatch(r'\d+\.\d+\.\d+', v) for v in wanted['dependencies'].values())
        and lock['packages']['']['dependencies'] == wanted['dependencies']
    )
    assert all(
        'integrity' in p and 'resolved' not in p for name, p in lock['packages'].items() if name
    )
