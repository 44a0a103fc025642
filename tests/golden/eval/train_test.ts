import assert from "node:assert/strict";
import type { DataRecord } from "../../../src/data/records/record.ts";
import { readExamples } from "../../../src/data/tasks/sft.ts";
import { planSteps } from "../../../src/train/steps.ts";
import {
  schedule,
  type ScheduleName,
  warmupSteps,
} from "../../../src/train/step/schedule.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { golden } from "../../helpers/golden.ts";
import { toyCodec } from "../../unit/data/codec.ts";

interface Train {
  schedules: {
    name: ScheduleName;
    steps: number;
    warmup: number;
    factors: number[];
  }[];
  warmups: { steps: number; ratio: number; warmup: number }[];
  steps: {
    examples: number;
    batch: number;
    accumulation: number;
    steps: number | null;
    epochs: number | null;
    plan: Record<string, number>;
  }[];
  masks: {
    record: Record<string, string>;
    tokens: number[];
    labels: number[];
  }[];
}

const { schedules, warmups, steps, masks } = golden<Train>(
  import.meta,
  "train.json",
);

for (const { name, steps, warmup, factors } of schedules) {
  Deno.test(`${name} of ${steps} steps, ${warmup} of warm-up: transformers' factors`, () => {
    const factor = schedule({ name, steps, warmup });
    assertAllClose(factors.map((_, step) => factor(step)), factors, {
      atol: 1e-15,
    });
  });
}

Deno.test("warmupSteps() rounds as transformers does", () => {
  for (const { steps, ratio, warmup } of warmups) {
    assert.equal(warmupSteps(steps, ratio), warmup);
  }
});

Deno.test("planSteps() counts as transformers' Trainer does", () => {
  for (const { plan, steps: wanted, epochs, ...sizes } of steps) {
    const found = planSteps({
      ...sizes,
      steps: wanted ?? undefined,
      epochs: epochs ?? undefined,
    });
    assert.deepEqual({ ...found }, plan);
  }
});

Deno.test("prompts and masks of Alpaca and LoftQ", async () => {
  for (const [i, { record, tokens, labels }] of masks.entries()) {
    const one: DataRecord = { fields: record, file: "x.jsonl", row: i + 1 };
    const set = await readExamples([one], { codec: toyCodec(), context: 1024 });
    const example = set.example(0);
    assert.deepEqual([...example.tokens], tokens, `tokens of ${i}`);
    assert.deepEqual([...example.labels], labels, `labels of ${i}`);
  }
});
