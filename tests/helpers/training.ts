/**
 * Comparison of a model of any kind with golden values of transformers, PEFT and PyTorch.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { ParameterSet } from "../../src/autograd/parameter.ts";
import type { Model } from "../../src/models/model.ts";
import type { AdapterModuleFactors } from "../../src/nn/adapter.ts";
import type { TaskBatch } from "../../src/train/step/objective.ts";
import type { AnyBatch } from "../../src/data/example.ts";
import { Trainer } from "../../src/train/step/trainer.ts";
import { assertAllClose } from "./assert.ts";
import { floats } from "./golden.ts";
import { assertNear, gradientsOf, trainedAdapter } from "./llama.ts";

const GRADIENTS = 5e-5;
const LOSS = 2e-5;

/** Loss and gradients, in base64 by name, of one step. */
export interface GoldenStep {
  readonly loss: number;
  readonly gradients: Record<string, string>;
}

/** Steps of AdamW. */
export interface GoldenTraining {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly clip: number;
  readonly losses: number[];
}

/** Asserts that losses are the same. */
export function assertLoss(found: number, expected: number): void {
  assertAllClose([found], [expected], { rtol: LOSS });
}

/** Asserts that a step's loss and all its gradients are the same. */
export async function assertStep(
  model: Model,
  parameters: ParameterSet,
  { batch, checkpointing, expected }: {
    batch: TaskBatch;
    checkpointing?: boolean;
    expected: GoldenStep;
  },
): Promise<void> {
  const { loss, gradients } = await gradientsOf(model, parameters, {
    batches: [batch],
    checkpointing,
  });
  assertLoss(loss, expected.loss);
  const names = Object.keys(expected.gradients);
  assert.deepEqual([...gradients.keys()].sort(), names.sort());
  const all = names.flatMap((name) => [...floats(expected.gradients[name])]);
  const size = Math.sqrt(all.reduce((s, v) => s + v * v, 0) / all.length);
  for (const [name, gradient] of gradients) {
    const wanted = floats(expected.gradients[name]);
    const own = Math.sqrt(
      wanted.reduce((s, v) => s + v * v, 0) / wanted.length,
    );
    // Keys have a bias that no softmax sees: its gradient is nothing but rounding.
    if (own < 1e-5 * size) {
      assertAllClose(gradient, wanted, { atol: 1e-5 * size, what: name });
    } else assertNear(gradient, wanted, { tolerance: GRADIENTS, what: name });
  }
}

/** Asserts that the losses of a training of these factors are the same; fewer steps on a GPU that the CPU plays. */
export async function assertTraining(
  model: Model,
  factors: readonly AdapterModuleFactors[],
  { training, batches }: {
    training: GoldenTraining;
    batches: readonly AnyBatch[];
  },
): Promise<void> {
  using adapter = trainedAdapter(model, factors);
  using trainer = new Trainer({
    model,
    parameters: adapter.parameters,
    learningRate: training.learningRate,
    schedule: () => 1,
    optimizer: { weightDecay: training.weightDecay, clip: training.clip },
  });
  const most = model.device.name === "webgpu" ? 2 : training.losses.length;
  for (const batch of batches.slice(0, most)) trainer.step([batch]);
  const reports = await trainer.read();
  assertAllClose(
    reports.map(({ loss }) => loss),
    training.losses.slice(0, most),
    { atol: 1e-4, what: "losses" },
  );
}
