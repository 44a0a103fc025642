/**
 * SQuAD's figures: exact match and F1 of an answer's words, by the rules of its own script (evaluate-v1.1.py).
 *
 * Own code: no package of npm with these rules was found.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";

// Python's white space and word characters: JavaScript's \s and \b are others.
const SPACES = new RegExp(
  String
    .raw`[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+`,
  "u",
);
const WORD = "[\\p{L}\\p{N}_]";
const ARTICLES = new RegExp(`(?<!${WORD})(?:a|an|the)(?!${WORD})`, "gu");
/** ASCII's punctuation. */
const PUNCTUATION = /[!-/:-@[-`{-~]/g;

/** An answer in lower case, without ASCII's punctuation, articles and superfluous white space. */
export function normalizeAnswer(text: string): string {
  return wordsOf(text).join(" ");
}

function wordsOf(text: string): string[] {
  return text.toLowerCase().replace(PUNCTUATION, "").replace(ARTICLES, " ")
    .split(SPACES).filter((word) => word !== "");
}

function wordF1(found: readonly string[], wanted: readonly string[]): number {
  const left = new Map<string, number>();
  for (const word of wanted) left.set(word, (left.get(word) ?? 0) + 1);
  let same = 0;
  for (const word of found) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    left.set(word, count - 1);
    same++;
  }
  if (same === 0) return 0;
  const precision = same / found.length;
  const recall = same / wanted.length;
  return 2 * precision * recall / (precision + recall);
}

/** Scores of an answer, from 0 to 1. */
export interface AnswerScore {
  /** 1 if it is one of the right answers once both are normalised. */
  readonly exact: number;
  /** F1 of its words, the best over the right answers. */
  readonly f1: number;
}

/** Scores an answer against all that are right. @throws {RangeError} If there is none. */
export function scoreAnswer(
  found: string,
  answers: readonly string[],
): AnswerScore {
  if (answers.length === 0) {
    throw new ValueError("Cannot score an answer: wanted right ones, got none");
  }
  const words = wordsOf(found);
  let exact = 0;
  let f1 = 0;
  for (const answer of answers) {
    const wanted = wordsOf(answer);
    if (words.join(" ") === wanted.join(" ")) exact = 1;
    f1 = Math.max(f1, wordF1(words, wanted));
  }
  return { exact, f1 };
}
