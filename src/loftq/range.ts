/**
 * Weights so small that squares of them vanish in f32: computed as a power of two larger, which changes no digit.
 *
 * @module
 */

import { type Matrix, matrix } from "../tensor/matrix.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";

/** Exponent below which the largest value is no more let through as it is: its square still has all its digits. */
const LEAST = -40;

/** Result for a weight. */
interface Found {
  readonly backbone: QuantizedMatrix;
  readonly a: Matrix;
  readonly b: Matrix;
}

/**
 * Does `work` on `weight`, or where all its values are tiny on a power of two times it and its base, and gives what came of
 * it for the weight as it was. Relative errors are those of the work.
 *
 * @param work Is told the power of two.
 */
export async function inRange<T extends Found>(
  weight: Matrix,
  base: QuantizedMatrix | undefined,
  work: (
    weight: Matrix,
    base: QuantizedMatrix | undefined,
    up: number,
  ) => Promise<T>,
): Promise<T> {
  let most = 0;
  for (const x of weight.data) most = Math.max(most, Math.abs(x));
  const exponent = Math.floor(Math.log2(most));
  if (!(exponent < LEAST) || most === 0) return await work(weight, base, 1);
  // Even, so that the factors share it.
  const up = 2 ** (-2 * Math.ceil(exponent / 2));
  const { rows, cols } = weight;
  const found = await work(
    matrix(rows, cols, times(weight.data, up)),
    base && scaled(base, up),
    up,
  );
  const half = 1 / Math.sqrt(up);
  // Without a correction B is zero, and A random.
  const share = found.b.data.some((x) => x !== 0) ? half : 1;
  return {
    ...found,
    backbone: scaled(found.backbone, 1 / up),
    a: { ...found.a, data: times(found.a.data, share) },
    b: { ...found.b, data: times(found.b.data, half) },
  };
}

function scaled(q: QuantizedMatrix, by: number): QuantizedMatrix {
  return {
    ...q,
    scales: times(q.scales, by),
    ...(q.biases && { biases: times(q.biases, by) }),
  };
}

/** Values times a number. */
export function times(
  values: Float32Array,
  by: number,
): Float32Array<ArrayBuffer> {
  return Float32Array.from(values, (x) => x * by);
}
