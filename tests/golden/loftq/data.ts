/**
 * The inputs of loftq.json, bit for bit as make.py has them.
 *
 * @module
 */

import { type Matrix, matrix } from "../../../src/tensor/matrix.ts";

/** Sums of twelve uniform numbers less six, from xorshift32. */
export function nearNormal(rows: number, cols: number, seed: number): Matrix {
  let state = seed;
  const out = matrix(rows, cols);
  for (let i = 0; i < rows * cols; i++) {
    let total = -6;
    for (let k = 0; k < 12; k++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      total += (state >>> 0) / 2 ** 32;
    }
    out.data[i] = total;
  }
  return out;
}

/** A matrix of rank `rank` with whole numbers, exact in f32. */
function product(
  { rows, cols, rank, seed }: Record<"rows" | "cols" | "rank" | "seed", number>,
): Matrix {
  const whole = (m: Matrix) => m.data.map((x) => roundHalfEven(4 * x));
  const left = whole(nearNormal(rows, rank, seed));
  const right = whole(nearNormal(rank, cols, seed + 1));
  const out = matrix(rows, cols);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) {
      for (let k = 0; k < rank; k++) {
        out.data[i * cols + j] += left[i * rank + k] * right[k * cols + j];
      }
    }
  }
  return out;
}

function roundHalfEven(x: number): number {
  const r = Math.round(x);
  return r - x === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

function map(m: Matrix, f: (x: number, i: number) => number): Matrix {
  return matrix(m.rows, m.cols, m.data.map(f));
}

/** The matrices of the `svd` rows, by name. */
export function svdInputs(): Map<string, Matrix> {
  return new Map([
    ["tall 96 x 64", nearNormal(96, 64, 1)],
    ["wide 64 x 96", nearNormal(64, 96, 2)],
    ["one column 50 x 1", nearNormal(50, 1, 3)],
    ["one row 1 x 50", nearNormal(1, 50, 4)],
    [
      "rank 7 of 48 x 40",
      product({ rows: 48, cols: 40, rank: 7, seed: 5 }),
    ],
    [
      "flat: rounding errors of 80 x 80",
      map(nearNormal(80, 80, 6), (x) => x - Math.floor(Math.fround(x + 0.5))),
    ],
    ["slice 300 x 200", nearNormal(300, 200, 7)],
    [
      "graded columns 60 x 60",
      map(nearNormal(60, 60, 8), (x, i) => x * 2 ** -Math.floor((i % 60) / 4)),
    ],
  ]);
}
