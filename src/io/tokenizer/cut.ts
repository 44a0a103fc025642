/**
 * Places at which a text can be cut without other tokens of BPE or Unigram.
 *
 * Models of SentencePiece take a whole text as one word, and their time grows with more than its length. No merge (no
 * piece) reaches across most of the spaces, so the parts before and behind one can be taken by themselves, and from a
 * cache when they occur again.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { JsonObject } from "../files/json.ts";

const SPACE = "▁";

/**
 * Cuts a word before each `▁` that no token joins to the character before it; the parts give the same tokens as the
 * whole. Undefined where the model's rules forbid that (words looked up whole, marked ends).
 *
 * @param model A checked model of type BPE or Unigram.
 */
export function safeCuts(
  model: JsonObject,
): ((word: string) => string[]) | undefined {
  if (
    model.ignore_merges || model.end_of_word_suffix ||
    model.continuing_subword_prefix
  ) return undefined;
  const joined = new Set<string>();
  if (model.type === "BPE") {
    for (const merge of model.merges as (string | string[])[]) {
      const [left, right] = typeof merge === "string"
        ? merge.split(" ")
        : merge;
      if (right.startsWith(SPACE)) joined.add(left.at(-1)!);
    }
  } else if (model.type === "Unigram") {
    for (const [token] of model.vocab as [string, number][]) {
      for (let at = 1; (at = token.indexOf(SPACE, at)) >= 0; at++) {
        joined.add(token[at - 1]);
      }
    }
  } else return undefined;
  return (word) => {
    const parts: string[] = [];
    let start = 0;
    for (let at = 1; (at = word.indexOf(SPACE, at)) >= 0; at++) {
      if (joined.has(word[at - 1])) continue;
      parts.push(word.slice(start, at));
      start = at;
    }
    parts.push(word.slice(start));
    return parts;
  };
}

/** Characters of a word from which on it is cut wherever possible, and of the longest part. */
const LONG_WORD = 2 ** 12;
const LONGEST_WORD = 2 ** 20;

/**
 * Cuts the rest of long words wherever no token has the characters on both sides beside each other; the parts give the
 * same tokens as the whole. Each character of a word takes hundreds of bytes, so that one of megabytes, which real text
 * has not, would end the process.
 *
 * @param model A checked model.
 * @throws {RangeError} If a part of a word is too long.
 */
export function longWordCuts(
  model: JsonObject,
): (words: readonly string[]) => string[] {
  const isWhole = model.ignore_merges || model.end_of_word_suffix ||
    model.continuing_subword_prefix ||
    (model.type !== "BPE" && model.type !== "Unigram");
  let joined: Set<number> | undefined;
  return (words) => {
    // Nearly all words are short.
    if (!words.some((word) => word.length > LONG_WORD)) {
      return words as string[];
    }
    if (!isWhole) joined ??= joinedPairs(model);
    return words.flatMap((word) => {
      const parts = joined && word.length > LONG_WORD
        ? cutBetween(word, joined)
        : [word];
      const long = parts.find((part) => part.length > LONGEST_WORD);
      if (long === undefined || model.type === "WordPiece") return parts;
      throw new ValueError(
        `Cannot take a text apart: it has a word of ${long.length} characters, which begins ${
          JSON.stringify(long.slice(0, 20))
        }; wanted at most ${LONGEST_WORD} characters without a space`,
      );
    });
  };
}

/** Two characters as one number. */
const pairOf = (left: number, right: number) => left * 0x110000 + right;

/** Pairs of adjacent characters where two tokens are merged, or in a token. */
function joinedPairs(model: JsonObject): Set<number> {
  const pairs = new Set<number>();
  if (model.type === "BPE") {
    for (const merge of model.merges as (string | string[])[]) {
      const [left, right] = typeof merge === "string"
        ? merge.split(" ")
        : merge;
      pairs.add(pairOf(lastOf(left, left.length), right.codePointAt(0)!));
    }
    return pairs;
  }
  for (const [token] of model.vocab as [string, number][]) {
    let before: number | undefined;
    for (const char of token) {
      const code = char.codePointAt(0)!;
      if (before !== undefined) pairs.add(pairOf(before, code));
      before = code;
    }
  }
  return pairs;
}

/** The character that ends at `end`. */
function lastOf(text: string, end: number): number {
  const code = text.charCodeAt(end - 1);
  return code >= 0xdc00 && code < 0xe000 && end > 1
    ? text.codePointAt(end - 2)!
    : code;
}

function cutBetween(word: string, joined: ReadonlySet<number>): string[] {
  const parts: string[] = [];
  let start = 0;
  let before = word.codePointAt(0)!;
  for (let at = before > 0xffff ? 2 : 1; at < word.length;) {
    const code = word.codePointAt(at)!;
    if (!joined.has(pairOf(before, code))) {
      parts.push(word.slice(start, at));
      start = at;
    }
    before = code;
    at += code > 0xffff ? 2 : 1;
  }
  parts.push(word.slice(start));
  return parts;
}
