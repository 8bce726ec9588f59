"""Every family of encoders with a Unigram tokenizer can be trimmed; what cannot be trimmed is refused, and what differs is found."""
import shutil
import unicodedata

import numpy as np
import pytest
import sentencepiece
from tokenizers import Tokenizer, models
from transformers import (
    AlbertConfig, AlbertForSequenceClassification, AlbertTokenizerFast, AutoTokenizer,
    CamembertConfig, CamembertForSequenceClassification, CamembertTokenizerFast,
    DebertaV2Config, DebertaV2ForSequenceClassification, DebertaV2TokenizerFast,
    T5Config, T5ForSequenceClassification, T5TokenizerFast,
    XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaForSequenceClassification,
    XLMRobertaTokenizerFast, pipeline, set_seed,
)
from emotion_detection import trimming
from emotion_detection.data import DataModule, Source
from emotion_detection.data_mapping import LABELS
from emotion_detection.files import GateError, InputError, read_json, write_json
from emotion_detection.model import EmotionClassifier
from emotion_detection.smaller_model import trim_embeddings
from emotion_detection.text import normalize
from emotion_detection.trimming import trim_model
from emotion_detection.trimming_proof import trim_proof


@pytest.fixture(scope='module')
def samples():
    "Training and validation texts by language"
    train, validation = {}, {}
    for language in ('en', 'vi'):
        data = DataModule(Source(f'bundled:{language}', language=language))
        train[language], validation[language] = data.train.text, data.validation.text[:80]
    return train, validation


@pytest.fixture(scope='module')
def pieces(samples, tmp_path_factory):
    "A function that trains SentencePiece on samples and gives the name of its file"
    folder = tmp_path_factory.mktemp('pieces')
    corpus = [normalize(text) for language in samples[0].values() for text in language[:300]]
    def train(name, **options):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus),
            model_prefix=str(folder/name),
            vocab_size=900,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
            **options,
        )
        return str(folder/f'{name}.model')
    return train


# What `transformers` makes the tokenizer from, and how SentencePiece is told to number
BERT = {
    'pad_id': 0, 'pad_piece': '[PAD]', 'bos_id': 1, 'bos_piece': '[CLS]',
    'eos_id': 2, 'eos_piece': '[SEP]', 'unk_id': 3, 'unk_piece': '[UNK]',
    'byte_fallback': True, 'character_coverage': 0.98,
}
ALBERT = {
    'pad_id': 0, 'unk_id': 1, 'bos_id': -1, 'eos_id': -1,
    'control_symbols': '[CLS],[SEP],[MASK]',
}
T5 = {'pad_id': 0, 'eos_id': 1, 'unk_id': 2, 'bos_id': -1}
SHAPE = {
    'hidden_size': 32, 'num_hidden_layers': 1, 'num_attention_heads': 2,
    'intermediate_size': 64, 'max_position_embeddings': 80,
}
T5_SHAPE = {
    'd_model': 32, 'd_kv': 16, 'd_ff': 64, 'num_layers': 1, 'num_heads': 2,
    'decoder_start_token_id': 0,
}
FAMILIES = {
    'XLM-R': (
        XLMRobertaTokenizerFast, {}, XLMRobertaConfig, XLMRobertaForSequenceClassification, SHAPE,
    ),
    'CamemBERT': (
        CamembertTokenizerFast, {}, CamembertConfig, CamembertForSequenceClassification, SHAPE,
    ),
    'DeBERTa-v3, bytes': (
        DebertaV2TokenizerFast, BERT, DebertaV2Config, DebertaV2ForSequenceClassification, SHAPE,
    ),
    'ALBERT': (
        AlbertTokenizerFast, ALBERT, AlbertConfig, AlbertForSequenceClassification,
        SHAPE | {'embedding_size': 16},
    ),
    'T5': (T5TokenizerFast, T5, T5Config, T5ForSequenceClassification, T5_SHAPE),
}


