"""Try training recipes on part of the data, one row per run: `python tools/recipe.py START_DIR OUT_DIR [NAME ...]`

START_DIR is a trimmed encoder with a fresh head (`emotion trim`), or with `--phase2` the
`phase1_final` of a training, from which phase 2 goes on. GOEMOTIONS_DIR names GoEmotions' official
files. Each run appends a line to OUT_DIR/recipes.jsonl; a name and seed that is there already is
not run again, so that an interrupted search goes on where it stopped. Settings are judged on
validation texts only: 2,000 of GoEmotions, the 156 bundled Vietnamese ones, and one in ten of the
other Vietnamese texts, which are left out of training here.
"""
import argparse
import dataclasses
import itertools
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from emotion_detection.data import DataModule, Source, load_rows, split_for_text
from emotion_detection.data_mapping import GOEMOTIONS, LABELS, decode_ids
from emotion_detection.loss import class_weights
from emotion_detection.metrics import emotion_scores
from emotion_detection.model import EmotionClassifier


@dataclass
class Recipe:
    "One way to train; the defaults follow the tried run of design.md, but for less English."
    english: int = 10_000        # comments of phase 1
    epochs: float = 1            # of phase 1; 0 leaves it out
    rate: float = 6e-5           # learning rate of phase 1
    epochs2: float = 2           # of phase 2; 0 leaves it out
    rate2: float = 3e-5
    replay: float = 0.05         # share of the English comments in each epoch of phase 2
    vietnamese: int = 100_000    # training texts of phase 2 at most
    skewed: bool = False         # Vietnamese classes with the shares of SKEWED
    trained: bool = False        # START_DIR has been through phase 1: its head is kept
    mixed: bool = False          # both languages at once, for as many epochs as phase 2 has
    batch: int = 32
    warmup: float = 0.1
    decay: float = 0.01
    smoothing: float = 0.1
    dropout: float = 0.1
    layer_decay: float = 1.0     # factor of the learning rate from each layer to the one below
    head_rate: float = 1.0       # factor of the learning rate of the head
    average: float = 0.0         # decay of a moving average of the weights
    probe: int = 0               # steps in which only the head is trained, first
    freeze: bool = False         # leave the table of embeddings as it is
    # none, all, language (weights by inverse frequency), adjust (logits by the classes' shares)
    balance: str = 'language'
    cap: float = 3.0             # largest class weight
    emotions: float = 0.0        # weight of the loss of 28 emotions, an auxiliary head on English
    layers: int = 12             # layers of the encoder that are kept, the lowest …
    spread: bool = False         # … or evenly from the first to the last
    teacher: float = 0.0         # weight of START_DIR's own answers in the loss, for fewer layers
    seed: int = 0


SIX_LAYERS = {'layers': 6, 'replay': 0.4, 'rate2': 6e-5, 'epochs2': 3}

