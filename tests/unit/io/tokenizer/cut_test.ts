import assert from "node:assert/strict";
import { Tokenizer } from "npm:@huggingface/tokenizers@0.2.0";
import { sourceFiles } from "../../../../src/io/files/files.ts";
import { bytesSource } from "../../../../src/io/files/sources.ts";
import { openTokenizer } from "../../../../src/io/open_tokenizer.ts";
import { Random } from "../../../../src/tensor/random.ts";

const text = await Deno.readTextFile(
  new URL("../../../../examples/model/tokenizer.json", import.meta.url),
);

const opened = () =>
  openTokenizer(sourceFiles(
    new Map([[
      "tokenizer.json",
      bytesSource(new TextEncoder().encode(text), "tokenizer.json"),
    ]]),
    "model",
  ));

Deno.test("a word of a hundred thousand characters has the library's own ids", async () => {
  const library = new Tokenizer({ ...JSON.parse(text), decoder: null }, {});
  const tokenizer = await opened();
  const random = new Random(3, "letters");
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789.é";
  const word = (length: number) =>
    Array.from(
      { length },
      () => letters[Math.floor(random.uniform() * letters.length)],
    ).join("");
  for (const input of [word(100_000), `a ${word(5000)} b`, "e".repeat(9000)]) {
    assert.deepEqual(
      [...tokenizer.encode(input, { addSpecialTokens: false })],
      library.encode(input, { add_special_tokens: false }).ids,
    );
  }
});

Deno.test("a word of megabytes that nothing cuts is refused, one that can be cut is not", async () => {
  const tokenizer = await opened();
  assert.throws(() => tokenizer.encode("e".repeat(2 ** 21)), {
    name: "RangeError",
    message:
      'Cannot take a text apart: it has a word of 2097152 characters, which begins "eeeeeeeeeeeeeeeeeeee"; wanted at most 1048576 characters without a space',
  });
  const ids = tokenizer.encode("zX9".repeat(2 ** 20));
  assert.ok(ids.length > 2 ** 20);
});
