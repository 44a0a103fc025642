/**
 * A dense f32 matrix in ordinary memory.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";

/** A row-major f32 matrix, `data: [rows, cols]`. */
export interface Matrix {
  /** Number of rows (`out` features of a linear layer's weight). */
  readonly rows: number;
  /** Number of columns (`in` features of a linear layer's weight). */
  readonly cols: number;
  /** Row-major values, `rows * cols` of them. */
  readonly data: Float32Array;
}

/**
 * A matrix over `data` (not copied), or of zeros.
 *
 * @throws {RangeError} If a size is not a whole number ≥ 0 or `data` has not `rows * cols` values.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { matrix } from "@loqa/loqa";
 *
 * const a = matrix(2, 3, Float32Array.of(1, 2, 3, 4, 5, 6)); // row-major
 * assert.equal(a.data[1 * a.cols + 2], 6);
 * ```
 */
export function matrix(
  rows: number,
  cols: number,
  data: Float32Array = new Float32Array(rows * cols),
): Matrix {
  for (const size of [rows, cols]) {
    if (!Number.isInteger(size) || size < 0) {
      throw new ValueError(
        `Cannot make a matrix: a size must be a whole number >= 0, got ${rows} x ${cols}`,
      );
    }
  }
  if (data.length !== rows * cols) {
    throw new ValueError(
      `Cannot make a ${rows} x ${cols} matrix: it holds ${
        rows * cols
      } values, got ${data.length}`,
    );
  }
  return { rows, cols, data };
}

/**
 * Checks that a matrix from outside is one: an object literal may claim any size.
 *
 * @throws {TypeError} If it is no matrix, or its data are not what its size says; it calls it `name`.
 */
export function checkMatrix(given: Matrix, name: string): void {
  const { rows, cols, data } = given ?? {};
  const size = (n: unknown) => Number.isSafeInteger(n) && Number(n) >= 0;
  if (!size(rows) || !size(cols) || !(data instanceof Float32Array)) {
    throw new KindError(
      `Cannot use ${name}: wanted a matrix { rows, cols, data: Float32Array }`,
    );
  }
  if (data.length !== rows * cols) {
    throw new KindError(
      `Cannot use ${name}: a ${rows} x ${cols} matrix holds ${
        rows * cols
      } values, got ${data.length}`,
    );
  }
}

/** A matrix with rows for columns. */
export function transposed({ rows, cols, data }: Matrix): Matrix {
  const turned = new Float32Array(rows * cols);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) turned[j * rows + i] = data[i * cols + j];
  }
  return { rows: cols, cols: rows, data: turned };
}

/**
 * Relative Frobenius distance `‖a - b‖ / ‖a‖`, accumulated in f64; 0 when both are zero.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { matrix, relativeError } from "@loqa/loqa";
 *
 * const a = matrix(1, 2, Float32Array.of(3, 4));
 * const b = matrix(1, 2, Float32Array.of(3, 3));
 * assert.equal(relativeError(a, b), 0.2); // ‖a - b‖ / ‖a‖
 * ```
 */
export function relativeError(a: Matrix, b: Matrix): number {
  if (a.rows !== b.rows || a.cols !== b.cols) {
    throw new KindError(
      `Cannot compare matrices: ${a.rows} x ${a.cols} against ${b.rows} x ${b.cols}`,
    );
  }
  let error = 0;
  let norm = 0;
  for (let i = 0; i < a.data.length; i++) {
    const d = a.data[i] - b.data[i];
    error += d * d;
    norm += a.data[i] * a.data[i];
  }
  return error === 0 ? 0 : Math.sqrt(error / norm);
}
