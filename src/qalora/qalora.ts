/**
 * QA-LoRA: a base in affine groups, an adapter on inputs summed over each group, and a merge of the two that loses
 * nothing (Xu et al., QA-LoRA: Quantization-Aware Low-Rank Adaptation of Large Language Models, 2309.14717).
 *
 * @module
 */

export { type BaseOptions, quantizeBase as quantize } from "./base.ts";
export { type BiasesOptions, groupBiases as biases } from "./biases.ts";
export type { GptqOrder } from "./gptq_factor.ts";
export { type LayerOptions, qaloraLayer as layer } from "./layer.ts";
export { type GroupAdapter, merge, spread } from "./merge.ts";
export {
  BASE_QUANTIZERS,
  type BaseQuantizer,
  type QuantizerOptions,
} from "./quantizer.ts";
export { start, type StartOptions } from "./start.ts";
