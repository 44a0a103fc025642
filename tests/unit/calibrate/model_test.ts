import assert from "node:assert/strict";
import { Tape } from "../../../src/autograd/tape.ts";
import { openDevice } from "../../../src/backend/open.ts";
import type { Mat } from "../../../src/device/buffer.ts";
import { readF32 } from "../../../src/device/device.ts";
import {
  calibrate,
  type CalibrateOptions,
  calibrationInputs,
  calibrationSequences,
} from "../../../src/calibrate/run.ts";
import { findTargets } from "../../../src/init/targets.ts";
import { openMoments } from "../../../src/calibrate/moments.ts";
import type { Checkpoint } from "../../../src/io/checkpoint/checkpoint.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import {
  bartNames,
  bartTensors,
  readBartConfig,
} from "../../../src/families/bart.ts";
import { familyOf } from "../../../src/models/families.ts";
import type { TokenBatch } from "../../../src/models/model.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { loqa } from "../../helpers/cli.ts";
import { sentences, writeEncoder } from "../../helpers/encoders.ts";
import {
  inFolder,
  type SmallTensors,
  writeModel,
} from "../../helpers/model.ts";

const EXAMPLE = new URL("../../../examples/model", import.meta.url).pathname;

const LETTERS = "____abcdefgh";

/** Writes a small BART, whose tokenizers are in its config. */
async function writeSmall(
  folder: string,
  config: Readonly<Record<string, unknown>>,
): Promise<void> {
  const sizes = readBartConfig(config, "small");
  const wanted = bartTensors(sizes, bartNames(sizes, { tensors: new Map() }));
  const tensors: SmallTensors = Object.fromEntries(
    wanted.map(({ name, shape }) => {
      const normals = new Random(1, name).normals(
        shape.reduce((a, b) => a * b),
      );
      const values = normals.map((x) =>
        name.endsWith("norm.weight") ? 1 + 0.1 * x : 0.3 * x
      );
      return [name, { shape, values }];
    }),
  );
  await writeModel(folder, { config, tensors });
  await Deno.remove(`${folder}/tokenizer.json`).catch(() => {});
}

/** A small BART of letters, whose second alphabet is capital. */
function writeBart(folder: string): Promise<void> {
  return writeSmall(folder, {
    model_type: "bart",
    architectures: ["BartForConditionalGeneration"],
    vocab_size: 12,
    d_model: 8,
    encoder_layers: 2,
    decoder_layers: 1,
    encoder_attention_heads: 2,
    decoder_attention_heads: 2,
    encoder_ffn_dim: 12,
    decoder_ffn_dim: 12,
    max_position_embeddings: 16,
    decoder_start_token_id: 1,
    bos_token_id: 1,
    eos_token_id: 2,
    pad_token_id: 0,
    grapheme_chars: LETTERS,
    phoneme_chars: LETTERS.toUpperCase(),
  });
}

type Inputs = Pick<CalibrateOptions, "sequences" | "pairs">;

/** Means of the products of what each linear layer sees, one sequence or pair at a time. */
async function productsOf(
  checkpoint: Checkpoint,
  { sequences = [], pairs = [] }: Inputs,
): Promise<Map<string, Float64Array>> {
  using device = await openDevice("reference");
  using model = await familyOf(checkpoint).load(device, checkpoint, {});
  const sums = new Map<string, { rows: number; sum: Float64Array }>();
  let reads: Promise<void>[] = [];
  const onInput = (module: string, { buffer, rows, cols, offset }: Mat) => {
    reads.push(
      readF32(device, buffer, offset, rows * cols).then((values) => {
        const found = sums.get(module) ??
          { rows: 0, sum: new Float64Array(cols * cols) };
        for (let t = 0; t < rows; t++) {
          for (let i = 0; i < cols; i++) {
            for (let j = 0; j < cols; j++) {
              found.sum[i * cols + j] += values[t * cols + i] *
                values[t * cols + j];
            }
          }
        }
        sums.set(module, { ...found, rows: found.rows + rows });
      }),
    );
  };
  const one = (ids: Int32Array): TokenBatch => ({
    ids,
    batch: 1,
    time: ids.length,
  });
  const passes = [
    ...sequences.map((s) => (tape: Tape) => {
      assert.equal(model.kind, "encoder");
      model.encode(tape, one(s), { onInput });
    }),
    ...pairs.map(({ source, target }) => (tape: Tape) => {
      assert.equal(model.kind, "seq2seq");
      const read = one(source);
      const encoded = model.encode(tape, read, { onInput });
      const shifted = Int32Array.of(1, ...target.slice(0, -1));
      model.decode(tape, one(shifted), { encoded, source: read, onInput });
    }),
  ];
  for (const pass of passes) {
    using tape = new Tape(device);
    pass(tape);
    await Promise.all(reads);
    reads = [];
  }
  return new Map(
    [...sums].map(([module, { rows, sum }]) => [
      module,
      sum.map((x) => x / rows),
    ]),
  );
}

async function checkMoments(folder: string, inputs: Inputs): Promise<void> {
  await using checkpoint = await openCheckpoint(`${folder}/model`);
  const expected = await productsOf(checkpoint, inputs);
  using device = await openDevice("wasm", { threads: 1 });
  for (const kind of ["full", "diag"] as const) {
    const path = `${folder}/${kind}.safetensors`;
    await calibrate(checkpoint, { device, kind, path, ...inputs });
    await using moments = await openMoments(path, kind);
    for (const { module, tensor } of findTargets(checkpoint)) {
      const [, cols] = tensor.shape;
      const full = expected.get(module)!;
      const metric = await moments.metricOf(module);
      assert.ok(metric.kind === kind);
      const wanted = kind === "full"
        ? full
        : Float64Array.from({ length: cols }, (_, j) => full[j * cols + j]);
      assertAllClose(metric.moments, wanted, {
        atol: 1e-5 * Math.max(...wanted.map(Math.abs)),
        what: `${kind} ${module}`,
      });
    }
  }
}

