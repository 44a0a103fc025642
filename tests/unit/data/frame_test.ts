import assert from "node:assert/strict";
import { Framer, longestFirst } from "../../../src/data/frame.ts";
import { BOS, EOS, idOf, pairCodec, toyCodec } from "./codec.ts";

Deno.test("the longer of two texts loses its end first, then both", () => {
  assert.deepEqual(longestFirst(3, 4, 7), [3, 4]);
  assert.deepEqual(longestFirst(9, 2, 7), [5, 2]);
  assert.deepEqual(longestFirst(2, 9, 7), [2, 5]);
  assert.deepEqual(longestFirst(9, 8, 7), [4, 3]);
  assert.deepEqual(longestFirst(8, 9, 7), [3, 4]);
  assert.deepEqual(longestFirst(8, 8, 7), [3, 4]);
});

Deno.test("a text is cut within its special tokens", () => {
  const framer = new Framer(pairCodec());
  const made = framer.fit({ first: "one two three four" }, 4);
  assert.deepEqual([...made.tokens], [BOS, idOf("one"), idOf(" two"), EOS]);
  assert.equal(made.typeIds, undefined);
  assert.equal(made.length, 6);
});

Deno.test("a pair keeps its special tokens and type ids", () => {
  const framer = new Framer(pairCodec());
  const made = framer.fit({ first: "one two", second: "three four" }, 6);
  assert.deepEqual(
    [...made.tokens],
    [BOS, idOf("one"), EOS, idOf("three"), idOf(" four"), EOS],
  );
  assert.deepEqual([...made.typeIds!], [0, 0, 0, 1, 1, 1]);
  assert.equal(made.length, 7);
});

Deno.test("a second text that is empty stays a text", () => {
  const framer = new Framer(pairCodec());
  const { tokens } = framer.fit({ first: "one", second: "" }, 9);
  assert.deepEqual([...tokens], [BOS, idOf("one"), EOS, EOS]);
});

Deno.test("special tokens that leave no room are an error", () => {
  const framer = new Framer(pairCodec());
  assert.throws(
    () => framer.fit({ first: "one two", second: "three" }, 3),
    /Cannot cut an input to 3 tokens: 3 are special ones; wanted room for a text/,
  );
});

Deno.test("two texts want a tokenizer that takes pairs", () => {
  assert.throws(
    () => new Framer(toyCodec()).whole("one", "two"),
    (error: Error) =>
      error instanceof TypeError &&
      /wanted a tokenizer that takes pairs/.test(error.message),
  );
});

Deno.test("a tokenizer of another model is one clear error", () => {
  const framer = new Framer(pairCodec(), { vocabSize: 10 });
  const wanted =
    /^Cannot use the tokenizer "toy" with this model: wanted ids below 10, the size of the model's vocabulary, got \d+; is it another model's\?$/;
  assert.throws(() => framer.whole("one"), {
    name: "RangeError",
    message: wanted,
  });
  assert.throws(() => framer.whole("one", "two"), { message: wanted });
  assert.throws(() => framer.plain("one"), { message: wanted });
});
