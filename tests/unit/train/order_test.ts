import assert from "node:assert/strict";
import { DataOrder, type OrderOptions } from "../../../src/train/order.ts";
import { planSteps } from "../../../src/train/steps.ts";
import { schedule, warmupSteps } from "../../../src/train/step/schedule.ts";

const SHUFFLE: OrderOptions = { kind: "shuffle", size: 23, seed: 7 };

Deno.test("each epoch of a shuffle has every example once, in its own order", () => {
  const order = new DataOrder(SHUFFLE);
  const epochs = [0, 1, 2].map(() => order.next(100));
  for (const epoch of epochs) {
    assert.deepEqual(
      epoch.toSorted((a, b) => a - b),
      Array.from({ length: 23 }, (_, i) => i),
    );
  }
  assert.notDeepEqual(epochs[0], epochs[1]);
  assert.notDeepEqual(epochs[1], epochs[2]);
  assert.deepEqual(new DataOrder(SHUFFLE).next(100), epochs[0]);
  assert.notDeepEqual(
    new DataOrder({ ...SHUFFLE, seed: 8 }).next(100),
    epochs[0],
  );
});

Deno.test("every place of a small shuffle is as likely", () => {
  const counts = new Int32Array(9);
  const order = new DataOrder({ kind: "shuffle", size: 3 });
  for (let i = 0; i < 3000; i++) {
    for (const [place, n] of order.next(3).entries()) counts[place * 3 + n]++;
  }
  assert.ok(counts.every((n) => Math.abs(n - 1000) < 120), `${counts}`);
});

Deno.test("a batch never spans two epochs", () => {
  const order = new DataOrder(SHUFFLE);
  assert.deepEqual([1, 2, 3, 4].map(() => order.next(8).length), [8, 8, 7, 8]);
  assert.deepEqual(order.state.epoch, 1);
  const steps = new DataOrder({ kind: "sequential", size: 10 });
  assert.deepEqual(steps.nextStep(3, 2), [[0, 1, 2], [3, 4, 5]]);
  assert.deepEqual(steps.nextStep(3, 2), [[6, 7, 8], [9]]);
  assert.deepEqual(steps.nextStep(4, 9), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]);
});

Deno.test("steps of an order are those that are planned", () => {
  for (const accumulation of [1, 2, 3]) {
    const order = new DataOrder(SHUFFLE);
    const plan = planSteps({ examples: 23, batch: 4, accumulation, epochs: 2 });
    let steps = 0;
    for (; order.state.epoch < 2; steps++) order.nextStep(4, accumulation);
    assert.equal(steps, plan.steps);
  }
});

Deno.test("a restart from any state gives the same batches", () => {
  for (
    const options of [
      SHUFFLE,
      { kind: "random", size: 400, seed: 3, draws: 11 },
      { kind: "sequential", size: 5 },
    ] as OrderOptions[]
  ) {
    const whole = new DataOrder(options);
    for (let step = 0; step < 12; step++) {
      const state = JSON.parse(JSON.stringify(whole.state));
      const again = DataOrder.from(state, options);
      const copy = DataOrder.from(again.state, options);
      const wanted = whole.nextStep(3, 2);
      assert.deepEqual(again.nextStep(3, 2), wanted, `${options.kind} ${step}`);
      assert.deepEqual(copy.nextStep(3, 2), wanted);
      assert.deepEqual(again.state, whole.state);
    }
  }
});

Deno.test("random draws cover the range and epochs differ", () => {
  const order = new DataOrder({ kind: "random", size: 1000, draws: 500 });
  assert.equal(order.perEpoch, 500);
  const first = order.next(500);
  const second = order.next(500);
  assert.notDeepEqual(first, second);
  assert.ok(first.every((n) => Number.isInteger(n) && n >= 0 && n < 1000));
  assert.ok(Math.min(...first) < 20 && Math.max(...first) > 980);
});

Deno.test("a state of other data is refused", () => {
  const state = new DataOrder(SHUFFLE).state;
  for (
    const [other, part] of [
      [{ size: 24 }, "size: wanted 24, got 23"],
      [{ seed: 1 }, "seed: wanted 1, got 7"],
      [{ kind: "random" as const }, "kind: wanted random, got shuffle"],
    ] as const
  ) {
    assert.throws(() => DataOrder.from(state, { ...SHUFFLE, ...other }), {
      name: "RangeError",
      message: `Cannot resume the order of examples: ${part}`,
    });
  }
  for (const bad of [{ index: 23 }, { index: -1 }, { epoch: 0.5 }]) {
    assert.throws(
      () => DataOrder.from({ ...state, ...bad }, SHUFFLE),
      /wanted an epoch and an index below 23/,
    );
  }
});

Deno.test("sizes, counts, schedules and plans out of range are refused", () => {
  const range = (work: () => unknown, message: RegExp) =>
    assert.throws(work, { name: "RangeError", message });
  range(
    () => new DataOrder({ kind: "shuffle", size: 0 }),
    /wanted size from 1/,
  );
  range(
    () => new DataOrder({ kind: "random", size: 2, draws: 0.5 }),
    /wanted draws from 1/,
  );
  range(
    () => new DataOrder(SHUFFLE).next(0),
    /wanted a count from 1 on, got 0/,
  );
  range(
    () => planSteps({ examples: 0, batch: 1, steps: 1 }),
    /wanted examples a whole number from 1 on, got 0/,
  );
  range(
    () => planSteps({ examples: 1, batch: 1, steps: 1, epochs: 1 }),
    /wanted one of steps and epochs, got both/,
  );
  range(() => planSteps({ examples: 1, batch: 1 }), /got neither/);
  range(
    () => planSteps({ examples: 1, batch: 1, epochs: 0 }),
    /wanted epochs > 0, got 0/,
  );
  range(
    () => schedule({ name: "step" as "linear", steps: 1 }),
    /wanted one of constant, linear, cosine, got "step"/,
  );
  range(
    () => schedule({ name: "linear", steps: 1.5 }),
    /wanted steps a whole number/,
  );
  range(() => warmupSteps(10, 1.5), /from 0 to 1, got 1.5/);
});
