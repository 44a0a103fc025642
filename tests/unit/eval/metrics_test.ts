import assert from "node:assert/strict";
import {
  normalizeAnswer,
  scoreAnswer,
} from "../../../src/eval/metrics/answers.ts";
import { confusionOf, f1Of } from "../../../src/eval/metrics/classes.ts";
import { openCorrelations } from "../../../src/eval/metrics/correlation.ts";
import { editDistance, scoreSymbols } from "../../../src/eval/metrics/edits.ts";
import { openRouge, rougeWords } from "../../../src/eval/metrics/rouge.ts";
import { jackknifeError, meanOf } from "../../../src/eval/tasks/statistics.ts";
import { assertAllClose } from "../../helpers/assert.ts";

Deno.test("the jackknife of a mean is the mean's standard error", () => {
  const values = [1, 2, 4, 4, 9];
  const sum = values.reduce((a, b) => a + b);
  const without = values.map((value) => (sum - value) / (values.length - 1));
  const { stdErr } = meanOf(values);
  assertAllClose([jackknifeError(without)], [stdErr!], { rtol: 1e-12 });
  const once = [...new Set(without)];
  const weights = once.map((v) => without.filter((w) => w === v).length);
  assertAllClose([jackknifeError(once, weights)], [stdErr!], { rtol: 1e-12 });
});

Deno.test("classes that are none, and F1 of three, are refused", () => {
  assert.throws(() => confusionOf([0, 2], [0, 1], 2), /wanted 0 to 1, got 2/);
  assert.throws(() => confusionOf([0], [-1], 2), /wanted 0 to 1, got -1/);
  assert.throws(() => confusionOf([0], [0, 1], 2), /got 2 and 1/);
  assert.throws(() => confusionOf([], [], 2), /got 0 and 0/);
  assert.throws(
    () => f1Of(confusionOf([0], [2], 3)),
    /Cannot compute F1: wanted 2 classes, got 3/,
  );
});

Deno.test("correlations of too few, and of what does not vary", async () => {
  const { pearson, spearman } = await openCorrelations();
  assert.throws(() => pearson([1], [1]), /wanted two or more pairs/);
  assert.throws(() => spearman([1, 2], [1]), /got 2 values and 1/);
  assert.deepEqual(pearson([1, 2], [2, 5]), { value: 1 });
  assert.ok(Number.isNaN(pearson([1, 1, 1], [1, 2, 3]).value));
  // Without its last pair x does not vary: the value has no error.
  assert.deepEqual(Object.keys(pearson([1, 1, 2], [1, 2, 3])), ["value"]);
});

Deno.test("answers without articles and punctuation", () => {
  assert.equal(normalizeAnswer(" The  U.S.'s  a-team "), "uss ateam");
  assert.deepEqual(scoreAnswer("the cat", ["a dog", "Cat!"]), {
    exact: 1,
    f1: 1,
  });
  assert.deepEqual(scoreAnswer("", ["x"]), { exact: 0, f1: 0 });
  assert.throws(() => scoreAnswer("x", []), /wanted right ones, got none/);
});

Deno.test("words of ROUGE are ASCII's", () => {
  assert.deepEqual(rougeWords("Naïve RUNNERS ran, 3rd!", false), [
    "na",
    "ve",
    "runners",
    "ran",
    "3rd",
  ]);
  assert.deepEqual(rougeWords("RUNNERS ran", true), ["runner", "ran"]);
});

Deno.test("ROUGE of long texts", async () => {
  const score = await openRouge();
  const text = Array.from({ length: 1500 }, (_, i) => `w${i}`).join(" ");
  assert.deepEqual(score(text, text), {
    rouge1: 1,
    rouge2: 1,
    rougeL: 1,
    rougeLsum: 1,
  });
});

Deno.test("edits of symbols, and their rates", () => {
  assert.equal(editDistance([..."kitten"], [..."sitting"]), 3);
  assert.equal(editDistance([], ["a"]), 1);
  const { exactMatch, errorRate } = scoreSymbols(["ab", "😀x"], ["ab", "😀"]);
  assert.equal(exactMatch.value, 0.5);
  assertAllClose([errorRate.value], [1 / 3], { rtol: 1e-12 });
  assert.throws(() => scoreSymbols(["a"], []), /got 1 and 0/);
  assert.throws(() => scoreSymbols(["a"], [""]), /texts with symbols/);
});
