"""Put a finished INT8 model into the package: `python tools/make_model.py FOLDER`

FOLDER is one that `emotion train` or `emotion quantize` made, and `emotion evaluate --cards`
measured. What goes into `emotion_detection/model/` is what people get who name no model: so its
training data must be free for everybody, its card must hold measured figures, and it must be small.
Otherwise the model that was there stays as it is. `make model FROM=FOLDER` is the same.
"""
import argparse
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT/'tools')]
import make_encoder
from emotion_detection.artifact import MANIFEST, check_files, listed_files, update_manifest
from emotion_detection.card import write_card
from emotion_detection.data_mapping import LANGUAGES, language_name
from emotion_detection.doctor import examine
from emotion_detection.files import (
    GateError, InputError, check_ours, folder_mb, new_folder, present_keys, read_json, require_files,
    user_path,
)
from emotion_detection.licenses import data_licenses, license_id, license_of

PACKAGED = ROOT/'emotion_detection/model'
MOST_MB = 40.  # of 10^6 bytes, all files together
E5 = 'intfloat/multilingual-e5-small'

FREE = """\
# Licenses of this model

**There is no ViGoEmotions in this model, so commercial use is free.** Everything it was made from
may be used, changed and passed on by everybody, for every purpose. What some of it asks in return
is credit: keep this file with the model.
"""
CC0 = '[CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/)'
CC_BY = '[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)'
CREDITS = {
    'goemotions': f"""\
## GoEmotions: CC BY 4.0

English comments with the emotions that raters saw in them: Dorottya Demszky, Dana
Movshovitz-Attias, Jeongwoo Ko, Alan Cowen, Gaurav Nemade and Sujith Ravi, "GoEmotions: A Dataset of
Fine-Grained Emotions", ACL 2020, [arXiv:2005.00547](https://arxiv.org/abs/2005.00547), Google
Research. License: {CC_BY}. Changes: its 28 emotions were mapped to four labels.
""",
    'vi_goemotions': f"""\
## Vietnamese renderings of GoEmotions: CC BY 4.0

Comments of GoEmotions' training split, put into Vietnamese for this project; places and references
were changed where a Vietnamese reader would not know them. To be credited as GoEmotions above.
License: {CC_BY}, as the original.
""",
    'samples': f"""\
## The project's samples: CC0 1.0

English and Vietnamese texts that were written for this project. License: {CC0}, which asks for
nothing.
""",
}  # What a model may have learned from


def squeezed(name):
    "The letters of a name's last part: `google-research-datasets/go_emotions` is `goemotions`."
    return re.sub(r'[^a-z]', '', Path(str(name)).name.lower())


def credits_of(data):
    "Keys of `CREDITS` for a source in a training summary; `InputError` when it is not free."
    source = data['source']
    kind, _, names = source.partition(':')
    if kind != 'bundled' and 'vigoemotions' in squeezed(source):
        raise InputError(
            f"the model was trained on ViGoEmotions ({source}), which is for non-profit research "
            "only; a model that everybody may use has to be trained on other data"
        )
    words = license_of(SimpleNamespace(source=source, license=data['license']))
    if not license_id(words):
        raise InputError(
            f"the model was trained on {source}, licensed '{words}', which is not open"
        )
    if kind == 'bundled':
        return ['vi_goemotions' if n == 'vi_goemotions' else 'samples' for n in names.split('+')]
    if squeezed(source) == 'goemotions' and license_id(words) == 'cc-by-4.0':
        return ['goemotions']
    raise InputError(
        f"nobody has written whom to credit for the training data {source} ({words}); add them to "
        "CREDITS in tools/make_model.py"
    )


def data_part(folder, manifest, summary):
    "Whom to credit for the training data; `InputError` when not all of them are open."
    for words in {*data_licenses(folder), *manifest['licenses']}:
        if not license_id(words):
            raise InputError(f"{folder} was trained on data licensed '{words}', which is not open")
    keys = {key for data in summary['data'] for key in credits_of(data)}
    if 'vi_goemotions' in keys:
        keys.add('goemotions')
    return '\n'.join(text for key, text in CREDITS.items() if key in keys)


def encoder_part(name, folder):
    "The license of the encoder that training started from; `InputError` when it is not known."
    if name == 'from scratch':
        return ''
    origin = ''
    if folder:
        require_files(folder, 'README.md', kind='pretrained encoder')
        card = (Path(folder)/'README.md').read_text('utf8')
        if Path(folder).resolve().name != name or card != make_encoder.origin_text():
            raise InputError(
                f"{folder} is not the folder {name} of tools/make_encoder.py that training started "
                "from; name that one"
            )
        origin = f'{make_encoder.sources_table()}\n\n{make_encoder.COPY}\n\n'
    elif name != E5:
        raise InputError(
            f"training started from {name}, and nobody can tell what that is; name the folder that "
            "tools/make_encoder.py made with --encoder"
        )
    head = f'## The encoder: MIT\n\n{make_encoder.NOTICE}\n\n'
    return f'{head}{origin}{make_encoder.MIT}'


