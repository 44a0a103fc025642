/**
 * A quantised matrix in ordinary memory.
 *
 * @module
 */

import type { FormatName } from "./formats.ts";

/** Format and shape of a quantised `[rows, cols]` weight: known before any of its values is. */
export interface QuantizedShape {
  /** Row of the format table, `src/quant/formats.ts`. */
  readonly format: FormatName;
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** Elements of a block; 0 means the whole matrix (flat formats) or row. */
  readonly block: number;
}

/** Codes, scales and biases of a quantised `[rows, cols]` weight; buffer sizes as `quantSizes` of the device contract says. */
export interface QuantizedMatrix extends QuantizedShape {
  /** Packed codes, in the format's bit order. */
  readonly codes: Uint8Array<ArrayBuffer>;
  /** One scale a block. */
  readonly scales: Float32Array<ArrayBuffer>;
  /** One bias a block for affine formats. */
  readonly biases?: Float32Array<ArrayBuffer>;
}