RECIPES = {
    'tried': Recipe(),
    'no dropout': Recipe(dropout=0),
    'frozen embeddings': Recipe(freeze=True),
    'linear probe first': Recipe(probe=60),
    'layer decay .9': Recipe(layer_decay=0.9, rate=1e-4),
    'head x 10': Recipe(head_rate=10),
    'moving average': Recipe(average=0.995),
    '28 emotions': Recipe(emotions=0.5),
    'no weights': Recipe(balance='none'),
    'weights over both': Recipe(balance='all'),
    'logit adjustment': Recipe(balance='adjust'),
    'no smoothing': Recipe(smoothing=0),
    'rate 1e-4': Recipe(rate=1e-4),
    'rate 3e-5': Recipe(rate=3e-5),
    'batch 16': Recipe(batch=16, rate=4e-5),
    'two epochs': Recipe(epochs=2),
    'no replay': Recipe(replay=0),
    'replay .2': Recipe(replay=0.2),
    'mixed': Recipe(epochs=0, mixed=True, replay=1),
    'phase 1, then mixed': Recipe(mixed=True, replay=0.3),
    'Vietnamese alone': Recipe(epochs=0, replay=0, epochs2=4, rate2=6e-5),
    'Vietnamese alone, 728': Recipe(
        epochs=0, replay=0, vietnamese=728, epochs2=9, rate2=6e-5
    ),
    'both, as Vietnamese alone': Recipe(epochs2=4, rate2=6e-5),
    'English alone': Recipe(epochs2=0),
    'vietnamese 728': Recipe(vietnamese=728),
    'vietnamese 728, nine epochs': Recipe(
        vietnamese=728, epochs2=9, rate2=6e-5, replay=0.01
    ),
    'vietnamese 2000': Recipe(vietnamese=2000),
    'lowest six layers': Recipe(**SIX_LAYERS),
    'six layers': Recipe(**SIX_LAYERS, spread=True),
    'six layers, taught': Recipe(**SIX_LAYERS, spread=True, teacher=0.7),
    # the same, where START_DIR is the model after both phases; a name of its own for its row
    'six layers, taught by both phases': Recipe(**SIX_LAYERS, spread=True, teacher=0.7),
    'skewed': Recipe(skewed=True),
    'skewed, weights over both': Recipe(skewed=True, balance='all'),
    'skewed, no weights': Recipe(skewed=True, balance='none'),
}

# shares of LABELS as another corpus has them: mostly negative, hardly anything neutral
SKEWED = (0.3, 0.53, 0.09, 0.08)

ARRAYS = ('labels', 'language', 'emotions', 'taught')  # of Texts, a row per text


@dataclass
class Texts:
    "Token ids, class, language and emotions of texts, in parallel lists."
    ids: list
    labels: np.ndarray           # (N,)
    language: np.ndarray         # (N,) 0 English, 1 Vietnamese
    emotions: np.ndarray         # (N, 28), 0 for Vietnamese
    taught: np.ndarray           # (N, K) a teacher's probabilities, 0 without one

    def __len__(self):
        return len(self.ids)

    def take(self, rows):
        arrays = [getattr(self, name)[rows] for name in ARRAYS]
        return Texts([self.ids[i] for i in rows], *arrays)

    def __add__(self, other):
        arrays = [np.concatenate([getattr(self, name), getattr(other, name)]) for name in ARRAYS]
        return Texts(self.ids + other.ids, *arrays)


def emotion_matrix(source, ids):
    "The 28 emotions of comments, shape `(N, 28)`."
    found = {}
    for row in load_rows(source)['train']:
        found[str(row['id'])] = decode_ids(row['labels'])
    out = np.zeros((len(ids), len(GOEMOTIONS)), np.float32)
    for row, comment in enumerate(ids):
        for emotion in found.get(comment, ()):
            out[row, GOEMOTIONS.index(emotion)] = 1
    return out


def encoded(classifier, examples, language, emotions=None):
    "Examples as `Texts`."
    ids = classifier.tokenizer(
        examples.text, truncation=True, max_length=classifier.max_length
    ).input_ids
    labels = np.array(examples.votes).argmax(1)
    if emotions is None:
        emotions = np.zeros((len(ids), len(GOEMOTIONS)), np.float32)
    taught = np.zeros((len(ids), len(LABELS)), np.float32)
    return Texts(ids, labels, np.full(len(ids), language), emotions, taught)


def load_texts(classifier, goemotions, vietnamese):
    "Training and validation texts of both languages."
    source = Source(goemotions)
    english = DataModule(source)
    other = DataModule(Source(vietnamese, 'vi'))
    train_en = encoded(classifier, english.train, 0, emotion_matrix(source, english.train.id))
    held = np.array([split_for_text(key) == 'validation' for key in other.train.keys])
    all_vi = encoded(classifier, other.train, 1)
    train_vi = all_vi.take(np.flatnonzero(~held))
    order = np.random.default_rng(0).permutation(len(english.validation))[:2000]
    return train_en, train_vi, {
        'en': encoded(classifier, english.validation, 0).take(order),
        'vi': encoded(classifier, other.validation, 1),
        'vi_more': all_vi.take(np.flatnonzero(held)),
    }


