// EmotionPredictor again: text, normalizer, tokenizer, ONNX Runtime, temperature, four probabilities.
import * as ort from './vendor/ort.wasm.bundle.min.js';
import { makeNormalizer } from './normalize.js';
import { makeTokenizer } from './tokenizer.js';

// One file of the site, piece by piece; `arrived` is told the bytes of each.
async function get(name, size, arrived) {
  const reply = await fetch(new URL(name, import.meta.url));
  if (!reply.ok) throw new Error(`${name} is missing (${reply.status})`);
  const content = new Uint8Array(size), reader = reply.body.getReader();
  let count = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (count + value.length <= size) content.set(value, count);
    count += value.length;
    arrived(value.length);
  }
  if (count !== size) throw new Error(`${name} came with ${count} bytes, not ${size}`);
  return content;
}

// `files`: names and sizes
async function getAll(files, tell) {
  const total = Object.values(files).reduce((a, b) => a + b);
  let loaded = 0;
  const arrived = bytes => { loaded += bytes; tell({ loaded, total }); };
  const read = async ([name, size]) => [name, await get(name, size, arrived)];
  return Object.fromEntries(await Promise.all(Object.entries(files).map(read)));
}

const json = content => JSON.parse(new TextDecoder().decode(content));

// ONNX Runtime is 14 MB, and 4 MB packed.
const unpack = content => new Response(
  new Blob([content]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();

// Logits to probabilities; above 1, a temperature brings them closer together.
export function softmax(logits, temperature = 1) {
  const z = Array.from(logits, l => l / temperature), top = Math.max(...z);
  const e = z.map(l => Math.exp(l - top)), sum = e.reduce((a, b) => a + b);
  return e.map(x => x / sum);
}

// A graph, and its weights from the file beside it.
async function openSession(graph, files) {
  const weights = Object.keys(files).filter(name => name.startsWith(`${graph}_`));
  return ort.InferenceSession.create(files[graph], {
    executionProviders: ['wasm'],
    logSeverityLevel: 3,
    externalData: weights.map(name => ({ path: name.split('/').at(-1), data: files[name] })),
    // as in Python: another way rounds otherwise
    extra: { optimization: { disable_specified_optimizers: 'SkipLayerNormFusion' } },
  });
}

// `sizes`: from live.json; `tell` is called with `{loaded, total}` in bytes
export async function openModel(sizes, tell) {
  const files = await getAll(sizes, tell);
  const [manifest, canary] = ['manifest', 'canary'].map(name => json(files[`model/${name}.json`]));
  const { labels, max_length, calibration } = manifest;
  const normalize = makeNormalizer(json(files['entities.json']));
  const tokenizer = makeTokenizer(json(files['model/tokenizer.json']));
  const wasmBinary = await unpack(files['vendor/ort-wasm-simd-threaded.wasm.packed']);
  // more threads need headers that a plain web server does not send
  Object.assign(ort.env.wasm, { wasmBinary, numThreads: 1 });
  const session = await openSession(`model/${manifest.model}`, files);

  function encode(text) { // cut as the tokenizers library cuts: `</s>` stays the last one
    const { ids, tokens } = tokenizer.encode(normalize(text));
    const shorten = list => [...list.slice(0, max_length - 1), list.at(-1)];
    const cut = list => (list.length > max_length ? shorten(list) : list);
    return { ids: cut(ids), tokens: cut(tokens).slice(1, -1), all: ids.length - 2 };
  }

  async function logits(ids) {
    const input_ids = BigInt64Array.from(ids, id => BigInt(id));
    const given = {
      input_ids,
      attention_mask: input_ids.map(() => 1n),
      token_type_ids: input_ids.map(() => 0n),
    };
    const tensor = name => new ort.Tensor('int64', given[name], [1, ids.length]);
    const feeds = Object.fromEntries(session.inputNames.map(name => [name, tensor(name)]));
    return (await session.run(feeds)).logits.data; // 4 numbers
  }

  async function answer(text) {
    const { ids, tokens, all } = encode(text);
    const probs = softmax(await logits(ids), calibration?.temperature);
    const best = probs.indexOf(Math.max(...probs)), least = calibration?.abstain_below ?? 0;
    return {
      label: probs[best] >= least ? labels[best] : null,
      score: probs[best],
      scores: Object.fromEntries(labels.map((label, i) => [label, probs[i]])),
      tokens, all, truncated: tokens.length < all, empty: normalize(text) === '',
    };
  }

  // Ask what the FP32 model was asked when the folder was made; other answers are an error.
  async function checkCanary() {
    let largest = 0;
    for (const [i, text] of canary.texts.entries()) {
      const { ids } = encode(text), probs = softmax(await logits(ids));
      if (ids.join() !== canary.input_ids[i].join()) {
        throw new Error(`“${text}” is cut into other tokens than in Python`);
      }
      largest = Math.max(largest, ...probs.map((p, k) => Math.abs(p - canary.probs[i][k])));
    }
    const { tolerance } = manifest.canary;
    if (!(largest <= tolerance)) {
      throw new Error(
        `a probability differs from FP32 by ${largest.toFixed(3)}, and ${tolerance.toFixed(3)} was allowed`);
    }
    return { texts: canary.texts.length, largest };
  }

  return { normalize, encode, answer, checkCanary };
}
