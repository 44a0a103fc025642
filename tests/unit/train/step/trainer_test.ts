import assert from "node:assert/strict";
import { openDevice } from "../../../../src/backend/open.ts";
import { collate, IGNORED } from "../../../../src/data/example.ts";
import { schedule } from "../../../../src/train/step/schedule.ts";
import { labelled, predicted } from "../../../../src/train/step/objective.ts";
import { Trainer } from "../../../../src/train/step/trainer.ts";
import { Random } from "../../../../src/tensor/random.ts";
import { assertAllClose } from "../../../helpers/assert.ts";
import {
  gradientsOf,
  smallModel,
  someFactors,
  someRows,
  trainedAdapter,
} from "../../../helpers/llama.ts";

const ROWS = someRows(new Random(1), { count: 6, time: 5 });

function batchOf(rows: readonly (readonly number[])[], skip = 0) {
  return collate(
    rows.map((row) => ({
      tokens: Int32Array.from(row),
      labels: Int32Array.from(row).fill(IGNORED, 0, skip),
    })),
    { padId: 0 },
  );
}

async function makeTrainer(clip?: number) {
  const device = await openDevice("reference");
  const model = await smallModel(device, { num_hidden_layers: 1 });
  const adapter = trainedAdapter(model, someFactors(model));
  const { parameters } = adapter;
  const trainer = new Trainer({
    model,
    parameters,
    learningRate: 0.5,
    schedule: schedule({ name: "linear", steps: 4, warmup: 2 }),
    optimizer: { clip },
  });
  return {
    model,
    parameters,
    trainer,
    [Symbol.dispose]() {
      for (const owned of [trainer, adapter, model, device]) {
        owned[Symbol.dispose]();
      }
    },
  };
}

Deno.test("Trainer: reports of steps, read together, in their order", async () => {
  using one = await makeTrainer(1e-3);
  const batches = [batchOf(ROWS.slice(0, 2)), batchOf([ROWS[2]], 2)];
  const { loss, gradients } = await gradientsOf(one.model, one.parameters, {
    batches: batches.map(labelled),
  });
  const { bytes } = one.model.device.memory;
  assert.deepEqual(await one.trainer.read(), []);
  one.trainer.step(batches);
  one.trainer.step([batchOf(ROWS.slice(3), 1)]);
  const reports = await one.trainer.read();
  assert.deepEqual(await one.trainer.read(), []);
  assert.equal(one.model.device.memory.bytes, bytes);
  assert.deepEqual(
    reports.map(({ step, learningRate, tokens }) => [
      step,
      learningRate,
      tokens,
    ]),
    [[1, 0, 15], [2, 0.25, 15]],
  );
  let square = 0;
  for (const g of gradients.values()) for (const x of g) square += x * x;
  assertAllClose(
    [reports[0].loss, reports[0].gradientNorm!],
    [loss, Math.sqrt(square)],
    { rtol: 1e-5 },
  );
  assert.equal(one.trainer.steps, 2);
});

Deno.test("Trainer: without clipping there is no norm; nothing to learn is an error", async () => {
  using one = await makeTrainer();
  one.trainer.step([batchOf(ROWS)]);
  const [report] = await one.trainer.read();
  assert.equal("gradientNorm" in report, false);
  assert.throws(
    () => one.trainer.step([batchOf(ROWS, 5)]),
    /^RangeError: Cannot take a step: no token of its batches is to be predicted$/,
  );
  one.trainer.step([batchOf(ROWS, 5), batchOf(ROWS, 4)]);
  assert.equal((await one.trainer.read())[0].tokens, 60);
});

Deno.test("Trainer: steps wait for a read, however many batches one has", async () => {
  using one = await makeTrainer();
  const batch = batchOf([ROWS[0].slice(0, 2)]);
  const many = Array(300).fill(batch);
  assert.equal(one.trainer.full(300), false);
  one.trainer.step(many);
  assert.equal(one.trainer.full(1), true);
  assert.throws(() => one.trainer.step([batch]), RangeError);
  const [report] = await one.trainer.read();
  assert.equal(report.tokens, 600);
  one.trainer.step([batch]);
  const [single] = await one.trainer.read();
  // The first update has a learning rate of zero.
  assertAllClose([single.loss], [report.loss], { rtol: 1e-5 });
});

Deno.test("batches: what counts, and bounds where there is padding", () => {
  const padded = batchOf([[1, 2, 3], [4]]);
  assert.equal(predicted(padded), 2);
  assert.deepEqual(labelled(padded).bounds, [[0, 3], [0, 1]]);
  assert.equal(labelled(batchOf([[1, 2]])).bounds, undefined);
});
