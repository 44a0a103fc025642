import assert from "node:assert/strict";
import { Tape, type Tensor } from "../../../../src/autograd/tape.ts";
import { type Device, readF32 } from "../../../../src/device/device.ts";
import type { Mat } from "../../../../src/device/buffer.ts";
import { openDevice } from "../../../../src/backend/open.ts";
import { overlaid } from "../../../../src/io/checkpoint/overlay.ts";
import { Bart } from "../../../../src/models/seq2seq/model.ts";
import { readBartConfig } from "../../../../src/families/bart.ts";
import type { TokenBatch } from "../../../../src/models/model.ts";
import { trainedTensors } from "../../../../src/models/parts/weights.ts";
import { accumulateGradients } from "../../../../src/train/step/step.ts";
import {
  bartCheckpoint,
  batchOf,
  loadBart,
  models,
} from "../../../golden/bart/data.ts";
import { assertAllClose } from "../../../helpers/assert.ts";
import { networkTest } from "../../../helpers/network.ts";

/** Two layers to one, and one to two. */
const [DEEP_ENCODER, DEEP_DECODER] = models;

const SOURCE: TokenBatch = {
  ids: [3, 4, 5, 6, 2, 7, 8, 2, 0, 0, 9, 10, 11, 2, 0],
  batch: 3,
  time: 5,
  bounds: [[0, 5], [0, 3], [0, 4]],
};
const TARGET: TokenBatch = {
  ids: [2, 12, 13, 14, 2, 15, 16, 17, 2, 18, 19, 20],
  batch: 3,
  time: 4,
};

Deno.test("readBartConfig(): what is not supported is refused", () => {
  const base = {
    "model_type": "bart",
    "d_model": 16,
    "encoder_attention_heads": 4,
  };
  for (
    const [config, what] of [
      [
        { "model_type": "mbart" },
        /Cannot run the model m: wanted a model_type of bart, got "mbart"$/,
      ],
      [
        { "encoder_attention_heads": 3 },
        /Cannot run the model m: d_model 16 is no multiple of 3 heads$/,
      ],
      [
        { "activation_function": "swish" },
        /activation_function "swish" is not/,
      ],
      [
        { "decoder_layers": 0 },
        /config\.json wants a whole number >= 1 for decoder_layers, got 0/,
      ],
      [
        { "scale_embedding": 1 },
        /wants true or false for scale_embedding, got 1/,
      ],
    ] as const
  ) {
    assert.throws(() => readBartConfig({ ...base, ...config }, "m"), what);
  }
});

Deno.test("readBartConfig(): what a config leaves out is as in transformers", () => {
  const { encoder, decoder, ...config } = readBartConfig(
    { "model_type": "bart", "decoder_layers": 6, "eos_token_id": 7 },
    "m",
  );
  assert.deepEqual(encoder, { heads: 16, layers: 12, intermediateSize: 4096 });
  assert.deepEqual(decoder, { ...encoder, layers: 6 });
  assert.deepEqual(config, {
    modelType: "bart",
    hiddenSize: 1024,
    vocabSize: 50265,
    maxLength: 1024,
    scale: 1,
    activation: "gelu",
    tied: true,
    startId: 2,
  });
});

Deno.test("Bart.load(): every tensor that is wrong, in one error", async () => {
  using device = await openDevice("reference");
  const { config, ...row } = DEEP_ENCODER;
  const missing = "model.decoder.layers.0.encoder_attn.v_proj.weight";
  await using checkpoint = await bartCheckpoint({
    ...row,
    config: { ...config, "max_position_embeddings": 22 },
    tensors: [
      ...row.tensors.filter(([name]) => name !== missing),
      ["classification_head.dense.weight", [2, 2]],
    ],
  });
  const { bytes } = device.memory;
  await assert.rejects(Bart.load(device, checkpoint), {
    name: "SyntaxError",
    message: 'Cannot run the model "tiny": ' + [
      'tensor "model.encoder.embed_positions.weight" is [26, 16], wanted [24, 16]',
      'tensor "model.decoder.embed_positions.weight" is [26, 16], wanted [24, 16]',
      `tensor "${missing}" is missing`,
      'tensor "classification_head.dense.weight" has no place in the model',
    ].join("; "),
  });
  assert.equal(device.memory.bytes, bytes);
});

Deno.test("Bart.load(): a bias of the head of another vocabulary is refused", async () => {
  using device = await openDevice("reference");
  await using checkpoint = overlaid(await bartCheckpoint(DEEP_ENCODER), {
    tensors: new Map([["final_logits_bias", {
      shape: [1, 29],
      values: new Float32Array(29),
    }]]),
  });
  await assert.rejects(
    Bart.load(device, checkpoint),
    /tensor "final_logits_bias" is \[1, 29\], wanted \[1, 30\]/,
  );
});

