import assert from "node:assert/strict";
import {
  perplexityTask,
  windowsOver,
} from "../../../src/eval/tasks/perplexity.ts";
import { meanOf } from "../../../src/eval/tasks/statistics.ts";
import { assertAllClose } from "../../helpers/assert.ts";

const TOKENS = Int32Array.from({ length: 50 }, (_, i) => i);

Deno.test("without a stride each block stands on its own, a rest is left out", () => {
  assert.deepEqual(windowsOver(50, { block: 16 }), [
    { start: 0, from: 1, end: 16 },
    { start: 16, from: 17, end: 32 },
    { start: 32, from: 33, end: 48 },
  ]);
  assert.equal(windowsOver(50, { block: 16, limit: 2 }).length, 2);
  assert.equal(windowsOver(50, { block: 50 }).length, 1);
});

Deno.test("with a stride every token but the first is scored once", () => {
  for (const count of [2, 15, 16, 17, 50, 64]) {
    for (let stride = 1; stride < 16; stride++) {
      const scored = windowsOver(count, { block: 16, stride }).flatMap((w) => {
        assert.ok(w.end - w.start <= 16 && w.from > w.start && w.from < w.end);
        return Array.from({ length: w.end - w.from }, (_, i) => w.from + i);
      });
      assert.deepEqual(
        scored,
        Array.from({ length: count - 1 }, (_, i) => i + 1),
      );
    }
  }
  const [, second] = windowsOver(50, { block: 16, stride: 4, limit: 2 });
  assert.deepEqual(second, { start: 4, from: 16, end: 20 });
});

Deno.test("perplexityTask() asks for windows and counts their tokens", () => {
  const task = perplexityTask(TOKENS, { block: 16, stride: 8 });
  const { rows } = task.request(1);
  assert.deepEqual([...rows[0].context], [8, 9, 10, 11, 12, 13, 14, 15]);
  assert.deepEqual([...rows[0].continuation], [16, 17, 18, 19, 20, 21, 22, 23]);
  assert.equal(task.count, 6);
  const uniform = Array.from(
    { length: task.count },
    (_, i) => [-task.request(i).rows[0].continuation.length * Math.log(512)],
  );
  const all = task.score(uniform);
  assert.equal(all.count, 49);
  assertAllClose([all.metrics.perplexity], [512], { rtol: 1e-12 });
  assertAllClose([all.metrics.perplexityStdErr], [0], { atol: 1e-9 });
  const first = task.score(uniform.slice(0, 1));
  assert.equal(first.count, 15);
  assert.ok(!("perplexityStdErr" in first.metrics));
});

Deno.test("windows that cannot be are refused", () => {
  const refused: [number, Parameters<typeof windowsOver>[1], RegExp][] = [
    [
      10,
      { block: 16 },
      /10 tokens, which do not fill one window of 16; wanted a longer text or/,
    ],
    [
      1,
      { block: 16, stride: 4 },
      /it has 1 token, which does not fill a window; wanted/,
    ],
    [50, { block: 1 }, /wanted a sequence length from 2 /],
    [50, { block: 16, stride: 17 }, /wanted a stride from 1 to 16, got 17/],
    [50, { block: 16, stride: 0 }, /wanted a stride from 1 to 16, got 0/],
    [50, { block: 16, limit: 0 }, /wanted a limit >= 1, got 0/],
    [50, { block: 2.5 }, /wanted a sequence length .* got 2.5/],
  ];
  for (const [count, options, message] of refused) {
    assert.throws(() => windowsOver(count, options), {
      name: "RangeError",
      message,
    });
  }
});

Deno.test("one sample has a mean and no error", () => {
  assert.deepEqual(meanOf([3]), { value: 3 });
});
