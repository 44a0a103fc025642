/**
 * Rounding loss of an export whose format has fewer digits for scales and biases.
 *
 * @module
 */

import { codesOf } from "../quant/pack.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";

/** Error of a matrix's values by rounding its scales and biases to another type. */
export interface RoundingLoss {
  /** True if every scale and bias is the same to the bit. */
  readonly exact: boolean;
  /**
   * Largest `|w' - w|` of a value `w = s q + b`, in steps `s` of its own group; in a group without a step, relative to
   * `b`.
   */
  readonly maxError: number;
  /** Mean of these. */
  readonly meanError: number;
}

/** Error of `q`'s values with other scales and biases, one each a group. */
export function roundingLoss(
  q: QuantizedMatrix,
  { scales, biases }: {
    scales: ArrayLike<number>;
    biases: ArrayLike<number>;
  },
): RoundingLoss {
  const codes = codesOf(q);
  const size = q.block || Math.max(q.cols, 1);
  const count = Math.ceil(q.cols / size);
  let [most, sum, exact] = [0, 0, true];
  for (let g = 0; g < scales.length; g++) {
    const scale = scales[g] - q.scales[g];
    const bias = biases[g] - q.biases![g];
    if (scale === 0 && bias === 0) continue;
    exact = false;
    const step = Math.abs(q.scales[g] || q.biases![g]);
    const row = Math.floor(g / count) * q.cols;
    const first = (g % count) * size;
    const end = row + Math.min(first + size, q.cols);
    for (let i = row + first; i < end; i++) {
      const error = Math.abs(scale * codes[i] + bias) / step;
      sum += error;
      if (error > most) most = error;
    }
  }
  return { exact, maxError: most, meanError: sum / Math.max(codes.length, 1) };
}
