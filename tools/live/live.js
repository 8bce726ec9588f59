// The page: what is typed goes to the model, what it answers to the bars.
const part = name => document.getElementById(`live-${name}`);
const say = text => { part('status').textContent = text; };

async function start() {
  const reply = await fetch(new URL('live.json', import.meta.url));
  if (!reply.ok) throw new Error(`live.json is missing (${reply.status})`);
  const facts = await reply.json();
  if (!facts.built) { say(facts.why); return null; }
  say(`Loading ONNX Runtime and the model, ${facts.megabytes} MB …`);
  const model = await (await import('./model.js')).openModel();
  const { texts, largest } = await model.checkCanary();
  say(`Ready: the model runs in this page, and nothing you type leaves it. Checked in this browser: ${texts} texts give the same tokens as in Python, and probabilities within ${largest.toFixed(3)} of the FP32 model.`);
  let wanted = true, busy = false;
  const update = async () => {
    wanted = true;
    if (busy) return; // whoever is at work takes the newest text next
    busy = true;
    while (wanted) { wanted = false; await show(model, part('text').value); }
    busy = false;
  };
  part('text').addEventListener('input', update);
  part('examples').addEventListener('click', event => {
    if (event.target.tagName !== 'BUTTON') return;
    part('text').value = event.target.textContent.trim();
    update();
  });
  await update();
  return model;
}

async function show(model, text) {
  const empty = model.normalise(text) === '', before = performance.now();
  const answer = await model.answer(text), took = performance.now() - before;
  for (const [label, p] of Object.entries(answer.scores)) {
    part(label).querySelector('.live-fill').style.width = empty ? 0 : `${100 * p}%`;
    part(label).querySelector('.live-value').textContent = empty ? '–' : p.toFixed(2);
    part(label).classList.toggle('live-best', !empty && label === answer.label);
  }
  part('answer').textContent = empty ? 'Type something.' : `${answer.label ?? 'not sure'}, ${answer.score.toFixed(2)}`;
  const count = n => `${n} token${n === 1 ? '' : 's'}`;
  part('facts').textContent = empty ? '' : `${answer.truncated ? `Cut: the first ${answer.tokens.length} of ${count(answer.all)} were read` : count(answer.all)}, ${took.toFixed(1)} ms`;
  part('tokens').replaceChildren(...answer.tokens.map(token => Object.assign(document.createElement('li'), { textContent: token })));
}

export const ready = start().catch(error => {
  say(`The model could not be loaded: ${error.message}. The rest of the page does not need it; reload to try again.`);
  return null;
});
