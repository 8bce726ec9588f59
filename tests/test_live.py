"""The live page: the same normaliser, tokens and probabilities in a browser as in Python, and what a reader sees and hears."""
import csv, functools, http.server, json, os, random, re, runpy, shutil, subprocess, sys, threading, unicodedata

import numpy as np, pytest
from conftest import ROOT
# fixtures: one site for both files
from test_site import BASE, CONTRAST, browser, built, dim, site, soup, url

from emotion_detection.data_mapping import LABELS
from emotion_detection.predict import EmotionPredictor
from emotion_detection.text import normalise

pytestmark = pytest.mark.xdist_group('site')

THANKS = 'Cảm ơn bạn nhiều!'
SAMPLES = [
    row['text']
    for name in ('en', 'vi')
    for row in csv.DictReader(
        open(ROOT / f'emotion_detection/samples/{name}.csv', encoding='utf8', newline='')
    )
]
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
]
PIECES = [
    *'aăâeêioôơuưyđ AĐE',
    '\u0300', '\u0301', '\u0323', '&amp;', 'amp;', 'lt;', 'gt;', '&#', '&#x', '0', '8203;',
    '<', '<br>', '/', 'br', '>', '\u200b', '\u200d', '\ufe0f', '👩', '💻', '@', 'u/', '://',
    'http', 'www.', '\ud83d ', '\x00', '!!!', ' ', '\n',
]


def made_up(count=400, seed=0):
    "Texts of troublesome pieces and of any characters that this Python knows."
    draw = random.Random(seed)
    known = [
        c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ('Cn', 'Cs', 'Co')
    ]
    return [
        ''.join(
            draw.choice(PIECES if draw.random() < 0.8 else known)
            for _ in range(draw.randint(1, 24))
        )
        for _ in range(count)
    ]


READY = "import(new URL('../live/live.js', document.baseURI)).then(live => live.ready)"


@pytest.fixture(scope='module')
def facts(site):
    "What the build says of the live part; only a machine without npm's packages may do without it."
    facts = json.loads((site/'live/live.json').read_text('utf8'))
    if not facts['built'] and not os.environ.get('CI'): pytest.skip(facts['why'])
    assert facts['built'], facts['why']
    return facts


@pytest.fixture(scope='module')
def predictor(outputs): return EmotionPredictor(outputs/'int8', threads=1)


@pytest.fixture
def page(browser, url, facts):
    browser.open(url + 'guides/try_it.html')
    browser.wait_for(f'{READY}.then(Boolean)')
    return browser


def status(browser): return browser.js('document.getElementById("live-status").textContent')


def ask(browser, function, texts, size=300):
    "A function of the model and a text for each text, as JSON, lone surrogates included."
    out = []
    for part in (texts[i:i+size] for i in range(0, len(texts), size)):
        given = json.dumps(json.dumps(part))  # ASCII: half a character does not pass the wire
        out += json.loads(
            browser.wait_for(
                f'{READY}.then(async model => {{ const out = []; for (const text of '
                f'JSON.parse({given})) out.push(await ({function})(model, text)); return '
                f'JSON.stringify(out) }})'
            )
        )
    return out


def different(texts, here, there):
    return [(t, h, p) for t,h,p in zip(texts, here, there, strict=True) if h != p]


@pytest.mark.parametrize('texts', [SAMPLES, NASTY, made_up()], ids=['samples', 'nasty', 'made up'])
def test_normaliser(page, texts):
    assert (
        different(
            texts, ask(page, '(model, text) => model.normalise(text)', texts), map(normalise, texts)
        )
        == []
    )


@pytest.mark.parametrize('texts', [SAMPLES, NASTY, made_up()], ids=['samples', 'nasty', 'made up'])
def test_tokens(page, predictor, texts):
    here = ask(
        page,
        '(model, text) => { const { ids, tokens, all } = model.encode(text); return [ids, '
        'tokens.length, tokens.length < all] }',
        texts,
    )
    there = [[ids, tokens, cut] for (ids,),tokens,cut in map(predictor._windows, texts)]
    assert different(texts, here, there)==[]


