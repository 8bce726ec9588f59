"""Every notebook under nbdev's own runner, one test each, and the tree that nbdev makes of them."""
import os, shutil, subprocess, sys
from pathlib import Path
import pytest
from conftest import ENV, ROOT

NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook(path, monkeypatch):
    "Its untagged cells run, offline; `nbdev_test` does the same for all of them."
    from nbdev.config import get_config
    from nbdev.test import test_nb
    for name in ('HF_HUB_OFFLINE', 'OMP_NUM_THREADS', 'TOKENIZERS_PARALLELISM'): monkeypatch.setenv(name, ENV[name])
    monkeypatch.setenv('HF_DATASETS_DISABLE_PROGRESS_BARS', '1')
    import torch
    torch.set_num_threads(1)  # two workers with two threads each on two cores are five times slower
    passed, _ = test_nb(path, skip_flags=get_config(path=ROOT).tst_flags.split(), basepath=ROOT)
    assert passed, f'{path.name} failed, see its traceback above'


def test_there_are_notebooks(): assert len(NOTEBOOKS) >= 19


def test_export_and_clean_change_nothing(tmp_path):
    "The committed modules are what the notebooks export, and the notebooks are clean."
    copy = tmp_path/'copy'
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns('.venv', '.git', 'outputs', '_docs', '_proc', '__pycache__', '.hypothesis', '*.egg-info', 'build', 'dist'))
    files = {p: p.read_bytes() for folder in ('nbs', 'emotion_detection') for p in (copy/folder).rglob('*') if p.suffix in ('.ipynb', '.py')}
    for command in ('nbdev_clean', 'nbdev_export'):
        subprocess.run([Path(sys.executable).with_name(command)], cwd=copy, env=ENV, check=True, capture_output=True)
    assert [p.name for p,data in files.items() if p.read_bytes() != data] == []


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_outputs(path):
    "Outputs are there, without errors, machine paths, progress bars or figures over 60 KB."
    import base64, json
    cells = json.loads(path.read_text('utf8'))['cells']
    outputs = [o for c in cells if c['cell_type']=='code' for o in c['outputs']]
    assert outputs
    assert not [o for o in outputs if o['output_type']=='error' or o.get('name')=='stderr']
    for o in outputs:
        text = json.dumps({k: v for k,v in o.get('data', {'t': o.get('text')}).items() if not k.startswith('image')})
        assert not any(word in text for word in ('/tmp/', '/root/', '/home/', str(ROOT), 'it/s]')), text
        if png := o.get('data', {}).get('image/png'): assert len(base64.b64decode(png)) < 60_000


def test_imports_point_down():
    "A module imports only from notebooks with a lower number."
    import ast, re
    order = {re.sub(r'^\d+[a-z]?_', '', p.stem): i for i,p in enumerate(NOTEBOOKS)}
    for name,i in order.items():
        module = ROOT/'emotion_detection'/f'{name}.py'
        if not module.exists(): continue
        for node in ast.walk(ast.parse(module.read_text('utf8'))):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('emotion_detection.'):
                assert order[node.module.split('.')[1]] < i, f'{name} imports {node.module}'
