import assert from "node:assert/strict";
import { openDevice } from "../../../../src/backend/open.ts";
import {
  write,
  WRITE_DEFAULTS,
  writeOptions,
} from "../../../../src/models/generate/seq2seq.ts";
import { loadBart, models } from "../../../golden/bart/data.ts";

const [MODEL] = models;

Deno.test("writeOptions(): generation_config.json alone where there is one, else config.json", () => {
  const config = {
    "num_beams": 4,
    "length_penalty": 2,
    "max_length": 62,
    "eos_token_id": 7,
    "forced_eos_token_id": null,
    "max_position_embeddings": 64,
  };
  assert.deepEqual(writeOptions({ config, name: "m" }), {
    beams: 4,
    lengthPenalty: 2,
    earlyStopping: false,
    maxLength: 62,
    eos: [7],
    noRepeatNgram: 0,
    minLength: 0,
    start: 2,
    forcedBos: undefined,
    forcedEos: undefined,
  });
  const generation = {
    "bos_token_id": 5,
    "early_stopping": "never",
    "min_new_tokens": 3,
    "max_new_tokens": 9,
    "max_length": 40,
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 2,
    "no_repeat_ngram_size": 3,
    "do_sample": false,
  };
  assert.deepEqual(writeOptions({ config, name: "m" }, generation), {
    beams: 1,
    lengthPenalty: 1,
    earlyStopping: "never",
    maxLength: 10,
    eos: [],
    noRepeatNgram: 3,
    minLength: 4,
    start: 5,
    forcedBos: 0,
    forcedEos: [2],
  });
});

Deno.test("writeOptions(): 20 tokens where nothing is said, as far as the model goes", () => {
  for (const [positions, wanted] of [[64, 21], [21, 21], [16, 16]]) {
    const config = { "max_position_embeddings": positions };
    assert.equal(writeOptions({ config, name: "m" }).maxLength, wanted);
  }
});

Deno.test("writeOptions(): what is not done here is refused, all at once", () => {
  assert.throws(
    () =>
      writeOptions({ config: {}, name: "m" }, {
        "do_sample": true,
        "repetition_penalty": 1.2,
        "bad_words_ids": [[3]],
        "suppress_tokens": [],
      }),
    {
      name: "TypeError",
      message:
        "Cannot run the model m: generation with do_sample true, repetition_penalty 1.2, bad_words_ids [[3]] is not supported",
    },
  );
  for (
    const [file, what] of [
      [
        { "num_beams": 0 },
        "generation_config.json wants a whole number >= 1 for num_beams, got 0",
      ],
      [
        { "early_stopping": "soon" },
        'generation_config.json wants true or false for early_stopping, got "soon"',
      ],
      [
        { "eos_token_id": [2, "x"] },
        'generation_config.json wants one or more token ids for eos_token_id, got [2,"x"]',
      ],
    ] as const
  ) {
    assert.throws(() => writeOptions({ config: {}, name: "m" }, file), {
      name: "SyntaxError",
      message: `Cannot run the model m: ${what}`,
    });
  }
});

Deno.test("write(): settings that make no sense are refused", async () => {
  using device = await openDevice("reference");
  using model = await loadBart(device, MODEL);
  for (
    const [settings, what] of [
      [{ beams: 0 }, /the beam width must be a whole number >= 1, got 0/],
      [{ maxLength: 1 }, /the maximum length must be a whole number >= 2/],
      [{ maxLength: 99 }, /beyond the model's context of 24/],
      [{ minLength: 30 }, /the minimum length 30 is above the maximum, 21/],
      [{ lengthPenalty: NaN }, /the length penalty must be a number, got NaN/],
      [
        { forcedBos: 30 },
        /the token 30 is not in the model's vocabulary of 30/,
      ],
      [{ forcedEos: [2, 31] }, /the token 31 is not in/],
      [{ forcedEos: [] }, /no forced end token is given for a sequence/],
    ] as const
  ) {
    await assert.rejects(
      write(model, [[3, 2]], { ...WRITE_DEFAULTS, ...settings }),
      what,
    );
  }
  await assert.rejects(
    write(model, [Array(25).fill(3)], WRITE_DEFAULTS),
    /a sequence of 25 tokens is beyond its context of 24/,
  );
});

Deno.test("write(): one readback a token, and nothing stays behind", async () => {
  using device = await openDevice("reference");
  using model = await loadBart(device, MODEL);
  const read = device.read.bind(device);
  let reads = 0;
  device.read = (...args: Parameters<typeof read>) => {
    reads++;
    return read(...args);
  };
  const { bytes } = device.memory;
  for (const beams of [1, 3]) {
    reads = 0;
    const options = { ...WRITE_DEFAULTS, beams, maxLength: 7 };
    const written = await write(model, [[3, 2], [4, 5, 2]], options);
    assert.deepEqual(written.map((row) => row.length), [6, 6]);
    assert.equal(reads, 6);
    assert.equal(device.memory.bytes, bytes);
  }
  assert.deepEqual(await write(model, [], WRITE_DEFAULTS), []);
});

Deno.test("write(): scores that are no numbers are refused", async () => {
  using device = await openDevice("reference");
  using model = await loadBart(device, MODEL);
  for (const beams of [1, 2]) {
    const forward = model.head.forward;
    model.head.forward = (on, x, { y }) => {
      forward(on, x, { y });
      on.write(y.buffer, Float32Array.of(NaN), 4);
    };
    try {
      await assert.rejects(
        write(model, [[3, 2]], { ...WRITE_DEFAULTS, beams }),
        /Cannot choose a token: one of 30 logits is NaN/,
      );
    } finally {
      model.head.forward = forward;
    }
  }
});
