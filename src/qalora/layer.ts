/**
 * A QA-LoRA layer from a weight: its base and where its adapter starts.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { LoftqResult } from "../loftq/options.ts";
import { inRange } from "../loftq/range.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { startBiases } from "./biases.ts";
import { startFactors } from "./factors.ts";
import { checkStart, prepare, type StartSettings } from "./prepare.ts";

/** Settings of {@linkcode qaloraLayer}. */
export interface LayerSettings extends StartSettings {
  /**
   * True if the correction goes into the biases of the base, at full rank, and not into the adapter (false). The adapter
   * then has nothing left to make up for and starts plainly, whatever `iterations` says.
   */
  readonly biases?: boolean;
}

/**
 * Quantises `weight: [out, in]` and finds where its adapter on groups starts: in the factors that correct the base best,
 * or with `biases` in the best biases for the base and an adapter that adds nothing yet. Errors are those of
 * `W - Q - s B A`.
 *
 * @throws {RangeError} If the weight is not finite, a setting is out of its range, or the moments cannot serve.
 * @throws {TypeError} If the format is not affine in groups along the inputs, or the base or the metric has not the
 * weight's shape.
 */
export async function qaloraLayer(
  device: Device,
  weight: Matrix,
  settings: LayerSettings,
): Promise<LoftqResult> {
  const checked = checkStart(weight, settings);
  const start = settings.biases ? startBiases : startFactors;
  return await inRange(weight, settings.base, async (weight, base) => {
    const all = { ...checked, base };
    using prepared = await prepare(device, weight, all);
    return await start(device, prepared, all);
  });
}

/**
 * {@linkcode qaloraLayer} with the correction in the factors, of the weight as it is, however small.
 *
 * @throws {RangeError} If the weight is not finite, a setting is out of its range, or the moments cannot serve.
 * @throws {TypeError} If the format is not affine in groups along the inputs, or the base or the metric has not the
 * weight's shape.
 */
export async function qaloraStart(
  device: Device,
  weight: Matrix,
  settings: StartSettings,
): Promise<LoftqResult> {
  const checked = checkStart(weight, settings);
  using prepared = await prepare(device, weight, checked);
  return await startFactors(device, prepared, checked);
}
