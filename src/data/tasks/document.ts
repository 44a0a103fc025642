/**
 * A text word by word as tokens, each with its character range, for tokenizers that give ids only.
 *
 * @module
 */

import { byteText } from "../../io/tokenizer/text.ts";
import type { Framer, PairCodec } from "../frame.ts";

/** A text as tokens. */
export interface DocumentTokens {
  /** Token ids, no special ones. */
  readonly ids: Int32Array;
  /** For each token, where its characters begin in the text, in UTF-16 units. */
  readonly starts: Int32Array;
  /** For each token, where they end. */
  readonly ends: Int32Array;
}

/** Words of a document, as BERT's run_squad.py parts them. */
const WORDS = /[^ \t\r\n\u202f]+/g;

/** Ranges of tokens in a word. */
type Ranges = readonly (readonly [from: number, to: number])[];

/** Tokenises documents word by word, and remembers words. */
export class DocumentEncoder {
  readonly #framer: Framer;
  readonly #words = new Map<string, { ids: Int32Array; ranges: Ranges }>();

  /** Begins with a tokenizer. */
  constructor(framer: Framer) {
    this.#framer = framer;
  }

  /**
   * The tokens of a text. Every word but one at the very start is encoded with a space before it, as it stands in the
   * text to tokenizers that see spaces. Where a tokenizer's normalisation hides which token stands for which
   * characters of a word, each of them stands for the whole word.
   */
  encode(text: string): DocumentTokens {
    const words = Array.from(text.matchAll(WORDS), (match) => ({
      at: match.index,
      ...this.#word(match[0], match.index > 0 ? " " : ""),
    }));
    const count = words.reduce((n, { ids }) => n + ids.length, 0);
    const ids = new Int32Array(count);
    const starts = new Int32Array(count);
    const ends = new Int32Array(count);
    let next = 0;
    for (const word of words) {
      ids.set(word.ids, next);
      for (const [from, to] of word.ranges) {
        starts[next] = word.at + from;
        ends[next++] = word.at + to;
      }
    }
    return { ids, starts, ends };
  }

  #word(word: string, space: string) {
    const key = space + word;
    let known = this.#words.get(key);
    if (!known) {
      const ids = this.#framer.plain(key);
      const ranges = rangesOf(word, {
        space,
        tokens: surfacesOf(ids, this.#framer.codec),
      }) ?? Array.from(ids, () => [0, word.length] as const);
      this.#words.set(key, known = { ids, ranges });
    }
    return known;
  }
}

/** Texts of tokens; null for the unknown token, undefined if the tokenizer has no `tokenOf`. */
function surfacesOf(
  ids: Int32Array,
  codec: PairCodec,
): (string | null)[] | undefined {
  const tokens = Array.from(
    ids,
    (id) => id === codec.unkId ? null : codec.tokenOf?.(id),
  );
  return tokens.includes(undefined) ? undefined : tokens as (string | null)[];
}

/** Normalisations of a character before words are cut: none, or one of these. */
const NORMALISERS: readonly ((char: string) => string)[] = [
  (char) => char,
  (char) => char.normalize("NFKC"),
  (char) => char.toLowerCase(),
  (char) => char.toLowerCase().normalize("NFD").replace(/\p{Mn}/gu, ""),
  (char) => char.normalize("NFKC").toLowerCase(),
];

/** Character range of each token of a word; undefined where it is not found. */
function rangesOf(
  word: string,
  { space, tokens }: {
    space: string;
    tokens: readonly (string | null)[] | undefined;
  },
): Ranges | undefined {
  if (!tokens) return undefined;
  // Byte-level BPE writes each byte as a character of its own.
  const bytes = tokens.includes(null) ? undefined : tokens.join("");
  for (const before of new Set([space, " ", ""])) {
    if (bytes !== byteText(before + word)) continue;
    return rangesBy(word, tokens as string[], {
      normalise: byteText,
      skipped: byteText(before).length,
    });
  }
  // WordPiece marks tokens that continue a word, SentencePiece those that begin one.
  const plain = tokens.map((token, i) =>
    i > 0 && token?.startsWith("##") ? token.slice(2) : token?.replace(/^▁/, "")
  );
  // Unknown tokens stand between known ones.
  const pattern = new RegExp(
    `^${
      plain.map((token) =>
        token === undefined ? "(.+?)" : `(${RegExp.escape(token)})`
      ).join("")
    }$`,
    "su",
  );
  for (const normalise of NORMALISERS) {
    const found = pattern.exec(Array.from(word, normalise).join(""));
    if (found) return rangesBy(word, found.slice(1), { normalise });
  }
  return undefined;
}

function rangesBy(
  word: string,
  tokens: readonly string[],
  { normalise, skipped = 0 }: {
    normalise: (char: string) => string;
    skipped?: number;
  },
): Ranges {
  // For each unit of the normalised word, the character that it is of.
  const from: number[] = new Array(skipped).fill(0);
  const to: number[] = new Array(skipped).fill(0);
  let at = 0;
  for (const char of word) {
    const units = normalise(char).length;
    // A mark that is left out belongs to the letter before it.
    if (units === 0 && to.length > skipped) to.fill(at + char.length, -1);
    for (let i = 0; i < units; i++) {
      from.push(at);
      to.push(at + char.length);
    }
    at += char.length;
  }
  let next = 0;
  return tokens.map((token) => {
    const start = next;
    next += token.length;
    if (token.length === 0) return [from[start] ?? 0, from[start] ?? 0];
    return [from[start], Math.max(from[start], to[next - 1])];
  });
}
