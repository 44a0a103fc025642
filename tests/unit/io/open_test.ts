import { lacking } from "../../helpers/inputs.ts";
import assert from "node:assert/strict";
import { fileSource } from "../../../src/io/files/deno.ts";
import { IoError } from "../../../src/io/files/errors.ts";
import { openCheckpoint, openCheckpointFrom } from "../../../src/io/open.ts";
import { openAdapter } from "../../../src/io/open.ts";
import { bytesSource } from "../../../src/io/files/sources.ts";
import {
  GOLDEN,
  goldenBytes,
  inFolder,
  rawSafetensors,
  rejects,
  sha256,
} from "./helpers.ts";

const F32 = rawSafetensors(
  { w: { dtype: "F32", shape: [2, 1], data_offsets: [0, 8] } },
  new Uint8Array(Float32Array.of(1.5, -2).buffer),
);

Deno.test("openCheckpoint() opens a folder with its config and side files", async () => {
  await inFolder(async (folder) => {
    await Deno.writeFile(`${folder}/model.safetensors`, F32);
    await Deno.writeTextFile(`${folder}/config.json`, `{"model_type":"tiny"}`);
    for (
      const name of [
        "tokenizer.json",
        "tokenizer_config.json",
        "merges.txt",
        "spiece.model",
        "chat_template.jinja",
        "README.md",
        "notes.txt",
      ]
    ) await Deno.writeTextFile(`${folder}/${name}`, name);
    await Deno.mkdir(`${folder}/onnx`);
    await using model = await openCheckpoint(folder);
    assert.equal(model.format, "safetensors");
    assert.equal(model.config.model_type, "tiny");
    assert.deepEqual(await model.readF32("w"), Float32Array.of(1.5, -2));
    assert.deepEqual(await model.readF32("w", 1), Float32Array.of(-2));
    assert.deepEqual(
      (await model.sideFiles()).map(({ name }) => name),
      [
        "chat_template.jinja",
        "config.json",
        "merges.txt",
        "spiece.model",
        "tokenizer.json",
        "tokenizer_config.json",
      ],
    );
    await rejects(() => model.readF32("none"), TypeError, `"none"`, folder);
    await rejects(() => model.readF32("w", 1, 3), RangeError, `"w"`);
  });
});

Deno.test("openCheckpointFrom() gives the norms of BERT's first files their present names", async () => {
  const names = ["LayerNorm.beta", "LayerNorm.gamma", "beta", "gamma"];
  const header = Object.fromEntries(names.map((name, i) => [
    `bert.${name}`,
    { dtype: "F32", shape: [1], data_offsets: [4 * i, 4 * i + 4] },
  ]));
  const bytes = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
  await using model = await openCheckpointFrom(
    new Map([[
      "model.safetensors",
      bytesSource(rawSafetensors(header, bytes), "bert"),
    ]]),
  );
  const found = Object.fromEntries(
    await Promise.all(
      [...model.tensors.keys()].map(async (name) =>
        [name, (await model.readF32(name))[0]] as const
      ),
    ),
  );
  assert.deepEqual(found, {
    "bert.LayerNorm.bias": 1,
    "bert.LayerNorm.weight": 2,
    "bert.beta": 3,
    "bert.gamma": 4,
  });
});

Deno.test("openCheckpoint() opens single files of every kind", async () => {
  const kinds = {
    "plain.safetensors": "safetensors",
    "bnb.safetensors": "bnb",
    "llama.gguf": "gguf",
    "tensors.bin": "torch",
    "wrapped.pt": "torch",
  };
  for (const [name, format] of Object.entries(kinds)) {
    await using model = await openCheckpoint(`${GOLDEN}/${name}`);
    assert.equal(model.format, format, name);
    assert.equal(
      model.name,
      name === "llama.gguf" ? model.name : `${GOLDEN}/${name}`,
    );
  }
});

Deno.test("a whole file goes before an index beside it, as transformers takes them", async () => {
  const old = rawSafetensors(
    { w: { dtype: "F32", shape: [1], data_offsets: [0, 4] } },
    4,
  );
  const index = JSON.stringify({
    weight_map: { w: "model-00001-of-00002.safetensors" },
  });
  await inFolder(async (folder) => {
    await Deno.writeFile(`${folder}/model.safetensors`, F32);
    await Deno.writeTextFile(`${folder}/model.safetensors.index.json`, index);
    for (const shards of [[], ["model-00001-of-00002.safetensors"]]) {
      for (const name of shards) await Deno.writeFile(`${folder}/${name}`, old);
      await using model = await openCheckpoint(folder);
      assert.deepEqual(await model.readF32("w"), Float32Array.of(1.5, -2));
    }
  });
});

