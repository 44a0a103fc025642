import assert from "node:assert/strict";
import { denseWeight } from "../../../src/autograd/linear_weight.ts";
import { mat } from "../../../src/device/buffer.ts";
import { readF32 } from "../../../src/device/device.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { fitsEightBit, ownEightBit } from "../../../src/nn/eight_bit.ts";
import { Random } from "../../../src/tensor/random.ts";

for (const name of ["wasm", "reference"] as const) {
  Deno.test(`ownEightBit(): few rows in 8 bits, more in f32, on ${name}`, async () => {
    using device = await openDevice(name);
    const [rows, cols, stride] = [37, 96, 100];
    const random = new Random(0);
    using memory = new DisposableStack();
    const put = (values: Float32Array) => {
      const buffer = memory.use(device.alloc(values.byteLength));
      device.write(buffer, values);
      return buffer;
    };
    const values = random.normals(rows * stride);
    // A group of one value, and one of zeros.
    values.fill(0.5, 0, 32);
    values.fill(0, 32, 64);
    const value = mat(put(values), rows, cols, 0, stride);
    const dense = denseWeight(value);
    using own = await ownEightBit(device, dense, value);
    assert.deepEqual([own.weight.rows, own.weight.cols], [rows, cols]);
    for (const m of [1, 4, 5]) {
      const x = mat(put(random.normals(m * cols)), m, cols);
      const added = put(random.normals(m * rows));
      const outputs = [];
      for (const weight of [dense, own.weight]) {
        const y = mat(put(new Float32Array(m * rows)), m, rows);
        weight.forward(device, x, { y, add: mat(added, m, rows) });
        outputs.push(await readF32(device, y.buffer));
      }
      const [exact, found] = outputs;
      if (m > 4) {
        assert.deepEqual(found, exact);
        continue;
      }
      assert.notDeepEqual(found, exact);
      const inputs = await readF32(device, x.buffer);
      for (let i = 0; i < m; i++) {
        for (let o = 0; o < rows; o++) {
          let limit = 1e-4;
          for (let g = 0; g < cols; g += 32) {
            const w = values.subarray(o * stride + g, o * stride + g + 32);
            const xs = inputs.subarray(i * cols + g, i * cols + g + 32);
            const largest = Math.max(...xs.map(Math.abs));
            const half = (Math.max(...w) - Math.min(...w)) / 510;
            // Half a step of each weight, and of each input in both parts of the weight.
            for (let j = 0; j < 32; j++) {
              limit += half * Math.abs(xs[j]) +
                largest / 254 * (Math.abs(w[j]) + half);
            }
          }
          const at = i * rows + o;
          assert.ok(Math.abs(found[at] - exact[at]) <= limit);
        }
      }
    }
  });
}

Deno.test("ownEightBit(): rows of whole groups only", async () => {
  assert.ok(fitsEightBit(64));
  assert.ok(!fitsEightBit(40));
  using device = await openDevice("reference");
  using buffer = device.alloc(2 * 40 * 4);
  const value = mat(buffer, 2, 40);
  await assert.rejects(
    ownEightBit(device, denseWeight(value), value),
    /wanted rows of whole groups of 32, got 40 values/,
  );
});
