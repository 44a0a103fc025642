import assert from "node:assert/strict";
import { type Device, readF32 } from "../../src/device/device.ts";
import { mat } from "../../src/device/buffer.ts";
import { openDevice } from "../../src/backend/open.ts";
import type { Random } from "../../src/tensor/random.ts";
import { eachDevice } from "../helpers/gpu.ts";
import { forSeeds, integer, pick } from "../helpers/inputs.ts";

/** `rows x cols` with a condition of about this: normal columns times a triangle with a steep diagonal. */
function withCondition(
  random: Random,
  { rows, cols, condition }: { rows: number; cols: number; condition: number },
): Float32Array<ArrayBuffer> {
  const normal = random.normals(rows * cols);
  const out = new Float32Array(rows * cols);
  const mixed = random.normals(cols * cols);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) {
      const own = condition ** (-j / Math.max(1, cols - 1));
      let sum = own * normal[i * cols + j];
      // What the columns before it have of theirs keeps a column's length, not its direction.
      for (let k = 0; k < j; k++) {
        const theirs = condition ** (-k / Math.max(1, cols - 1));
        sum += 0.3 * theirs * mixed[k * cols + j] * normal[i * cols + k];
      }
      out[i * cols + j] = sum;
    }
  }
  return out;
}

async function check(
  device: Device,
  y: Float32Array<ArrayBuffer>,
  { rows, cols, offset, stride, what }: {
    rows: number;
    cols: number;
    offset: number;
    stride: number;
    what: string;
  },
): Promise<void> {
  using yBuffer = device.alloc((offset + rows * stride) * 4);
  using rBuffer = device.alloc(cols * cols * 4);
  const padded = new Float32Array(offset + rows * stride).fill(NaN);
  for (let i = 0; i < rows; i++) {
    padded.set(y.subarray(i * cols, (i + 1) * cols), offset + i * stride);
  }
  device.write(yBuffer, padded);
  device.ops.qr({
    y: mat(yBuffer, rows, cols, offset, stride),
    r: mat(rBuffer, cols, cols),
  });
  const [all, r] = await Promise.all([
    readF32(device, yBuffer),
    readF32(device, rBuffer),
  ]);
  const q = (i: number, j: number) => all[offset + i * stride + j];
  for (let i = 0; i < cols; i++) {
    for (let j = 0; j <= i; j++) {
      let dot = 0;
      for (let k = 0; k < rows; k++) dot += q(k, i) * q(k, j);
      const skew = Math.abs(dot - (i === j ? 1 : 0));
      assert.ok(skew <= 1e-5, `${what}: qᵀq[${i}, ${j}] is off by ${skew}`);
      if (j < i) assert.equal(r[i * cols + j], 0, what);
    }
  }
  const norm = Math.hypot(...y);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) {
      let sum = 0;
      for (let k = 0; k <= j; k++) sum += q(i, k) * r[k * cols + j];
      const off = Math.abs(sum - y[i * cols + j]);
      assert.ok(
        off <= 1e-6 * norm,
        `${what}: (q r)[${i}, ${j}] is off by ${off}`,
      );
    }
  }
}

eachDevice(
  (name) => `qr on ${name} holds for random shapes and conditions`,
  async (name) => {
    using device = await openDevice(name);
    await forSeeds(40, async (random) => {
      const cols = integer(random, 1, 50);
      const rows = cols + integer(random, 0, pick(random, [0, 9, 300]));
      const condition = 10 ** integer(random, 0, 4);
      const what = `${rows} x ${cols}, condition ${condition}`;
      const size = 10 ** integer(random, -12, 12);
      const y = withCondition(random, { rows, cols, condition })
        .map((x) => x * size);
      const offset = pick(random, [0, 5]);
      const stride = cols + pick(random, [0, 0, 3]);
      await check(device, y, { rows, cols, offset, stride, what });
    });
  },
);
