import assert from "node:assert/strict";
import type { Device } from "../../../src/device/device.ts";
import { Llama } from "../../../src/models/decoder/model.ts";
import { batchLoss } from "../../../src/train/step/step.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { floats, golden } from "../../helpers/golden.ts";
import {
  allParameters,
  assertNear,
  gradientsOf,
  logitsOf,
  paddedBatch,
  trainedAdapter,
  wholeBatch,
} from "../../helpers/llama.ts";
import { networkTest } from "../../helpers/network.ts";
import {
  type GoldenAdapter,
  goldenCheckpoint,
  goldenFactors,
  type GoldenModel,
} from "./data.ts";

interface Padded {
  /** Of the short sequence's tokens. */
  logits: string;
  loss: number;
}

interface Row extends GoldenModel {
  name: string;
  ids: number[][];
  short: number[];
  logits: string;
  loss: number;
  gradients: Record<string, string>;
  right: Padded;
  left: Padded;
  lora: {
    options: GoldenAdapter;
    seed: number;
    loss: number;
    gradients: Record<string, string>;
  };
}

const { models } = golden<{ models: Row[] }>(import.meta, "models.json");

/** Both sides compute in f32; logits are of size 10. */
const LOGITS = { atol: 2e-5 };
const GRADIENTS = 2e-5;
const LOSS = 1e-5;

function assertLoss(actual: number, expected: number): void {
  assertAllClose([actual], [expected], { rtol: LOSS, what: "loss" });
}

function assertGradients(
  actual: ReadonlyMap<string, Float32Array>,
  expected: Record<string, string>,
): void {
  assert.deepEqual([...actual.keys()].sort(), Object.keys(expected).sort());
  for (const [name, gradient] of actual) {
    assertNear(gradient, floats(expected[name]), {
      tolerance: GRADIENTS,
      what: name,
    });
  }
}

/** Logits, loss and padding of one model. */
async function checkForward(device: Device, row: Row): Promise<void> {
  const words = row.config.vocab_size as number;
  await using checkpoint = await goldenCheckpoint(row);
  using model = await Llama.load(device, checkpoint);
  const batch = wholeBatch(row.ids);
  assertAllClose(await logitsOf(model, batch), floats(row.logits), LOGITS);
  const { sum, count } = await batchLoss(model, batch);
  assertLoss(sum / count, row.loss);
  for (const side of ["right", "left"] as const) {
    const padded = paddedBatch([row.ids[0], row.short], side);
    const logits = await logitsOf(model, padded);
    const [from, to] = padded.bounds[1];
    const at = (t: number) => (padded.time + t) * words;
    assertAllClose(
      logits.subarray(at(from), at(to)),
      floats(row[side].logits),
      { ...LOGITS, what: `padded on the ${side}` },
    );
    const { sum, count } = await batchLoss(model, padded);
    assertLoss(sum / count, row[side].loss);
  }
}

/** Gradients of LoRA factors, from a batch padded on the right. */
async function checkLora(device: Device, row: Row): Promise<void> {
  await using checkpoint = await goldenCheckpoint(row);
  using model = await Llama.load(device, checkpoint);
  const { options, seed, loss, gradients } = row.lora;
  using adapter = trainedAdapter(
    model,
    goldenFactors(model, options, { seed }),
  );
  const found = await gradientsOf(model, adapter.parameters, {
    batches: [paddedBatch([row.ids[0], row.short], "right")],
  });
  assertLoss(found.loss, loss);
  assertGradients(found.gradients, gradients);
}

/** Gradients of all weights. */
async function checkFull(device: Device, row: Row): Promise<void> {
  await using checkpoint = await goldenCheckpoint(row);
  using trained = allParameters(device, checkpoint.config);
  using model = await Llama.load(device, checkpoint, { trained });
  const found = await gradientsOf(model, trained, {
    batches: [wholeBatch(row.ids)],
  });
  assertLoss(found.loss, row.loss);
  assertGradients(found.gradients, row.gradients);
}

for (
  const [what, check] of [
    ["transformers' logits and losses", checkForward],
    ["PEFT's gradients of LoRA", checkLora],
    ["PyTorch's gradients of all weights", checkFull],
  ] as const
) {
  networkTest((device) => `${what} on ${device}`, async (device, t) => {
    for (const row of models) {
      await t.step(row.name, () => check(device, row));
    }
  });
}
