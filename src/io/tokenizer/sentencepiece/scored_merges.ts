/**
 * Merge rules of a SentencePiece BPE vocabulary, which stores scores instead.
 *
 * SentencePiece joins the neighbours whose joined piece scores highest. As a list of merges: every way to cut a
 * piece into two others, pieces with a higher score first.
 *
 * @module
 */

import { FormatError } from "../../../errors.ts";
import { quoted } from "../../files/errors.ts";

/** Merges that a piece gives at most, all of them together: those of real vocabularies give two or three. */
const MOST_MERGES = 32;

/** Characters looked at when cutting, all pieces together: a vocabulary of a million tokens takes a third. */
const MOST_WORK = 2 ** 28;

/**
 * Merges (`left right`) in the order in which they apply.
 *
 * @param tokens Pieces by id, `▁` for a space.
 * @param scores Score of each.
 * @param name Name of the file in errors.
 * @throws {SyntaxError} If the pieces are such that time or memory would grow with the square of the file.
 */
export function scoredMerges(
  tokens: readonly string[],
  scores: ArrayLike<number>,
  name: string,
): string[] {
  const tooMuch = (what: string) =>
    new FormatError(
      `Cannot make a tokenizer from ${
        quoted(name)
      }: its ${tokens.length} pieces ${what}`,
    );
  const ids = new Map(tokens.map((token, id) => [token, id]));
  // A cut is worth a look only where there are pieces of both lengths, which for a very long piece are few.
  const lengths = [...new Set(tokens.map(({ length }) => length))];
  const known = new Set(lengths);
  const found: { left: string; right: string; score: number; id: number }[] =
    [];
  let work = 0;
  for (const [token, id] of ids) {
    // A cut inside a surrogate pair gives two halves that are no tokens.
    for (const cut of lengths) {
      if (cut < 1 || !known.has(token.length - cut)) continue;
      work += token.length;
      if (work > MOST_WORK) throw tooMuch("are too long to be cut");
      const left = token.slice(0, cut);
      const right = token.slice(cut);
      if (!ids.has(left) || !ids.has(right)) continue;
      found.push({ left, right, score: scores[id], id });
      if (found.length > MOST_MERGES * tokens.length) {
        throw tooMuch(`are made of others in more than ${found.length} ways`);
      }
    }
  }
  // Of two cuts of one piece the one with the longer left part comes first, as transformers' converter has it.
  found.sort((a, b) =>
    b.score - a.score || b.left.length - a.left.length ||
    b.right.length - a.right.length || a.id - b.id
  );
  return found.map(({ left, right }) => `${left} ${right}`);
}
