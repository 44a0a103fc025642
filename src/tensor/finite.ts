/**
 * Checks for NaN and infinity: they spread, and some operations hide them.
 *
 * @module
 */

/** Place of the first value that is NaN or infinite; -1 where all are finite. */
export function nonFiniteAt(values: ArrayLike<number>): number {
  // A difference to itself is 0, or NaN, which stays: one look at the sum, not one at each.
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] - values[i];
  if (sum === 0) return -1;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) return i;
  }
  return -1;
}
