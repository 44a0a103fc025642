import assert from "node:assert/strict";
import {
  blocksOf,
  tokenizeTexts,
  windowsOf,
} from "../../../../src/data/tasks/lm.ts";
import { DataOrder } from "../../../../src/train/order.ts";
import { BOS, EOS, idOf, toyCodec } from "../codec.ts";

function texts(...list: string[]) {
  return list.map((text, i) => ({
    fields: { text },
    file: "d.txt",
    row: i + 1,
    line: i + 1,
  }));
}

Deno.test("texts become one stream, the end between them", async () => {
  const codec = toyCodec();
  const [a, b] = [idOf("a"), idOf("b")];
  const plain = await tokenizeTexts(texts("a", "", "b"), {
    codec,
    addSpecialTokens: false,
  });
  assert.deepEqual([...plain.tokens], [a, EOS, b]);
  assert.equal(plain.texts, 2);
  const marked = await tokenizeTexts(texts("a", "b"), { codec });
  assert.deepEqual([...marked.tokens], [BOS, a, EOS, BOS, b]);
  const ending = { ...codec, encode: () => [a, EOS] };
  const ended = await tokenizeTexts(texts("a", "b"), { codec: ending });
  assert.deepEqual([...ended.tokens], [a, EOS, a, EOS]);
  const endless = await tokenizeTexts(texts("a", "b"), {
    codec: toyCodec({ eosId: undefined }),
    addSpecialTokens: false,
  });
  assert.deepEqual([...endless.tokens], [a, b]);
  await assert.rejects(
    tokenizeTexts(texts("a"), { codec, field: "content" }),
    /^SyntaxError: Cannot use "d.txt", line 1: wanted a field "content", got "text"$/,
  );
});

Deno.test("a long stream grows past its first memory", async () => {
  const text = "x".repeat(10).split("").join(" ").repeat(50);
  const { tokens } = await tokenizeTexts(texts(...Array(20).fill(text)), {
    codec: toyCodec(),
    addSpecialTokens: false,
  });
  const one = toyCodec().encode(text, { addSpecialTokens: false });
  assert.equal(tokens.length, 20 * one.length + 19);
  assert.deepEqual([...tokens.slice(-one.length)], Array.from(one));
});

const TOKENS = Int32Array.from({ length: 23 }, (_, i) => i);

Deno.test("blocksOf() cuts blocks side by side", () => {
  const set = blocksOf(TOKENS, 5);
  assert.deepEqual([set.size, set.dropped], [4, 3]);
  assert.deepEqual([...set.example(3).tokens], [15, 16, 17, 18, 19]);
  assert.deepEqual([...set.example(3).labels], [15, 16, 17, 18, 19]);
  assert.throws(() => set.example(4), RangeError);
  assert.equal(blocksOf(TOKENS, 23).size, 1);
});

Deno.test("windowsOf() begins anywhere, up to the last whole window", () => {
  const set = windowsOf(TOKENS, 5);
  assert.deepEqual([set.size, set.draws], [19, 4]);
  assert.deepEqual([...set.example(18).tokens], [18, 19, 20, 21, 22]);
  const order = new DataOrder({ kind: "random", ...set });
  assert.equal(order.perEpoch, 4);
  for (const index of order.next(4)) {
    assert.equal(set.example(index).tokens[0], index);
  }
});

Deno.test("too few tokens and odd blocks are refused", () => {
  for (const cut of [blocksOf, windowsOf]) {
    assert.throws(() => cut(TOKENS, 24), {
      name: "RangeError",
      message: /wanted at least one of 24, got 23 tokens in all/,
    });
    assert.throws(() => cut(TOKENS, 1), /wanted a length of 2 or more, got 1/);
    assert.throws(() => cut(TOKENS, 2.5), /got 2.5/);
  }
});

Deno.test("conversations and answers are text to a language model too", async () => {
  const codec = toyCodec();
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
  ];
  const fields = [{ messages }, { prompt: "a", completion: " b" }, {
    text: "c",
  }];
  const { tokens, texts } = await tokenizeTexts(
    fields.map((fields, i) => ({ fields, file: "d.jsonl", row: i + 1 })),
    { codec },
  );
  assert.equal(texts, 3);
  assert.equal(
    codec.decode(tokens),
    `|user|\na~\n|assistant|\nb~\n<${EOS}><${BOS}>a b<${EOS}><${BOS}>c`,
  );
});
