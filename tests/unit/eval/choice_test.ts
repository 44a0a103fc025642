import assert from "node:assert/strict";
import {
  bestChoice,
  type Choice,
  choiceRequest,
  choiceTask,
  encodePair,
  judge,
} from "../../../src/eval/tasks/choice.ts";
import { idOf, toyCodec } from "../data/codec.ts";

const encoder = toyCodec();

function choice(context: string, continuation: string): Choice {
  return { context, continuation, text: continuation.trim() };
}

Deno.test("encodePair(): spaces at the context's end go to the continuation", () => {
  const wanted = { context: [1, idOf("a")], continuation: [idOf(" b")] };
  for (const pair of [choice("a", " b"), choice("a ", "b")]) {
    const { context, continuation } = encodePair(pair, { encoder });
    assert.deepEqual(
      { context: [...context], continuation: [...continuation] },
      wanted,
    );
  }
});

Deno.test("encodePair(): a token across the border is scored", () => {
  const { context, continuation } = encodePair(choice("x yes", "terday"), {
    encoder,
  });
  assert.deepEqual([...context], [1, idOf("x")]);
  assert.deepEqual([...continuation], [idOf(" yesterday")]);
});

Deno.test("encodePair(): an empty context becomes the token that begins a text", () => {
  const bare = { encode: () => [7, 8] };
  const row = (ids: { bosId?: number; eosId?: number }) =>
    encodePair(choice("", "x"), {
      encoder: { encode: (text) => text === "" ? [] : bare.encode(), ...ids },
    });
  assert.deepEqual([...row({ bosId: 1, eosId: 2 }).context], [1]);
  assert.deepEqual([...row({ eosId: 2 }).context], [2]);
  assert.deepEqual([...row({ eosId: 2 }).continuation], [7, 8]);
  assert.throws(() => row({}), {
    name: "RangeError",
    message: /wanted a context, got an empty one and a tokenizer without/,
  });
  assert.deepEqual([...encodePair(choice("", "x"), { encoder }).context], [1]);
  assert.throws(
    () => encodePair(choice("x", ""), { encoder }),
    /^RangeError: Cannot score "": it has no tokens$/,
  );
});

Deno.test("encodePair(): a context too long loses its beginning", () => {
  const pair = choice("a b c d", " e f");
  const fit = (contextLength: number) =>
    encodePair(pair, { encoder, contextLength });
  assert.equal(fit(6).context.length, 5);
  assert.deepEqual([...fit(4).context], [" b", " c", " d"].map(idOf));
  assert.deepEqual([...fit(2).context], [idOf(" d")]);
  assert.equal(fit(2).continuation.length, 2);
  assert.throws(() => fit(1), {
    name: "RangeError",
    message: "Cannot score a text of 2 tokens: wanted at most 1",
  });
});

Deno.test("choices with the same context share it", () => {
  const { rows } = choiceRequest({
    choices: [choice("q", " a"), choice("q", " b"), choice("r", " b")],
    gold: 0,
  }, { encoder });
  assert.equal(rows[0].context, rows[1].context);
  assert.notEqual(rows[0].context, rows[2].context);
});

Deno.test("bestChoice() takes the first of equals and no NaN", () => {
  assert.equal(bestChoice([-3, -1, -1]), 1);
  assert.equal(bestChoice([-Infinity, -Infinity]), 0);
  assert.throws(() => bestChoice([-1, NaN]), {
    name: "RangeError",
    message: /choice 2 has no likelihood \(NaN\)/,
  });
});

Deno.test("judge() by sum, by character and by byte", () => {
  const question = {
    choices: [choice("q", " ab"), choice("q", " äöüß"), choice("q", " 😀😀😀")],
    gold: 1,
  };
  // By character: -1, -0.75, -1.2; by byte: -1, -0.375, -0.3.
  assert.deepEqual(judge(question, [-2, -3, -3.6]), {
    plain: false,
    byCharacter: true,
    byByte: false,
  });
  assert.throws(() => judge(question, [-1, -2]), {
    name: "RangeError",
    message: "Cannot judge an answer: wanted 3 log-likelihoods, got 2",
  });
});

Deno.test("choiceTask() counts what was answered", () => {
  const question = (gold: number) => ({
    choices: [choice("q", " a"), choice("q", " bbbb")],
    gold,
  });
  const task = choiceTask([question(0), question(1), question(0)], {
    name: "x",
    encoder,
    normalize: true,
  });
  assert.equal(task.count, 3);
  const { metrics, count } = task.score([[-1, -2], [-1, -2]]);
  assert.equal(count, 2);
  assert.deepEqual(metrics, {
    accuracy: 0.5,
    accuracyStdErr: 0.5,
    normalizedAccuracy: 0.5,
    normalizedAccuracyStdErr: 0.5,
    byteNormalizedAccuracy: 0.5,
    byteNormalizedAccuracyStdErr: 0.5,
  });
  assert.deepEqual(Object.keys(task.score([[-1, -2]]).metrics), [
    "accuracy",
    "normalizedAccuracy",
    "byteNormalizedAccuracy",
  ]);
  assert.throws(() => task.score([]), {
    name: "RangeError",
    message: "Cannot score x: wanted 1 to 3 answers, got 0",
  });
  assert.throws(() => task.request(3), /wanted one of 0 to 2/);
});