@pytest.mark.parametrize('family', FAMILIES)
def test_a_family_of_encoders(family, samples, pieces, tmp_path):
    "A small model of random weights: the proof holds, and `transformers` reads the folder as we do."
    tokenizer_class, numbering, config_class, model_class, shape = FAMILIES[family]
    train, validation = samples
    tokenizer = tokenizer_class(pieces('family', **numbering))
    ids = {
        name: getattr(tokenizer, name)
        for name in ('pad_token_id', 'bos_token_id', 'eos_token_id')
        if getattr(tokenizer, name) is not None
    }
    config = config_class(vocab_size=len(tokenizer) + 24, num_labels=len(LABELS), **ids, **shape)
    set_seed(0)
    EmotionClassifier(model_class(config), tokenizer, 64).save(tmp_path/'whole')
    few = {language: texts[:60] for language, texts in train.items()}
    folder = trim_model(tmp_path/'whole', few, tmp_path/'trimmed', 700, validation)
    report = read_json(folder/'trimming_report.json')
    small = EmotionClassifier.load(folder)

    assert [p['largest_difference'] for p in report['proof'].values()] == [0, 0]
    assert np.mean([p['covered'] for p in report['proof'].values()]) > .1
    # ids without gaps, and a table that fits
    vocabulary = small.tokenizer.get_vocab()
    assert sorted(vocabulary.values()) == list(range(report['tokens_after']))
    assert report['tokens_after'] < report['tokens_before']
    assert small.model.get_input_embeddings().num_embeddings == report['tokens_after']
    # special tokens at the head of the vocabulary keep their ids
    for token in tokenizer.all_special_tokens:
        old = tokenizer.convert_tokens_to_ids(token)
        assert vocabulary[token] == old or old >= 100
    # no file knows the old ids
    left_out = {f.name for f in (tmp_path/'whole').iterdir()} - {f.name for f in folder.iterdir()}
    assert any(name.endswith('.model') for name in left_out)
    # another library reads the same
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == vocabulary
    classify = pipeline('text-classification', model=str(folder), top_k=None, device='cpu')
    text = normalize(validation['en'][0])
    scores = {s['label']: s['score'] for s in classify([text], truncation=True, max_length=64)[0]}
    theirs = [scores[label] for label in LABELS]
    np.testing.assert_allclose(theirs, small.probs([text])[0], atol=1e-6)


def changed_tokenizer(folder, change):
    "Write another `tokenizer.json` into a model folder"
    spec = read_json(folder/'tokenizer.json')
    change(spec)
    write_json(folder/'tokenizer.json', spec)


def bpe(folder):
    tokenizer = Tokenizer(models.BPE({'a': 0, 'b': 1, 'ab': 2}, [('a', 'b')]))
    tokenizer.save(str(folder/'tokenizer.json'))


def word_piece(folder):
    tokenizer = Tokenizer(models.WordPiece({'a': 0, '[UNK]': 1}, unk_token='[UNK]'))
    tokenizer.save(str(folder/'tokenizer.json'))


def new_processor(folder):
    novel = {'type': 'Novel', 'cls': 0}
    changed_tokenizer(folder, lambda spec: spec.update(post_processor=novel))


def too_many_tokens(folder):
    def add(spec):
        last = max(spec['added_tokens'], key=lambda token: token['id'])  # `<mask>`
        spec['added_tokens'].append(last | {'id': last['id'] + 1, 'content': '<new>'})
    changed_tokenizer(folder, add)


def no_tokenizer(folder): (folder/'tokenizer.json').unlink()


def no_folder(folder): shutil.rmtree(folder)


@pytest.mark.parametrize('damage, why', [
    (bpe, 'has a BPE tokenizer'),
    (word_piece, 'has a WordPiece tokenizer'),
    (new_processor, 'post-processor Novel'),
    (too_many_tokens, 'do not belong together'),
    (no_tokenizer, 'has no tokenizer.json'),
    (no_folder, 'there is no folder'),
])
def test_what_cannot_be_trimmed(damage, why, untrained, samples, tmp_path):
    "It is refused before anything is written."
    folder = shutil.copytree(untrained/'final_model', tmp_path/'model')
    damage(folder)
    with pytest.raises(InputError, match=why):
        trim_model(folder, samples[0], tmp_path/'never')
    assert not list(tmp_path.glob('never*'))


def test_training_texts_are_needed(untrained, tmp_path):
    with pytest.raises(InputError, match='needs the training texts'):
        trim_model(untrained/'final_model', {'en': []}, tmp_path/'never')


def test_a_model_that_predicts_tokens():
    model = XLMRobertaForMaskedLM(XLMRobertaConfig(vocab_size=50, **SHAPE))
    with pytest.raises(InputError, match='predicts tokens'):
        trim_embeddings(model, [0, 1, 2, 3])


def test_no_folder_is_left_where_the_proof_fails(untrained, samples, tmp_path, monkeypatch):
    "A fault in the trimming itself: all rows are a millionth larger."
    def wrong(model, keep):
        trim_embeddings(model, keep)
        model.get_input_embeddings().weight.data[5:] *= 1 + 1e-6
    monkeypatch.setattr(trimming, 'trim_embeddings', wrong)
    few = {language: texts[:80] for language, texts in samples[0].items()}
    with pytest.raises(GateError, match='changes the embeddings'):
        trim_model(untrained/'final_model', few, tmp_path/'never', 1400, samples[1])
    assert not list(tmp_path.glob('never*'))


ODD = [
    '🤷🏽‍♀️ và 北京 ﷽', '', 'ﬀ Ⅷ １０', 'a'*3000, '[NAME] <mask> </s>', '\ud83d',
    unicodedata.normalize('NFD', 'Tiếng Việt'),
]


def test_odd_texts(untrained, samples, tmp_path):
    "Foreign letters, emoji of several characters, no text, half a character: unknown ones are `<unk>`, which stays."
    few = {language: texts[:80] for language, texts in samples[0].items()}
    small = trim_model(untrained/'final_model', few, tmp_path/'small', 1400)
    proof = trim_proof(untrained/'final_model', small, {'odd': ODD})['odd']
    assert proof['largest_difference'] == 0
    assert proof['covered'] == 1
