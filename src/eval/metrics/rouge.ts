/**
 * ROUGE-1, 2, L and Lsum as google's rouge-score computes them.
 *
 * js-rouge counts; with the words and lines of rouge-score given to it, it agrees with that in all cases of
 * tests/golden/metrics. Its own words (Penn Treebank's) and sentences are others.
 *
 * @module
 */

import { porterStem } from "./stem.ts";
import { loadPackage } from "../../io/files/package.ts";

/** F-measures of a text beside its reference, from 0 to 1. */
export interface RougeScore {
  /** Of words. */
  readonly rouge1: number;
  /** Of pairs of words. */
  readonly rouge2: number;
  /** Of the longest common subsequence of all words. */
  readonly rougeL: number;
  /** Of the union of the longest common subsequences of lines, each a sentence. */
  readonly rougeLsum: number;
}

/** Scores a text against its reference. */
export type RougeScorer = (found: string, reference: string) => RougeScore;

/** The words of a text: runs of ASCII's letters and digits in lower case, stems of those longer than 3 on request. */
export function rougeWords(text: string, stemmer: boolean): string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return stemmer
    ? words.map((word) => word.length > 3 ? porterStem(word) : word)
    : words;
}

/**
 * Loads the library and resolves to a scorer.
 *
 * @param options `stemmer`: compares words by their stems (true, as in the usual evaluation of summaries).
 */
export async function openRouge(
  { stemmer = true }: { stemmer?: boolean } = {},
): Promise<RougeScorer> {
  const { l, n } = await loadPackage(
    "js-rouge",
    () => import("npm:js-rouge@3.2.3"),
  );
  const tokenizer = (text: string) => rougeWords(text, stemmer);
  const whole = (text: string) => [text];
  const lines = (text: string) =>
    text.split("\n").filter((line) => line !== "");
  return (found, reference) => {
    // The library refuses texts of nothing, which have no score but 0.
    const empty = [found, reference].some((text) =>
      rougeWords(text, false).length === 0
    );
    if (empty) return { rouge1: 0, rouge2: 0, rougeL: 0, rougeLsum: 0 };
    return {
      rouge1: n(found, reference, { n: 1, tokenizer }),
      rouge2: n(found, reference, { n: 2, tokenizer }),
      rougeL: l(found, reference, { tokenizer, segmenter: whole }),
      rougeLsum: l(found, reference, { tokenizer, segmenter: lines }),
    };
  };
}
