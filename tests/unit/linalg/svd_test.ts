import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { svd } from "../../../src/api/matrices.ts";
import { type Matrix, matrix } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { distance, energy, product, withSpectrum } from "./matrices.ts";

function scaled(u: Matrix, s: Float64Array): Matrix {
  return matrix(u.rows, u.cols, u.data.map((x, i) => x * s[i % u.cols]));
}

function skew(rows: Float32Array, n: number): number {
  const count = rows.length / n;
  let worst = 0;
  for (let i = 0; i < count; i++) {
    for (let j = 0; j <= i; j++) {
      let dot = 0;
      for (let k = 0; k < n; k++) dot += rows[i * n + k] * rows[j * n + k];
      worst = Math.max(worst, Math.abs(dot - (i === j ? 1 : 0)));
    }
  }
  return worst;
}

function transpose({ rows, cols, data }: Matrix): Float32Array {
  return Float32Array.from(
    { length: rows * cols },
    (_, i) => data[(i % rows) * cols + Math.floor(i / rows)],
  );
}

for (const method of ["exact", "randomized"] as const) {
  Deno.test(`svd() ${method}: orthonormal vectors that give the matrix back`, async () => {
    const values = Array.from({ length: 12 }, (_, i) => 5 / (i + 1));
    for (const shape of [{ rows: 20, cols: 12 }, { rows: 12, cols: 31 }]) {
      const x = withSpectrum(new Random(1), values, shape);
      const { u, s, vt } = await svd(x, { method });
      assert.deepEqual([u.rows, u.cols, vt.rows, vt.cols], [
        shape.rows,
        12,
        12,
        shape.cols,
      ]);
      assertAllClose(s, values, { rtol: 1e-5 });
      assert.ok(skew(transpose(u), u.rows) < 1e-5);
      assert.ok(skew(vt.data, vt.cols) < 1e-5);
      const left = distance(x, product(scaled(u, s), vt));
      assert.ok(left < 1e-11 * energy(x.data), `${left}`);
    }
  });
}

Deno.test("svd() of a matrix short of rank: vectors of zero values are zero", async () => {
  const x = withSpectrum(new Random(2), [4, 2], { rows: 9, cols: 7 });
  const { u, s, vt } = await svd(x, { method: "randomized", rank: 4 });
  assertAllClose(s, [4, 2, 0, 0], { atol: 1e-5 });
  assert.ok(vt.data.subarray(2 * 7).every((v) => v === 0));
  assert.ok(u.data.every((v, i) => i % 4 < 2 || v === 0));
});

Deno.test("svd() truncates to the rank asked for, and works on a device given", async () => {
  using device = await openDevice("reference");
  const before = device.memory.bytes;
  const x = withSpectrum(new Random(3), [4, 3, 2, 1], { rows: 8, cols: 8 });
  const { u, s, vt } = await svd(x, { rank: 2, device });
  assertAllClose(s, [4, 3], { rtol: 1e-5 });
  assertAllClose([distance(x, product(scaled(u, s), vt))], [5], { rtol: 1e-4 });
  assert.equal(device.memory.bytes, before);
  await assert.rejects(svd(x, { rank: 9, device }), RangeError);
});
