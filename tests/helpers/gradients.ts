/**
 * Derivatives by differences, in f64.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Matrix, matrix } from "../../src/tensor/matrix.ts";
import type { Random } from "../../src/tensor/random.ts";

/**
 * Gradient of `f` at `x` by central differences: with the step of 1e-5 about ten digits, where `f` and its third
 * derivative are of the order of 1.
 */
export function numericGradient(
  f: (x: Float64Array) => number,
  x: ArrayLike<number>,
  step = 1e-5,
): Float64Array {
  const at = Float64Array.from(x);
  return at.map((value, i) => {
    at[i] = value + step;
    const above = f(at);
    at[i] = value - step;
    const below = f(at);
    at[i] = value;
    return (above - below) / (2 * step);
  });
}

/** Numbers in a row. */
export type Values = ArrayLike<number>;
/** Matrices by name. */
export type Inputs = Record<string, Matrix>;

/** Sum of products. */
export function inner(a: Values, b: Values): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/**
 * Compares `gradients` with differences of `loss` along random directions, an input at a time.
 *
 * Outputs are rounded to f32, so the step is large, 0.02, and its error of second order extrapolated away; the rest is
 * near 1e-5 of the gradient's length.
 */
export async function assertSlopes(
  random: Random,
  { inputs, gradients, loss }: {
    inputs: Inputs;
    gradients: Record<string, Values>;
    loss: (inputs: Inputs) => Promise<number>;
  },
): Promise<void> {
  for (const [name, gradient] of Object.entries(gradients)) {
    const x = inputs[name];
    for (let repeat = 0; repeat < 3; repeat++) {
      const v = random.normals(x.data.length);
      const at = (step: number) =>
        loss({
          ...inputs,
          [name]: matrix(
            x.rows,
            x.cols,
            x.data.map((value, i) => value + step * v[i]),
          ),
        });
      const slope = async (step: number) =>
        (await at(step) - await at(-step)) / (2 * step);
      const found = (4 * await slope(0.02) - await slope(0.04)) / 3;
      const wanted = inner(gradient, v);
      const limit = 1e-3 * Math.sqrt(inner(gradient, gradient)) + 1e-4;
      assert.ok(
        Math.abs(found - wanted) <= limit,
        `along ${name}: ${found} by differences, ${wanted} by the gradient, tolerance ${limit}`,
      );
    }
  }
}
