// The character table of a SentencePiece tokenizer, as the `tokenizers` library reads it: a trie of texts,
// and what replaces them. Four bytes say how long the trie is; it follows in units of 32 bits, and then come
// the replacements, each with a zero byte at its end.
// A letter and its marks are one cluster.
const CLUSTERS = new Intl.Segmenter('und', { granularity: 'grapheme' });
const UTF8 = new TextEncoder(), TEXT = new TextDecoder();

// What a unit of the trie holds: its byte, where its children are, whether a text ends here, which replacement.
const label = unit => (unit & 0x800000ff) >>> 0;
const offset = unit => (unit >>> 10) << ((unit & 0x200) >>> 6);
const ends = unit => (unit >>> 8) & 1;
const value = unit => unit & 0x7fffffff;

// `base64`: `precompiled_charsmap` of a tokenizer.json; the function that comes back replaces characters.
export function makeCharsmap(base64) {
  const table = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
  const length = new DataView(table.buffer).getUint32(0, true);
  const trie = new Uint32Array(table.buffer.slice(4, 4 + length));
  const replacements = table.subarray(4 + length);

  // Of the shortest text in the trie that these bytes start with, for all of them; `undefined` where there is none.
  function replacement(bytes) {
    let at = offset(trie[0]);
    for (const byte of bytes) {
      at ^= byte;
      const unit = trie[at];
      if (byte === 0 || label(unit) !== byte) return undefined;
      at ^= offset(unit);
      if (!ends(unit)) continue;
      const start = value(trie[at]);
      return TEXT.decode(replacements.subarray(start, replacements.indexOf(0, start)));
    }
    return undefined;
  }

  const replaceCharacter = c => replacement(UTF8.encode(c)) ?? c;
  function replaceCluster(cluster) { // as one where it is short, else character by character
    const bytes = UTF8.encode(cluster);
    const whole = bytes.length < 6 ? replacement(bytes) : undefined;
    return whole ?? Array.from(cluster, replaceCharacter).join('');
  }
  return text => Array.from(CLUSTERS.segment(text), ({ segment }) => replaceCluster(segment)).join('');
}