def padded(ids):
    "Token ids and mask as tensors, shape `(B, T)`."
    width = max(map(len, ids))
    out = torch.ones((len(ids), width), dtype=torch.long)
    mask = torch.zeros_like(out)
    for row, tokens in enumerate(ids):
        out[row, :len(tokens)] = torch.tensor(tokens)
        mask[row, :len(tokens)] = 1
    return out, mask


def batches(lengths, size, generator):
    "Rows in steps of like length, the steps in random order."
    order = generator.permutation(len(lengths))
    groups = [order[i:i+50*size] for i in range(0, len(order), 50*size)]
    steps = []
    for group in groups:
        group = group[np.argsort(-np.array(lengths)[group], kind='stable')]
        steps += [group[i:i+size] for i in range(0, len(group), size)]
    generator.shuffle(steps)
    return steps


@torch.inference_mode()
def log_probs(model, texts):
    "Log-probabilities, shape `(N, K)`."
    model.eval()
    order = np.argsort([len(ids) for ids in texts.ids], kind='stable')
    out = np.empty((len(texts), len(LABELS)), np.float32)
    for start in range(0, len(order), 64):
        rows = order[start:start+64]
        ids, mask = padded([texts.ids[i] for i in rows])
        out[rows] = model(ids, mask).logits.log_softmax(-1).numpy()
    return out


def parameter_groups(model, heads, recipe, rate):
    "Parameters with their learning rates: lower layers learn more slowly, the head faster."
    layers = model.config.num_hidden_layers
    groups = []
    for name, parameter in [*model.named_parameters(), *heads.named_parameters()]:
        if not parameter.requires_grad:
            continue
        factor = recipe.head_rate
        if '.embeddings.' in name:
            factor = recipe.layer_decay**(layers + 1)
        elif '.layer.' in name:
            factor = recipe.layer_decay**(layers - int(name.split('.layer.')[1].split('.')[0]))
        decay = 0 if parameter.ndim == 1 else recipe.decay
        groups.append({'params': [parameter], 'lr': rate*factor, 'weight_decay': decay})
    return groups


def rate_factor(part, warmup):
    "Share of the learning rate at a part of the training: a line up, then a cosine down to 0."
    falling = 0.5*(1 + np.cos(np.pi*max(0, part - warmup)/(1 - warmup)))
    return min(part/warmup, falling)


def balance(texts, recipe):
    "Class weights, and numbers to add to the logits, per language: both of shape `(2, K)`."
    ones, zeros = torch.ones(2, len(LABELS)), torch.zeros(2, len(LABELS))
    if recipe.balance == 'none':
        return ones, zeros
    counts = np.stack([
        np.bincount(texts.labels[texts.language == k], minlength=len(LABELS)) for k in (0, 1)
    ])
    if recipe.balance == 'all':
        counts = np.tile(counts.sum(0), (2, 1))
    counts = np.where(counts.sum(1, keepdims=True) > 0, counts, 1)
    if recipe.balance == 'adjust':
        shares = (counts + 1)/(counts + 1).sum(1, keepdims=True)
        return ones, torch.tensor(np.log(shares), dtype=torch.float32)
    weights = np.stack([class_weights(row, recipe.cap) for row in counts])
    return torch.tensor(weights, dtype=torch.float32), zeros


def losses(logits, labels, taught, recipe):
    "The loss of each text, shape `(B,)`, by its label and by a teacher's probabilities."
    each = F.cross_entropy(logits, labels, label_smoothing=recipe.smoothing, reduction='none')
    if not recipe.teacher:
        return each
    by_teacher = F.cross_entropy(logits, taught, reduction='none')
    return (1 - recipe.teacher)*each + recipe.teacher*by_teacher


def set_dropout(model, rate):
    "Give all layers one rate of dropout."
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        if hasattr(module, 'dropout_prob'):
            module.dropout_prob = rate


