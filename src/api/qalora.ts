/**
 * QA-LoRA: a base in affine groups, an adapter on inputs summed over each group, and a merge of the two that loses
 * nothing (Xu et al., QA-LoRA: Quantization-Aware Low-Rank Adaptation of Large Language Models, 2309.14717).
 *
 * @module
 */

import { checkGiven } from "../arguments.ts";
import type { LoftqResult } from "../loftq/options.ts";
import { quantizeBase } from "../qalora/base.ts";
import { type BiasesSettings, groupBiases } from "../qalora/biases.ts";
import {
  type LayerSettings,
  qaloraLayer,
  qaloraStart,
} from "../qalora/layer.ts";
import type { StartSettings } from "../qalora/prepare.ts";
import type { QuantizerOptions } from "../qalora/quantizer.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { type DeviceOptions, onDevice } from "./on_best_device.ts";

export type { BiasesSettings, LayerSettings, StartSettings };
export type { GptqOrder } from "../qalora/gptq_factor.ts";
export { type GroupAdapter, merge, spread } from "../qalora/merge.ts";
export {
  BASE_QUANTIZERS,
  type BaseQuantizer,
  type QuantizerOptions,
} from "../qalora/quantizer.ts";

/** Options of {@linkcode quantize}. */
export interface BaseOptions extends QuantizerOptions, DeviceOptions {}

/** Options of {@linkcode biases}. */
export interface BiasesOptions extends BiasesSettings, DeviceOptions {}

/** Options of {@linkcode start}. */
export interface StartOptions extends StartSettings, DeviceOptions {}

/** Options of {@linkcode layer}. */
export interface LayerOptions extends LayerSettings, DeviceOptions {}

/**
 * Quantises `weight: [out, in]` in the form that QA-LoRA merges into, `w = scale * code + bias` in groups along the
 * inputs. Any shape: the last group may be short, a constant group has scale 0.
 *
 * @example
 * ```ts
 * import { matrix, qalora, Random } from "@loqa/loqa";
 *
 * const weight = matrix(64, 96, new Random(0).normals(64 * 96));
 * const base = await qalora.quantize(weight, { format: "int4", block: 32 });
 * console.assert(base.biases?.length === 64 * 3);
 * ```
 *
 * @throws {TypeError} If the format is not affine in groups along the inputs, the metric has not the size of the
 * layer's input, or `gptq` has no full one.
 * @throws {RangeError} If a value is not finite, a group's range overflows f32, an option is out of its range, or the
 * moments cannot serve.
 */
export async function quantize(
  weight: Matrix,
  options: BaseOptions,
): Promise<QuantizedMatrix> {
  checkGiven("quantize", options);
  return await onDevice(
    options,
    (device) => quantizeBase(device, weight, options),
  );
}

/**
 * `base` with the biases that come closest to `weight` in the metric; codes and scales stay. Without moments a group's
 * mean error goes, with full ones the least squares are over all groups of a row.
 *
 * @throws {TypeError} If the base is not affine in groups along the inputs, or it or the metric has not the weight's
 * shape.
 * @throws {RangeError} If the weight is not finite, or the moments cannot serve.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { matrix, qalora, Random } from "@loqa/loqa";
 *
 * const weight = matrix(64, 128, new Random(0).normals(64 * 128));
 * const base = await qalora.quantize(weight, { format: "int2" });
 * const { codes } = await qalora.biases(weight, base);
 * assert.deepEqual(codes, base.codes); // only the groups' biases are new
 * ```
 */
export async function biases(
  weight: Matrix,
  base: QuantizedMatrix,
  options: BiasesOptions = {},
): Promise<QuantizedMatrix> {
  return await onDevice(
    options,
    (device) => groupBiases(device, weight, { ...options, base }),
  );
}

/**
 * Quantises `weight: [out, in]` and finds `lora_A: [rank, groups]` and `lora_B: [out, rank]`, on inputs summed over each
 * group, with `W ≈ Q + s B A`, each value of `B A` added to all weights of its group. In the metric, no such pair comes
 * closer to what the base lacks. With more iterations `W - s B A` is quantised again, and the best is kept.
 *
 * @example
 * ```ts
 * import { matrix, qalora, Random } from "@loqa/loqa";
 *
 * const weight = matrix(64, 96, new Random(0).normals(64 * 96));
 * const { error, plainError } = await qalora.start(weight, { format: "int2", rank: 2 });
 * console.assert(error < plainError);
 * ```
 *
 * @throws {RangeError} If the weight is not finite, an option is out of its range, or the moments cannot serve.
 * @throws {TypeError} If the format is not affine in groups along the inputs, or the base or the metric has not the
 * weight's shape.
 */
export async function start(
  weight: Matrix,
  options: StartOptions,
): Promise<LoftqResult> {
  checkGiven("start QA-LoRA", options);
  return await onDevice(
    options,
    (device) => qaloraStart(device, weight, options),
  );
}

/**
 * Quantises `weight: [out, in]` and finds where its adapter on groups starts: as {@linkcode start}, or with `biases` in
 * the best biases for the base and an adapter that adds nothing yet. Errors are those of `W - Q - s B A`.
 *
 * @throws {RangeError} If the weight is not finite, an option is out of its range, or the moments cannot serve.
 * @throws {TypeError} If the format is not affine in groups along the inputs, or the base or the metric has not the
 * weight's shape.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { matrix, qalora, Random } from "@loqa/loqa";
 *
 * const weight = matrix(64, 128, new Random(0).normals(64 * 128));
 * const { a, error, plainError } = await qalora.layer(weight, { format: "int2", rank: 4 });
 * assert.equal(a.cols, 128 / 32); // an input for each group
 * assert.ok(error <= plainError);
 * ```
 */
export async function layer(
  weight: Matrix,
  options: LayerOptions,
): Promise<LoftqResult> {
  checkGiven("start QA-LoRA", options);
  return await onDevice(
    options,
    (device) => qaloraLayer(device, weight, options),
  );
}
