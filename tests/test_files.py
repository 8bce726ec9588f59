"""Nobody's files are lost: where outputs may go, what is replaced, who may read what."""
import errno, hashlib, json, os, shutil, stat, subprocess, sys, tempfile
from pathlib import Path
import pytest
from conftest import ENV, ROOT, emotion
from emotion_detection import files
from emotion_detection.cli import main
from emotion_detection.files import MARK, InputError, check_output, new_folder

MODEL = ('config.json', 'model.safetensors', 'tokenizer.json')


def tree(folder):
    "Every entry below a folder: kind, mode, content."
    def facts(path):
        info = path.lstat()
        content = (
            hashlib.sha256(path.read_bytes()).hexdigest()
            if stat.S_ISREG(info.st_mode)
            else os.readlink(path)
            if path.is_symlink()
            else ''
        )
        return stat.S_IFMT(info.st_mode), info.st_mode, content
    return {p.relative_to(folder).as_posix(): facts(p) for p in sorted(folder.rglob('*'))}


def fake_model(folder, names=MODEL):
    "What is refused before it is read need not be a model."
    folder.mkdir(parents=True)
    for name in names:
        (folder/name).write_text('{}')
    return folder


def user_files(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder/'notes.txt').write_text('mine')
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    "A working folder with a user's things."
    fake_model(tmp_path/'dz/final_model')
    fake_model(tmp_path/'graph', ('config.json', 'tokenizer.json', 'model.onnx'))
    fake_model(tmp_path/'edited')
    user_files(tmp_path/'dz')
    user_files(tmp_path/'notes')
    user_files(tmp_path/'dz/onnx')
    user_files(tmp_path/'in_the_way/onnx')
    user_files(tmp_path/'in_the_way2/checkpoints')
    (tmp_path/'hidden').mkdir()
    (tmp_path/'hidden/.env').write_text('TOKEN')
    (tmp_path/'nested/empty').mkdir(parents=True)
    (tmp_path/'data').mkdir()
    (tmp_path/'data/train.csv').write_text('text,label\nhi,joy\n')
    (tmp_path/'texts.csv').write_text('text\nhi\n')
    (tmp_path/'file').write_text('mine')
    (tmp_path/'to_notes').symlink_to('notes')
    (tmp_path/'to_nothing').symlink_to('nothing')
    (tmp_path/'to_model').symlink_to('dz/final_model')
    with new_folder(tmp_path/'made', 'onnx') as new:
        (new/'config.json').write_text('{}')
    shutil.copytree(tmp_path/'made', tmp_path/'changed')
    (tmp_path/'changed/config.json').write_text('{"mine": 1}')
    shutil.copytree(tmp_path/'made', tmp_path/'added')
    (tmp_path/'added/mine').mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_copy_of_our_folder_in_our_folder(tmp_path):
    "Its mark is one file more of the outer one, which is replaced as before."
    with new_folder(tmp_path/'inner') as new:
        (new/'a').touch()
    for _ in range(2):
        with new_folder(tmp_path/'outer') as new:
            shutil.copytree(tmp_path/'inner', new/'inner')
    assert {p.name for p in (tmp_path/'outer/inner').iterdir()} == {'a', MARK}


def test_an_output_of_the_first_version_is_replaced(tmp_path):
    "Its mark names the kind as it was spelled then."
    with new_folder(tmp_path/'suite', 'behaviour') as new:
        (new/'behaviour.json').write_text('{}')
    with new_folder(tmp_path/'suite', 'behavior') as new:
        (new/'behavior.json').write_text('{}')
    assert {p.name for p in (tmp_path/'suite').iterdir()} == {'behavior.json', MARK}


