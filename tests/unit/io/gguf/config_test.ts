// deno-lint-ignore-file camelcase -- the keys are those of Hugging Face's files
import assert from "node:assert/strict";
import type { GgufFile } from "../../../../src/io/gguf/file.ts";
import { ggufModel } from "../../../../src/io/gguf/config.ts";
import type { GgufValue } from "../../../../src/io/gguf/cursor.ts";
import { ggufTypeNamed } from "../../../../src/io/ggml/types.ts";

/** A file with the metadata of a small model and `more`, keys without the architecture. */
function file(more: Readonly<Record<string, GgufValue>>): GgufFile {
  const pairs = {
    embedding_length: 16,
    block_count: 2,
    feed_forward_length: 24,
    context_length: 64,
    "attention.head_count": 4,
    ...more,
  };
  const type = ggufTypeNamed("F32");
  return {
    name: "m.gguf",
    version: 3,
    metadata: new Map<string, GgufValue>([
      ["general.architecture", "llama"],
      ...Object.entries(pairs).map(([key, value]) =>
        [`llama.${key}`, value] as const
      ),
    ]),
    tensors: new Map([["token_embd.weight", {
      name: "token_embd.weight",
      type,
      shape: [8, 16],
      offset: 0,
      bytes: 512,
    }]]),
    readRows: () => Promise.reject(new Error("not read")),
    readPair: () => Promise.reject(new Error("not read")),
  };
}

const scaled = { rope_type: "linear", rope_theta: 10000, factor: 4 };
const plain = { rope_type: "default", rope_theta: 10000 };

Deno.test("rope of a GGUF file: the older key, no type, and type none, as llama.cpp reads them", () => {
  for (
    const [more, wanted] of [
      [{}, plain],
      [{ "rope.scaling.type": "linear", "rope.scaling.factor": 4 }, scaled],
      [{ "rope.scaling.factor": 4 }, scaled],
      [{ "rope.scale_linear": 4 }, scaled],
      [{ "rope.scaling.type": "linear", "rope.scale_linear": 4 }, scaled],
      // The newer key wins; 0 is what llama.cpp takes for no factor.
      [{ "rope.scaling.factor": 4, "rope.scale_linear": 2 }, scaled],
      [{ "rope.scaling.factor": 0, "rope.scale_linear": 2 }, plain],
      [{ "rope.scaling.factor": 1 }, plain],
      [{ "rope.scaling.type": "linear" }, plain],
      [{ "rope.scaling.type": "none", "rope.scaling.factor": 4 }, plain],
    ] as const
  ) {
    const { config } = ggufModel(file(more));
    assert.deepEqual(config.rope_parameters, wanted, JSON.stringify(more));
    assert.deepEqual(
      config.rope_scaling,
      wanted === plain ? undefined : wanted,
    );
  }
});

Deno.test("rope of a GGUF file: what is not understood is refused", () => {
  assert.throws(
    () => ggufModel(file({ "rope.scaling.type": "longrope" })),
    /rope scaling "longrope" with factor none$/,
  );
  assert.throws(
    () => ggufModel(file({ "rope.scale_linear": 4 }), Float32Array.of(1, 1)),
    /rope_freqs\.weight beside a rope scaling "linear" with factor 4$/,
  );
});
