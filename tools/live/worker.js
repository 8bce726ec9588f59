// The model in a thread of its own, so that the page stays free. Questions come in as messages with a number,
// and the answers go back with it.
let model = null;

// Load, start and check the model; how long each took, in seconds.
async function open(sizes) {
  const { openModel } = await import('./model.js'); // here, so that a missing script is an answer too
  const begin = performance.now();
  let arrived = begin;
  const tell = progress => {
    arrived = performance.now();
    postMessage({ progress });
  };
  model = await openModel(sizes, tell);
  const started = performance.now();
  postMessage({ checking: true });
  const checked = await model.checkCanary();
  const seconds = { load: arrived - begin, start: started - arrived, check: performance.now() - started };
  for (const step in seconds) seconds[step] /= 1000;
  return { ...checked, seconds };
}

const calls = {
  open,
  normalize: text => model.normalize(text),
  encode: text => model.encode(text),
  answer: text => model.answer(text),
};

onmessage = async ({ data: { id, what, given } }) => {
  try {
    postMessage({ id, value: await calls[what](given) });
  } catch (error) {
    postMessage({ id, error: error.message });
  }
};