Deno.test("openCheckpoint() names what it cannot open", async () => {
  await inFolder(async (folder) => {
    await rejects(
      () => openCheckpoint(`${folder}/x`),
      IoError,
      `${folder}/x`,
      "hf:",
    );
    await rejects(() => openCheckpoint(folder), TypeError, folder, "no files");
    await Deno.writeTextFile(`${folder}/readme.txt`, "");
    await rejects(() => openCheckpoint(folder), TypeError, "readme.txt");
    await rejects(
      () => openCheckpoint(`${folder}/readme.txt`),
      TypeError,
      "readme.txt",
      ".gguf",
    );
    await Deno.writeFile(`${folder}/a.safetensors`, F32);
    await Deno.writeFile(`${folder}/b.safetensors`, F32);
    await rejects(
      () => openCheckpoint(folder),
      TypeError,
      "a.safetensors",
      "2",
    );
    await Deno.remove(`${folder}/b.safetensors`);
    await Deno.writeTextFile(`${folder}/config.json`, "{");
    await rejects(() => openCheckpoint(folder), SyntaxError, "config.json");
    await rejects(() => openCheckpoint("hf:one"), RangeError, "hf:one");
  });
});

Deno.test("openCheckpointFrom() needs no file system and leaves sources open", async () => {
  let open = true;
  const source = bytesSource(F32, "memory.safetensors");
  {
    await using model = await openCheckpointFrom(
      new Map([["model.safetensors", {
        ...source,
        [Symbol.asyncDispose]: () => {
          open = false;
          return Promise.resolve();
        },
      }]]),
    );
    assert.deepEqual(await model.readF32("w"), Float32Array.of(1.5, -2));
    assert.deepEqual(model.config, {});
  }
  assert.ok(open);
  const gguf = await openCheckpointFrom(
    new Map([[
      "m.gguf",
      bytesSource(await goldenBytes("qwen2.gguf"), "m.gguf"),
    ]]),
  );
  assert.equal(gguf.config.model_type, "qwen2");
});

Deno.test("openAdapter() opens a folder that PEFT wrote", async () => {
  await using adapter = await openAdapter(`${GOLDEN}/adapter`);
  assert.equal(adapter.modules.size, 6);
});

const home = Deno.env.get("LOQA_MODELS") ??
  `${Deno.env.get("HOME")}/.cache/loqa-models`;
const SMOL = `${home}/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;
const hasSmol = await Deno.stat(SMOL).then(() => true, () => false);

Deno.test({
  name: `openCheckpoint() decodes SmolLM2 as the gguf package does${
    lacking(hasSmol, "the model")
  }`,
  ignore: !hasSmol,
  async fn() {
    await using model = await openCheckpoint(SMOL);
    assert.equal(model.tensors.size, 272);
    // SHA-256 of the f32 state dict that transformers 5.23.0 makes of the file.
    const wanted = {
      "model.embed_tokens.weight":
        "3fd491c8066dd9dc1a2bf6796701526c82817d95c0ecabacdef3013c2b8bbbaa",
      "model.layers.3.self_attn.q_proj.weight":
        "104838da8b4afb8d4d2032db69cd49cd12b9558520cbca07b47095a03dec7691",
      "model.layers.29.mlp.down_proj.weight":
        "c19605745425a11e704e305ce3d27b632c406195d39eb3377e9cfb140ac643d1",
    };
    for (const [name, hash] of Object.entries(wanted)) {
      assert.equal(await sha256(await model.readF32(name)), hash, name);
    }
  },
});

const STORIES = new URL(
  "../../../../shared/data/models/stories260K-hf",
  import.meta.url,
).pathname;
const hasStories = await Deno.stat(STORIES).then(() => true, () => false);

Deno.test({
  name: `openCheckpoint() opens a trained model's folder${
    lacking(hasStories, "../shared/data")
  }`,
  ignore: !hasStories,
  async fn() {
    await using model = await openCheckpoint(STORIES);
    assert.equal(model.config.model_type, "llama");
    const name = "model.layers.0.self_attn.q_proj.weight";
    assert.deepEqual(model.tensors.get(name)!.shape, [64, 64]);
    await using file = await fileSource(`${STORIES}/model.safetensors`);
    assert.ok(model.tensors.get(name)!.bytes < file.size);
  },
});