Deno.test("Bart.load(): a model that was stored without its head", async () => {
  using device = await openDevice("reference");
  await using bare = await bartCheckpoint(
    DEEP_ENCODER,
    (name) => name.replace(/^model\./, ""),
  );
  using found = await Bart.load(device, bare);
  using wanted = await loadBart(device, DEEP_ENCODER);
  assert.deepEqual(await features(found), await features(wanted));
  assert.deepEqual(
    [...found.linears.keys()].map((module) => `model.${module}`),
    [...wanted.linears.keys()],
  );
});

/** Features of the targets, all at once. */
async function features(model: Bart): Promise<Float32Array> {
  using tape = new Tape(model.device);
  const encoded = model.encode(tape, SOURCE);
  const { value } = model.decode(tape, TARGET, { encoded, source: SOURCE });
  return await readF32(model.device, value.buffer);
}

/** Tokens `[from, to)` of the targets `sequences`. */
function part(
  sequences: readonly number[],
  from: number,
  to: number,
): TokenBatch {
  const ids = Array.from(TARGET.ids);
  return {
    ids: sequences.flatMap((b) =>
      ids.slice(b * TARGET.time + from, b * TARGET.time + to)
    ),
    batch: sequences.length,
    time: to - from,
  };
}

networkTest(
  (device) => `bart: with a cache as without one, on ${device}`,
  async (device) => {
    using model = await loadBart(device, DEEP_DECODER);
    const wanted = await features(model);
    const width = model.config.hiddenSize;
    using tape = new Tape(device);
    using cache = model.cache({ batch: 3, capacity: 6 });
    const encoded = model.encode(tape, SOURCE);
    const seen: string[] = [];
    // Two tokens at once, then one each.
    for (const [from, to] of [[0, 2], [2, 3], [3, 4]] as const) {
      using step = new Tape(device);
      const { value } = model.decode(step, part([0, 1, 2], from, to), {
        ...{ encoded, source: SOURCE, cache },
        onInput: (module) => seen.push(module),
      });
      const found = await readF32(device, value.buffer);
      const rows = [0, 1, 2].flatMap((b) => {
        const start = b * TARGET.time;
        return [
          ...wanted.subarray((start + from) * width, (start + to) * width),
        ];
      });
      assertAllClose(found, rows, { atol: 2e-5, what: `from ${from}` });
    }
    assert.equal(cache.length, 4);
    // The source's keys are computed the first time only.
    const count = (name: string) =>
      seen.filter((module) => module === `model.decoder.layers.1.${name}`)
        .length;
    assert.deepEqual(
      ["encoder_attn.k_proj", "encoder_attn.q_proj", "self_attn.k_proj"]
        .map(count),
      [1, 3, 3],
    );
  },
);

networkTest(
  (device) => `bart: sequences of a cache change places, on ${device}`,
  async (device) => {
    using model = await loadBart(device, DEEP_DECODER);
    // The same source three times, as beams have it.
    const source = { ids: [3, 4, 2, 3, 4, 2, 3, 4, 2], batch: 3, time: 3 };
    using tape = new Tape(device);
    const encoded = model.encode(tape, source);
    const run = async (order: readonly number[], reorder: boolean) => {
      using cache = model.cache({ batch: 3, capacity: 4 });
      const before = reorder ? [0, 1, 2] : order;
      using step = new Tape(device);
      const how = { encoded, source, cache };
      model.decode(step, part(before, 0, 2), how);
      if (reorder) cache.reorder(order);
      model.decode(step, part(order, 2, 3), how);
      if (reorder) cache.reorder([0, 1, 2]);
      const { value } = model.decode(step, part(order, 3, 4), how);
      return await readF32(device, value.buffer);
    };
    for (const order of [[2, 0, 0], [1, 1, 1], [1, 2, 0]]) {
      assertAllClose(await run(order, true), await run(order, false), {
        atol: 1e-6,
        what: `${order}`,
      });
    }
  },
);

