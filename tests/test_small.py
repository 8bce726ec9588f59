"""The small configuration with the real encoder: trimmed before training, the time said at the start, a folder that answers."""
import json, os, shutil
import pytest
from conftest import emotion
from emotion_detection.files import InputError
from emotion_detection.model import EmotionClassifier
from emotion_detection.predict import EmotionPredictor

pytestmark = pytest.mark.skipif(
    'ENCODER_DIR' not in os.environ,
    reason='ENCODER_DIR is not set: python tools/make_encoder.py DIR',
)

SHORT = (
    'phase1.max_steps=8', 'phase2.max_steps=8', 'phase1.per_device_train_batch_size=8',
    'phase2.per_device_train_batch_size=8', 'data.phase1.source=bundled:en',
    'data.phase1.emotions=null', 'data.phase1.license=CC0 1.0', 'export.enabled=false',
    'export.report=false',
)


def test_a_short_training(tmp_path):
    name = os.environ['ENCODER_DIR']
    done = emotion(
        'train',
        '--config',
        'small',
        *(f'--set={s}' for s in (*SHORT, f'model.name={name}', 'model.revision=null')),
        '--output_dir',
        'outputs',
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    said = [line.split(': ')[0] for line in done.stderr.splitlines()]
    assert (
        set(said) == {'trim', 'phase 1', 'phase 2'}
        and 'trim: 40,000 of 250,002 tokens kept; the same logits' in done.stderr
    ), done.stderr
    summary = json.loads((tmp_path/'outputs/final_model/training_summary.json').read_text('utf8'))
    assert summary['parameters'] < 40e6
    assert len(summary['decision']['gains']) == 10 and set(summary['decision']['shift']) == {
        'positive',
        'negative',
        'surprise',
        'neutral',
    }
    assert (
        'CC BY 4.0'
        in json.loads((tmp_path / 'outputs/final_model/config.json').read_text('utf8'))[
            'emotion_detection'
        ]['licenses']
    )
    answer = EmotionPredictor(tmp_path/'outputs/final_model', onnx=False)('Cảm ơn bạn nhiều!')
    assert 0 < answer['score'] <= 1


def test_what_is_no_encoder(tmp_path):
    "Files that do not belong together are named in one line."
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer
    name = os.environ['ENCODER_DIR']
    for fault, words in {
        'tokenizer': 'cannot be loaded',
        'weights': 'has no weights bert.encoder.layer.3',
        'tokens': 'has 250,042 tokens, its weights 250,037',
    }.items():
        folder = shutil.copytree(name, tmp_path/fault, copy_function=os.link)
        if fault == 'tokenizer':
            for file in [*folder.glob('tokenizer*'), *folder.glob('special_tokens*')]: file.unlink()
        if fault == 'weights':
            tensors = load_file(folder/'model.safetensors')
            (folder/'model.safetensors').unlink()
            save_file(
                {
                    k: v
                    for k, v in tensors.items()
                    if '.layer.3.' not in k and not k.startswith('encoder.layer.3.')
                },
                folder / 'model.safetensors',
                {'format': 'pt'},
            )
        if fault == 'tokens':
            tokenizer = Tokenizer.from_file(str(folder/'tokenizer.json'))
            # the table has 35 rows to spare
            tokenizer.add_tokens([f'<word {i}>' for i in range(40)])
            (folder/'tokenizer.json').unlink()
            tokenizer.save(str(folder/'tokenizer.json'))
        with pytest.raises(InputError, match=words): EmotionClassifier.from_encoder(str(folder))
