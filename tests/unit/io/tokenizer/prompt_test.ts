import assert from "node:assert/strict";
import { promptTokens } from "../../../../src/io/tokenizer/prompt.ts";

/** One token a character; BOS before and EOS behind a text where they are given. */
function encoder(
  { bosId, eosId }: { bosId?: number; eosId?: number } = {},
  ends = true,
) {
  const some = (id: number | undefined) => id === undefined ? [] : [id];
  return {
    eosId,
    encode: (text: string, { addSpecialTokens = true } = {}) => {
      const plain = [...text].map((c) => c.charCodeAt(0));
      return addSpecialTokens
        ? [...some(bosId), ...plain, ...(ends ? some(eosId) : [])]
        : plain;
    },
  };
}

Deno.test("promptTokens(): BOS stays, an EOS of the tokenizer's own goes", () => {
  const around = encoder({ bosId: 1, eosId: 2 });
  assert.deepEqual([...promptTokens(around, "a")], [1, 97]);
  assert.deepEqual([...promptTokens(around, "")], [1]);
  assert.deepEqual([...promptTokens(encoder(), "a")], [97]);
  const before = encoder({ bosId: 1, eosId: 2 }, false);
  assert.deepEqual([...promptTokens(before, "a")], [1, 97]);
});

Deno.test("promptTokens(): an EOS that is written out in the text stays", () => {
  const around = encoder({ bosId: 1, eosId: 98 });
  assert.deepEqual([...promptTokens(around, "ab")], [1, 97, 98]);
  assert.deepEqual(
    [...promptTokens(encoder({ bosId: 1, eosId: 98 }, false), "abb")],
    [1, 97, 98, 98],
  );
});

Deno.test("promptTokens(): where BOS and EOS are one token, an empty text has one", () => {
  const one = encoder({ bosId: 1, eosId: 1 });
  assert.deepEqual([...promptTokens(one, "")], [1]);
  assert.deepEqual([...promptTokens(one, "a")], [1, 97]);
});