for (const type of ["bert", "deberta-v2"] as const) {
  Deno.test(`calibrate: every linear layer of an encoder, ${type}`, async () => {
    await inFolder(async (folder) => {
      await writeEncoder(`${folder}/model`, type);
      await Deno.writeTextFile(`${folder}/calib.txt`, sentences(40, 0));
      await using checkpoint = await openCheckpoint(`${folder}/model`);
      const sequences = await calibrationSequences(checkpoint, [
        `${folder}/calib.txt`,
      ], { tokens: 100, block: 12 });
      assert.equal(sequences.length, 10);
      for (const sequence of sequences) {
        assert.equal(sequence.length, 12);
        // [CLS], ten words, [SEP].
        assert.deepEqual([sequence[0], sequence[11]], [2, 3]);
        assert.ok(sequence.subarray(1, 11).every((id) => id > 3 || id === 1));
      }
      await checkMoments(folder, { sequences });
    });
  });
}

Deno.test("calibrate: both sides of an encoder-decoder, pairs of all lengths", async () => {
  await inFolder(async (folder) => {
    await writeBart(`${folder}/model`);
    const random = new Random(0, "pairs");
    const some = (length: number) =>
      Int32Array.from({ length }, () => 4 + random.uint32() % 8);
    const pairs = Array.from({ length: 12 }, (_, i) => ({
      source: some(3 + i % 3),
      target: some(2 + i % 2),
    }));
    await checkMoments(folder, { pairs });
    await using checkpoint = await openCheckpoint(`${folder}/model`);
    using device = await openDevice("reference");
    const path = `${folder}/x.safetensors`;
    const cases: [Inputs, RegExp][] = [
      [
        { sequences: [some(4)] },
        /wanted source\/target pairs of 1 to 16 .* got none/,
      ],
      [{ pairs: [{ source: some(17), target: some(2) }] }, /got 17$/],
      [{ pairs: [{ source: some(3), target: some(0) }] }, /of 1 to 16/],
    ];
    for (const [inputs, message] of cases) {
      await assert.rejects(
        calibrate(checkpoint, { device, kind: "diag", path, ...inputs }),
        { name: "RangeError", message },
      );
    }
    await assert.rejects(
      calibrationSequences(checkpoint, [path], { tokens: 10 }),
      /wants source\/target pairs/,
    );
  });
});

Deno.test("calibrationInputs(): sequences of one length, and for an encoder-decoder pairs, no more than asked for", () =>
  inFolder(async (folder) => {
    await using causal = await openCheckpoint(EXAMPLE);
    const text = `${EXAMPLE}/heldout.txt`;
    const { sequences, pairs } = await calibrationInputs(causal, [text], {
      ...{ tokens: 100, block: 32 },
    });
    assert.equal(pairs, undefined);
    assert.deepEqual(sequences!.map(({ length }) => length), [32, 32, 32]);
    await writeBart(`${folder}/model`);
    const words = { abc: "ABC", bad: "BAD", cafe: "CAFE", had: "HAD" };
    await Deno.writeTextFile(`${folder}/words.json`, JSON.stringify(words));
    await using bart = await openCheckpoint(`${folder}/model`);
    const count = async (tokens: number) => {
      const files = [`${folder}/words.json`];
      const { pairs = [] } = await calibrationInputs(bart, files, { tokens });
      const used = pairs.map(({ source, target }) =>
        source.length + target.length
      );
      return [pairs.length, used.reduce((a, b) => a + b, 0)];
    };
    const [all, most] = await count(1000);
    assert.equal(all, 4);
    const [fewer, used] = await count(most - 1);
    assert.ok(fewer === 3 && used < most, `${fewer}, ${used}`);
  }));

Deno.test("loqa init --calib: pairs for BART, and a smaller error of the outputs", async () => {
  await inFolder(async (folder) => {
    await writeBart(`${folder}/model`);
    await Deno.writeTextFile(
      `${folder}/words.json`,
      JSON.stringify({ abc: "ABC", bad: "BAD", cafe: "CAFE", had: "HAD" }),
    );
    const { code, stdout, stderr } = await loqa(
      ...["init", `${folder}/model`, "-o", `${folder}/out`, "--device", "wasm"],
      ...["--format", "nf2", "--block", "4", "--rank", "2", "--json"],
      ...["--metric", "full", "--calib", `${folder}/words.json`],
      ...["--mixed", "encoder.bits=3,decoder.first=1:nf4,decoder.rest=nf2"],
    );
    assert.equal(code, 0, stderr);
    const { layers } = JSON.parse(stdout);
    const formats = layers.map((
      { name, format }: { name: string; format: string },
    ) => `${/^model\.(\w+\.layers\.\d+)\./.exec(name)![1]} ${format}`);
    assert.deepEqual([...new Set(formats)].sort(), [
      "decoder.layers.0 nf4",
      "encoder.layers.0 nf4",
      "encoder.layers.1 nf2",
    ]);
    for (const { outputError, plainOutputError, name } of layers) {
      assert.ok(outputError < plainOutputError, name);
    }
  });
});
