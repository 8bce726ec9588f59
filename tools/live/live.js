// The page: a button loads the model, what is typed goes to it, and what it answers to the bars.
const part = name => document.getElementById(`live-${name}`);
const say = text => { part('status').textContent = text; };
const mb = bytes => (bytes / 1e6).toFixed(1);
const NEEDED = {
  'Intl.Segmenter': Intl.Segmenter,
  DecompressionStream: globalThis.DecompressionStream,
  WebAssembly: globalThis.WebAssembly,
};
const PRIVATE = 'nothing you type leaves it';

let facts = null; // live.json: what the build says
let worker = null, loading = null, ready = false;
let wanted = false, busy = false;

// The thread of the model: `ask(what, given)` promises its answer, `tell` gets what it says without being asked.
function startWorker(tell) {
  const thread = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
  const waiting = new Map();
  let last = 0;
  const ask = (what, given) => new Promise((resolve, reject) => {
    last += 1;
    waiting.set(last, { resolve, reject });
    thread.postMessage({ id: last, what, given });
  });
  thread.onmessage = ({ data: { id, value, error, ...news } }) => {
    if (!id) return tell(news);
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    return error === undefined ? resolve(value) : reject(new Error(error));
  };
  thread.onerror = ({ message }) => {
    for (const { reject } of waiting.values()) reject(new Error(message || 'worker.js did not start'));
  };
  const end = () => {
    thread.onmessage = null; // of what is on its way already
    thread.terminate();
  };
  return { ask, end };
}

function offer(words) {
  part('button').textContent = words;
  part('button').hidden = false;
}

function stop() {
  worker?.end();
  worker = loading = null;
  ready = false;
  part('progress').hidden = true;
  part('loaded').textContent = '';
}

function wait() {
  stop();
  say('The model is not loaded yet. '
    + `Loading it brings ${facts.megabytes} MB; then it runs in this page, and ${PRIVATE}.`);
  offer(`Load the model (${facts.megabytes} MB)`);
}

function fail(error) {
  stop();
  say(`The model could not be loaded: ${error.message}. The rest of the page does not need it.`);
  offer('Try again');
  return null;
}

// What the thread says while it loads the model: bytes that came, then that the model is being checked.
function follow({ progress, checking }) {
  if (checking) say('Checking the model …');
  if (!progress) return;
  part('progress').value = progress.loaded / progress.total;
  part('loaded').textContent = `${mb(progress.loaded)} of ${mb(progress.total)} MB`;
  if (progress.loaded === progress.total) say('Starting the model …');
}

async function open() {
  offer('Stop');
  part('progress').hidden = false;
  say('Loading the model …');
  worker = startWorker(follow);
  const { texts, largest, seconds } = await worker.ask('open', facts.files);
  say(`Ready: the model runs in this page, and ${PRIVATE}. Checked in this browser: ${texts} texts give the `
    + `same tokens as in Python, and probabilities within ${largest.toFixed(3)} of the FP32 model.`);
  part('progress').hidden = true;
  const took = step => `in ${seconds[step].toFixed(1)}\u00a0s`;
  part('loaded').textContent = `Loaded ${took('load')}, started ${took('start')}, checked ${took('check')}`;
  if (document.activeElement === part('button')) part('text').focus();
  part('button').hidden = true;
  ready = true;
  await update();
  const call = what => text => worker.ask(what, text);
  return { normalize: call('normalize'), encode: call('encode'), answer: call('answer'), seconds };
}

// The model, loaded once; `null` where that failed, and the page says why.
export function load() {
  loading ??= started.then(open).catch(fail);
  return loading;
}

// The answer to what stands in the box; a call that finds another one at work leaves the newest text to it.
async function update() {
  wanted = true;
  if (!ready || busy) return;
  busy = true;
  try {
    while (wanted) {
      wanted = false;
      const before = performance.now();
      const answer = await worker.ask('answer', part('text').value);
      show(answer, performance.now() - before);
    }
  } finally {
    busy = false;
  }
}

function show({ label, score, scores, tokens, all, truncated, empty }, took) {
  for (const [name, p] of Object.entries(scores)) {
    part(name).querySelector('.live-fill').style.width = empty ? 0 : `${100 * p}%`;
    part(name).querySelector('.live-value').textContent = empty ? '–' : p.toFixed(2);
    part(name).classList.toggle('live-best', !empty && name === label);
  }
  part('answer').textContent = empty ? 'Type something.' : `${label ?? 'not sure'}, ${score.toFixed(2)}`;
  const count = n => `${n} token${n === 1 ? '' : 's'}`;
  const read = truncated ? `Cut: the first ${tokens.length} of ${count(all)} were read` : count(all);
  part('facts').textContent = empty ? '' : `${read}, ${took.toFixed(1)} ms`;
  const item = token => Object.assign(document.createElement('li'), { textContent: token });
  part('tokens').replaceChildren(...tokens.map(item));
}

async function start() {
  const missing = Object.keys(NEEDED).find(name => !NEEDED[name]);
  if (missing) return say(`This browser has no ${missing}, which the model needs; a newer one runs it.`);
  const reply = await fetch(new URL('live.json', import.meta.url));
  if (!reply.ok) return say(`The model cannot be loaded: live.json is missing (${reply.status}).`);
  facts = await reply.json();
  if (!facts.built) return say(facts.why);
  part('button').addEventListener('click', () => (loading ? wait() : load()));
  part('text').addEventListener('input', () => update().catch(fail));
  part('examples').addEventListener('click', ({ target }) => {
    if (target.tagName !== 'BUTTON') return;
    part('text').value = target.textContent.trim();
    update().catch(fail);
  });
  return wait();
}

export const started = start();
