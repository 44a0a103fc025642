/**
 * Merge rules of a SentencePiece BPE vocabulary, which stores scores instead.
 *
 * SentencePiece joins the neighbours whose joined piece scores highest. As a list of merges: every way to cut a
 * piece into two others, pieces with a higher score first.
 *
 * @module
 */

/**
 * Merges (`left right`) in the order in which they apply.
 *
 * @param tokens Pieces by id, `▁` for a space.
 * @param scores Score of each.
 */
export function scoredMerges(
  tokens: readonly string[],
  scores: ArrayLike<number>,
): string[] {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const found: { left: string; right: string; score: number; id: number }[] =
    [];
  for (const [token, id] of ids) {
    // A cut inside a surrogate pair gives two halves that are no tokens.
    for (let cut = 1; cut < token.length; cut++) {
      const left = token.slice(0, cut);
      const right = token.slice(cut);
      if (ids.has(left) && ids.has(right)) {
        found.push({ left, right, score: scores[id], id });
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