def keep_layers(model, recipe):
    "Leave out layers of the encoder."
    encoder = model.base_model.encoder
    kept = range(recipe.layers)
    if recipe.spread:
        kept = np.linspace(0, len(encoder.layer) - 1, recipe.layers).round().astype(int)
    encoder.layer = torch.nn.ModuleList([encoder.layer[i] for i in kept])
    model.config.num_hidden_layers = recipe.layers


class Average:
    "A moving average of a model's weights; none with a decay of 0."
    def __init__(self, model, decay):
        self.decay = decay
        self.weights = {}
        if decay:
            for name, value in model.named_parameters():
                self.weights[name] = value.detach().clone()

    @torch.no_grad()
    def update(self, model, step):
        "Move towards the weights after a step."
        share = 1 - min(self.decay, (step + 1)/(step + 10))
        for name, value in model.named_parameters():
            if name in self.weights:
                self.weights[name].lerp_(value, share)

    @torch.no_grad()
    def copy_to(self, model):
        "Give the model its average."
        for name, value in model.named_parameters():
            if name in self.weights:
                value.copy_(self.weights[name])


class Run:
    "One model in training."
    def __init__(self, recipe, start):
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        self.classifier = EmotionClassifier.load(start)
        self.model = self.classifier.model
        set_dropout(self.model, recipe.dropout)
        if not recipe.trained:
            self.model.classifier.reset_parameters()
        keep_layers(self.model, recipe)
        self.model.get_input_embeddings().weight.requires_grad_(not recipe.freeze)
        self.heads = torch.nn.ModuleDict({
            'emotions': torch.nn.Linear(self.model.config.hidden_size, len(GOEMOTIONS))
        })
        self.steps = 0

    def emotion_loss(self, pooled, wanted):
        "The auxiliary loss of 28 emotions, on English texts."
        found = self.heads['emotions'](pooled)
        loss = F.binary_cross_entropy_with_logits(found, wanted)
        return self.recipe.emotions*loss*len(GOEMOTIONS)/4

    def loss(self, texts, rows, weights, shift):
        "The loss of one step."
        ids, mask = padded([texts.ids[i] for i in rows])
        labels = torch.tensor(texts.labels[rows])
        language = torch.tensor(texts.language[rows])
        pooled = self.model.base_model(ids, mask).pooler_output
        logits = self.model.classifier(self.model.dropout(pooled)) + shift[language]
        weight = weights[language, labels]
        each = losses(logits, labels, torch.tensor(texts.taught[rows]), self.recipe)
        loss = (weight*each).sum()/weight.sum()
        english = language == 0
        if self.recipe.emotions and english.any():
            wanted = torch.tensor(texts.emotions[rows])[english]
            loss = loss + self.emotion_loss(pooled[english], wanted)
        return loss

    def each_step(self, draw, total):
        "The texts and rows of each of `total` steps."
        generator = np.random.default_rng(self.recipe.seed)
        step = 0
        epoch = 0
        while step < total:
            texts = draw(epoch)
            epoch += 1
            lengths = [len(ids) for ids in texts.ids]
            for rows in batches(lengths, self.recipe.batch, generator)[:total - step]:
                yield texts, rows
                step += 1

    def train(self, draw, epochs, rate, probe=0):
        "Train on what `draw(epoch)` gives."
        recipe = self.recipe
        per_epoch = -(-len(draw(0))//recipe.batch)
        total = int(per_epoch*epochs)
        groups = parameter_groups(self.model, self.heads, recipe, rate)
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999))
        bases = [group['lr'] for group in optimizer.param_groups]
        self.model.train()
        average = Average(self.model, recipe.average)
        if probe:
            self.probe(draw(0), probe)
        weights, shift = balance(draw(0), recipe)
        for step, (texts, rows) in enumerate(self.each_step(draw, total)):
            factor = max(rate_factor(step/total, recipe.warmup), 1/total)
            for group, base in zip(optimizer.param_groups, bases):
                group['lr'] = base*factor
            self.loss(texts, rows, weights, shift).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            average.update(self.model, step)
            if (step + 1) % 50 == 0:
                print(f'  step {step + 1}/{total}', file=sys.stderr, flush=True)
        average.copy_to(self.model)
        self.steps += total

    def probe(self, texts, steps):
        "Train the head alone."
        generator = np.random.default_rng(self.recipe.seed)
        weights, shift = balance(texts, self.recipe)
        for parameter in self.model.base_model.parameters():
            parameter.requires_grad_(False)
        optimizer = torch.optim.AdamW(self.model.classifier.parameters(), lr=1e-2)
        for rows in batches([len(ids) for ids in texts.ids], self.recipe.batch, generator)[:steps]:
            self.loss(texts, rows, weights, shift).backward()
            optimizer.step()
            optimizer.zero_grad()
        for parameter in self.model.base_model.parameters():
            parameter.requires_grad_(True)
        self.model.get_input_embeddings().weight.requires_grad_(not self.recipe.freeze)