Deno.test("Bart: every linear layer's input is told once a pass", async () => {
  using device = await openDevice("reference");
  using model = await loadBart(device, DEEP_DECODER);
  const rows = new Map<string, number>();
  const onInput = (module: string, x: Mat) => {
    assert.ok(!rows.has(module), module);
    assert.equal(x.cols, model.linears.get(module)!.weight.cols);
    rows.set(module, x.rows);
  };
  using tape = new Tape(device);
  const encoded = model.encode(tape, SOURCE, { onInput });
  model.decode(tape, TARGET, { encoded, source: SOURCE, onInput });
  assert.deepEqual([...rows.keys()].sort(), [...model.linears.keys()].sort());
  for (const [module, count] of rows) {
    const ofSource = module.includes(".encoder.") ||
      /encoder_attn\.[kv]_proj$/.test(module);
    assert.equal(count, ofSource ? 15 : 12, module);
  }
});

Deno.test("Bart: some trained tensors have the gradients that they have among all", async () => {
  using device = await openDevice("reference");
  const wanted = await gradients(device, DEEP_ENCODER.tensors);
  const some = DEEP_ENCODER.tensors.filter(([name]) =>
    /shared|encoder_attn\.(k_proj|out_proj\.bias)|layernorm_embedding\.bias|fc1\.weight/
      .test(name)
  );
  assert.equal(some.length, 9);
  for (const [name, found] of await gradients(device, some)) {
    assertAllClose(found, wanted.get(name)!, { atol: 1e-7, what: name });
  }
});

async function gradients(
  device: Device,
  tensors: typeof DEEP_ENCODER.tensors,
): Promise<Map<string, Float32Array>> {
  using trained = trainedTensors(
    device,
    tensors.map(([name, shape]) => ({ name, shape })),
  );
  using model = await loadBart(device, DEEP_ENCODER, trained);
  using losses = device.alloc(4);
  accumulateGradients(
    model,
    batchOf(DEEP_ENCODER.padded, model.config.startId),
    { weight: 1, seed: 0, loss: { buffer: losses, at: 0 } },
  );
  const found = new Map<string, Float32Array>();
  for (const name of trained.parameters.keys()) {
    found.set(name, await trained.readGradient(name));
  }
  return found;
}

Deno.test("Bart.decode(): blocks computed again keep less and give the source the same gradient", async () => {
  using device = await openDevice("reference");
  using model = await loadBart(device, DEEP_DECODER);
  const run = async (checkpointing: boolean) => {
    using tape = new Tape(device, { recording: true });
    const rows = SOURCE.batch * SOURCE.time;
    const encoded: Tensor = tape.input(
      tape.matrix(rows, model.config.hiddenSize),
      true,
    );
    device.write(
      encoded.value.buffer,
      Float32Array.from(
        { length: rows * model.config.hiddenSize },
        (_, i) => Math.sin(i),
      ),
    );
    const { bytes } = device.memory;
    const out = model.decode(tape, TARGET, {
      ...{ encoded, source: SOURCE, checkpointing },
    });
    const kept = device.memory.bytes - bytes;
    const { rows: m, cols: n } = out.value;
    const gradient = tape.matrix(m, n);
    device.write(
      gradient.buffer,
      Float32Array.from({ length: m * n }, (_, i) => Math.cos(i)),
    );
    tape.backward(out, gradient);
    return {
      kept,
      gradient: await readF32(device, tape.gradient(encoded)!.buffer),
    };
  };
  const [plain, again] = [await run(false), await run(true)];
  assert.ok(again.kept < plain.kept / 3, `${again.kept} of ${plain.kept}`);
  assert.ok(plain.gradient.some((x) => Math.abs(x) > 0.01));
  assertAllClose(again.gradient, plain.gradient, { atol: 1e-6 });
});

Deno.test("Bart: sequences that do not fit are refused", async () => {
  using device = await openDevice("reference");
  using model = await loadBart(device, DEEP_DECODER);
  using tape = new Tape(device);
  const source = { ids: [3, 2], batch: 1, time: 2 };
  const encoded = model.encode(tape, source);
  const long = { ids: Array(25).fill(3), batch: 1, time: 25 };
  assert.throws(
    () => model.encode(tape, long),
    /a sequence of 25 tokens is beyond its context of 24/,
  );
  assert.throws(
    () => model.encode(tape, { ...source, ids: [3, 30] }),
    /token 30 is not in its vocabulary of 30/,
  );
  using cache = model.cache({ batch: 1, capacity: 2 });
  const how = { encoded, source, cache };
  model.decode(tape, { ids: [2], batch: 1, time: 1 }, how);
  assert.throws(
    () => model.decode(tape, source, how),
    /1 x 3 tokens, its cache holds 1 x 2/,
  );
  assert.throws(
    () => model.decode(tape, { ids: [2, 2], batch: 2, time: 1 }, how),
    /2 x 2 tokens, its cache holds 1 x 2/,
  );
  assert.equal(cache.length, 1);
});
