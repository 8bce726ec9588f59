// The contrast of every visible text with what is under it (WCAG 2): {texts, kinds: {tag: count}, bad: [{text, what, color, under, ratio}]}
(() => {
  document.querySelectorAll('details').forEach(d => { d.open = true; });
  const pen = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
  const known = new Map();
  const rgba = css => {  // whatever notation the browser uses, in [0, 255] and alpha in [0, 1]
    if (!known.has(css)) {
      pen.clearRect(0, 0, 1, 1); pen.fillStyle = css; pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      known.set(css, [r, g, b, a/255]);
    }
    return known.get(css);
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => a*c + (1-a)*under[i]);
  const chain = e => { const up = []; for (; e; e = e.parentElement) up.push(e); return up; };
  const under = e => {
    const layers = [];
    for (const x of chain(e)) { const c = rgba(getComputedStyle(x).backgroundColor); layers.push(c); if (c[3] === 1) break; }
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .04045 ? v/12.92 : ((v+.055)/1.055)**2.4; }); return .2126*r + .7152*g + .0722*b; };
  const kinds = {}, bad = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walk.nextNode()) {
    const text = walk.currentNode.data.trim(), e = walk.currentNode.parentElement;
    if (!text || e.closest('script, style, noscript, svg') || !e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    if (box.width < 2 || box.height < 2) continue;  // for screen readers only
    texts += 1;
    const names = new Set(chain(e).flatMap(x => [x.localName, ...Array.from(x.classList, c => '.' + c)]));
    for (const n of names) kinds[n] = (kinds[n] || 0) + 1;
    const ground = under(e), faded = chain(e).reduce((a, x) => a*getComputedStyle(x).opacity, 1), [r, g, b, a] = rgba(style.color);
    const [x, y] = [light(over([r, g, b, a*faded], ground)), light(ground)], ratio = (Math.max(x, y)+.05)/(Math.min(x, y)+.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) bad.push({text: text.slice(0, 40), what: chain(e).slice(0, 3).map(x => x.localName + Array.from(x.classList, c => '.' + c).join('')).join(' < '), color: style.color, under: ground.map(Math.round).join(','), ratio});
  }
  return {texts, kinds, bad};
})()
