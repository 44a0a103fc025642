/**
 * Long texts, encoded a megabyte at a time: the library makes an object of every word and token of a text.
 *
 * @module
 */

/** Encodes a text. */
export type Encode = (
  text: string,
  options: { addSpecialTokens: boolean },
) => Int32Array<ArrayBuffer>;

/** Characters that are encoded at a time; longer texts are cut. */
export const LONG_TEXT: number = 2 ** 20;

/** Characters on either side of a place by which a cut there is tried. */
const SIDE = 256;

/** Places that are tried before a part is let grow. */
const TRIES = 32;

/**
 * Ids of a long text. It is cut at spaces between letters where the text around the space has the same ids cut as whole;
 * where a tokenizer puts a space before every text, the one at the cut is left to it.
 */
export function encodeLong(
  text: string,
  encode: Encode,
  { addSpecialTokens, length = LONG_TEXT }: {
    addSpecialTokens: boolean;
    length?: number;
  },
): Int32Array<ArrayBuffer> {
  const frame = addSpecialTokens ? frameOf(encode) : NONE;
  if (!frame) return encode(text, { addSpecialTokens });
  const { before, after } = frame;
  const plain = (part: string) => encode(part, { addSpecialTokens: false });
  const parts: Int32Array[] = [];
  let start = 0;
  for (let from = start + length; from < text.length; from = start + length) {
    const found = cutAfter(text, from, plain);
    if (!found) break;
    parts.push(plain(text.slice(start, found.end)));
    start = found.next;
  }
  parts.push(plain(text.slice(start)));
  const count = parts.reduce((sum, { length: n }) => sum + n, 0);
  const ids = new Int32Array(before.length + count + after.length);
  let at = 0;
  for (const part of [before, ...parts, after]) {
    ids.set(part, at);
    at += part.length;
  }
  return ids;
}

/** The first place from `from` on at which the text may be cut: end of one part and begin of the next. */
function cutAfter(
  text: string,
  from: number,
  plain: (text: string) => Int32Array,
): { end: number; next: number } | undefined {
  const spaces = /(?<=[\p{L}\p{N}]) (?=[\p{L}\p{N}])/gu;
  spaces.lastIndex = from;
  for (let i = 0; i < TRIES; i++) {
    const end = spaces.exec(text)?.index;
    if (end === undefined) return undefined;
    const left = text.slice(end - SIDE, end).toWellFormed();
    for (const next of [end, end + 1]) {
      const right = text.slice(next, next + SIDE).toWellFormed();
      const whole = plain(left + (next > end ? " " : "") + right);
      const [a, b] = [plain(left), plain(right)];
      if (
        whole.length === a.length + b.length &&
        whole.every((id, k) => id === (k < a.length ? a[k] : b[k - a.length]))
      ) return { end, next };
    }
  }
  return undefined;
}

interface Frame {
  readonly before: Int32Array;
  readonly after: Int32Array;
}

const NONE: Frame = { before: new Int32Array(), after: new Int32Array() };

/** The special tokens that a tokenizer puts around a text; undefined where they are not found. */
function frameOf(encode: Encode): Frame | undefined {
  const framed = encode("a", { addSpecialTokens: true });
  const bare = encode("a", { addSpecialTokens: false });
  for (let at = 0; at + bare.length <= framed.length; at++) {
    if (bare.every((id, i) => framed[at + i] === id)) {
      return {
        before: framed.subarray(0, at),
        after: framed.subarray(at + bare.length),
      };
    }
  }
  return undefined;
}
