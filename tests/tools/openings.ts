/**
 * Openings of doc comments: the noun comes first, the explanation after.
 *
 * @module
 */

/** A doc comment's first word that is no noun. */
const BANNED = /\/\*\*\s+(?:\*\s+)?(What|How|Whether)\s/g;

/** Doc comments of a source that begin with What, How or Whether, each with its line from 1 on. */
export function badOpenings(text: string): { line: number; word: string }[] {
  return [...text.matchAll(BANNED)].map((
    { 0: { length }, 1: word, index },
  ) => ({
    line: text.slice(0, index + length - 1).split("\n").length,
    word,
  }));
}