def check_gate(folder, manifest):
    "`InputError` unless INT8 was compared with FP32 in all languages and passed, by its record."
    figures = (manifest.get('quantization') or {}).get('after') or {}
    lost = [language_name(lang) for lang in LANGUAGES if lang not in figures]
    if lost:
        raise InputError(
            f"{folder} was not compared with FP32 on {' and '.join(lost)} texts; make it with "
            "`emotion quantize`"
        )
    rule = read_json(require_files(folder, 'quantization_report.json')/'quantization_report.json')
    texts, changed = (sum(f[key] for f in figures.values()) for key in ('texts', 'changed'))
    if 1 - changed/texts < rule['min_agreement']:
        raise InputError(
            f"{folder} did not pass its gate: {changed} of {texts} texts got another label than "
            f"from FP32, and {100*rule['min_agreement']:.4g} % must keep theirs"
        )
    for lang, f in figures.items():
        allowed = max(rule['max_f1_drop'], f.get('one_text', 0))  # one text is no finding
        by_chance = f.get('f1_drop_low', f['f1_drop']) <= 0
        if f['f1_drop'] > allowed and not by_chance:
            raise InputError(
                f"{folder} did not pass its gate: it loses {100*f['f1_drop']:.2f} points of "
                f"macro-F1 on {language_name(lang)} texts, and {100*allowed:.3g} may be lost"
            )


def find_measure(folder, reports, stem):
    "The JSON of an evaluation or of the behavioral suite; `InputError` when there is none."
    places = [reports, reports/stem, reports.parent/stem]
    file = next((p/f'{stem}.json' for p in places if (p/f'{stem}.json').is_file()), None)
    if not file:
        raise InputError(
            f"there is no {stem}.json about {folder} in {reports}; name the folder that `emotion "
            "evaluate --cards` wrote with --report"
        )
    return read_json(file)


def read_measures(folder, reports):
    "The evaluation and the behavior of a model; `InputError` when it was not measured."
    way_out = 'run `emotion evaluate --cards` on it'
    if not (folder/'README.md').is_file():
        raise InputError(f"{folder} has no model card; {way_out}")
    check_ours(folder, 'README.md')
    if '\nNot measured.' in (folder/'README.md').read_text('utf8'):
        raise InputError(f"the model card of {folder} has no figures; {way_out}")
    report, behavior = (find_measure(folder, reports, s) for s in ('report', 'behavior'))
    if folder.name not in {r['predictor'] for r in behavior['rates']}:
        raise InputError(f"the behavioral suite in {reports} is not about {folder}; {way_out}")
    return report, behavior


def copy_files(folder, manifest, new):
    "What the manifest lists, pictures aside."
    for name in (MANIFEST, *manifest['files']):
        if not name.endswith('.png'):
            (new/name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder/name, new/name)


def check_made(new):
    "`GateError` unless the new folder is small, and answers as it should."
    mb = folder_mb(new)
    if mb > MOST_MB:
        raise GateError(
            f"the model takes {mb:.1f} MB and may take {MOST_MB:.0f}; keep fewer tokens, or take a "
            "smaller encoder"
        )
    wrong = [check['detail'] for check in examine(new) if not check['ok']]
    if wrong:
        raise GateError(f"the model is not well: {wrong[0]}")


def make_model(folder, output_dir=PACKAGED, encoder=None, reports=None):
    "Copy a model, and write its card and licenses; nothing changes when it may not be released."
    require_files(folder, 'config.json', 'tokenizer.json', MANIFEST, 'training_summary.json')
    folder = user_path(folder).resolve()
    manifest = check_files(folder)
    if manifest['precision'] != 'int8':
        raise InputError(f"{folder} is {manifest['precision']}; name an INT8 folder")
    summary = present_keys(read_json(folder/'training_summary.json'))
    credits = data_part(folder, manifest, summary)
    licenses = [FREE, encoder_part(summary['encoder']['name'], encoder), credits]
    check_gate(folder, manifest)
    reports = user_path(reports or folder.parent/'report').resolve()
    report, behavior = read_measures(folder, reports)
    with new_folder(output_dir, 'int8', [folder]) as new:
        copy_files(folder, manifest, new)
        (new/'LICENSES.md').write_text('\n'.join(filter(None, licenses)), encoding='utf8')
        update_manifest(new, files=listed_files(new))
        write_card(new, report, behavior, folder.name, packaged=True)
        check_made(new)
    return user_path(output_dir)


def main(argv=None):
    "The command: 2 for what may not be released, 1 for what turned out wrong."
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('folder', help='INT8 folder')
    add('output_dir', nargs='?', default=PACKAGED, help='default: emotion_detection/model')
    add('--encoder', metavar='DIR', help='the folder of tools/make_encoder.py that training took')
    add('--report', metavar='DIR', help='what `emotion evaluate` wrote (default: report/ beside)')
    args = parser.parse_args(argv)
    try:
        made = make_model(args.folder, args.output_dir, args.encoder, args.report)
    except (InputError, GateError) as error:
        print(f'make_model: {error}', file=sys.stderr)
        return 1 if isinstance(error, GateError) else 2
    print(f'{made}: {folder_mb(made):.1f} MB')
    return 0


if __name__ == '__main__':
    sys.exit(main())
