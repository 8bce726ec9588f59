// EmotionPredictor again: text, normaliser, tokenizer, ONNX Runtime, temperature, four probabilities.
import * as ort from './vendor/ort.wasm.bundle.min.js';
import { Tokenizer } from './vendor/tokenizers.min.js';
import { makeNormaliser } from './normalise.js';

async function get(path) {
  const reply = await fetch(new URL(path, import.meta.url));
  if (!reply.ok) throw new Error(`${path} is missing (${reply.status})`);
  return reply;
}
const json = async path => (await get(path)).json();
const bytes = async path => new Uint8Array(await (await get(path)).arrayBuffer());

// ONNX Runtime is 14 MB, and 4 MB packed; some servers unpack such files by themselves.
async function unpacked(path) {
  const data = await bytes(path);
  if (data[0] !== 0x1f || data[1] !== 0x8b) return data;
  return new Uint8Array(await new Response(new Blob([data]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer());
}

// Logits to probabilities; above 1, a temperature brings them closer together.
export function softmax(logits, temperature = 1) {
  const z = Array.from(logits, l => l / temperature), top = Math.max(...z);
  const e = z.map(l => Math.exp(l - top)), sum = e.reduce((a, b) => a + b);
  return e.map(x => x / sum);
}

export async function openModel() {
  const [manifest, spec, canary, entities, wasm] = await Promise.all([
    json('model/manifest.json'), json('model/tokenizer.json'), json('model/canary.json'), json('entities.json'), unpacked('vendor/ort-wasm-simd-threaded.wasm.gz')]);
  const normalise = makeNormaliser(entities), tokenizer = new Tokenizer(spec, {});
  Object.assign(ort.env.wasm, { wasmBinary: wasm, numThreads: 1 }); // more threads need headers that a plain web server does not send
  const session = await ort.InferenceSession.create(await bytes(`model/${manifest.model}`), {
    executionProviders: ['wasm'], logSeverityLevel: 3,
    extra: { optimization: { disable_specified_optimizers: 'SkipLayerNormFusion' } }, // as in Python: another way rounds otherwise
  });
  const { labels, max_length, calibration } = manifest;

  function encode(text) { // cut as the tokenizers library cuts: `</s>` stays the last one
    const { ids, tokens } = tokenizer.encode(normalise(text));
    const cut = list => (list.length > max_length ? [...list.slice(0, max_length - 1), list.at(-1)] : list);
    return { ids: cut(ids), tokens: cut(tokens).slice(1, -1), all: ids.length - 2 };
  }

  async function logits(ids) {
    const input_ids = BigInt64Array.from(ids, id => BigInt(id));
    const given = { input_ids, attention_mask: input_ids.map(() => 1n), token_type_ids: input_ids.map(() => 0n) };
    const feeds = session.inputNames.map(name => [name, new ort.Tensor('int64', given[name], [1, ids.length])]);
    return (await session.run(Object.fromEntries(feeds))).logits.data; // 4 numbers
  }

  async function answer(text) {
    const { ids, tokens, all } = encode(text);
    const probs = softmax(await logits(ids), calibration?.temperature);
    const best = probs.indexOf(Math.max(...probs)), least = calibration?.abstain_below ?? 0;
    return { text, label: probs[best] >= least ? labels[best] : null, score: probs[best], scores: Object.fromEntries(labels.map((l, i) => [l, probs[i]])), tokens, all, truncated: tokens.length < all, ids };
  }

  // Ask what the FP32 model was asked when the folder was made, and refuse to go on when the answers are others.
  async function checkCanary() {
    let largest = 0;
    for (const [i, text] of canary.texts.entries()) {
      const { ids } = encode(text), probs = softmax(await logits(ids));
      if (ids.join() !== canary.input_ids[i].join()) throw new Error(`“${text}” is cut into other tokens than in Python`);
      largest = Math.max(largest, ...probs.map((p, k) => Math.abs(p - canary.probs[i][k])));
    }
    if (!(largest <= manifest.canary.tolerance)) throw new Error(`a probability differs from FP32 by ${largest.toFixed(3)}, and ${manifest.canary.tolerance.toFixed(3)} was allowed`);
    return { texts: canary.texts.length, largest };
  }

  return { manifest, normalise, encode, answer, checkCanary };
}
