/**
 * The small SVD on the host that a randomised one ends in.
 *
 * @module
 */

import { eigh } from "./eigh.ts";

/** Singular values and right vectors of a triangle. */
export interface SmallSvd {
  /** The triangle decomposed, `[l, l]`. */
  readonly r: Float32Array;
  /** Singular values, descending. */
  readonly values: Float64Array;
  /** Right singular vectors as columns, `[l, l]`. */
  readonly vectors: Float64Array;
}

/**
 * Singular values and right vectors of the upper triangular `r[l, l]`: squaring in f64 costs an f32 matrix no accuracy it
 * has.
 *
 * @throws {RangeError} If a value is not finite.
 */
export function smallSvd(r: Float32Array, l: number): SmallSvd {
  const gram = new Float64Array(l * l);
  for (let k = 0; k < l; k++) {
    for (let i = k; i < l; i++) {
      const x = r[k * l + i];
      if (x === 0) continue;
      for (let j = k; j <= i; j++) gram[i * l + j] += x * r[k * l + j];
    }
  }
  for (let i = 0; i < l; i++) {
    for (let j = 0; j < i; j++) gram[j * l + i] = gram[i * l + j];
  }
  const { values, vectors } = eigh(gram, l);
  return { r, values: values.map((x) => Math.sqrt(Math.max(x, 0))), vectors };
}

/**
 * The small matrices of `B = Q toB` and `A = toAᵀ Vᵀ`, `[l, rank]` both, with `gain` on either side: with `R = P S Tᵀ`,
 * `toB = P √S = R T / √S` and `toA = T √S`.
 */
export function balance(
  { r, values, vectors }: SmallSvd,
  { l, rank, gain }: { l: number; rank: number; gain: number },
): { toB: Float32Array; toA: Float32Array } {
  const toB = new Float32Array(l * rank);
  const toA = new Float32Array(l * rank);
  // A direction this far below the largest is rounding noise of f32; its left vector is unknown.
  const least = values[0] * 1e-7;
  for (let j = 0; j < rank; j++) {
    const root = Math.sqrt(values[j]);
    if (!(values[j] > least)) continue;
    for (let i = 0; i < l; i++) {
      let sum = 0;
      for (let k = i; k < l; k++) sum += r[i * l + k] * vectors[k * l + j];
      toB[i * rank + j] = (gain * sum) / root;
      toA[i * rank + j] = gain * root * vectors[i * l + j];
    }
  }
  return { toB, toA };
}
