/**
 * A QA-LoRA layer from a weight: its base and where its adapter starts.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { LoftqResult } from "../loftq/loftq.ts";
import { inRange } from "../loftq/range.ts";
import { loraStart } from "../loftq/start.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { fitBiases } from "./biases.ts";
import { openResidual } from "./residual.ts";
import {
  type CheckedStart,
  checkStart,
  downloadStart,
  qaloraStart,
  startQuantizer,
  type StartSettings,
} from "./start.ts";

/** Settings of {@linkcode qaloraLayer}. */
export interface LayerSettings extends StartSettings {
  /**
   * Whether the correction goes into the biases of the base, at full rank, and not into the adapter (false). The adapter
   * then has nothing left to make up for and starts plainly, whatever `iterations` says.
   */
  readonly biases?: boolean;
}

/**
 * Quantises `weight: [out, in]` and finds where its adapter on groups starts: as `start`, or with `biases` in the best
 * biases for the base and an adapter that adds nothing yet. Errors are those of `W - Q - s B A`.
 *
 * @throws {RangeError} If the weight is not finite, an option is out of its range, or the moments cannot serve.
 * @throws {TypeError} If the format is not affine in groups along the inputs, or the base or the metric has not the
 * weight's shape.
 */
export async function qaloraLayer(
  device: Device,
  weight: Matrix,
  options: LayerSettings,
): Promise<LoftqResult> {
  const checked = checkStart(weight, options);
  return await inRange(weight, options.base, async (weight, base) => {
    const all = { ...options, base };
    return options.biases
      ? await run(device, weight, { ...all, ...checked })
      : await qaloraStart(device, weight, all);
  });
}

async function run(
  device: Device,
  weight: Matrix,
  options: StartSettings & CheckedStart,
): Promise<LoftqResult> {
  using residual = await openResidual(device, weight, options);
  using quantizer = await startQuantizer(device, weight, options);
  using q = quantizer.alloc();
  await quantizer.run(residual.w, q);
  const { base, before, after } = await fitBiases(device, residual, {
    base: options.base ?? await downloadStart(device, q, options),
    q,
    scaleDType: options.scaleDType,
  });
  const { rows } = weight;
  return {
    backbone: base,
    ...loraStart({ ...options, rows, cols: residual.groups }),
    scaling: options.scaling,
    plainError: before.error,
    error: after.error,
    history: [after.outputError],
    iteration: 1,
    ...(!residual.identity && {
      plainOutputError: before.outputError,
      outputError: after.outputError,
    }),
  };
}
