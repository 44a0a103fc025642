import assert from "node:assert/strict";
import { mat } from "../../../src/device/buffer.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { svd } from "../../../src/api/matrices.ts";
import { exactTruncator } from "../../../src/linalg/truncated_svd.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { golden } from "../../helpers/golden.ts";
import { svdInputs } from "./data.ts";

interface Row {
  name: string;
  values: number[];
}

const rows = golden<{ svd: Row[] }>(import.meta, "loftq.json").svd;
const inputs = svdInputs();

for (const device of ["reference", "wasm"] as const) {
  Deno.test(`singular values on ${device} are LAPACK's`, async (t) => {
    using on = await openDevice(device);
    for (const { name, values } of rows) {
      await t.step(name, async () => {
        const a = inputs.get(name)!;
        const rank = values.length;
        using memory = new DisposableStack();
        const alloc = (m: number, n: number) =>
          mat(memory.use(on.alloc(4 * m * n)), m, n);
        const e = alloc(a.rows, a.cols);
        on.write(e.buffer, a.data);
        using truncator = exactTruncator(on, { ...a, rank });
        const found = await truncator.factor(e, {
          b: alloc(a.rows, rank),
          a: alloc(rank, a.cols),
        });
        // Zero up to rounding, of LAPACK's in f64.
        assertAllClose(found, values, { rtol: 1e-5, atol: values[0] * 1e-13 });
      });
    }
  });
}

Deno.test("the leading randomised singular values are within a percent", async () => {
  for (const { name, values } of rows) {
    const a = inputs.get(name)!;
    const rank = Math.min(8, values.length);
    const { s } = await svd(a, { rank, method: "randomized" });
    for (let i = 0; i < rank; i++) {
      const share = s[i] / Math.max(values[i], values[0] * 1e-6);
      assert.ok(
        share < 1 + 1e-5,
        `${name}: value ${i} is ${share} of LAPACK's`,
      );
      if (values[i] > values[0] * 1e-6) {
        assert.ok(share > 0.99, `${name}: value ${i} is ${share} of LAPACK's`);
      }
    }
  }
});
