/**
 * Matrices with chosen singular values, and products on the host.
 *
 * @module
 */

import type { Device } from "../../../src/device/device.ts";
import { type Mat, mat } from "../../../src/device/buffer.ts";
import { type Matrix, matrix } from "../../../src/tensor/matrix.ts";
import type { Random } from "../../../src/tensor/random.ts";

/** `rank` orthonormal columns of length `n`, column by column (Gram-Schmidt, twice, in f64). */
export function orthonormal(
  random: Random,
  n: number,
  rank: number,
): Float64Array[] {
  const columns: Float64Array[] = [];
  for (let j = 0; j < rank; j++) {
    const x = Float64Array.from({ length: n }, () => random.normal());
    for (let pass = 0; pass < 2; pass++) {
      for (const c of columns) {
        const dot = x.reduce((sum, v, i) => sum + v * c[i], 0);
        for (let i = 0; i < n; i++) x[i] -= dot * c[i];
      }
    }
    const norm = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
    columns.push(x.map((v) => v / norm));
  }
  return columns;
}

/** A random `rows` x `cols` matrix with the singular values `values`, the others zero. */
export function withSpectrum(
  random: Random,
  values: readonly number[],
  { rows, cols }: { rows: number; cols: number },
): Matrix {
  const u = orthonormal(random, rows, values.length);
  const v = orthonormal(random, cols, values.length);
  const sum = new Float64Array(rows * cols);
  values.forEach((s, k) => {
    for (let i = 0; i < rows; i++) {
      const x = s * u[k][i];
      for (let j = 0; j < cols; j++) sum[i * cols + j] += x * v[k][j];
    }
  });
  return matrix(rows, cols, Float32Array.from(sum));
}

/** `scale * b * a` on the host, in f64. */
export function product(b: Matrix, a: Matrix, scale = 1): Matrix {
  const sum = new Float64Array(b.rows * a.cols);
  for (let i = 0; i < b.rows; i++) {
    for (let k = 0; k < b.cols; k++) {
      const x = scale * b.data[i * b.cols + k];
      for (let j = 0; j < a.cols; j++) {
        sum[i * a.cols + j] += x * a.data[k * a.cols + j];
      }
    }
  }
  return matrix(b.rows, a.cols, Float32Array.from(sum));
}

/** `Σ x²`. */
export function energy(values: Iterable<number>): number {
  let sum = 0;
  for (const x of values) sum += x * x;
  return sum;
}

/** `‖a - b‖²`. */
export function distance(a: Matrix, b: Matrix): number {
  return energy(a.data.map((x, i) => x - b.data[i]));
}

/** Matrices on a device, freed with the stack. */
export function onDevice(
  device: Device,
  memory: DisposableStack,
): {
  alloc: (rows: number, cols: number) => Mat;
  put: (m: Matrix) => Mat;
} {
  const alloc = (rows: number, cols: number) =>
    mat(memory.use(device.alloc(4 * rows * cols)), rows, cols);
  return {
    alloc,
    put(m) {
      const on = alloc(m.rows, m.cols);
      device.write(on.buffer, m.data);
      return on;
    },
  };
}
