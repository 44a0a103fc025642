/**
 * LoftQ of one weight, on a device that may be left open.
 *
 * @module
 */

import { checkOptions, type OptionTable } from "../arguments.ts";
import * as method from "../loftq/loftq.ts";
import type { LoftqResult, LoftqSettings } from "../loftq/options.ts";
import { checkMatrix, type Matrix } from "../tensor/matrix.ts";
import {
  DEVICE_OPTIONS,
  type DeviceOptions,
  onDevice,
} from "./on_best_device.ts";

/** Options of {@linkcode loftq}. */
export interface LoftqOptions extends LoftqSettings, DeviceOptions {}

const OPTIONS: OptionTable<LoftqOptions> = {
  format: false,
  block: false,
  scale: false,
  scaleDType: false,
  stored: false,
  rank: false,
  alpha: false,
  rslora: false,
  iterations: false,
  earlyStop: false,
  svd: false,
  metric: false,
  base: false,
  seed: false,
  name: false,
  ...DEVICE_OPTIONS,
};

/**
 * Quantises `weight: [out, in]` and finds LoRA factors with `W ≈ Q + s B A`, alternating `Q = quantise(W - s B A)` and
 * `s B A = SVD_r(W - Q)`. Ends on the SVD and keeps the best iterate.
 *
 * @example
 * ```ts
 * import { loftq, matrix, Random } from "@loqa/loqa";
 *
 * const weight = matrix(64, 128, new Random(0).normals(64 * 128));
 * const { error, plainError } = await loftq(weight, { format: "nf4", rank: 8 });
 * console.assert(error < plainError);
 * ```
 *
 * @throws {RangeError} If the weight is not finite, or an option is out of its range.
 * @throws {TypeError} If the scale rule does not fit the format, or `base` or the metric not the weight's shape.
 */
export async function loftq(
  weight: Matrix,
  options: LoftqOptions,
): Promise<LoftqResult> {
  checkOptions("run LoftQ", options, OPTIONS);
  checkMatrix(weight, options.name ?? "the weight");
  return await onDevice(
    options,
    (device) => method.loftq(device, weight, options),
  );
}
