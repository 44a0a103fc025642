/**
 * Sampling: the next token from its logits.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { Random } from "../../tensor/random.ts";

/** Sampling settings. */
export interface SamplingOptions {
  /** Temperature that logits are divided by; 0, the default, is greedy decoding. */
  readonly temperature?: number;
  /** Top-k: only the `topK` most probable tokens; all without it. */
  readonly topK?: number;
  /**
   * Top-p (nucleus): only the most probable tokens that together have this probability (Holtzman et al., 1904.09751); all
   * without it.
   */
  readonly topP?: number;
}

/** The number of the largest value, the first of equals. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) {
    if (values[i] > values[best]) best = i;
  }
  return best;
}

/**
 * A token chosen from `logits: [vocabulary]`.
 *
 * @throws {RangeError} If the logits are not finite.
 */
export function sample(
  logits: Float32Array,
  { temperature = 0, topK, topP, random }:
    & SamplingOptions
    & { random: Random },
): number {
  const best = argmax(logits);
  if (!Number.isFinite(logits[best])) {
    throw new ValueError(
      `Cannot choose a token: the largest of ${logits.length} logits is ${
        logits[best]
      }`,
    );
  }
  if (temperature === 0) return best;
  let candidates = Array.from(logits.keys());
  const cuts = topK !== undefined || topP !== undefined;
  if (cuts) candidates.sort((i, j) => logits[j] - logits[i] || i - j);
  if (topK !== undefined) candidates = candidates.slice(0, topK);
  const weights = candidates.map((i) =>
    Math.exp((logits[i] - logits[best]) / temperature)
  );
  let total = weights.reduce((a, b) => a + b, 0);
  if (topP !== undefined) {
    // The token that reaches top-p is the last candidate.
    let sum = 0;
    let kept = 0;
    while (kept < weights.length && sum < topP * total) sum += weights[kept++];
    weights.length = Math.max(1, kept);
    total = weights.reduce((a, b) => a + b, 0);
  }
  let left = random.uniform() * total;
  for (const [n, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return candidates[n];
  }
  return candidates[weights.length - 1];
}
