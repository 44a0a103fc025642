import assert from "node:assert/strict";
import { oneDType } from "../../../src/init/plain_dtype.ts";
import type {
  Checkpoint,
  TensorInfo,
} from "../../../src/io/checkpoint/checkpoint.ts";
import type { DType } from "../../../src/tensor/dtype.ts";

type Values = readonly (readonly [name: string, dtype: DType, value: number])[];

function model(values: Values, config = {}): Checkpoint {
  const tensors = new Map(values.map(([name, dtype]): [string, TensorInfo] => [
    name,
    { name, dtype, shape: [2, 3], encoding: dtype, bytes: 6 },
  ]));
  return {
    ...{ config, tensors },
    readF32: (name: string) =>
      Promise.resolve(
        new Float32Array(6).fill(values.find(([key]) => key === name)![2]),
      ),
  } as unknown as Checkpoint;
}

const CASES: Readonly<Record<string, readonly [Values, string]>> = {
  "one type is kept": [[["a", "f16", 0.1], ["b", "f16", 3]], "f16"],
  "several, all exact in bf16": [[["a", "f32", 1.5], ["b", "f16", 3]], "bf16"],
  "several, one of which is not": [
    [["a", "f32", 1.5], ["b", "f16", 1 + 2 ** -10]],
    "f32",
  ],
  "beyond f16, exact in bf16": [
    [["a", "f32", 2 ** 100], ["b", "bf16", 1]],
    "bf16",
  ],
  "a double": [[["a", "f64", 0.1]], "f32"],
  "whole numbers do not count": [[["a", "bf16", 1], ["b", "i64", 1]], "bf16"],
};

for (const [name, [values, wanted]] of Object.entries(CASES)) {
  Deno.test(`oneDType(): ${name}`, async () => {
    assert.equal(await oneDType(model(values), new Set()), wanted);
  });
}

Deno.test("oneDType(): what is quantised does not count; without the rest it is the config's", async () => {
  const values: Values = [["q", "f16", 0.1], ["norm", "f32", 0.1]];
  assert.equal(await oneDType(model(values), new Set(["q"])), "f32");
  const all = new Set(["q", "norm"]);
  assert.equal(await oneDType(model(values, { dtype: "float16" }), all), "f16");
  assert.equal(await oneDType(model(values), all), "f32");
});