@pytest.mark.parametrize('texts', [SAMPLES, NASTY], ids=['samples', 'nasty'])
def test_probabilities(page, predictor, texts):
    here = ask(
        page,
        '(model, text) => model.answer(text).then(a => [a.label, Object.values(a.scores)])',
        texts,
    )
    there = predictor.probs(texts)
    gaps = np.abs(np.array([p for _,p in here]) - there).max(1)
    print(
        f'largest difference {gaps.max():.1e}; above 1e-6: {(gaps > 1e-6).sum()}, above 1e-3: '
        f'{(gaps > 1e-3).sum()} of {len(texts)}'
    )
    # an activation may fall into the next of its 256 steps
    assert np.median(gaps) < 1e-6 and (gaps > 1e-3).mean() <= .002 and gaps.max() < .01
    assert (
        np.mean([
            label != LABELS[best] for (label, _), best in zip(here, there.argmax(1), strict=True)
        ])
        <= 0.002
    )
    if THANKS in texts:
        assert gaps[texts.index(THANKS)] <= 1e-3 and here[texts.index(THANKS)][0]=='positive'


def test_what_runs_is_the_quickstart(site, outputs, facts):
    for name in ('manifest.json', 'tokenizer.json', 'onnx/model_quantized.onnx'):
        assert (site/'live/model'/name).read_bytes()==(outputs/'int8'/name).read_bytes()
    assert facts['megabytes'] == pytest.approx(
        sum(
            p.stat().st_size
            for p in (site / 'live').rglob('*')
            if p.is_file() and p.parent.name != 'licences'
        )
        / 1e6,
        abs=0.1,
    )
    assert facts['megabytes'] < 6


def test_only_the_quickstart_is_published(outputs, tmp_path):
    "A model of other data, which may not be passed on, is never put into the site."
    is_quickstart = runpy.run_path(str(ROOT/'tools/live/build.py'))['is_quickstart']
    assert (
        is_quickstart(outputs / 'int8')
        and not is_quickstart(outputs / 'onnx')
        and not is_quickstart(tmp_path)
    )
    other = shutil.copytree(outputs/'int8', tmp_path/'int8')
    summary = json.loads((other/'training_summary.json').read_text('utf8'))
    summary['config']['data']['phase2']['source'] = 'uitnlp/vigoemotions'
    (other/'training_summary.json').write_text(json.dumps(summary), 'utf8')
    assert not is_quickstart(other)


def type_text(browser, text):
    "Into the box, in place of what stands there."
    browser.js('document.getElementById("live-text").focus()')
    browser.press('a', modifiers=2, commands=['selectAll'])
    browser.press('Backspace', windowsVirtualKeyCode=8)
    for c in text: browser.press(c, c)


def shown(browser):
    bars = browser.js(
        'JSON.stringify(Array.from(document.querySelectorAll("#live dl > div"), row => '
        '[row.querySelector("dt").textContent, row.querySelector(".live-value").textContent, '
        'row.querySelector(".live-fill").style.width]))'
    )
    return {label: (value, width) for label, value, width in json.loads(bars)}, browser.js(
        'document.getElementById("live-answer").textContent'
    )


@pytest.mark.parametrize('text', [THANKS, 'I am so angry right now'])
def test_typing(page, predictor, text):
    assert page.js('document.getElementById("live-text").labels[0].innerText')
    type_text(page, text)
    expected = predictor(text)
    page.wait(lambda: shown(page)[1]==f"{expected['label']}, {expected['score']:.2f}")
    bars, _ = shown(page)
    assert expected['label']==('positive' if text.startswith('C') else 'negative')
    for label,p in expected['scores'].items():
        value, width = bars[label]
        assert abs(float(value) - p) < .0061 and abs(float(width.rstrip('%')) - 100*p) < .11
    assert re.fullmatch(
        rf"{expected['tokens']} tokens, [\d.]+ ms",
        page.js('document.getElementById("live-facts").textContent'),
    )
    pieces = predictor.tokenizer.encode(normalise(text)).tokens[1:-1]
    assert (
        json.loads(
            page.js(
                'JSON.stringify(Array.from(document.querySelectorAll("#live-tokens li"), li => '
                'li.textContent))'
            )
        )
        == pieces
    )
    assert page.troubles==[]


