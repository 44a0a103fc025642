/**
 * Common parts of the operations' checks.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import type { DeviceBuffer, Mat } from "../buffer.ts";
import { type QuantMat, quantSizes } from "../quant_mat.ts";

/** Arguments of an operation of `O`. */
export type CallArgs<O, K extends keyof O> = O[K] extends
  (args: infer A) => void ? A
  : never;

/** A check of each operation of `O`: it throws where sizes or numbers do not fit together. */
export type Checks<O> = {
  readonly [K in keyof O]: (args: CallArgs<O, K>) => void;
};

/** Sizes of a matrix, for errors. */
export const shape = (x: Mat) => `${x.rows} x ${x.cols}`;

/** Checks that a matrix is `rows` x `cols`; `what` is "operation: argument". */
export function want(what: string, x: Mat, rows: number, cols: number): void {
  if (x.rows !== rows || x.cols !== cols) {
    throw new KindError(
      `Cannot run ${what} must be ${rows} x ${cols}, got ${shape(x)}`,
    );
  }
}

/** Checks that a buffer holds at least `bytes`; `what` is "operation: argument". */
export function wantBytes(
  what: string,
  buffer: DeviceBuffer,
  bytes: number,
): void {
  if (buffer.bytes < bytes) {
    throw new KindError(
      `Cannot run ${what} must hold ${bytes} bytes, got ${buffer.bytes}`,
    );
  }
}

/** Checks that the parts of a quantised matrix are as long as its shape wants. */
export function wantQuant(op: string, q: QuantMat): void {
  const { blocks, codeBytes } = quantSizes(q.spec, q.rows, q.cols, q.block);
  wantBytes(`${op}: codes`, q.codes, codeBytes);
  wantBytes(`${op}: scales`, q.scales, blocks * 4);
  if (q.spec.levels === null) {
    if (q.biases === null) {
      throw new KindError(`Cannot run ${op}: an affine format needs biases`);
    }
    wantBytes(`${op}: biases`, q.biases, blocks * 4);
  }
}

/** Checks that each of `others` has the shape of `x`. */
export function wantSame(
  op: string,
  x: Mat,
  others: Record<string, Mat>,
): void {
  for (const [name, other] of Object.entries(others)) {
    want(`${op}: ${name}`, other, x.rows, x.cols);
  }
}

/** Checks that a value is a whole number from `low` to `high`. */
export function wantWhole(
  what: string,
  x: number,
  { low = 0, high = Number.MAX_SAFE_INTEGER } = {},
): void {
  if (!Number.isInteger(x) || x < low || x > high) {
    const range = high === Number.MAX_SAFE_INTEGER
      ? `>= ${low}`
      : `from ${low} to ${high}`;
    throw new ValueError(
      `Cannot run ${what} must be a whole number ${range}, got ${x}`,
    );
  }
}
