import assert from "node:assert/strict";
import { folderFiles } from "../../../../src/io/open.ts";
import { type GgufFile, openGguf } from "../../../../src/io/gguf/file.ts";
import { ggufTokenizer } from "../../../../src/io/gguf/tokenizer.ts";
import { ggufHeader } from "../../../../src/io/gguf/write.ts";
import { ggufTokenizerPairs } from "../../../../src/io/gguf/write_tokenizer.ts";
import type { JsonObject } from "../../../../src/io/files/json.ts";
import { bytesSource } from "../../../../src/io/files/sources.ts";
import {
  openTokenizer,
  readTokenizerFiles,
} from "../../../../src/io/open_tokenizer.ts";
import type { TokenizerFiles } from "../../../../src/io/tokenizer/contents.ts";
import { files, goldenSource, rejects } from "../helpers.ts";

const FOLDER = new URL("../../../golden/tokenizer/", import.meta.url).pathname;
const TEXTS = [
  "Once upon a time, there was a girl.",
  "  two  spaces\nand a line ",
  "café naïve 東京 🙂 12345",
];

async function made(read: TokenizerFiles, size: number): Promise<GgufFile> {
  const pairs = ggufTokenizerPairs(read, size);
  const { header } = ggufHeader(pairs, []);
  return await openGguf(bytesSource(header, "made.gguf"));
}

for (const arch of ["llama", "qwen2"]) {
  Deno.test(`the tokenizer of a GGUF file of ${arch} is written as it was read`, async () => {
    await using source = await goldenSource(`${arch}.gguf`);
    const original = await openGguf(source);
    const read = await readTokenizerFiles(
      files(Object.fromEntries(
        Object.entries(ggufTokenizer(original)).map((
          [name, value],
        ) => [name, JSON.stringify(value)]),
      )),
      "source",
    );
    const { tokens } = {
      tokens: original.metadata.get("tokenizer.ggml.tokens"),
    };
    const file = await made(read, (tokens as string[]).length);
    for (
      const key of [
        "model",
        "tokens",
        "token_type",
        "merges",
        "bos_token_id",
        "eos_token_id",
        "add_bos_token",
      ]
    ) {
      const name = `tokenizer.ggml.${key}`;
      if (!original.metadata.has(name)) continue;
      assert.deepEqual(file.metadata.get(name), original.metadata.get(name));
    }
    assert.equal(
      file.metadata.get("tokenizer.chat_template"),
      original.metadata.get("tokenizer.chat_template"),
    );
    const strip = (json: Record<string, JsonObject>) => ({
      ...json["tokenizer.json"].model as JsonObject,
      words: json["tokenizer.json"].pre_tokenizer,
    });
    assert.deepEqual(
      strip(ggufTokenizer(file)),
      strip(ggufTokenizer(original)),
    );
  });
}

for (const folder of ["llama", "llama3", "gpt2", "byte-level"]) {
  Deno.test(`the tokenizer ${folder} cuts texts the same after GGUF`, async () => {
    const set = await folderFiles(`${FOLDER}${folder}`);
    const read = await readTokenizerFiles(set, "source");
    const before = await openTokenizer(set);
    const json = ggufTokenizer(await made(read, before.vocabSize + 3));
    const after = await openTokenizer(
      files(Object.fromEntries(
        Object.entries(json).map((
          [name, value],
        ) => [name, JSON.stringify(value)]),
      )),
    );
    for (const text of TEXTS) {
      assert.deepEqual(after.encode(text), before.encode(text), text);
    }
    assert.equal(after.bosId, before.bosId);
    assert.equal(after.eosId, before.eosId);
    assert.equal(after.addsBos, before.addsBos);
    assert.equal(
      after.tokenOf(before.vocabSize + 1),
      `[PAD${before.vocabSize + 1}]`,
    );
  });
}

Deno.test("tokenizers that llama.cpp has not are refused", async () => {
  const read = async (folder: string) =>
    await readTokenizerFiles(await folderFiles(`${FOLDER}${folder}`), "source");
  const unigram = await read("unigram");
  await rejects(() => made(unigram, 1000), TypeError, "BPE", "Unigram");
  const known = await read("byte-level");
  const other = {
    ...known,
    tokenizer: {
      ...known.tokenizer,
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          { type: "Split", pattern: { Regex: "a" } },
          { type: "ByteLevel" },
        ],
      },
    },
  };
  await rejects(() => made(other, 1000), TypeError, "smollm", '\\"a\\"');
  await rejects(() => made(known, 5), RangeError, "5 rows");
});
