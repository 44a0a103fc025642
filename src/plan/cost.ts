/**
 * Cost of a fine-tuning method on a model of given sizes: trainable parameters, bytes, FLOPs. Nothing is measured here.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import {
  bitsPerWeight,
  type Format,
  format,
  type ScaleDType,
} from "../quant/formats.ts";
import type { LinearShape, ModelShape } from "./shape.ts";

/** Ways to fine-tune a model. */
export const METHODS = ["full", "lora", "qlora", "loftq", "qalora"] as const;

/** One of {@linkcode METHODS}. */
export type Method = typeof METHODS[number];

/** Options of {@linkcode methodCosts}. */
export interface CostOptions {
  /** LoRA rank of the adapters. */
  readonly rank: number;
  /** Quantisation group size of QA-LoRA's base: weights that share a scale, and inputs that its adapter pools. */
  readonly group: number;
  /** Width of quantised weights: `nf4` … `nf2` for QLoRA and LoftQ, `int4` … `int2` for QA-LoRA. */
  readonly bits: 2 | 3 | 4;
  /** Sequence length in tokens; of the encoder and of the decoder alike. */
  readonly sequence: number;
  /** Batch size: sequences of a step. */
  readonly batch: number;
  /** Activation (gradient) checkpointing: recompute layers in the backward pass. */
  readonly checkpointing?: boolean;
}

/** Bytes of a training step, by what they are for. */
export interface MemoryParts {
  /** The model, quantised or in f32. */
  readonly weights: number;
  /** LoRA factors in f32. */
  readonly adapter: number;
  /** One f32 a trainable parameter. */
  readonly gradients: number;
  /** AdamW's two f32 a trainable parameter. */
  readonly moments: number;
  /** Activations: values kept for the backward pass, and a chunk of logits. */
  readonly activations: number;
}

/** Cost of one method. */
export interface MethodCost {
  /** Number of trainable parameters. */
  readonly trainableParameters: number;
  /** Bytes of the weights and the adapter in their files. */
  readonly diskBytes: number;
  /** Peak memory of a training step in bytes, the sum of {@linkcode memory}. */
  readonly memoryBytes: number;
  /** Its parts. */
  readonly memory: MemoryParts;
  /** Stored bits of a weight of the linear layers, scales and biases included. */
  readonly bitsPerWeight: number;
  /** Bytes of the fine-tuned model as it is deployed: QA-LoRA's stays quantised, with 16-bit scales and biases. */
  readonly deployedBytes: number;
  /** Bits of a weight of the linear layers there. */
  readonly deployedBitsPerWeight: number;
  /** FLOPs per step: floating-point operations of one training step. */
  readonly stepFlops: number;
}

/** Bytes of logits that training holds at a time. */
const LOGIT_BYTES = 16 * 2 ** 20;

/**
 * Cost of each method on a model.
 *
 * Parameters: LoRA trains `rank * (in + out)` of each linear layer but the head, QA-LoRA
 * `rank * (ceil(in / group) + out)` (Xu et al., 2309.14717, Table 2).
 *
 * Disk: plain weights in 16 bits, quantised ones as loqa writes them (codes, scales and biases in f16; nf4 as bitsandbytes
 * has it, with scales in f32), adapters in f32. Deployed: an adapter is merged, into 16-bit weights, or by QA-LoRA into the biases, which
 * leaves codes of `bits` with an f16 scale and bias a group.
 *
 * Memory, in f32 where it is not quantised: weights + adapter + 4 bytes of gradient and 8 of AdamW's moments a trained
 * parameter + activations. These are, a token and layer, the outputs of linear layers, norms, attentions and the
 * activation, with LoRA `rank` values more a linear layer and with QA-LoRA its `ceil(in / group)` sums too; beside the
 * layers the embedding's and the last norm's outputs and up to 32 MiB of logits. With checkpointing they are
 * the inputs of all layers and the values of one. Buffers that come and go while a layer is computed are not counted.
 *
 * Operations: `2 * weights` a token forwards, as many backwards for the inputs' gradients, again as many where the
 * weights are trained, `6` a parameter of the adapters, and `4 * sequence * width` an attention forwards, twice that
 * backwards; with checkpointing layers go forwards twice.
 *
 * @throws {RangeError} If an option is no whole number > 0.
 */
export function methodCosts(
  model: ModelShape,
  options: CostOptions,
): Record<Method, MethodCost> {
  for (const key of ["rank", "group", "sequence", "batch"] as const) {
    if (!Number.isSafeInteger(options[key]) || options[key] < 1) {
      throw new ValueError(
        `Cannot plan: wanted a whole number > 0 for ${key}, got ${
          options[key]
        }`,
      );
    }
  }
  return Object.fromEntries(
    METHODS.map((method) => [method, cost(model, method, options)]),
  ) as Record<Method, MethodCost>;
}

