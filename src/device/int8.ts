/**
 * Products that {@linkcode Operations.gemmInt8} takes in 8 bits, the same on every device that has integers for it.
 *
 * @module
 */

import { hasGroups, type QuantMat } from "./quant_mat.ts";
import type { Operations } from "./operations.ts";

/** Rows of the weight that a gradient is rounded with together. */
export const ROW_BLOCK = 128;

/** Units of the largest gradient of a row's block. */
export const TOP = 32767;

/** Units of the largest scale of a block. */
export const SCALE_TOP = 32512;

/** Value of a byte of their product, for a largest gradient and a largest scale of 1. */
export const UNIT: number = Math.fround(256 * 32768 / (TOP * SCALE_TOP));

/** Inner indices that kernels take at once. */
const STEP = 16;

/** Elements of a group along a row. */
export function groupWidth({ block, cols }: QuantMat): number {
  return Math.min(block || cols, cols);
}

/** True if a product is taken in 8 bits: affine groups along rows, all in whole sixteens. */
export function takenInInt8(
  { q, transQ }: Pick<
    Parameters<Operations["gemmInt8"]>[0],
    "q" | "transQ"
  >,
): boolean {
  const { spec, rows, cols } = q;
  return hasGroups(spec) && cols > 0 &&
    (cols | groupWidth(q)) % STEP === 0 &&
    (transQ === true || rows % STEP === 0);
}
