import assert from "node:assert/strict";
import { encodeLong } from "../../../../src/io/tokenizer/long.ts";
import { openTokenizer } from "../../../../src/io/open_tokenizer.ts";
import { files } from "../helpers.ts";

const GOLDEN = new URL("../../../golden/tokenizer/", import.meta.url);
const EXAMPLE = new URL("../../../../examples/model/", import.meta.url);

const story = await Deno.readTextFile(
  new URL("train-sample.txt", EXAMPLE),
);
const text = `${story.slice(0, 30_000)}\n\n  Grüße, 漢字 und 😀!\n\n` +
  story.slice(30_000, 60_000);

const OPENED = {
  "byte-level BPE": files({
    "tokenizer.json": await Deno.readFile(new URL("tokenizer.json", EXAMPLE)),
  }),
  "SentencePiece BPE": files({
    "tokenizer.model": await Deno.readFile(
      new URL("llama/tokenizer.model", GOLDEN),
    ),
  }),
  "SentencePiece Unigram": files({
    "spm.model": await Deno.readFile(new URL("unigram/spm.model", GOLDEN)),
  }),
  "WordPiece": files({
    "vocab.txt": await Deno.readFile(new URL("wordpiece/vocab.txt", GOLDEN)),
  }),
};

for (const [kind, set] of Object.entries(OPENED)) {
  Deno.test(`a long text has the same ids in parts as whole: ${kind}`, async () => {
    const tokenizer = await openTokenizer(set);
    for (const addSpecialTokens of [true, false]) {
      const whole = tokenizer.encode(text, { addSpecialTokens });
      for (const length of [700, 4096, 29_990]) {
        let calls = 0;
        let longest = 0;
        const ids = encodeLong(text, (part, options) => {
          calls++;
          longest = Math.max(longest, part.length);
          return tokenizer.encode(part, options);
        }, { addSpecialTokens, length });
        assert.deepEqual(ids, whole);
        assert.ok(calls > text.length / length, `${calls} calls`);
        assert.ok(longest < length + 2000, `${longest} characters at once`);
      }
    }
  });
}

Deno.test("a long text without a place to cut it is encoded whole", async () => {
  const tokenizer = await openTokenizer(OPENED["byte-level BPE"]);
  const whole = "x-".repeat(3000);
  assert.deepEqual(
    encodeLong(whole, (part, options) => tokenizer.encode(part, options), {
      addSpecialTokens: true,
      length: 500,
    }),
    tokenizer.encode(whole),
  );
});
