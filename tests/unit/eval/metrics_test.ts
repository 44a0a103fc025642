import assert from "node:assert/strict";
import {
  normalizeAnswer,
  scoreAnswer,
} from "../../../src/eval/metrics/answers.ts";
import { confusionOf, f1Of } from "../../../src/eval/metrics/classes.ts";
import { openCorrelations } from "../../../src/eval/metrics/correlation.ts";
import { editDistance, scoreSymbols } from "../../../src/eval/metrics/edits.ts";
import { openRouge, rougeWords } from "../../../src/eval/metrics/rouge.ts";
import { evenLimits } from "../../../src/eval/run_task.ts";
import {
  jackknifeError,
  meanOf,
  proportionOf,
  scoreOf,
} from "../../../src/eval/tasks/statistics.ts";
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

Deno.test("proportionOf(): nothing right, or all, is as uncertain as Wilson's interval at one standard error", () => {
  // From p = 0 to z² / (n + z²), from p = 1 as far down; z = 1.
  for (const n of [2, 3, 100]) {
    const wilson = (p: number, sign: number) =>
      (p + 1 / (2 * n) + sign * Math.sqrt(p * (1 - p) / n + 1 / (4 * n * n))) /
      (1 + 1 / n);
    assertAllClose([proportionOf(0, n).stdErr!], [wilson(0, 1)], {
      rtol: 1e-12,
    });
    assertAllClose(
      [proportionOf(n, n).stdErr!],
      [1 - wilson(1, -1)],
      { rtol: 1e-12 },
    );
  }
  assert.equal(proportionOf(0, 1).stdErr, undefined);
  assertAllClose([proportionOf(1, 4).stdErr!], [0.25], { rtol: 1e-12 });
});

Deno.test("scoreOf(): equal scores at an end of their range are not certain, others are a mean", () => {
  assert.deepEqual(scoreOf([0, 0, 0]), { value: 0, stdErr: 0.25 });
  assert.deepEqual(scoreOf([100, 100, 100], 100), { value: 100, stdErr: 25 });
  assert.deepEqual(scoreOf([0, 1, 0.5]), meanOf([0, 1, 0.5]));
  assert.deepEqual(scoreOf([1]), { value: 1 });
});

Deno.test("evenLimits(): as many of each set as the limit allows", () => {
  assert.deepEqual(evenLimits([5, 5, 5], 6), [2, 2, 2]);
  assert.deepEqual(evenLimits([5, 5, 5], 8), [3, 3, 2]);
  assert.deepEqual(evenLimits([1, 9, 9], 9), [1, 4, 4]);
  assert.deepEqual(evenLimits([2, 3], 99), [2, 3]);
  assert.deepEqual(evenLimits([2, 3]), [2, 3]);
  assert.deepEqual(evenLimits([5, 5, 5], 2), [1, 1, 0]);
});
