import assert from "node:assert/strict";
import type { Device } from "../../../../src/device/device.ts";
import { openDevice } from "../../../../src/backend/open.ts";
import { openWebGpuDevice } from "../../../../gpu/device.ts";
import { openCheckpoint } from "../../../../src/io/open.ts";
import { Llama } from "../../../../src/models/decoder/model.ts";
import { Random } from "../../../../src/tensor/random.ts";
import { schedule } from "../../../../src/train/step/schedule.ts";
import { Trainer } from "../../../../src/train/step/trainer.ts";
import { NO_GPU, onAdapter } from "../../../helpers/gpu.ts";
import {
  assertNear,
  gradientsOf,
  logitsOf,
  someFactors,
  someRows,
  trainedAdapter,
  wholeBatch,
} from "../../../helpers/llama.ts";

const MODEL = "../shared/data/models/stories260K-hf";

const hasModel = await Deno.stat(MODEL).then(() => true, () => false);

/**
 * Relative, of all values together. The reference rounds each result to f32 once, the GPU each term of its sums: five
 * layers of sums over up to 172 terms, with norms and softmaxes, and backwards again. Measured on a software adapter:
 * logits 1e-6, gradients 6e-6, losses and norms of the steps 3e-7.
 */
const NEAR = 3e-5;

const STEPS = 5;

function modelTest(
  name: string,
  fn: (
    devices: { gpu: Device; reference: Device; reads: () => number },
  ) => Promise<void>,
): void {
  Deno.test({
    name: onAdapter(name) + (hasModel ? "" : ` [no ${MODEL} here]`),
    ignore: NO_GPU || !hasModel,
    async fn() {
      using gpu = await openWebGpuDevice();
      using reference = await openDevice("reference");
      const { context } = gpu;
      const read = context.read.bind(context);
      let count = 0;
      context.read = (...args) => {
        count++;
        return read(...args);
      };
      await fn({ gpu: gpu as Device, reference, reads: () => count });
    },
  });
}

async function loaded(device: Device): Promise<Llama> {
  await using checkpoint = await openCheckpoint(MODEL);
  return await Llama.load(device, checkpoint);
}

/** So small that rounding does not grow from step to step. */
const FACTORS = { rank: 4, scaling: 0.2 };

const ROWS = someRows(new Random(260), { count: 2, time: 37, words: 512 });

modelTest("stories260K on webgpu: logits", async ({ gpu, reference }) => {
  using model = await loaded(gpu);
  using oracle = await loaded(reference);
  const batch = wholeBatch(ROWS);
  assertNear(await logitsOf(model, batch), await logitsOf(oracle, batch), {
    tolerance: NEAR,
    what: "logits",
  });
});

for (const checkpointing of [false, true]) {
  modelTest(
    `stories260K on webgpu: gradients of an adapter${
      checkpointing ? ", blocks computed again" : ""
    }`,
    async ({ gpu, reference }) => {
      using model = await loaded(gpu);
      using oracle = await loaded(reference);
      const factors = someFactors(model, FACTORS);
      using adapter = trainedAdapter(model, factors, { dropout: 0.1 });
      using other = trainedAdapter(oracle, factors, { dropout: 0.1 });
      const how = { batches: [wholeBatch(ROWS)], seed: 3, checkpointing };
      const actual = await gradientsOf(model, adapter.parameters, how);
      const { bytes } = gpu.memory;
      await gradientsOf(model, adapter.parameters, how);
      assert.equal(gpu.memory.bytes, bytes);
      const expected = await gradientsOf(oracle, other.parameters, how);
      assert.ok(
        Math.abs(actual.loss - expected.loss) <= NEAR * expected.loss,
        `loss ${actual.loss}, wanted ${expected.loss}`,
      );
      assert.equal(expected.gradients.size, 2 * model.linears.size);
      for (const [name, gradient] of expected.gradients) {
        assertNear(actual.gradients.get(name)!, gradient, {
          tolerance: NEAR,
          what: name,
        });
      }
    },
  );
}

async function train(
  device: Device,
  onSteps = (_: "begin" | "sent" | "read") => {},
): Promise<number[]> {
  using model = await loaded(device);
  using adapter = trainedAdapter(model, someFactors(model, FACTORS));
  using trainer = new Trainer({
    model,
    parameters: adapter.parameters,
    learningRate: 1e-3,
    schedule: schedule({ name: "constant", steps: STEPS }),
    optimizer: { clip: 1 },
  });
  const { ids, labels, batch: rows, time: cols } = wholeBatch(ROWS);
  const batch = {
    rows,
    cols,
    tokens: Int32Array.from(ids),
    labels: Int32Array.from(labels),
    lengths: Int32Array.from({ length: rows }, () => cols),
  };
  onSteps("begin");
  for (let i = 0; i < STEPS; i++) trainer.step([batch]);
  onSteps("sent");
  const reports = await trainer.read();
  onSteps("read");
  return reports.flatMap(({ loss, gradientNorm }) => [loss, gradientNorm!]);
}

modelTest(
  `stories260K on webgpu: ${STEPS} steps, then one wait`,
  async ({ gpu, reference, reads }) => {
    const counts: number[] = [];
    const actual = await train(gpu, () => counts.push(reads()));
    const [begin, sent, read] = counts;
    assert.equal(sent - begin, 0, "readbacks while steps are sent");
    // Losses and norms, at once.
    assert.equal(read - sent, 2);
    const expected = await train(reference);
    assert.ok(expected.at(-2)! < expected[0], "it learns nothing");
    actual.forEach((x, i) =>
      assert.ok(
        Math.abs(x - expected[i]) <= NEAR * expected[i],
        `step ${i >> 1}: ${x}, wanted ${expected[i]}`,
      )
    );
  },
);
