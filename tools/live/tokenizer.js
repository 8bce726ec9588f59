// tokenizers.js with the tokenizer's own character table. For such a table it has NFKC instead, which is close, and other tokens for some texts.
import { Tokenizer } from './vendor/tokenizers.min.js';
import { makeCharsmap } from './charsmap.js';

// A word starts at a space: the first word gets one, so that a text is never the bare name of a special token.
const startWord = text => (text === '' || /^[ ▁]/.test(text) ? text : ` ${text}`);

// `spec`: tokenizer.json
export function makeTokenizer(spec) {
  const tokenizer = new Tokenizer(spec, {});
  const steps = spec.normalizer.type === 'Sequence' ? spec.normalizer.normalizers : [spec.normalizer];
  const exact = steps.map((step, i) => (
    step.type === 'Precompiled' ? makeCharsmap(step.precompiled_charsmap) : ownStep(tokenizer, i)));
  tokenizer.model.scores[spec.model.unk_id] = spec.model.vocab[spec.model.unk_id][1]; // the library gives it another one
  tokenizer.normalizer = text => startWord(exact.reduce((changed, step) => step(changed), text));
  return tokenizer;
}

// Any other step is the library's.
function ownStep({ normalizer }, i) {
  const step = normalizer.normalizers?.[i] ?? normalizer;
  return text => step.normalize(text);
}
