import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { biases, merge, quantize, spread } from "../../../src/api/qalora.ts";
import { dequantize } from "../../../src/api/matrices.ts";
import { matrix } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { normalMatrix } from "../../helpers/inputs.ts";

const device = await openDevice("wasm");
const weight = normalMatrix(new Random(1), 2, 5);
const base = await quantize(weight, { format: "int4", block: 2, device });
const adapter = {
  a: matrix(1, 3, Float32Array.of(1, -2, 3)),
  b: matrix(2, 1, Float32Array.of(10, 0.5)),
  scaling: 2,
};

Deno.test("spread() gives each weight what its group gets", () => {
  assert.deepEqual(
    spread(adapter, base).data,
    Float32Array.of(20, 20, -40, -40, 60, 1, 1, -2, -2, 3),
  );
  assert.deepEqual(
    spread({ ...adapter, a: matrix(1, 1, Float32Array.of(1)) }, {
      cols: 3,
      block: 0,
    }).data,
    Float32Array.of(20, 20, 20, 1, 1, 1),
  );
});

Deno.test("merge() adds it to the biases and touches nothing else", async () => {
  const before = structuredClone(base);
  const merged = merge(base, adapter);
  assert.deepEqual(base, before);
  assert.deepEqual({ ...merged, biases: base.biases }, base);
  assert.deepEqual(
    merged.biases,
    base.biases!.map((x, i) => x + [20, -40, 60, 1, -2, 3][i]),
  );
  const q = await dequantize(merged, { device });
  assert.ok(q.data.every(Number.isFinite));
});

Deno.test("a bias is rounded once", () => {
  // In f32 each of the two products would be lost beside the bias.
  const small = { ...base, biases: new Float32Array(6).fill(2 ** 24) };
  const { biases } = merge(small, {
    a: matrix(2, 3, new Float32Array(6).fill(1)),
    b: matrix(2, 2, new Float32Array(4).fill(0.75)),
    scaling: 1,
  });
  assert.deepEqual(biases, new Float32Array(6).fill(2 ** 24 + 2));
});

Deno.test("an adapter that does not fit is refused with all that is wrong", async () => {
  assert.throws(
    () => merge(base, { a: matrix(4, 2), b: matrix(3, 5), scaling: 1 }),
    {
      name: "TypeError",
      message:
        "Cannot merge the adapter: a is 4 x 2, the base has 3 groups of 2 inputs; b is 3 x 5, the base has 2 outputs; the rank is 4 in a and 5 in b",
    },
  );
  assert.throws(
    () => spread({ a: matrix(4, 2), b: matrix(3, 4), scaling: 1 }, base),
    {
      name: "TypeError",
      message:
        "Cannot spread the adapter: wanted a of rank x 3 and b of out x rank, got 4 x 2 and 3 x 4",
    },
  );
  assert.throws(() => merge(base, { ...adapter, scaling: NaN }), {
    name: "RangeError",
    message: "Cannot merge: the bias of row 0, group 0 would be NaN",
  });
  assert.throws(() => merge({ ...base, format: "nf4" }, adapter), {
    name: "TypeError",
    message:
      "Cannot use nf4 for a merge: QA-LoRA wants an affine format in groups along the inputs (int5, int4, int3, int2)",
  });
  await assert.rejects(biases(matrix(2, 6), base, { device, name: "o_proj" }), {
    name: "TypeError",
    message: "Cannot use the base of o_proj: it is 2 x 5, the weight 2 x 6",
  });
});
