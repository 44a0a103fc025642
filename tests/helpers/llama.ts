/**
 * Tools of models' tests: logits, losses, gradients, factors to put on them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Tape } from "../../src/autograd/tape.ts";
import type { ParameterSet } from "../../src/autograd/parameter.ts";
import type { Device } from "../../src/device/device.ts";
import { readF32 } from "../../src/device/device.ts";
import { type ForwardOptions, Llama } from "../../src/models/decoder/model.ts";
import { readDecoderConfig } from "../../src/families/decoder.ts";
import type { CausalModel, Model, TokenBatch } from "../../src/models/model.ts";
import { decoderTensors } from "../../src/families/decoder_block.ts";
import { trainedTensors } from "../../src/models/parts/weights.ts";
import {
  type AdapterModuleFactors,
  attachAdapter,
  type AttachedAdapter,
} from "../../src/nn/adapter.ts";
import { Random } from "../../src/tensor/random.ts";
import {
  type LabelledBatch,
  predicted,
  type TaskBatch,
} from "../../src/train/step/objective.ts";
import { accumulateGradients } from "../../src/train/step/step.ts";
import { openModel, type SmallTensors } from "./model.ts";

/** Scores of every token, `[batch * time, vocabulary]`. */
export async function logitsOf(
  model: CausalModel,
  tokens: TokenBatch,
  options: ForwardOptions = {},
): Promise<Float32Array> {
  const { device, config } = model;
  using tape = new Tape(device);
  const hidden = model.forward(tape, tokens, options);
  const logits = tape.matrix(hidden.value.rows, config.vocabSize);
  model.head.forward(device, hidden.value, { y: logits });
  return await readF32(device, logits.buffer);
}

/** Options of {@linkcode gradientsOf}. */
export interface StepOptions {
  readonly seed?: number;
  readonly checkpointing?: boolean;
  /** Factor of the summed loss (1 over the number of losses). */
  readonly weight?: number;
}

/** Number of a batch's tokens that are predicted. */
export function countOf({ labels, batch, time }: LabelledBatch): number {
  let count = 0;
  for (let i = 0; i < batch * time; i++) {
    if (i % time > 0 && labels[i] >= 0) count++;
  }
  return count;
}

/** Adds up the gradients of batches; returns the weighted loss and every gradient. */
export async function gradientsOf(
  model: Model,
  parameters: ParameterSet,
  { batches, weight, seed = 0, checkpointing }:
    & { batches: readonly TaskBatch[] }
    & StepOptions,
): Promise<{ loss: number; gradients: Map<string, Float32Array> }> {
  const { device } = model;
  const count = batches.reduce(
    (sum, batch) => sum + ("kind" in batch ? predicted(batch) : countOf(batch)),
    0,
  );
  using losses = device.alloc(4 * batches.length);
  for (const [at, batch] of batches.entries()) {
    accumulateGradients(model, batch, {
      weight: weight ?? 1 / count,
      seed: seed + at,
      checkpointing,
      loss: { buffer: losses, at },
    });
  }
  const gradients = new Map<string, Float32Array>();
  for (const name of parameters.parameters.keys()) {
    gradients.set(name, await parameters.readGradient(name));
  }
  for (const parameter of parameters.parameters.values()) {
    parameter.fresh = true;
  }
  const sums = await readF32(device, losses);
  return {
    loss: sums.reduce((a, b) => a + b, 0) * (weight ?? 1 / count),
    gradients,
  };
}

/** Random factors for every linear layer of a model. */
export function someFactors(
  model: Llama,
  { rank = 2, scaling = 2, seed = 0 } = {},
): AdapterModuleFactors[] {
  return [...model.linears.values()].map(({ module, weight }) => {
    const random = new Random(seed, module);
    const normals = (n: number) => random.normals(n).map((x) => 0.2 * x);
    return {
      module,
      rank,
      scaling,
      a: normals(rank * weight.cols),
      b: normals(weight.rows * rank),
    };
  });
}

