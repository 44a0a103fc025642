/**
 * The common part of every start of a QA-LoRA layer: settings that were checked, and on a device the weight's residual
 * and what it is quantised by.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import { loraScaling } from "../loftq/options.ts";
import { keepBase, type Quantizer } from "../loftq/quantizer.ts";
import { checkFinite } from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { checkBase, groupFormat } from "./groups.ts";
import { openQuantizer, type QuantizerOptions } from "./quantizer.ts";
import { type GroupResidual, openGroupResidual } from "./residual.ts";

/** Settings of `qaloraStart`. */
export interface StartSettings extends Partial<QuantizerOptions> {
  /** A base quantised elsewhere, in place of a format and how to quantise: it is kept. */
  readonly base?: QuantizedMatrix;
  /** Rank of the adapter, 16 by default. Beyond the number of groups, rows of A start at random, those columns of B at zero. */
  readonly rank?: number;
  /** LoRA's alpha, by default the rank. */
  readonly alpha?: number;
  /** Scaling `alpha / sqrt(rank)` instead of `alpha / rank` (Kalajdzievski, 2312.03732). */
  readonly rslora?: boolean;
  /**
   * Rounds of quantising and correcting, 1 by default; 0 gives the default LoRA initialisation: A Kaiming-uniform over the
   * groups, B zero. It ends once the error does not fall. More than one can help `gptq` only: the other quantisers follow a
   * shift of a group exactly.
   */
  readonly iterations?: number;
  /** Seeds the random parts, together with `name`. */
  readonly seed?: number;
}

/** Settings of a start that were checked, with their defaults. */
export interface CheckedStart extends StartSettings {
  readonly name: string;
  readonly block: number;
  readonly rank: number;
  readonly scaling: number;
  readonly iterations: number;
  readonly seed: number;
}

/**
 * Checks the settings that need no device.
 *
 * @throws {RangeError} If the weight is not finite or a setting is out of its range.
 * @throws {TypeError} If the base has not the weight's shape, or the format is not affine in groups.
 */
export function checkStart(
  weight: Matrix,
  settings: StartSettings,
): CheckedStart {
  const { name = "the weight", rank = 16, base, seed = 0 } = settings;
  const { alpha = rank, iterations = 1 } = settings;
  const fail = (what: string, wanted: string, got: unknown): never => {
    throw new ValueError(
      `Cannot start QA-LoRA on ${name}: ${what} must be ${wanted}, got ${got}`,
    );
  };
  if (!Number.isInteger(rank) || rank < 1) {
    fail("rank", "a whole number >= 1", rank);
  }
  if (!(alpha > 0 && alpha < Infinity)) fail("alpha", "> 0", alpha);
  if (!Number.isInteger(iterations) || iterations < 0) {
    fail("iterations", "a whole number >= 0", iterations);
  }
  if (!base && settings.format === undefined) {
    fail("format", "named where no base is given", undefined);
  }
  checkFinite(weight, name);
  if (base) checkBase(base, weight, name);
  return {
    ...settings,
    name,
    block: base?.block ?? settings.block ??
      groupFormat(settings.format!, name).defaultBlock,
    rank,
    scaling: loraScaling(rank, alpha, settings.rslora),
    iterations: base ? Math.min(iterations, 1) : iterations,
    seed,
  };
}

/** A weight on a device, to be quantised and corrected. */
export interface Prepared extends Disposable {
  readonly residual: GroupResidual;
  readonly quantizer: Quantizer;
}

/**
 * Copies `weight` to `device` and makes ready what it is quantised by and measured in.
 *
 * @throws {RangeError} If its norm overflows f32, or the moments cannot serve.
 * @throws {TypeError} If the metric has not the size of the layer's input.
 */
export async function prepare(
  device: Device,
  weight: Matrix,
  settings: StartSettings & Pick<CheckedStart, "name" | "block">,
): Promise<Prepared> {
  using memory = new DisposableStack();
  const residual = memory.use(
    await openGroupResidual(device, weight, settings),
  );
  const { base, format } = settings;
  const quantizer = memory.use(
    base
      ? keepBase(device, base)
      : await openQuantizer(device, weight, { ...settings, format: format! }),
  );
  const owned = memory.move();
  return { residual, quantizer, [Symbol.dispose]: () => owned.dispose() };
}
