/**
 * The residual `E = W - Q` of a weight on a device, and its size in two norms.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import type { QuantMat } from "../device/quant_mat.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import type { Matrix } from "../tensor/matrix.ts";
import type { DeviceMetric } from "./metric.ts";
import type { LoftqResult, StoredForm } from "./options.ts";

/** Errors relative to the weight. */
export interface Errors {
  /** In Frobenius norm. */
  readonly error: number;
  /** In the metric; the same in the identity. */
  readonly outputError: number;
}

/** Squared norms, asked for and not waited for. */
export interface Asked {
  /** Frobenius. */
  readonly plain: Promise<number>;
  /** In the metric; the same in the identity. */
  readonly output: Promise<number>;
}

/** A weight on a device beside what a quantised one lacks of it. */
export interface Residual extends Disposable {
  /** `W: [out, in]`. */
  readonly w: Mat;
  /** `E: [out, in]`; free to be overwritten. */
  readonly e: Mat;
  /** `E C: [out, in]` as it was measured last; E itself in the identity. */
  readonly ec: Mat;
  /** Squared norms of W, asked for when the residual was opened. */
  readonly norms: Asked;
  /** `E = W - Q`, with Q as it is read again; without a promise where there is nothing to wait for. */
  subtract(q: QuantMat): void | Promise<void>;
  /** Asks for both norms of E. */
  measure(): Asked;
  /** Asks for the Frobenius norm of E. */
  measurePlain(): Promise<number>;
  /** Asks for the norm of E in the metric. */
  measureOutput(): Promise<number>;
}

/** Options of {@linkcode openResidual}. */
export interface ResidualOptions {
  /** Stays open. */
  readonly metric: DeviceMetric;
  /** Rounding of decoded weights in the file. */
  readonly values?: StoredForm["values"];
}

/** Copies `weight` to `device`. Waits for nothing, so that the next one to wait shares it. */
export function openResidual(
  device: Device,
  weight: Matrix,
  { metric, values: stored }: ResidualOptions,
): Residual {
  const { rows, cols } = weight;
  using memory = new DisposableStack();
  const alloc = (m: number, n: number): Mat =>
    mat(memory.use(device.alloc(m * n * 4)), m, n);
  const squares = alloc(1, rows);
  const w = alloc(rows, cols);
  device.write(w.buffer, weight.data);
  const e = alloc(rows, cols);
  const ec = metric.identity ? e : alloc(rows, cols);
  const square = (x: Mat): Promise<number> => {
    device.ops.rowSquares({ x, out: squares.buffer });
    return later(readF32(device, squares.buffer, 0, rows).then(sum));
  };
  const inMetric = (x: Mat): Promise<number> => {
    metric.apply(x, ec);
    return square(ec);
  };
  const measure = (x: Mat): Asked => {
    const plain = square(x);
    return { plain, output: metric.identity ? plain : inMetric(x) };
  };
  const readAgain = async (q: QuantMat): Promise<void> => {
    device.ops.dequantize({ q, out: e });
    const values = await readF32(device, e.buffer, 0, rows * cols);
    const read = stored!(values);
    device.write(e.buffer, values.map((_, i) => weight.data[i] - read[i]));
  };
  const norms = measure(w);
  const owned = memory.move();
  return {
    w,
    e,
    ec,
    norms,
    subtract(q) {
      if (stored) return readAgain(q);
      device.ops.dequantize({ q, out: e, from: w });
    },
    measure: () => measure(e),
    measurePlain: () => square(e),
    measureOutput: () => metric.identity ? square(e) : inMetric(e),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** Relative size of what is left of a squared norm. */
export function relative(squared: number, total: number): number {
  return squared <= 0 ? 0 : Math.sqrt(squared / total);
}

/** The errors of a result, in the metric too unless it is the identity. */
export function reported(
  identity: boolean,
  plain: Errors,
  found: Errors,
): Pick<
  LoftqResult,
  "plainError" | "error" | "plainOutputError" | "outputError"
> {
  return {
    plainError: plain.error,
    error: found.error,
    ...(!identity && {
      plainOutputError: plain.outputError,
      outputError: found.outputError,
    }),
  };
}

/** `promise`, which may fail before anyone awaits it. */
export function later<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

function sum(values: Float32Array): number {
  let total = 0;
  for (const x of values) total += x;
  return total;
}
