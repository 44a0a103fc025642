/**
 * The groups of a weight along its inputs, in which QA-LoRA's scales, biases and adapter are constant.
 *
 * @module
 */

import { KindError } from "../errors.ts";
import { hasGroups } from "../device/quant_mat.ts";
import {
  type Format,
  format,
  type FormatName,
  GROUP_FORMATS,
} from "../quant/formats.ts";
import { checkSizes } from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";

/** Shape of a weight in groups. */
export interface GroupShape {
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** Inputs of a group; 0 means all. */
  readonly block: number;
}

/** A weight in groups, in ordinary memory. */
export interface GroupCodes {
  /** Row-major, one a byte. */
  readonly codes: Uint8Array;
  /** `[out, groups]`. */
  readonly scales: Float32Array;
  /** `[out, groups]`. */
  readonly biases: Float32Array;
}

/** Inputs of a group; the last one may have fewer. */
export function groupSize({ cols, block }: Omit<GroupShape, "rows">): number {
  return Math.max(block || cols, 1);
}

/** Groups of a row. */
export function groupCount(shape: Omit<GroupShape, "rows">): number {
  return Math.ceil(shape.cols / groupSize(shape));
}

/**
 * The row of the format table called `name`, where QA-LoRA can use it.
 *
 * @throws {TypeError} If it is not affine in groups along the inputs: the adapter would not merge.
 */
export function groupFormat(name: FormatName, what: string): Format {
  const row = format(name);
  if (!hasGroups(row)) {
    throw new KindError(
      `Cannot use ${name} for ${what}: QA-LoRA wants an affine format in groups along the inputs (${GROUP_FORMATS})`,
    );
  }
  return row;
}

/**
 * Checks that `base` is one that QA-LoRA can use, for `weight`.
 *
 * @throws {TypeError} If its format is not affine in groups along the inputs, or its shape not the weight's.
 */
export function checkBase(
  base: QuantizedMatrix,
  weight: { readonly rows: number; readonly cols: number },
  name: string,
): void {
  groupFormat(base.format, name);
  checkSizes(base);
  if (base.rows !== weight.rows || base.cols !== weight.cols) {
    throw new KindError(
      `Cannot use the base of ${name}: it is ${base.rows} x ${base.cols}, the weight ${weight.rows} x ${weight.cols}`,
    );
  }
}
