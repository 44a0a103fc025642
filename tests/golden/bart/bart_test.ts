import { Tape } from "../../../src/autograd/tape.ts";
import { type Device, readF32 } from "../../../src/device/device.ts";
import { mat } from "../../../src/device/buffer.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { checkpointTokenizer } from "../../../src/io/open_tokenizer.ts";
import { Bart } from "../../../src/models/seq2seq/model.ts";
import { trainedTensors } from "../../../src/models/parts/weights.ts";
import { batchLoss } from "../../../src/train/step/step.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { floats } from "../../helpers/golden.ts";
import { sharedData } from "../../helpers/inputs.ts";
import { trainedAdapter } from "../../helpers/llama.ts";
import { networkTest } from "../../helpers/network.ts";
import {
  assertLoss,
  assertStep,
  assertTraining,
} from "../../helpers/training.ts";
import { goldenFactors } from "../models/data.ts";
import {
  batchOf,
  type GoldenBart,
  loadBart,
  models,
  type Pairs,
} from "./data.ts";

const LOGITS = { rtol: 2e-5, atol: 2e-5 };

/** Scores of each target's tokens. */
async function scores(model: Bart, pairs: Pairs): Promise<Float32Array[]> {
  const { device, config } = model;
  const { source, target } = batchOf(pairs, config.startId);
  using tape = new Tape(device);
  const tokens = (rows: typeof source) => ({
    ids: rows.tokens,
    batch: rows.rows,
    time: rows.cols,
    bounds: Array.from(rows.lengths, (n) => [0, n] as const),
  });
  const encoded = model.encode(tape, tokens(source));
  const { value } = model.decode(tape, tokens(target), {
    encoded,
    source: tokens(source),
  });
  const logits = tape.matrix(value.rows, config.vocabSize);
  model.head.forward(device, value, { y: logits });
  if (model.headBias) {
    device.ops.combine({
      x: logits,
      y: { ...model.headBias.value, rows: logits.rows, stride: 0 },
      out: logits,
    });
  }
  const all = await readF32(device, logits.buffer);
  const width = target.cols * config.vocabSize;
  return pairs.targets.map((row, b) =>
    all.subarray(b * width, b * width + row.length * config.vocabSize)
  );
}

async function checkForward(device: Device, row: GoldenBart) {
  using model = await loadBart(device, row);
  const whole = await scores(model, row.whole);
  assertAllClose(
    whole.flatMap((x) => [...x]),
    floats(row.whole.logits),
    LOGITS,
  );
  const padded = await scores(model, row.padded);
  for (const [b, found] of padded.entries()) {
    assertAllClose(found, floats(row.padded.logits[b]), LOGITS);
  }
  for (const pairs of [row.whole, row.padded]) {
    const batch = batchOf(pairs, model.config.startId);
    const { sum, count } = await batchLoss(model, batch);
    assertLoss(sum / count, pairs.loss);
  }
}

async function checkFull(device: Device, row: GoldenBart) {
  using trained = trainedTensors(
    device,
    row.tensors.map(([name, shape]) => ({ name, shape })),
  );
  using model = await loadBart(device, row, trained);
  const batch = batchOf(row.whole, model.config.startId);
  const expected = { loss: row.whole.loss, gradients: row.gradients };
  for (const checkpointing of [false, true]) {
    await assertStep(model, trained, { batch, checkpointing, expected });
  }
}

async function checkLora(device: Device, row: GoldenBart) {
  using model = await loadBart(device, row);
  using adapter = trainedAdapter(
    model,
    goldenFactors(model, row.lora, row.lora),
  );
  const batch = batchOf(row.padded, model.config.startId);
  for (const checkpointing of [false, true]) {
    await assertStep(model, adapter.parameters, {
      ...{ batch, checkpointing },
      expected: row.lora,
    });
  }
}

async function checkTraining(device: Device, { training, ...row }: GoldenBart) {
  using model = await loadBart(device, { training, ...row });
  await assertTraining(model, goldenFactors(model, row.lora, row.lora), {
    training,
    batches: training.batches.map((pairs) =>
      batchOf(pairs, model.config.startId)
    ),
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
  networkTest((device) => `bart: ${what} on ${device}`, async (device, t) => {
    for (const [i, row] of models.entries()) {
      if (device.name === "webgpu" && i > 0) continue;
      await t.step(row.name, () => check(device, row));
    }
  });
}

const data = sharedData();

Deno.test({
  name: "what the encoder and the first step of the trained US model make",
  ignore: data === null,
  async fn() {
    const folder = `${data}/models/g2p-bart`;
    const numbers: { "encoder_row0": number[]; "first_logits": number[] } = JSON
      .parse(await Deno.readTextFile(`${folder}/bart-numeric-reference.json`));
    const lines = await Deno.readTextFile(`${folder}/bart-reference.tsv`);
    const [word] = lines.split("\t");
    await using checkpoint = await openCheckpoint(`${folder}/us`);
    const tokenizer = await checkpointTokenizer(checkpoint, { side: "source" });
    using device = await openDevice("wasm");
    using model = await Bart.load(device, checkpoint);
    const ids = tokenizer.encode(word);
    const tokens = { ids, batch: 1, time: ids.length };
    using tape = new Tape(device);
    const encoded = model.encode(tape, tokens);
    const row = await readF32(device, encoded.value.buffer, 0, 128);
    assertAllClose(row, numbers["encoder_row0"], { atol: 1e-5 });
    const { value } = model.decode(
      tape,
      { ids: [model.config.startId], batch: 1, time: 1 },
      { encoded, source: tokens },
    );
    const logits = mat(tape.alloc(63 * 4), 1, 63);
    model.head.forward(device, value, { y: logits });
    assertAllClose(
      await readF32(device, logits.buffer),
      numbers["first_logits"],
      { atol: 1e-4 },
    );
  },
});
