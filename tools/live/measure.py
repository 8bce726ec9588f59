"""How long the live page takes, and how near it is to Python: `python tools/live/measure.py _docs`

Prints JSON. The built site is served on 127.0.0.1 and opened in headless Chromium; the texts are the
samples of the package.
"""
import argparse, csv, functools, http.server, json, re, sys, tempfile, threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np, onnx, onnxruntime as ort, psutil
from onnx import numpy_helper

from emotion_detection.predict import EmotionPredictor, softmax
from emotion_detection.runtime import run_session

ROOT = Path(__file__).resolve().parents[2]
RELEASED = ROOT/'emotion_detection/model'
# the model of a page, loaded when it is asked for
LOAD = "import(new URL('../live/live.js', document.baseURI)).then(live => live.load())"


def sample_texts(*names):
    "Texts of the bundled samples."
    texts = []
    for name in names:
        path = ROOT/f'emotion_detection/samples/{name}.csv'
        with open(path, encoding='utf8', newline='') as file:
            texts += [row['text'] for row in csv.DictReader(file)]
    return texts


def ask(browser, function, texts, size=100):
    "A function of the model and a text, for each text, as JSON, lone surrogates included."
    out = []
    for start in range(0, len(texts), size):
        # ASCII: half a character does not pass the wire
        given = json.dumps(json.dumps(texts[start:start+size]))
        out += json.loads(
            browser.wait_for(
                f'{LOAD}.then(async model => {{ const out = []; for (const text of '
                f'JSON.parse({given})) out.push(await ({function})(model, text)); '
                'return JSON.stringify(out) })'
            )
        )
    return out


def browser_probs(browser, texts):
    "Probabilities of the page, shape `(N, K)`."
    function = '(model, text) => model.answer(text).then(a => Object.values(a.scores))'
    return np.array(ask(browser, function, texts))


def nudge(graph, seed=0):
    "A graph as bytes, its FP32 numbers (norms, biases, scales) moved by their last bit or not at all."
    model, draw = onnx.load(str(graph)), np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        numbers = numpy_helper.to_array(tensor)
        if numbers.dtype != np.float32 or numbers.size < 2: continue
        moved = numbers*(1 + 2.**-23*draw.choice([-1, 0, 1], numbers.shape))
        tensor.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), tensor.name))
    return model.SerializeToString()


def session_of(source, **settings):
    "A session of a path or of bytes, set up as the predictor's but for `settings`."
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    for name, value in settings.items(): setattr(options, name, value)
    return ort.InferenceSession(
        source,
        options,
        providers=['CPUExecutionProvider'],
        disabled_optimizers=['SkipLayerNormFusion'],
    )


def session_probs(session, predictor, texts):
    "Probabilities of a session, one text at a time as the predictor asks, shape `(N, K)`."
    logits = []
    for text in texts:
        windows, _, _ = predictor._windows(text)
        ids = np.array(windows[:1])                                             # (1, T)
        logits.append(run_session(session, ids, np.ones_like(ids))[0])
    return softmax(logits, predictor.temperature)


def nudged_probs(predictor, texts):
    "What the predictor would say if its FP32 numbers ended on another bit."
    return session_probs(session_of(nudge(predictor.graph)), predictor, texts)


def unfused_probs(predictor, texts):
    "What the predictor would say without fused nodes."
    basic = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = session_of(str(predictor.graph), graph_optimization_level=basic)
    return session_probs(session, predictor, texts)


def differences(one, other):
    "Of two tables `(N, K)`: each text's largest difference, and how many texts get another label."
    gaps = np.abs(one - other).max(1)
    labels = one.argmax(1) != other.argmax(1)
    return {
        'median': float(np.median(gaps)),
        'mean': float(gaps.mean()),
        'p99': float(np.quantile(gaps, .99)),
        'largest': float(gaps.max()),
        'other_labels': int(labels.sum()),
        'texts': len(gaps),
    }


@contextmanager
def serve(folder):
    "A plain web server on 127.0.0.1; gives its address."
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_port}/'
    finally: server.shutdown()


def load_times(browser, address, runs):
    "Seconds of each step of loading, for each of some visits."
    times = []
    for _ in range(runs):
        browser.open(f'{address}guides/try_it.html')
        times.append(browser.wait_for(f'{LOAD}.then(model => model.seconds)'))
    return times


def answer_times(browser, texts):
    "Milliseconds from the question to the answer, for each text."
    timed = (
        '(model, text) => { const begin = performance.now(); '
        'return model.answer(text).then(() => performance.now() - begin) }'
    )
    return ask(browser, timed, texts)


def peak_memory(browser):
    "The most memory that the page's process has held, in MB (Linux)."
    peaks = []
    for process in psutil.Process(browser.process.pid).children(recursive=True):
        if '--type=renderer' in process.cmdline():
            status = Path(f'/proc/{process.pid}/status').read_text()
            peaks.append(int(re.search(r'VmHWM:\s+(\d+) kB', status)[1])/1000)
    return max(peaks)


def measure(site, runs=5, every=1):
    "All figures of a built site."
    sys.path.insert(0, str(ROOT/'tests'))
    from browser import Browser
    predictor = EmotionPredictor(RELEASED, threads=1)
    texts = sample_texts('en', 'vi')[::every]
    with tempfile.TemporaryDirectory() as profile, serve(site) as address:
        browser = Browser(Path(profile))
        try:
            browser.open(f'{address}guides/try_it.html')
            memory = {'page': peak_memory(browser)}
            seconds = load_times(browser, address, 1)
            memory['loaded'] = peak_memory(browser)
            seconds += load_times(browser, address, runs-1)
            milliseconds = answer_times(browser, texts[::10])
            page = browser_probs(browser, texts)
            version = browser.js('navigator.userAgent').split('Chrome/')[1].split('.')[0]
        finally:
            browser.process.terminate()
            browser.process.wait(10)
    python = predictor.probs(texts)
    return {
        'chromium': int(version),
        'memory': memory,
        'seconds': seconds,
        'milliseconds': {q: float(np.quantile(milliseconds, q/100)) for q in (50, 95)},
        'browser': differences(page, python),
        'nudged': differences(nudged_probs(predictor, texts), python),
        'unfused': differences(unfused_probs(predictor, texts), python),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('site', type=Path, help='folder of the built site')
    parser.add_argument('--runs', type=int, default=5, help='visits of which loading is timed')
    parser.add_argument('--every', type=int, default=1, help='take one of so many samples')
    args = parser.parse_args()
    print(json.dumps(measure(args.site.resolve(), args.runs, args.every)))


if __name__ == '__main__': main()
