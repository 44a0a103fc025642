import assert from "node:assert/strict";
import { openGguf } from "../../../../src/io/gguf/file.ts";
import type { GgufValue } from "../../../../src/io/gguf/cursor.ts";
import { scoredMerges } from "../../../../src/io/tokenizer/sentencepiece/scored_merges.ts";
import { ggufTokenizer } from "../../../../src/io/gguf/tokenizer.ts";
import { goldenJson, goldenSource } from "../helpers.ts";

Deno.test("scoredMerges() gives the merges of transformers' converter", async () => {
  const { tokens, scores, merges } = await goldenJson<string[]>("merges.json");
  assert.deepEqual(scoredMerges(tokens, scores.map(Number), "x"), merges);
});

async function tokenizerOf(
  name: string,
  changes: Record<string, GgufValue | undefined> = {},
): Promise<Record<string, Record<string, unknown>>> {
  await using source = await goldenSource(name);
  const file = await openGguf(source);
  const metadata = new Map(file.metadata);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) metadata.delete(`tokenizer.${key}`);
    else metadata.set(`tokenizer.${key}`, value);
  }
  return ggufTokenizer({ ...file, metadata });
}

Deno.test("ggufTokenizer() carries vocabulary, special tokens and chat template", async () => {
  const files = await tokenizerOf("llama.gguf");
  const json = files["tokenizer.json"];
  const model = json.model as {
    vocab: Record<string, number>;
    merges: string[];
  };
  assert.equal(model.vocab["Ġab"], 23);
  assert.equal(model.vocab["7"], 17);
  assert.deepEqual(model.merges, ["a b", "Ġ a", "Ġa b"]);
  const added = json.added_tokens as {
    id: number;
    content: string;
    special: boolean;
  }[];
  assert.deepEqual(
    added.map(({ id, content, special }) => [id, content, special]),
    [[0, "<|end|>", true], [1, "<|start|>", true]],
  );
  const config = files["tokenizer_config.json"];
  assert.equal(config.bos_token, "<|start|>");
  assert.equal(config.eos_token, "<|end|>");
  assert.equal(config.chat_template, "{{ messages }}");
  assert.equal(config.model_max_length, 128);
});

Deno.test("ggufTokenizer() cuts words as tokenizer.ggml.pre says", async () => {
  const smollm = (await tokenizerOf("llama.gguf"))["tokenizer.json"];
  assert.deepEqual(
    (smollm.pre_tokenizer as { pretokenizers: { type: string }[] })
      .pretokenizers.map(({ type }) => type),
    ["Digits", "ByteLevel"],
  );
  const qwen2 = (await tokenizerOf("qwen2.gguf"))["tokenizer.json"];
  assert.deepEqual(qwen2.normalizer, { type: "NFC" });
  const llama3 = (await tokenizerOf("llama.gguf", {
    "ggml.pre": "llama-bpe",
    "ggml.add_bos_token": undefined,
  }))["tokenizer.json"];
  assert.equal((llama3.model as Record<string, unknown>).ignore_merges, true);
  assert.equal(
    (llama3.post_processor as Record<string, unknown>).type,
    "TemplateProcessing",
  );
});

Deno.test("ggufTokenizer(): a padding token of -1, or beyond the vocabulary, is none", async () => {
  for (const id of [-1, 2 ** 32 - 1, 4000]) {
    const files = await tokenizerOf("llama.gguf", {
      "ggml.padding_token_id": id,
    });
    assert.equal(files["tokenizer_config.json"].pad_token, undefined);
  }
  const files = await tokenizerOf("llama.gguf", { "ggml.bos_token_id": -1 });
  assert.equal(files["tokenizer_config.json"].bos_token, undefined);
});

const REFUSED: Record<
  string,
  [
    Record<string, GgufValue | undefined>,
    new (...args: never[]) => Error,
    string,
  ]
> = {
  "an unknown rule for words": [
    { "ggml.pre": "viking" },
    TypeError,
    `"viking"`,
  ],
  "a rule called constructor": [
    { "ggml.pre": "constructor" },
    TypeError,
    `"constructor"`,
  ],
  "an unknown model": [{ "ggml.model": "rwkv" }, TypeError, `"rwkv"`],
  "no tokens": [{ "ggml.tokens": undefined }, SyntaxError, "tokens"],
  "token types of another length": [
    { "ggml.token_type": Int32Array.of(1) },
    SyntaxError,
    "1 token types",
  ],
  "an id outside the vocabulary": [
    { "ggml.bos_token_id": 4000 },
    SyntaxError,
    "4000",
  ],
  "merges into no token": [
    { "ggml.merges": ["a c"] },
    SyntaxError,
    `"a c"`,
  ],
  "a text where a number belongs": [
    { "ggml.eos_token_id": "two" },
    SyntaxError,
    `"two"`,
  ],
  "scores of another length": [
    { "ggml.model": "llama", "ggml.scores": Float32Array.of(1) },
    SyntaxError,
    "scores",
  ],
};

for (const [what, [changes, type, part]] of Object.entries(REFUSED)) {
  Deno.test(`ggufTokenizer() refuses ${what}`, async () => {
    await assert.rejects(
      tokenizerOf("llama.gguf", changes),
      (error) =>
        error instanceof type && error.message.includes(part) &&
        error.message.includes("llama.gguf"),
    );
  });
}
