/**
 * Quantised matrices in a device's memory: formats as the device sees them, and their sizes.
 *
 * @module
 */

import type { DeviceBuffer } from "./buffer.ts";

/** Rule of a number format from weights to codes; the rows of `src/quant/formats.ts` have this shape. */
export interface QuantSpec {
  /** Bits of one code; 5 in an affine format only. */
  readonly bits: 2 | 3 | 4 | 5;
  /**
   * Codebook of `2^bits` values in ascending order (`w = scale * levels[code]`), or null for an affine
   * format (`w = scale * code + bias`).
   */
  readonly levels: Float32Array | null;
  /**
   * Decision thresholds of the codebook, one fewer than levels: `x > thresholds[i]` picks a code above `i`, a
   * tie stays below. Null for an affine format.
   */
  readonly thresholds: Float32Array | null;
  /**
   * `flat`: blocks of consecutive elements of the flattened row-major matrix, straddling rows.
   * `row`: groups along each row; the last group of a row may be short.
   */
  readonly grouping: "flat" | "row";
  /**
   * Order of codes in the bit stream. `high`: the first code of a byte sits in its high bits (4 bits only, as
   * bitsandbytes does). `low`: code `i` occupies bits `[i * bits, (i + 1) * bits)` of a little-endian stream.
   * A `flat` stream runs over the whole matrix, a `row` stream starts anew at a byte boundary in each row.
   */
  readonly order: "high" | "low";
}

/**
 * Rule of a block's scale.
 *
 * - `absmax`: the largest magnitude; for an affine format the range is `[-absmax, absmax]`.
 * - `minmax`: the range `[min, max]` (affine only).
 * - `mse`: the best of 25 shrink factors from 1 to 0.4, of absmax (codebook) or of half the range
 *   around its middle (affine), by squared error, each error weighted by `weight[column]` if given.
 * - `std`: mean + 2.5 standard deviations of the signed block (LoftQ's own uniform quantiser, codebook only).
 * - `clip`: the range mean ± 2 standard deviations, clipped to the data's own (LoftQ's GLUE quantiser, affine only).
 */
export type ScaleRule = "absmax" | "minmax" | "mse" | "std" | "clip";

/** Every {@linkcode ScaleRule}. */
export const SCALE_RULES: readonly ScaleRule[] = [
  "absmax",
  "minmax",
  "mse",
  "std",
  "clip",
];

/** A quantised matrix on a device. Sizes of the buffers: {@linkcode quantSizes}. */
export interface QuantMat {
  /** The number format. */
  readonly spec: QuantSpec;
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** Elements of a block; 0 means the whole matrix (`flat`) or the whole row (`row`). */
  readonly block: number;
  /** Packed codes. */
  readonly codes: DeviceBuffer;
  /** One f32 a block. */
  readonly scales: DeviceBuffer;
  /** One f32 a block for an affine format, else null. */
  readonly biases: DeviceBuffer | null;
}

/** True if a format has a scale and a bias for each group along a row. */
export function hasGroups(
  { levels, grouping }: Pick<QuantSpec, "levels" | "grouping">,
): boolean {
  return levels === null && grouping === "row";
}

/**
 * Number of blocks and of bytes of packed codes of a quantised `rows` x `cols` matrix.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { format, quantSizes } from "@loqa/loqa";
 *
 * const { blocks, codeBytes } = quantSizes(format("nf4"), 32, 64, 64);
 * assert.deepEqual([blocks, codeBytes], [32, 1024]); // a scale for each 64, half a byte a weight
 * ```
 */
export function quantSizes(
  spec: QuantSpec,
  rows: number,
  cols: number,
  block: number,
): { blocks: number; codeBytes: number } {
  const n = rows * cols;
  if (spec.grouping === "flat") {
    const size = block || Math.max(n, 1);
    return {
      blocks: Math.ceil(n / size),
      codeBytes: Math.ceil((n * spec.bits) / 8),
    };
  }
  const size = block || Math.max(cols, 1);
  return {
    blocks: rows * Math.ceil(cols / size),
    codeBytes: rows * Math.ceil((cols * spec.bits) / 8),
  };
}
