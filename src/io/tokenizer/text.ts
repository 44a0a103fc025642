/**
 * Steps of tokenisation over plain text, as Hugging Face's tokenizers library does them in Rust: where its notion of
 * letters, spaces and cuts differs from JavaScript's, the rule is written out here.
 *
 * Categories are those of the runtime's Unicode version. BERT's rules are defined over version 8 in the library, so
 * marks and punctuation that are newer than that are told apart only here.
 *
 * @module
 */

/** Treatment of the text that a pattern matches. */
export type Behavior =
  | "removed"
  | "isolated"
  | "contiguous"
  | "mergedwithprevious"
  | "mergedwithnext";

/** Spaces, by Unicode's property: JavaScript's `\s` has U+FEFF and lacks U+0085. */
const SPACES = /\p{White_Space}+/gu;
const PUNCTUATION = /[\p{P}\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]/gu;
const WORD = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]+";

/** GPT-2's words. */
export const GPT2_WORDS: RegExp =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Words and runs of other visible characters, as the `Whitespace` pre-tokenizer has them. */
export const WORDS: RegExp = new RegExp(
  `${WORD}|[^\\p{White_Space}${WORD.slice(1, -2)}]+`,
  "gu",
);

/** Decimal digits, numerals and fractions: numeric in Rust. */
export const NUMERIC: RegExp = /\p{N}/gu;

/**
 * Characters that stand for bytes in byte-level BPE: printable Latin-1 for itself, the other bytes from U+0100 on.
 * At index b the character of byte b.
 */
export const BYTE_CHARS: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 0x20 && byte < 0x7f) ||
      (byte > 0xa0 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : next++);
  });
})();

const encoder = new TextEncoder();

/** The bytes of `text` in UTF-8, each as the character that stands for it. */
export function byteText(text: string): string {
  let out = "";
  for (const byte of encoder.encode(text)) out += BYTE_CHARS[byte];
  return out;
}

/** `text` cut at the matches of `pattern` (global); no part is empty. `invert` swaps matches and the rest. */
export function splitText(
  text: string,
  pattern: RegExp,
  { behavior, invert = false }: { behavior: Behavior; invert?: boolean },
): string[] {
  const out: string[] = [];
  let last: boolean | undefined;
  const push = (from: number, to: number, found: boolean) => {
    if (to === from) return;
    const match = found !== invert;
    if (behavior === "removed" && match) return;
    const join = last !== undefined &&
      (behavior === "contiguous"
        ? last === match
        : behavior === "mergedwithprevious"
        ? match && !last
        : behavior === "mergedwithnext"
        ? last && !match
        : false);
    const part = text.slice(from, to);
    if (join) out[out.length - 1] += part;
    else out.push(part);
    last = match;
  };
  let end = 0;
  for (const { index, 0: { length } } of text.matchAll(pattern)) {
    if (length === 0) continue;
    push(end, index, false);
    push(index, index + length, true);
    end = index + length;
  }
  push(end, text.length, false);
  return out;
}

/** BERT's words: cut at spaces, every punctuation mark by itself. */
export function bertWords(text: string): string[] {
  return splitText(text, SPACES, { behavior: "removed" }).flatMap((word) =>
    splitText(word, PUNCTUATION, { behavior: "isolated" })
  );
}

/** `text` cut at spaces. */
export function spaceWords(text: string): string[] {
  return splitText(text, SPACES, { behavior: "removed" });
}

/** `text` cut at punctuation. */
export function punctuationWords(text: string, behavior: Behavior): string[] {
  return splitText(text, PUNCTUATION, { behavior });
}

/** `text` without spaces at its ends. */
export function trimSpaces(
  text: string,
  { left, right }: { left: boolean; right: boolean },
): string {
  if (left) text = text.replace(/^\p{White_Space}+/u, "");
  // Looking for spaces at the end by expression is quadratic in the length of a run of them.
  let end = text.length;
  while (right && end > 0 && /\p{White_Space}/u.test(text[end - 1])) end--;
  return text.slice(0, end);
}

/** `text` in lower case, each character by itself: no final sigma. */
export function lowerCase(text: string): string {
  return text.replaceAll("Σ", "σ").toLowerCase();
}

/** Steps of BERT's normaliser. */
export interface BertRules {
  /** Drops control characters, and makes a space of every space. */
  readonly cleanText: boolean;
  /** Puts spaces around ideographs. */
  readonly splitIdeographs: boolean;
  /** Decomposes characters and drops accents. */
  readonly stripAccents: boolean;
  /** Takes lower case. */
  readonly lowerCase: boolean;
}

const IDEOGRAPHS =
  /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

/** `text` as BERT's normaliser has it. */
export function bertNormalize(text: string, rules: BertRules): string {
  if (rules.cleanText) {
    text = text
      .replace(/[\0\ufffd]|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}]/gu, "")
      .replace(/\p{White_Space}/gu, " ");
  }
  if (rules.splitIdeographs) text = text.replace(IDEOGRAPHS, " $& ");
  if (rules.stripAccents) text = text.normalize("NFD").replace(/\p{Mn}/gu, "");
  return rules.lowerCase ? lowerCase(text) : text;
}
