import assert from "node:assert/strict";
import type { StepReport } from "../../../src/train/step/trainer.ts";
import { DivergenceWatch } from "../../../src/train/warnings.ts";

const GUESS = Math.log(768);

function reports(
  ...steps: readonly (readonly [loss: number, norm?: number])[]
): StepReport[] {
  return steps.map(([loss, gradientNorm], i) => ({
    step: i + 1,
    loss,
    learningRate: 1,
    tokens: 1,
    gradientNorm,
  }));
}

Deno.test("steps that learn nothing are told of once, and after some the training is given up", () => {
  for (
    const [bad, what] of [
      [[GUESS, 1], /^the loss, 6\.6438, is that of guessing$/],
      [[3, 0], /^the gradient norm is 0$/],
      [[3, Infinity], /^the gradient norm is not a number$/],
      [[3, NaN], /^the gradient norm is not a number$/],
    ] as const
  ) {
    const watch = new DivergenceWatch(768);
    const steps = reports([4, 1], [3, 1], bad, bad, bad, bad, bad);
    const [warning, ...rest] = watch.add(steps.slice(0, 6));
    assert.match(warning, /^step 3: .*: the training may have diverged/);
    assert.deepEqual([rest, watch.since, watch.failure], [[], 3, undefined]);
    assert.deepEqual(watch.add(steps.slice(6)), []);
    const [, since, told] = /^from step (\d+) on (.*)$/.exec(watch.failure!)!;
    assert.equal(since, "3");
    assert.match(told, what);
  }
});

Deno.test("a training that begins with guessing, recovers, or has nothing left to learn, goes on", () => {
  const begins = new DivergenceWatch(768);
  const bad = [GUESS + 5, 1] as const;
  assert.deepEqual(begins.add(reports(bad, bad, bad, bad, bad, bad)), []);
  const recovers = new DivergenceWatch(768);
  recovers.add(reports([3, 1], [3, 0], [3, 0], [3, 0], [3, 0], [3, 1], [3, 0]));
  assert.deepEqual([recovers.since, recovers.failure], [7, undefined]);
  const knows = new DivergenceWatch(768);
  assert.deepEqual(knows.add(reports([0, 0], [0, 0])), []);
  const classes = new DivergenceWatch(undefined);
  assert.deepEqual(classes.add(reports([1], [100], [100])), []);
});

Deno.test("a model is ruined that is of no use for all of its last batches, by what the losses were before", () => {
  const watch = new DivergenceWatch(768);
  watch.begin([4, 3]);
  for (
    const [losses, told] of [
      [[], undefined],
      [[3.5], undefined],
      [[GUESS], "the loss, 6.6438, is that of guessing"],
      [[GUESS, 6, GUESS], undefined],
      [[NaN, GUESS], "the loss is NaN"],
      [[Infinity], "the loss is Infinity"],
    ] as const
  ) assert.equal(watch.ruin(losses), told);
  // Of classes, and of a text of which nothing was known, far above all that was.
  for (
    const classes of [new DivergenceWatch(undefined), new DivergenceWatch(3)]
  ) {
    classes.add(reports([2, 1], [1.2, 1]));
    assert.equal(classes.ruin([19]), undefined);
    assert.equal(
      classes.ruin([21]),
      "the loss, 21.000, is more than 10 times the highest before, 2.0000",
    );
  }
});

Deno.test("a resumed training knows how good it was", () => {
  const watch = new DivergenceWatch(768);
  watch.begin([4, 3]);
  assert.equal(watch.add(reports([GUESS, 1])).length, 1);
});