/** An adapter to train, enabled. */
export function trainedAdapter(
  model: Model,
  factors: readonly AdapterModuleFactors[],
  { dropout = 0 } = {},
): AttachedAdapter & { readonly parameters: ParameterSet } {
  const adapter = attachAdapter(model.device, model.linears, {
    name: "trained",
    factors,
    train: true,
    dropout,
  });
  for (const layer of model.linears.values()) layer.enable(["trained"]);
  return adapter as AttachedAdapter & { readonly parameters: ParameterSet };
}

/** Asserts `‖actual - expected‖ <= tolerance ‖expected‖` and that there is something to compare. */
export function assertNear(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { tolerance, what }: { tolerance: number; what: string },
): void {
  assert.equal(actual.length, expected.length, `${what}: lengths`);
  let far = 0;
  let size = 0;
  for (let i = 0; i < expected.length; i++) {
    far += (actual[i] - expected[i]) ** 2;
    size += expected[i] ** 2;
  }
  assert.ok(size > 0, `${what}: all zeros`);
  const error = Math.sqrt(far / size);
  assert.ok(
    error <= tolerance,
    `${what}: relative difference ${error}, tolerance ${tolerance}`,
  );
}

/** A batch of whole sequences in which every token is learnt. */
export function wholeBatch(
  rows: readonly (readonly number[])[],
): LabelledBatch {
  const ids = rows.flat();
  return { ids, labels: ids, batch: rows.length, time: rows[0].length };
}

/** Sequences padded to the longest; no first token is learnt, nor padding. */
export function paddedBatch(
  rows: readonly (readonly number[])[],
  side: "left" | "right",
): LabelledBatch & Required<Pick<LabelledBatch, "bounds">> {
  const time = Math.max(...rows.map((row) => row.length));
  const put = (row: readonly number[], value: number) => {
    const gap = Array<number>(time - row.length).fill(value);
    return side === "left" ? [...gap, ...row] : [...row, ...gap];
  };
  return {
    ids: rows.flatMap((row) => put(row, 0)),
    labels: rows.flatMap((row) => put([-100, ...row.slice(1)], -100)),
    batch: rows.length,
    time,
    bounds: rows.map((row) =>
      side === "left" ? [time - row.length, time] : [0, row.length]
    ),
  };
}

/** Config of a small model of random weights; `changes` are keys of config.json. */
export function smallConfig(
  changes: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return {
    model_type: "llama",
    vocab_size: 31,
    hidden_size: 12,
    intermediate_size: 20,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 4,
    max_position_embeddings: 64,
    tie_word_embeddings: false,
    ...changes,
  };
}

/** Weights of a model with this config, by name. */
export function smallWeights(
  config: Readonly<Record<string, unknown>>,
  seed = 0,
): SmallTensors {
  const tensors = decoderTensors(readDecoderConfig(config, "a small model"));
  return Object.fromEntries(tensors.map(({ name, shape }) => {
    const random = new Random(seed, name);
    const normals = random.normals(shape.reduce((a, b) => a * b));
    const scale = 1 / Math.sqrt(shape.at(-1)!);
    const values = name.includes("norm")
      ? normals.map((x) => 1 + 0.1 * x)
      : name.includes("embed_tokens")
      ? normals
      : normals.map((x) => x * scale);
    return [name, { shape, values }];
  }));
}

/** Room to train all weights of a model. */
export function allParameters(
  device: Device,
  config: Readonly<Record<string, unknown>>,
): ParameterSet {
  return trainedTensors(
    device,
    decoderTensors(readDecoderConfig(config, "a small model")),
  );
}

/** A small model on a device. */
export async function smallModel(
  device: Device,
  changes: Readonly<Record<string, unknown>> = {},
  { trained, seed = 0, tensors }: {
    trained?: ParameterSet;
    seed?: number;
    tensors?: SmallTensors;
  } = {},
): Promise<Llama> {
  const config = smallConfig(changes);
  await using checkpoint = await openModel({
    config,
    tensors: tensors ?? smallWeights(config, seed),
  });
  return await Llama.load(device, checkpoint, { trained });
}

/** `count` sequences of `time` random tokens of the small vocabulary. */
export function someRows(
  random: Random,
  { count, time, words = 31 }: { count: number; time: number; words?: number },
): number[][] {
  return Array.from(
    { length: count },
    () =>
      Array.from({ length: time }, () => Math.floor(random.uniform() * words)),
  );
}
