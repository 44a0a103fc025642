/**
 * Second moments of inputs that depend on each other, and errors in them.
 *
 * @module
 */

import { type Matrix, matrix } from "../../../src/tensor/matrix.ts";
import type { Random } from "../../../src/tensor/random.ts";
import { normalMatrix } from "../../helpers/inputs.ts";
import { product } from "../linalg/matrices.ts";

/** `E[x xᵀ]: [cols, cols]` of twice as many inputs, each the sum of its own noise and four factors. */
export function correlated(random: Random, cols: number): Float32Array {
  const count = 2 * cols;
  const x = product(
    normalMatrix(random, count, 4),
    normalMatrix(random, 4, cols),
  ).data.map((v) => v + random.normal());
  const transposed = matrix(cols, count);
  x.forEach((v, i) =>
    transposed.data[(i % cols) * count + Math.floor(i / cols)] = v
  );
  return product(transposed, matrix(count, cols, x), 1 / count).data;
}

/** `‖(w - q) x‖ / ‖w x‖` over inputs with the given second moments, in f64. */
export function outputError(
  w: Matrix,
  q: Matrix,
  moments: Float32Array,
): number {
  const e = matrix(w.rows, w.cols, w.data.map((x, i) => x - q.data[i]));
  return Math.sqrt(energyIn(e, moments) / energyIn(w, moments));
}

function energyIn({ rows, cols, data }: Matrix, moments: Float32Array): number {
  let total = 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) {
      let sum = 0;
      for (let k = 0; k < cols; k++) {
        sum += data[i * cols + k] * moments[k * cols + j];
      }
      total += sum * data[i * cols + j];
    }
  }
  return total;
}
