import assert from "node:assert/strict";
import { Tape } from "../../../src/autograd/tape.ts";
import { type Device, readF32 } from "../../../src/device/device.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { Bert } from "../../../src/models/encoder/bert.ts";
import { relativeRow } from "../../../src/families/deberta.ts";
import type { EncoderModel } from "../../../src/models/model.ts";
import { trainedTensors } from "../../../src/models/parts/weights.ts";
import { batchLoss } from "../../../src/train/step/step.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { floats, golden } from "../../helpers/golden.ts";
import { trainedAdapter } from "../../helpers/llama.ts";
import { exists, models } from "../../helpers/inputs.ts";
import { networkTest } from "../../helpers/network.ts";
import {
  assertLoss,
  assertStep,
  assertTraining,
} from "../../helpers/training.ts";
import { goldenFactors } from "../models/data.ts";
import {
  batchOf,
  type GoldenBatch,
  type GoldenEncoder,
  loadEncoder,
} from "./data.ts";

const { models: rows, buckets } = golden<{
  models: GoldenEncoder[];
  buckets: { buckets: number; positions: number; found: number[] }[];
}>(import.meta, "encoders.json");

/** Both sides compute in f32; scores are of size 1 to 10. */
const LOGITS = { rtol: 2e-5, atol: 2e-5 };

/** One of each family, on a GPU that the CPU plays. */
const FEW = new Set([
  "bert: classes",
  "roberta: spans",
  "deberta: as version 3",
]);

async function answers(
  model: EncoderModel,
  batch: GoldenBatch,
): Promise<Float32Array> {
  const { device } = model;
  const { ids, typeIds, lengths } = batch;
  using tape = new Tape(device);
  const { value } = model.logits(tape, {
    ids: ids.flat(),
    batch: ids.length,
    time: ids[0].length,
    typeIds: typeIds.flat(),
    bounds: lengths.map((n) => [0, n] as const),
  });
  return await readF32(
    device,
    value.buffer,
    value.offset,
    value.rows * value.cols,
  );
}

async function checkForward(device: Device, row: GoldenEncoder) {
  using model = await loadEncoder(device, row);
  for (const batch of [row.whole, row.padded]) {
    const expected = floats(batch.logits);
    const time = batch.ids[0].length;
    // Where a span is asked for, padding has scores too, which mean nothing.
    const counts = (e: number) =>
      row.head !== "span" ||
      e % time < batch.lengths[Math.floor(e / time) % batch.ids.length];
    const found = await answers(model, batch);
    assertAllClose(
      found.map((v, e) => counts(e) ? v : expected[e]),
      expected,
      LOGITS,
    );
    if (row.head === "span" && batch === row.padded) continue;
    const { sum, count } = await batchLoss(model, batchOf(batch));
    assertLoss(sum / count, batch.loss);
  }
}

async function checkFull(device: Device, row: GoldenEncoder) {
  using trained = trainedTensors(
    device,
    row.tensors.map(([name, shape]) => ({ name, shape })),
  );
  using model = await loadEncoder(device, row, trained);
  const batch = batchOf(row.whole);
  const expected = { loss: row.whole.loss, gradients: row.gradients };
  for (const checkpointing of [false, true]) {
    await assertStep(model, trained, { batch, checkpointing, expected });
  }
}

async function checkLora(device: Device, row: GoldenEncoder) {
  using model = await loadEncoder(device, row);
  using adapter = trainedAdapter(
    model,
    goldenFactors(model, row.lora, row.lora),
  );
  await assertStep(model, adapter.parameters, {
    // Where a span is asked for, transformers' loss looks at padding too.
    batch: batchOf(row.head === "span" ? row.whole : row.padded),
    expected: row.lora,
  });
}

async function checkTraining(device: Device, row: GoldenEncoder) {
  using model = await loadEncoder(device, row);
  const training = row.training!;
  await assertTraining(model, goldenFactors(model, row.lora, row.lora), {
    training,
    batches: training.batches.map(batchOf),
  });
}

for (
  const [what, check] of [
    ["transformers' scores and losses", checkForward],
    ["PEFT's gradients of LoRA", checkLora],
    ["PyTorch's gradients of all weights", checkFull],
    ["steps of PyTorch's AdamW", checkTraining],
  ] as const
) {
  networkTest(
    (device) => `encoders: ${what} on ${device}`,
    async (device, t) => {
      for (const row of rows) {
        if (device.name === "webgpu" && !FEW.has(row.name)) continue;
        if (check === checkTraining && !row.training) continue;
        await t.step(row.name, () => check(device, row));
      }
    },
  );
}

Deno.test("DeBERTa's relative positions are transformers'", () => {
  for (const { buckets: size, positions, found } of buckets) {
    const shape = {
      ...{ span: size, buckets: size, most: positions },
      ...{ c2p: true, p2c: true, shared: true },
    };
    assert.deepEqual(
      found.map((_, i) => relativeRow(i - positions + 1, shape)),
      found.map((bucket) => Math.min(Math.max(bucket + size, 0), 2 * size - 1)),
    );
  }
});

const MINILM = `${models()}/all-minilm-l6-v2`;

Deno.test({
  name: "all-MiniLM-L6-v2: features of transformers",
  ignore: !exists(`${MINILM}/model.safetensors`),
  async fn() {
    const { ids, features } = golden<{ ids: number[][]; features: string[] }>(
      import.meta,
      "minilm.json",
    );
    await using checkpoint = await openCheckpoint(MINILM);
    using device = await openDevice("wasm");
    using model = await Bert.load(device, checkpoint);
    const time = Math.max(...ids.map((row) => row.length));
    using tape = new Tape(device);
    const { value } = model.encode(tape, {
      ids: ids.flatMap((row) => [
        ...row,
        ...Array<number>(time - row.length).fill(0),
      ]),
      batch: ids.length,
      time,
      bounds: ids.map((row) => [0, row.length] as const),
    });
    const all = await readF32(device, value.buffer);
    for (const [b, row] of ids.entries()) {
      const found = row.flatMap((_, t) => {
        const at = (b * time + t) * value.cols;
        return [...all.subarray(at, at + 8)];
      });
      assertAllClose(found, floats(features[b]), { atol: 2e-5 });
    }
  },
});