EXPORT = ['export', '--model_path', 'dz/final_model', '--output_dir']
EVALUATE = ['evaluate', '--config', 'quickstart', '--model_path', 'dz/final_model', '--output_dir']
BEHAVIOR = ['behavior', '--model_path', 'dz/final_model', '--output_dir']
DATA = ['data', '--config', 'quickstart', '--output_dir']
TRAIN = ['train', '--config', 'quickstart', '--output_dir']
REFUSED = {  # Name to command, words of the one line
    'export onto what holds the source': (
        [*EXPORT, 'dz'],
        'dz holds dz/final_model, which is read',
    ),
    'export in place': ([*EXPORT, 'dz/final_model'], 'dz/final_model is what is read'),
    'export in place through a link': ([*EXPORT, 'to_model'], 'to_model is what is read'),
    'export into the source': ([*EXPORT, 'dz/final_model/onnx'], 'lies in dz/final_model'),
    'export onto notes': ([*EXPORT, 'notes'], 'notes holds notes.txt and no mark'),
    'export onto a hidden file': ([*EXPORT, 'hidden'], 'hidden holds .env'),
    'export onto an empty subfolder': ([*EXPORT, 'nested'], 'nested holds empty'),
    'export through a link onto notes': ([*EXPORT, 'to_notes'], 'to_notes holds notes.txt'),
    'export through a link to nothing': ([*EXPORT, 'to_nothing'], 'is a link to'),
    'export onto a file': ([*EXPORT, 'file'], 'file is a file'),
    'export below a file': ([*EXPORT, 'file/onnx'], 'is a file, so file/onnx cannot be made'),
    'export onto the working folder': ([*EXPORT, '.'], '. is the folder you are in'),
    'export above the working folder': ([*EXPORT, '..'], 'is the folder you are in, or holds it'),
    'export onto a mounted disk': ([*EXPORT, '/proc'], '/proc is a disk of its own'),
    'export to nowhere': ([*EXPORT, ''], 'a path is empty'),
    'export onto a changed output': (
        [*EXPORT, 'changed'],
        'holds config.json, which was changed since',
    ),
    'export onto an output with more in it': ([*EXPORT, 'added'], 'added holds mine/'),
    'trim onto an ONNX model': (
        ['trim', *EXPORT[1:], 'made'],
        'made is an FP32 ONNX model, not a trimmed',
    ),
    'trim onto notes': (['trim', *EXPORT[1:], 'notes'], 'notes holds notes.txt'),
    'quantize in place': (
        ['quantize', '--onnx_path', 'graph', '--output_dir', 'graph'],
        'graph is what is read',
    ),
    'quantize onto notes': (
        ['quantize', '--onnx_path', 'graph', '--output_dir', 'notes'],
        'notes holds notes.txt',
    ),
    'evaluate onto models': ([*EVALUATE, 'dz'], 'dz holds'),
    'evaluate onto notes': ([*EVALUATE, 'notes'], 'notes holds notes.txt'),
    'evaluate onto a model': (
        [*EVALUATE, 'made'],
        'made is an FP32 ONNX model, not an evaluation report',
    ),
    'behavior onto models': ([*BEHAVIOR, 'dz'], 'dz holds'),
    'behavior onto notes': ([*BEHAVIOR, 'notes'], 'notes holds notes.txt'),
    'data onto notes': ([*DATA, 'notes'], 'notes holds notes.txt'),
    'data onto its data': (
        [*DATA, 'data', '--set=data.phase1.source=data'],
        'data holds data/train.csv, which is read',
    ),
    'train where onnx is the user\'s': ([*TRAIN, 'in_the_way'], 'in_the_way/onnx holds notes.txt'),
    'train where checkpoints is the user\'s': (
        [*TRAIN, 'in_the_way2'],
        'in_the_way2/checkpoints holds notes.txt',
    ),
    'train onto a file': ([*TRAIN, 'file'], 'file is a file'),
    'train from what it would replace': (
        [*TRAIN, 'dz', '--set=model.name=dz/final_model'],
        'dz/final_model is what is read',
    ),
    'exports beside a model': (
        ['predict', '--model_path', 'dz/final_model', '--export'],
        'dz/onnx holds notes.txt',
    ),
    'answers onto their texts': (
        ['predict', '--model_path', 'graph', '--input', 'texts.csv', '--output', 'texts.csv'],
        'texts.csv is what is read',
    ),
    'answers onto a folder': (
        ['predict', '--model_path', 'graph', '--input', 'texts.csv', '--output', 'notes'],
        'notes',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refused_before_work_begins(home, capsys, monkeypatch, name):
    "One line, exit code 2, every file as it was; no data are read for it."
    def read(*args, **kwargs): raise AssertionError('work had begun')
    # first: a module that is imported meanwhile would keep what is patched
    monkeypatch.setattr('emotion_detection.phase2.load_phases', read)
    monkeypatch.setattr('emotion_detection.data.load_phases', read)
    args, words = REFUSED[name]
    before = tree(home)
    code = main(args)
    said = capsys.readouterr()
    assert (code, said.out) == (2, '') and said.err.count('\n') == 1 and words in said.err, said.err
    assert tree(home) == before


def test_the_two_commands_of_the_issue(untrained, tmp_path):
    "They destroyed the folder and the model in it, with exit code 0."
    shutil.copytree(untrained/'final_model', tmp_path/'dz/final_model')
    user_files(tmp_path/'dz')
    before = tree(tmp_path)
    for output in ('dz', 'dz/final_model'):
        done = emotion(
            'export', '--model_path', 'dz/final_model', '--output_dir', output, cwd=tmp_path
        )
        assert done.returncode == 2 and done.stderr.count('\n') == 1, done.stderr
    assert tree(tmp_path) == before and (tmp_path/'dz/notes.txt').read_text() == 'mine'


@pytest.mark.parametrize('args', [DATA, ['behavior', '--model_path', '{u}/onnx', '--suite', 'suite.yaml', '--output_dir']], ids=['data', 'behavior'])
def test_an_output_of_its_own_is_replaced(untrained, home, capsys, args):
    "Made anew as often as one likes, also in an empty folder and through a link; not when a file was added."
    (home/'suite.yaml').write_text(SUITE)
    args = [a.format(u=untrained) for a in args]
    (home/'out').mkdir()
    (home/'link').symlink_to('out')
    for place in ('out', 'out', 'link'):
        assert main([*args, place]) == 0, capsys.readouterr().err
    assert (home/'link').is_symlink() and (home/'out'/MARK).is_file()
    assert not [
        p.name for p in home.iterdir() if 'partial' in p.name or 'old' in p.name or 'lock' in p.name
    ]
    user_files(home/'out')
    before = tree(home)
    assert main([*args, 'out']) == 2 and 'out holds notes.txt' in capsys.readouterr().err
    assert tree(home) == before
    (home/'out/notes.txt').unlink()
    assert main([*args, 'out']) == 0


SUITE = '''language: en
capabilities:
- name: negation
  kind: MFT
  about: A no turns a feeling round
  cases:
  - expect: negative
    texts: [This is not good at all.]
'''


def make(path, text='new', kind='report'):
    with new_folder(path, kind) as new:
        (new/'a.txt').write_text(text)


@pytest.mark.parametrize('fails', [1, 2])
def test_a_failed_replacement_restores_the_old_folder(tmp_path, monkeypatch, fails):
    make(tmp_path/'out', 'old')
    rename, calls = Path.rename, []
    def broken(self, target):
        calls.append(target)
        if len(calls) == fails: raise OSError(errno.EXDEV, 'Invalid cross-device link')
        return rename(self, target)
    monkeypatch.setattr(Path, 'rename', broken)
    with pytest.raises(InputError, match='cannot be replaced'):
        make(tmp_path/'out')
    assert [p.name for p in tmp_path.iterdir()] == ['out'] and (
        tmp_path / 'out/a.txt'
    ).read_text() == 'old'


def test_a_file_added_during_the_work_is_kept(tmp_path):
    make(tmp_path/'out', 'old')
    with pytest.raises(InputError, match='holds notes.txt'):
        with new_folder(tmp_path/'out', 'report') as new:
            (new/'a.txt').write_text('new')
            user_files(tmp_path/'out')
    assert {p.name: p.read_text() for p in (tmp_path / 'out').iterdir() if p.name != MARK} == {
        'a.txt': 'old',
        'notes.txt': 'mine',
    }
    assert [p.name for p in tmp_path.iterdir()] == ['out']


KILLED = '''import os, sys
from pathlib import Path
from emotion_detection import files
moment = sys.argv[1]
with files.new_folder('out', 'report') as new:
    (new/'a.txt').write_text('new')
    if moment == 'writing': os._exit(9)
    rename = Path.rename
    def stop(self, target):
        rename(self, target)
        os._exit(9)
    Path.rename = stop
'''


@pytest.mark.parametrize('moment,old,text', [('writing', 1, 'old'), ('swapping', 1, 'old'), ('writing', 0, None)])
def test_what_a_killed_process_left(tmp_path, moment, old, text):
    "The next one puts back what was moved aside and removes what was begun; other folders of such names stay."
    if old: make(tmp_path/'out', 'old')
    user_files(tmp_path/'out.partial')
    user_files(tmp_path/'out.0123abcd.partial')
    subprocess.run([sys.executable, '-c', KILLED, moment], cwd=tmp_path, env=ENV)
    assert len([p for p in tmp_path.glob('out.*') if (p / MARK).exists()]) == 1 + (
        moment == 'swapping'
    )
    with files.scratch_folder(tmp_path/'out'): pass
    assert {p.name for p in tmp_path.iterdir()} == {'out.partial', 'out.0123abcd.partial'} | (
        {'out'} if text else set()
    )
    if text: assert (tmp_path/'out/a.txt').read_text() == text
    make(tmp_path/'out')
    assert (tmp_path/'out/a.txt').read_text() == 'new'


def test_a_model_from_before_the_marks_is_known_by_its_manifest(untrained, tmp_path):
    shutil.copytree(untrained/'onnx', tmp_path/'onnx')
    (tmp_path/'onnx'/MARK).unlink()
    check_output(tmp_path/'onnx', 'onnx')
    with pytest.raises(InputError, match='not an INT8 model'): check_output(tmp_path/'onnx', 'int8')
    (tmp_path/'onnx/README.md').write_text('my words')
    with pytest.raises(InputError, match='README.md'): check_output(tmp_path/'onnx', 'onnx')


def test_a_card_of_the_user_stays(untrained, tmp_path):
    from emotion_detection.card import write_card
    folder = shutil.copytree(untrained/'onnx', tmp_path/'onnx')
    for _ in range(2): write_card(folder)
    check_output(folder, 'onnx')
    (folder/'README.md').write_text('my words')
    with pytest.raises(InputError, match='written or changed by somebody else'): write_card(folder)
    assert (folder/'README.md').read_text() == 'my words'


def test_the_mark_is_neither_published_nor_copied(untrained, tmp_path):
    from emotion_detection.int8_folder import quantize_unchecked
    from emotion_detection.sharing import published_files
    quantize_unchecked(untrained/'onnx', tmp_path/'int8')
    assert (
        MARK not in published_files(tmp_path / 'int8')
        and MARK not in json.loads((tmp_path / 'int8/manifest.json').read_text())['files']
    )
    assert json.loads((tmp_path/'int8'/MARK).read_text())['kind'] == 'int8'
    assert os.uname().nodename not in (tmp_path/'int8'/MARK).read_text()


def test_the_home_is_written_out(untrained, tmp_path, monkeypatch, capsys):
    from emotion_detection.artifact import check_files, update_manifest
    from emotion_detection.config import load_config
    from emotion_detection.data import DataModule, Source
    from emotion_detection.runtime import model_folders
    from emotion_detection.export import export_onnx
    from emotion_detection.model import EmotionClassifier
    from emotion_detection.predict import EmotionPredictor
    home = shutil.copytree(untrained, tmp_path/'home')
    (home/'c.yaml').write_text((ROOT/'emotion_detection/configs/quickstart.yaml').read_text())
    (home/'texts.csv').write_text('text\nhi\n')
    (tmp_path/'cwd').mkdir()
    monkeypatch.chdir(tmp_path/'cwd')
    monkeypatch.setenv('HOME', str(home))
    assert EmotionPredictor('~/onnx')('ok')['label']
    assert check_files('~/onnx') and update_manifest('~/onnx', n=1) and model_folders(['~'])
    EmotionClassifier.load('~/final_model').save('~/copy')
    EmotionClassifier.from_encoder('~/final_model')
    export_onnx('~/copy', '~/again')
    assert load_config('~/c.yaml') and len(
        DataModule(
            Source(str(ROOT / 'emotion_detection/samples/en.csv').replace(str(Path.home()), '~'))
        ).train
    )
    commands = (
        ['predict', '--model_path=~/again', '--input=~/texts.csv', '--output=~/out.csv'],
        ['data', '--config=~/c.yaml', '--output_dir=~/report'],
        ['doctor', '--model_path=~/onnx'],
    )
    for args in commands: assert main(args) == 0, capsys.readouterr().err
    assert {'out.csv', 'report', 'again', 'copy'} <= {p.name for p in home.iterdir()} and not list(
        Path.cwd().iterdir()
    )


# ---- modes and other users

NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which('setpriv'), reason='another user needs root and setpriv'
)


@pytest.fixture
def open_folder():
    "Unlike pytest's, one that other users may enter."
    with tempfile.TemporaryDirectory(dir='/tmp') as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


SAVED = '''import os, sys
os.umask(int(sys.argv[2], 8))
from emotion_detection.export import export_onnx
from emotion_detection.files import new_folder, write_checksums, write_json
from emotion_detection.model import EmotionClassifier
model = EmotionClassifier.load(sys.argv[1])
model.save('direct')
with new_folder('a/made', 'trained') as new: model.save(new)
export_onnx('direct', 'onnx')
model.save('checkpoint')
write_checksums('checkpoint')
write_json('b/note.json', {})
'''


@pytest.mark.parametrize('umask', ['022', '027', '077'])
def test_modes_follow_the_umask(untrained, open_folder, umask):
    work = open_folder/'work'
    work.mkdir()
    subprocess.run(
        [sys.executable, '-c', SAVED, untrained / 'final_model', umask],
        cwd=work,
        env=ENV,
        check=True,
    )
    modes = {
        p.relative_to(work).as_posix(): (p.is_dir(), stat.S_IMODE(p.stat().st_mode))
        for p in work.rglob('*')
    }
    assert len(modes) > 20
    for name,(is_dir,mode) in modes.items():
        assert mode == (0o777 if is_dir else 0o666) & ~int(umask, 8), (name, oct(mode))
    if os.geteuid() or not shutil.which('setpriv'): return
    for name in (
        'direct/model.safetensors',
        'a/made/model.safetensors',
        'onnx/onnx/model.onnx',
        'checkpoint/model.safetensors',
    ):
        seen = subprocess.run([*NOBODY, 'cat', work/name], capture_output=True)
        assert (seen.returncode == 0) == (umask == '022'), (name, seen.stderr)




@as_root
@pytest.mark.parametrize('ask', ["require_files('model', 'config.json')", "require_files('model', 'weights')", "read_json('model/config.json')", "file_hash('model/config.json')",
    "file_hashes('model')", "folder_mb('shut')", "file_hashes('shut')", "require_files('shut', 'config.json')", "require_files('shut/inner', 'config.json')", "checksum_failure('model')",
    "check_output('shut', 'report')"])
def test_unreadable_is_not_missing(open_folder, ask):
    "Asked as another user, from a copy of files.py, since that user may not see the package."
    shutil.copy(ROOT/'emotion_detection/files.py', open_folder)
    for name in ('config.json', 'weights', 'checksums.json'):
        fake = open_folder/'model'/name
        fake.parent.mkdir(exist_ok=True)
        fake.write_text('{}')
        fake.chmod(0o600)
    (open_folder/'shut/inner').mkdir(parents=True)
    (open_folder/'shut').chmod(0o700)
    (open_folder/'files.py').chmod(0o644)
    code = f'import files\ntry: print(files.{ask})\nexcept files.InputError as e: print("said:", e)'
    done = subprocess.run(
        [*NOBODY, python_of_all(), '-c', code], cwd=open_folder, capture_output=True, text=True
    )
    assert (
        done.stdout.startswith('said: ')
        and 'may not be' in done.stdout
        and 'missing' not in done.stdout
    ), (done.stdout, done.stderr)


@as_root
def test_a_place_that_may_not_be_written(open_folder):
    shutil.copy(ROOT/'emotion_detection/files.py', open_folder)
    (open_folder/'files.py').chmod(0o644)
    before = tree(open_folder)
    for place in ('new', 'deep/new'):
        code = (
            'import sys\nsys.dont_write_bytecode = True\nimport files\ntry: '
            f'files.check_output("{place}")\nexcept files.InputError as e: print("said:", e)'
        )
        done = subprocess.run(
            [*NOBODY, python_of_all(), '-c', code], cwd=open_folder, capture_output=True, text=True
        )
        assert 'may not be written by this user' in done.stdout, (done.stdout, done.stderr)
    assert tree(open_folder) == before


def python_of_all():
    "An interpreter that any user may start."
    for python in (sys.executable, shutil.which('python3', path='/usr/local/bin:/usr/bin:/bin')):
        if (
            python
            and not subprocess.run(
                [*NOBODY, python, '-c', 'import hashlib; hashlib.file_digest'], capture_output=True
            ).returncode
        ):
            return python
    pytest.skip('no Python 3.11 that another user may start')


def test_a_folder_within_a_folder(tmp_path):
    "`evaluate --cards` writes `behavior/` into the report: it belongs to it, and what a user puts there does not."
    make(tmp_path/'report')
    make(tmp_path/'report/behavior', kind='behavior')
    with pytest.raises(InputError, match='holds behavior/, which this command did not make'):
        check_output(tmp_path/'report', 'report')
    files.note_made(
        tmp_path / 'report',
        *(f'behavior/{p.name}' for p in (tmp_path / 'report/behavior').iterdir()),
    )
    check_output(tmp_path/'report', 'report')
    left = tmp_path/'report/behavior.0123abcd.partial'
    left.mkdir()
    (left/MARK).write_text('{"kind": "unfinished"}')
    (tmp_path/'report/.behavior.lock').write_text('{"pid": 1}')
    check_output(tmp_path/'report', 'report')  # what a killed process left is nobody's
    user_files(tmp_path/'report/behavior')
    with pytest.raises(InputError, match='holds behavior/notes.txt'): make(tmp_path/'report')
