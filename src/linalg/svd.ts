/**
 * The SVD of a matrix in ordinary memory.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import { type Matrix, matrix } from "../tensor/matrix.ts";
import { exactTruncator, randomizedTruncator } from "./truncated_svd.ts";

/** Settings of {@linkcode svd}. */
export interface SvdSettings {
  /** Singular values wanted; all of them without it. */
  readonly rank?: number;
  /** `exact` (default), or `randomized` where the leading ones of a large matrix are wanted. */
  readonly method?: "exact" | "randomized";
  /** Degree of the randomised one's filter (6): more for a flatter spectrum. */
  readonly steps?: number;
  /** Seed of the randomised one. */
  readonly seed?: number;
}

/** `a ≈ u * diag(s) * vt`. */
export interface Svd {
  /** `[rows, rank]`, orthonormal columns. */
  readonly u: Matrix;
  /** Singular values, descending, `[rank]`. */
  readonly s: Float64Array;
  /** `[rank, cols]`, orthonormal rows. */
  readonly vt: Matrix;
}

/**
 * Truncated SVD of `a: [rows, cols]`. Vectors of zero singular values are zero.
 *
 * @throws {RangeError} If the rank is not a whole number from 1 to the smaller size.
 */
export async function svd(
  device: Device,
  a: Matrix,
  options: SvdSettings = {},
): Promise<Svd> {
  const { rows, cols } = a;
  const { rank = Math.min(rows, cols), method, steps = 6, seed } = options;
  using memory = new DisposableStack();
  const shape = { rows, cols, rank };
  const truncator = memory.use(
    method === "randomized"
      ? randomizedTruncator(device, { ...shape, steps, seed })
      : exactTruncator(device, shape),
  );
  const alloc = (m: number, n: number): Mat =>
    mat(memory.use(device.alloc(m * n * 4)), m, n);
  const x = alloc(rows, cols);
  device.write(x.buffer, a.data);
  const target = { b: alloc(rows, rank), a: alloc(rank, cols) };
  const s = await truncator.factor(x, target);
  const u = matrix(rows, rank, await readF32(device, target.b.buffer));
  const vt = matrix(rank, cols, await readF32(device, target.a.buffer));
  // The factors come with a square root of the singular values each.
  for (let j = 0; j < rank; j++) {
    const scale = s[j] > 0 ? 1 / Math.sqrt(s[j]) : 0;
    for (let i = 0; i < rows; i++) u.data[i * rank + j] *= scale;
    for (let i = 0; i < cols; i++) vt.data[j * cols + i] *= scale;
  }
  return { u, s, vt };
}