def test_keys_alone(page):
    "From the box to an example and back to an empty box, without a mouse."
    type_text(page, 'x')
    page.press('Tab', windowsVirtualKeyCode=9)
    assert page.js('document.activeElement.tagName')=='BUTTON'
    page.press('Enter', '\r', windowsVirtualKeyCode=13)
    assert page.js('document.getElementById("live-text").value') == page.js(
        'document.activeElement.textContent'
    )
    type_text(page, '')
    page.wait(lambda: shown(page)[1]=='Type something.')
    assert {value for value,_ in shown(page)[0].values()}=={'–'}


@pytest.mark.parametrize('width,scheme', [(390, 'light'), (390, 'dark'), (1280, 'light'), (1280, 'dark')])
def test_nothing_jumps(browser, url, facts, width, scheme):
    "The widget keeps its height from the first moment, whatever is typed, and its text can be read."
    browser.open(url + 'guides/try_it.html', width=width, scheme=scheme)
    height = lambda: browser.js('document.getElementById("live").offsetHeight')
    heights = [height()]
    browser.wait_for(f'{READY}.then(Boolean)')
    for text in ('Ủa thật hả?', 'một hai ba bốn '*30, ''):
        browser.js(
            f'{{ const box = document.getElementById("live-text"); box.value = '
            f'{json.dumps(text)}; box.dispatchEvent(new Event("input")) }}'
        )
        browser.wait(
            lambda: (
                browser.js('document.getElementById("live-tokens").children.length') == 0
                if not text
                else shown(browser)[1] not in ('', 'Type something.')
            )
        )
        heights.append(height())
        if text.startswith('một'):
            browser.wait(
                lambda: browser.js('document.getElementById("live-facts").textContent').startswith(
                    'Cut: the first 46 of '
                )
            )
    assert len(set(heights))==1, heights
    assert browser.js('document.documentElement.scrollWidth') <= width and browser.troubles==[]
    assert dim(browser.js(CONTRAST))==[]


@pytest.fixture
def copy(site, facts, tmp_path):
    "The site again, to be changed, and where it is served."
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    folder = tmp_path/BASE.strip('/')
    shutil.copytree(site, folder)
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Quiet, directory=tmp_path)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f'http://127.0.0.1:{server.server_port}{BASE}guides/try_it.html'
    server.shutdown()


@pytest.mark.parametrize('name', ['model/tokenizer.json', 'model/onnx/model_quantized.onnx', 'vendor/tokenizers.min.js', 'vendor/ort-wasm-simd-threaded.wasm.gz', 'live.json'])
def test_missing_file_is_named(browser, copy, name):
    "A script that imports a missing one is all that a browser names."
    folder, address = copy
    (folder/'live'/name).unlink()
    browser.open(address)
    browser.wait(lambda: 'could not be loaded' in status(browser))
    assert (f'{name} is missing (404)' if 'min.js' not in name else 'module: ') in status(
        browser
    ) and 'reload' in status(browser)
    assert all(
        name in t or 'Failed to load resource' in t or 'net::ERR' in t for t in browser.troubles
    )


def test_other_answers_than_in_python_are_refused(browser, copy):
    folder, address = copy
    manifest = folder/'live/model/manifest.json'
    manifest.write_text(
        re.sub(r'"tolerance": [\d.e-]+', '"tolerance": 1e-9', manifest.read_text('utf8')), 'utf8'
    )
    browser.open(address)
    browser.wait(
        lambda: 'could not be loaded: a probability differs from FP32 by 0.0' in status(browser)
    )
    assert browser.troubles==[]


def test_without_the_registry(browser, copy, tmp_path):
    "The site is whole without npm's packages, and the page says how to get them."
    folder, address = copy
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
        and (folder / 'live/licences/onnxruntime-LICENSE.txt').is_file()
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
    for name in ('normalise.js', 'model.js', 'live.js'):
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
