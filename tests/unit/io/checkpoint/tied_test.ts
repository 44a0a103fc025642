import assert from "node:assert/strict";
import { overlaid } from "../../../../src/io/checkpoint/overlay.ts";
import {
  saysTied,
  sharedTables,
  untied,
} from "../../../../src/io/checkpoint/tied.ts";
import { openModel, type SmallTensors } from "../../../helpers/model.ts";

const TABLE = "model.embed_tokens.weight";
const HEAD = "lm_head.weight";
const counting = (from: number) =>
  Float32Array.from([0, 1, 2, 3], (i) => from + i);
const of = (from: number, dtype?: "f16" | "bf16") => ({
  ...{ shape: [2, 2], values: counting(from) },
  ...(dtype && { dtype }),
});

/** Tensors of an opened checkpoint, and `tie_word_embeddings` of its config. */
async function opened(
  tensors: SmallTensors,
  config: Record<string, unknown> = { tie_word_embeddings: true },
) {
  await using checkpoint = await openModel({ config, tensors });
  return [
    Object.fromEntries(
      await Promise.all(
        [...checkpoint.tensors.keys()].map(async (name) =>
          [name, (await checkpoint.readF32(name))[0]] as const
        ),
      ),
    ),
    checkpoint.config.tie_word_embeddings,
  ];
}

Deno.test("a tied checkpoint is opened without copies of its table, and as not tied with a head that differs", async () => {
  assert.deepEqual(await opened({ [TABLE]: of(1) }), [{ [TABLE]: 1 }, true]);
  for (const dtype of [undefined, "f16", "bf16"] as const) {
    assert.deepEqual(
      await opened({ [TABLE]: of(1), [HEAD]: of(1, dtype) }),
      [{ [TABLE]: 1 }, true],
    );
    assert.deepEqual(
      await opened({ [TABLE]: of(1), [HEAD]: of(5, dtype) }),
      [{ [TABLE]: 1, [HEAD]: 5 }, false],
    );
  }
  // One row more is another head, too.
  assert.deepEqual(
    await opened({ [TABLE]: of(1), [HEAD]: { ...of(1), shape: [1, 4] } }),
    [{ [TABLE]: 1, [HEAD]: 1 }, false],
  );
});

Deno.test("a checkpoint that says that it is not tied, or says nothing, is left as it is", async () => {
  for (const config of [{ tie_word_embeddings: false }, {}]) {
    assert.deepEqual(
      await opened({ [TABLE]: of(1), [HEAD]: of(1) }, config),
      [{ [TABLE]: 1, [HEAD]: 1 }, config.tie_word_embeddings],
    );
  }
});

Deno.test("a tied checkpoint that kept the head only has it as its table", async () => {
  assert.deepEqual(
    await opened({
      [HEAD]: of(3),
      "model.norm.weight": { shape: [2], values: counting(0).slice(2) },
    }),
    [{ [TABLE]: 3, "model.norm.weight": 2 }, true],
  );
});

Deno.test("an encoder-decoder is tied unless it says otherwise; untied it has all its tables", async () => {
  const shared = "model.shared.weight";
  const [encoder, decoder] = ["encoder", "decoder"].map((side) =>
    `model.${side}.embed_tokens.weight`
  );
  const config = { "model_type": "bart", "is_encoder_decoder": true };
  assert.deepEqual(
    await opened({ [shared]: of(1), [encoder]: of(1), [HEAD]: of(1) }, config),
    [{ [shared]: 1 }, undefined],
  );
  assert.deepEqual(
    await opened({ [shared]: of(1), [encoder]: of(1), [HEAD]: of(7) }, config),
    [{ [shared]: 1, [encoder]: 1, [HEAD]: 7, [decoder]: 1 }, false],
  );
});

Deno.test("a decoder whose family ties by default is tied unless it says otherwise", async () => {
  const config = { "model_type": "smollm3" };
  assert.deepEqual(await opened({ [TABLE]: of(1), [HEAD]: of(1) }, config), [
    { [TABLE]: 1 },
    undefined,
  ]);
  assert.deepEqual(await opened({ [TABLE]: of(1), [HEAD]: of(7) }, config), [
    { [TABLE]: 1, [HEAD]: 7 },
    false,
  ]);
});

Deno.test("untied(): a head with the table's values, once; overlaid() puts another in its place", async () => {
  await using checkpoint = await openModel({
    config: { tie_word_embeddings: true },
    tensors: { [TABLE]: of(1) },
  });
  assert.ok(saysTied(checkpoint.config));
  assert.deepEqual(sharedTables(checkpoint), { table: TABLE, copies: [HEAD] });
  const own = untied(checkpoint);
  assert.ok(!saysTied(own.config));
  assert.deepEqual(await own.readF32(HEAD), counting(1));
  assert.equal(untied(own), own);
  const trained = overlaid(own, {
    tensors: new Map([[TABLE, { shape: [2, 2], values: counting(9) }]]),
  });
  assert.deepEqual(await trained.readF32(HEAD), counting(1));
  assert.deepEqual(await trained.readF32(TABLE), counting(9));
});

Deno.test("sharedTables(): the table of a model that writes, wherever it stands, and none of an encoder", async () => {
  const tables = async (...names: string[]) => {
    await using checkpoint = await openModel({
      config: { "text_config": {} },
      tensors: Object.fromEntries(names.map((name) => [name, of(1)])),
    });
    return sharedTables(checkpoint)?.table;
  };
  const nested = "model.language_model.embed_tokens.weight";
  assert.equal(
    await tables(nested, "model.layers.0.embed_tokens.weight"),
    nested,
  );
  assert.equal(
    await tables("transformer.wte.weight"),
    "transformer.wte.weight",
  );
  assert.equal(
    await tables("bert.embeddings.word_embeddings.weight"),
    undefined,
  );
  assert.equal(await tables(TABLE, nested), undefined);
});
