// The normalizer of emotion_detection/text.py, step by step: a model must be given what it was trained on.
// Character classes are spelled out as Python has them: JavaScript's \s, \w, \d and \b mean other characters.
const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const WORD = '\\p{L}\\p{N}_';
const re = (source, flags = 'gu') => new RegExp(source, flags);

const BREAK = re(`<[${SPACE}]*(?:/[${SPACE}]*)?[Bb][Rr][${SPACE}]*(?:/[${SPACE}]*)?>`);
const ADDRESS = re(`(?<![${WORD}])(?:[Hh][Tt][Tt][Pp][Ssſ]?://|[Ww]{3}\\.)[^${SPACE}]+`);
const USER = re(`(?<![${WORD}@/.])(?:@[${WORD}]+|/?u/[${WORD}-]{3,})`);
const RUN = re(`([^${SPACE}\\p{Nd}])\\1{3,}`);
const SPACES = re(`[${SPACE}]+`);
const IS_SPACE = re(`^[${SPACE}]$`, 'u'), IS_LONE = /\p{Cs}/u, IS_UNSEEN = /[\p{Cc}\p{Cf}]/u, IS_PICTURE = /[\p{So}\p{Sk}\ufe0f]/u;

// Remove characters without a picture, but keep the joiners inside emoji.
export function dropUnseen(text) {
  const chars = Array.from(text); // whole characters, where text[i] would be half an emoji
  const beside = i => i in chars && IS_PICTURE.test(chars[i]);
  return chars.map((c, i) => {
    if (IS_SPACE.test(c)) return ' ';
    if (IS_LONE.test(c)) return '\ufffd';
    if (c === '\u200d' && beside(i - 1) && beside(i + 1)) return c;
    return IS_UNSEEN.test(c) ? '' : c;
  }).join('');
}

// Python's html.unescape, with Python's own table of names: the browser's parser would do other things as well.
export function unescapeHtml(text, { names, numbers }) {
  text = text.replace(/&#0+(?=[0-9])/g, '&#').replace(/&#[0-9]{8,};?/g, '\ufffd');
  return text.replace(/&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/gu, (all, name) => {
    if (name[0] === '#') {
      const number = 'xX'.includes(name[1]) ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10);
      if (numbers.has(number)) return numbers.get(number);
      return number > 0x10ffff || (number >= 0xd800 && number <= 0xdfff) ? '\ufffd' : String.fromCodePoint(number);
    }
    for (let end = name.length; end > 1; end--) { // the longest name that it starts with
      if (names.has(name.slice(0, end))) return names.get(name.slice(0, end)) + name.slice(end);
    }
    return all;
  });
}

// `entities`: the table that build.py writes from Python's `html` module.
export function makeNormalizer(entities) {
  const table = { names: new Map(Object.entries(entities.names)), numbers: new Map(Object.entries(entities.numbers).map(([n, c]) => [Number(n), c])) };
  const once = text => {
    text = unescapeHtml(dropUnseen(text).normalize('NFC'), table).replace(BREAK, ' ');
    text = text.replace(ADDRESS, 'http').replace(USER, '@user').replace(RUN, '$1$1$1');
    return text.split(SPACES).filter(Boolean).join(' ');
  };
  return text => { // until nothing changes; what is still escaped after eight rounds loses its ampersands
    for (let rounds = 1; ; rounds++) {
      const next = once(text);
      if (next === text) return text;
      text = rounds < 8 ? next : next.replaceAll('&', ' ');
    }
  };
}