def macro_f1(scores, texts, bias=0):
    "Macro-F1 of log-probabilities."
    return emotion_scores(texts.labels, (scores + bias).argmax(1))['macro_f1']


def fit_bias(scores, texts):
    "One bias per class that makes macro-F1 largest, by coordinate search; the first class keeps 0."
    bias = np.zeros(len(LABELS))
    for width in (0.4, 0.2, 0.1):
        for _ in range(3):
            for k in range(1, len(LABELS)):
                tries = [bias + width*move*np.eye(len(LABELS))[k] for move in (0, -1, 1, -2, 2)]
                bias = max(
                    tries, key=lambda b: np.mean([macro_f1(scores[t], texts[t], b) for t in texts])
                )
    return bias


def crossed(scores, texts):
    "Macro-F1 with a bias fitted on the other half of the texts, and the mean bias."
    halves = {name: np.arange(len(part)) % 2 for name, part in texts.items()}
    found = []
    total = {name: np.array(values, copy=True) for name, values in scores.items()}
    for half in (0, 1):
        rows = {name: np.flatnonzero(halves[name] != half) for name in texts}
        bias = fit_bias(
            {n: scores[n][r] for n, r in rows.items()},
            {n: texts[n].take(r) for n, r in rows.items()},
        )
        found.append(bias)
        for name in texts:
            total[name][halves[name] == half] += bias
    return {name: macro_f1(total[name], texts[name]) for name in texts}, np.mean(found, 0)


def skew(texts, generator):
    "As many texts as there are with the shares of SKEWED."
    rows = [generator.permutation(np.flatnonzero(texts.labels == k)) for k in range(len(LABELS))]
    most = min(len(found)/share for found, share in zip(rows, SKEWED))
    return texts.take(
        np.concatenate([found[: int(most * share)] for found, share in zip(rows, SKEWED)])
    )


def scores_of(model, texts):
    "Macro-F1 on each of the validation sets."
    return {name: macro_f1(log_probs(model, part), part) for name, part in texts.items()}


def texts_of(recipe, train_en, train_vi):
    "The training texts of both languages that a recipe takes."
    order = np.random.default_rng(recipe.seed).permutation(len(train_en))
    english = train_en.take(order[:recipe.english])
    order = np.random.default_rng(0).permutation(len(train_vi))
    vietnamese = train_vi.take(order[:recipe.vietnamese])
    if recipe.skewed:
        vietnamese = skew(vietnamese, np.random.default_rng(0))
    return english, vietnamese


def ask_teacher(start, *parts):
    "Note what the model in START_DIR says to the texts."
    teacher = EmotionClassifier.load(start).model
    for texts in parts:
        texts.taught = np.exp(log_probs(teacher, texts))


def train_phase2(run, english, vietnamese):
    "Vietnamese, with a share of the English texts drawn anew in each epoch."
    recipe = run.recipe

    def draw(epoch):
        count = round(recipe.replay*len(english))
        rows = np.random.default_rng((recipe.seed, epoch)).permutation(len(english))[:count]
        return vietnamese + english.take(rows)

    first = recipe.mixed and not recipe.epochs and not recipe.trained
    run.train(draw, recipe.epochs2, recipe.rate if first else recipe.rate2)


