/**
 * Edit distance, and the error rates of symbols and of texts by it.
 *
 * Own code: fastest-levenshtein 1.0.16 counts units of UTF-16, so that a character beyond the first plane counts
 * twice, and takes no lists.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { ratioOf, scoreOf } from "../tasks/statistics.ts";
import type { Estimate } from "../tasks/statistics.ts";

/** Levenshtein distance: symbols to insert, delete or replace. */
export function editDistance<T>(from: readonly T[], to: readonly T[]): number {
  const costs = Uint32Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 0; i < from.length; i++) {
    let diagonal = costs[0];
    costs[0] = i + 1;
    for (let j = 0; j < to.length; j++) {
      const above = costs[j + 1];
      costs[j + 1] = Math.min(
        above + 1,
        costs[j] + 1,
        diagonal + (from[i] === to[j] ? 0 : 1),
      );
      diagonal = above;
    }
  }
  return costs[to.length];
}

/** Figures of written sequences of symbols. */
export interface SymbolScores {
  /** The share of texts that are right as a whole. */
  readonly exactMatch: Estimate;
  /** Character or phoneme error rate: edits for each symbol of the references, over all texts; it may exceed 1. */
  readonly errorRate: Estimate;
}

/**
 * Scores texts against those wanted, symbol by symbol; a symbol is a code point.
 *
 * @throws {RangeError} If there are not as many of either, none at all, or no text that is wanted has symbols.
 */
export function scoreSymbols(
  found: readonly string[],
  wanted: readonly string[],
): SymbolScores {
  if (found.length !== wanted.length || wanted.every((text) => text === "")) {
    throw new ValueError(
      `Cannot compare texts: wanted as many answers as texts with symbols, got ${found.length} and ${wanted.length}`,
    );
  }
  const pairs = found.map((text, i) => [[...text], [...wanted[i]]] as const);
  return {
    exactMatch: scoreOf(found.map((text, i) => text === wanted[i] ? 1 : 0)),
    errorRate: ratioOf(
      pairs.map(([a, b]) => editDistance(a, b)),
      pairs.map(([, b]) => b.length),
    ),
  };
}
