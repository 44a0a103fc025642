/**
 * Quantisation and the SVD of matrices in ordinary memory, on a device that may be left open.
 *
 * @module
 */

import { checkOptions, type OptionTable } from "../arguments.ts";
import type { Device } from "../device/device.ts";
import * as linalg from "../linalg/svd.ts";
import type { Svd, SvdSettings } from "../linalg/svd.ts";
import * as quant from "../quant/quantize.ts";
import type { QuantizeSettings } from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import { checkMatrix, type Matrix } from "../tensor/matrix.ts";
import {
  DEVICE_OPTIONS,
  type DeviceOptions,
  onDevice,
  sharedDevice,
} from "./on_best_device.ts";

/** Options of {@linkcode quantize}. */
export interface QuantizeOptions extends QuantizeSettings {
  /** Where to work; a shared one-thread device without it. */
  readonly device?: Device;
}

const QUANTIZE_OPTIONS: OptionTable<QuantizeOptions> = {
  format: true,
  block: false,
  scale: false,
  weights: false,
  device: false,
  name: false,
};

/** Options of {@linkcode svd}. */
export interface SvdOptions extends SvdSettings, DeviceOptions {}

const SVD_OPTIONS: OptionTable<SvdOptions> = {
  rank: false,
  method: false,
  steps: false,
  seed: false,
  ...DEVICE_OPTIONS,
};

/**
 * Quantises `weight[rows, cols]`.
 *
 * @throws {RangeError} If a value is not finite, the block is not a whole number, or a block's range overflows f32.
 * @throws {TypeError} If the scale rule does not fit the format, or there are not `cols` weights.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { matrix, quantize, Random } from "@loqa/loqa";
 *
 * const weight = matrix(64, 128, new Random(0).normals(64 * 128));
 * const { codes } = await quantize(weight, { format: "int3", scale: "mse" });
 * assert.equal(codes.length, 64 * 128 * 3 / 8);
 * ```
 */
export async function quantize(
  weight: Matrix,
  options: QuantizeOptions,
): Promise<QuantizedMatrix> {
  checkOptions("quantize", options, QUANTIZE_OPTIONS);
  const device = options.device ?? await sharedDevice();
  return await quant.quantize(device, weight, options);
}

/**
 * The f32 values of `q`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { dequantize, matrix, quantize, Random, relativeError } from "@loqa/loqa";
 *
 * const weight = matrix(64, 128, new Random(0).normals(64 * 128));
 * const again = await dequantize(await quantize(weight, { format: "nf4" }));
 * assert.ok(relativeError(weight, again) < 0.1);
 * ```
 */
export async function dequantize(
  q: QuantizedMatrix,
  options: { device?: Device } = {},
): Promise<Matrix> {
  return await quant.dequantize(options.device ?? await sharedDevice(), q);
}

/**
 * Truncated SVD of `a: [rows, cols]`. Vectors of zero singular values are zero.
 *
 * @throws {RangeError} If the rank is not a whole number from 1 to the smaller size.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { matrix, Random, svd } from "@loqa/loqa";
 *
 * const weight = matrix(64, 128, new Random(0).normals(64 * 128));
 * const { u, s, vt } = await svd(weight, { rank: 4 });
 * assert.deepEqual([u.rows, s.length, vt.cols], [64, 4, 128]);
 * ```
 */
export async function svd(a: Matrix, options: SvdOptions = {}): Promise<Svd> {
  checkOptions("decompose", options, SVD_OPTIONS);
  checkMatrix(a, "the matrix");
  return await onDevice(options, (device) => linalg.svd(device, a, options));
}