def judged(model, validation):
    "Macro-F1 on each of the validation sets, as it is and with a bias per class."
    scores = {name: log_probs(model, part) for name, part in validation.items()}
    with_bias, bias = crossed(scores, validation)
    return {
        'final': {name: macro_f1(scores[name], part) for name, part in validation.items()},
        'with_bias': with_bias,
        'bias': [round(float(b), 2) for b in bias],
    }


def run_recipe(recipe, start, data):
    "Train by a recipe and judge it."
    train_en, train_vi, validation = data
    english, vietnamese = texts_of(recipe, train_en, train_vi)
    begun = time.time()
    if recipe.teacher:
        ask_teacher(start, english, vietnamese)
    run = Run(recipe, start)
    row = dataclasses.asdict(recipe) | {'phase1': None}
    if recipe.epochs:
        run.train(lambda epoch: english, recipe.epochs, recipe.rate, recipe.probe)
    if recipe.epochs2 and (recipe.epochs or recipe.trained):
        row['phase1'] = scores_of(run.model, validation)
    if recipe.epochs2:
        train_phase2(run, english, vietnamese)
    minutes = (time.time() - begun)/60
    row |= judged(run.model, validation)
    return row | {'minutes': round(minutes, 1), 'steps': run.steps}


def chosen(name, args):
    "A recipe as the arguments want it, and the name of its row."
    recipe = RECIPES[name]
    if args.english:
        recipe = dataclasses.replace(recipe, english=args.english)
    if args.phase1:
        return f'phase 1 of {recipe.english}, {name}', dataclasses.replace(recipe, epochs2=0)
    if args.phase2:
        english = args.english or 100_000
        title = f'phase 2 of {english}, {name}' if args.english else f'phase 2, {name}'
        return title, dataclasses.replace(recipe, epochs=0, trained=True, english=english)
    return f'{name}, {args.english} English' if args.english else name, recipe


def arguments():
    "What the command line asks for."
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('start', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('names', nargs='*', default=None)
    parser.add_argument('--seeds', type=int, nargs='*', default=[0])
    parser.add_argument('--vietnamese', default='bundled:vi')
    parser.add_argument('--english', type=int, metavar='N', help='comments of phase 1')
    only = parser.add_mutually_exclusive_group()
    only.add_argument('--phase1', action='store_true', help='phase 1 alone')
    only.add_argument(
        '--phase2',
        action='store_true',
        help='phase 2 alone, from a START_DIR that has been through phase 1',
    )
    return parser.parse_args()


def finished(file):
    "Names and seeds of the rows in a file."
    if not file.is_file():
        return set()
    rows = map(json.loads, file.read_text('utf8').splitlines())
    return {(row['name'], row['seed']) for row in rows}


def write_row(file, row):
    "Append a row to a file, and print what matters of it."
    with file.open('a', encoding='utf8') as lines:
        lines.write(json.dumps(row) + '\n')
    keys = ('name', 'seed', 'phase1', 'final', 'with_bias', 'minutes')
    print(json.dumps({key: row[key] for key in keys}), flush=True)


def main():
    "Run the recipes that are not in the file yet."
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out/'recipes.jsonl'
    done = finished(file)
    classifier = EmotionClassifier.load(args.start)
    data = load_texts(classifier, os.environ['GOEMOTIONS_DIR'], args.vietnamese)
    for seed, name in itertools.product(args.seeds, args.names or RECIPES):
        title, recipe = chosen(name, args)
        if (title, seed) in done:
            continue
        print(f'{title}, seed {seed}', file=sys.stderr, flush=True)
        recipe = dataclasses.replace(recipe, seed=seed)
        write_row(file, {'name': title} | run_recipe(recipe, args.start, data))


if __name__ == '__main__':
    main()