function cost(
  model: ModelShape,
  method: Method,
  options: CostOptions,
): MethodCost {
  const { group, bits } = options;
  const { linearParameters, otherParameters } = model;
  const all = linearParameters + otherParameters;
  const factors = method === "full" ? 0 : adapterParameters(model, {
    rank: options.rank,
    group: method === "qalora" ? group : 1,
  });
  const trained = method === "full" ? all : factors;
  const base = method === "qalora"
    ? { spec: format(`int${bits}`), block: group }
    : method === "qlora" || method === "loftq"
    ? { spec: format(`nf${bits}`), block: format(`nf${bits}`).defaultBlock }
    : undefined;
  // bitsandbytes' scales are f32, those of loqa's own layout f16; on a device both are f32.
  const scaleDType = method !== "qalora" && bits === 4 ? "f32" : "f16";
  const stored = base
    ? storedBytes(model.linears, { ...base, scaleDType, biasDType: scaleDType })
    : 2 * linearParameters;
  const held = base && storedBytes(model.linears, base);
  const deployed = method === "qalora" ? stored : 2 * linearParameters;
  const memory: MemoryParts = {
    weights: 4 * otherParameters + (held ?? 4 * linearParameters),
    adapter: 4 * factors,
    gradients: 4 * trained,
    moments: 8 * trained,
    activations: activationBytes(model, method, options),
  };
  const perWeight = (bytes: number) =>
    8 * bytes / Math.max(linearParameters, 1);
  return {
    trainableParameters: trained,
    diskBytes: stored + 2 * otherParameters + 4 * factors,
    memoryBytes: Object.values(memory).reduce((a, b) => a + b, 0),
    memory,
    bitsPerWeight: perWeight(stored),
    deployedBytes: deployed + 2 * otherParameters,
    deployedBitsPerWeight: perWeight(deployed),
    stepFlops: flops(model, { method, factors, options }),
  };
}

function adapterParameters(
  { linears }: ModelShape,
  { rank, group }: { rank: number; group: number },
): number {
  return linears.reduce(
    (sum, { rows, cols, count }) =>
      sum + count * rank * (rows + Math.ceil(cols / group)),
    0,
  );
}

/** Bytes of quantised linear layers in loqa's own file. */
function storedBytes(
  linears: readonly LinearShape[],
  { spec, ...storage }: {
    spec: Format;
    block: number;
    scaleDType?: ScaleDType;
    biasDType?: ScaleDType;
  },
): number {
  return linears.reduce(
    (sum, { rows, cols, count }) =>
      sum +
      count * rows * cols * bitsPerWeight(spec, { rows, cols, ...storage }) / 8,
    0,
  );
}

function activationBytes(
  model: ModelShape,
  method: Method,
  { rank, group, sequence, batch, checkpointing }: CostOptions,
): number {
  const { layers, linears, vocabSize, hasHead } = model;
  const adapted = method === "full" ? 0 : linears.reduce(
    (sum, { cols, count }) =>
      sum +
      count * (rank + (method === "qalora" ? Math.ceil(cols / group) : 0)),
    0,
  );
  const depth = layers.reduce((sum, { count }) => sum + count, 0);
  const each = layers.map(({ kept }) => kept + adapted / depth);
  const values = layers.reduce(
    (sum, { count, width }, i) =>
      sum + count * (checkpointing ? width : each[i]) + 2 * width,
    checkpointing ? Math.max(...each) : 0,
  );
  const tokens = sequence * batch;
  const logits = hasHead ? Math.min(LOGIT_BYTES, 4 * tokens * vocabSize) : 0;
  return Math.ceil(4 * tokens * values) + logits;
}

function flops(
  model: ModelShape,
  { method, factors, options }: {
    method: Method;
    factors: number;
    options: CostOptions;
  },
): number {
  const { linearParameters, layers, vocabSize, hasHead } = model;
  const { sequence, batch, checkpointing } = options;
  const head = hasHead ? vocabSize * layers.at(-1)!.width : 0;
  const attention = layers.reduce(
    (sum, { count, attentions, attentionWidth }) =>
      sum + count * attentions * 4 * sequence * attentionWidth,
    0,
  );
  const passes = (checkpointing ? 3 : 2) + (method === "full" ? 1 : 0);
  return sequence * batch * (passes * 2 * linearParameters +
    (checkpointing ? 4 : 3) * attention + (checkpointing ? 8 : 6) * factors +
    2 * head * (method === "full" ? 3 : 2));
}
