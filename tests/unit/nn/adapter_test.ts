import assert from "node:assert/strict";
import {
  denseWeight,
  quantizedWeight,
} from "../../../src/autograd/linear_weight.ts";
import { openDevice } from "../../../src/backend/open.ts";
import {
  type AdapterModuleFactors,
  attachAdapter,
} from "../../../src/nn/adapter.ts";
import { Linear } from "../../../src/nn/linear.ts";
import { matrix } from "../../../src/tensor/matrix.ts";
import { Workspace } from "../../conformance/workspace.ts";

function pooled(
  module: string,
  { rows, columns, group }: { rows: number; columns: number; group?: number },
): AdapterModuleFactors {
  return {
    module,
    rank: 2,
    scaling: 1,
    a: new Float32Array(2 * columns),
    b: new Float32Array(2 * rows),
    ...(group && { group }),
  };
}

Deno.test("attachAdapter(): groups that do not fit the layers, every one in one error", async () => {
  using device = await openDevice("reference");
  using w = new Workspace(device);
  const quantized = (block: number) =>
    quantizedWeight(w.quant("int4", { rows: 3, cols: 100, block }));
  const linears = new Map([
    ["dense", denseWeight(w.put(matrix(3, 100)))],
    ["fine", quantized(32)],
    ["twice", quantized(32)],
    ["coarse", quantized(64)],
    ["odd", quantized(32)],
    ["narrow", quantized(32)],
  ].map(([name, weight]) => [
    name as string,
    new Linear(name as string, weight as ReturnType<typeof quantized>),
  ]));
  const attach = (factors: AdapterModuleFactors[]) =>
    attachAdapter(device, linears, { name: "x", factors });
  using adapter = attach([
    pooled("dense", { rows: 3, columns: 5, group: 20 }),
    pooled("fine", { rows: 3, columns: 4, group: 32 }),
    pooled("twice", { rows: 3, columns: 2, group: 64 }),
    pooled("odd", { rows: 3, columns: 100 }),
  ]);
  assert.deepEqual(
    adapter.modules.map(({ inputs }) => inputs),
    [5, 4, 2, 100],
  );
  assert.equal(linears.get("twice")!.adapter("x")!.group, 64);
  assert.equal(linears.get("odd")!.adapter("x")!.group, undefined);
  assert.throws(
    () =>
      attach([
        pooled("fine", { rows: 3, columns: 4, group: 32 }),
        pooled("coarse", { rows: 3, columns: 4, group: 32 }),
        pooled("odd", { rows: 3, columns: 3, group: 48 }),
        pooled("narrow", { rows: 3, columns: 3, group: 32 }),
      ]),
    {
      name: "TypeError",
      message:
        "Cannot put the adapter \"x\" on the model: coarse is quantised in groups of 64, the adapter's of 32; odd is quantised in groups of 32, the adapter's of 48; narrow is 3 x 100, the adapter's 3 x 3 groups of 32",
    },
  );
});
