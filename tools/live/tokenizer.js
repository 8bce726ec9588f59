// tokenizers.js with the tokenizer's own character table, in whose place the library has NFKC.
import { Tokenizer } from './vendor/tokenizers.min.js';
import { makeCharsmap } from './charsmap.js';

// A word starts at a space, the first one too: then no text is the bare name of a special token.
const startWord = text => (text === '' || /^[ ▁]/.test(text) ? text : ` ${text}`);

// `spec`: tokenizer.json
export function makeTokenizer(spec) {
  const tokenizer = new Tokenizer(spec, {});
  const steps = spec.normalizer.type === 'Sequence' ? spec.normalizer.normalizers : [spec.normalizer];
  const exact = steps.map((step, i) => (
    step.type === 'Precompiled' ? makeCharsmap(step.precompiled_charsmap) : ownStep(tokenizer, i)));
  const { unk_id, vocab } = spec.model;
  tokenizer.model.scores[unk_id] = vocab[unk_id][1]; // the library has given it another score
  tokenizer.normalizer = text => startWord(exact.reduce((changed, step) => step(changed), text));
  return tokenizer;
}

// Any other step is the library's.
function ownStep({ normalizer }, i) {
  const step = normalizer.normalizers?.[i] ?? normalizer;
  return text => step.normalize(text);
}
