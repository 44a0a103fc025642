import assert from "node:assert/strict";
import type { Device } from "../../../src/device/device.ts";
import { type DeviceBuffer, mat } from "../../../src/device/buffer.ts";
import {
  NETWORK_OPERATIONS,
  type NetworkOperations,
} from "../../../src/device/operations.ts";
import { openWebGpuDevice } from "../../../gpu/device.ts";
import { matrix } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { networkTable } from "../../conformance/network_cases.ts";
import { Workspace } from "../../conformance/workspace.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { assertConforms } from "../../helpers/conformance.ts";
import { gpuTest } from "../../helpers/gpu.ts";
import { normalMatrix } from "../../helpers/inputs.ts";

/**
 * Bytes of a binding. With the least, a row of the table's larger matrices is too long for one; operations that need
 * whole rows, whole heads, or all of a vector, get as much as the longest of theirs takes.
 */
const LIMITS: Partial<Record<keyof NetworkOperations, number>> = {
  poolColumns: 4096,
  spreadColumns: 4096,
  rmsNorm: 4096,
  rmsNormBackward: 4096,
  layerNorm: 8192,
  layerNormBackward: 8192,
  relativeScores: 8192,
  relativeScoresBackward: 8192,
  maskedSoftmax: 4096,
  rope: 4096,
  attention: 4096,
  attentionBackward: 4096,
  crossEntropy: 131072,
  clipScale: 20480,
};
const LEAST = 1024;

function open(bytes?: number): Promise<Device> {
  return openWebGpuDevice({
    limits: bytes ? { maxStorageBufferBindingSize: bytes } : {},
  }) as Promise<Device>;
}

gpuTest("webgpu network: matrices larger than one binding", async (t) => {
  const table = networkTable();
  for (const op of NETWORK_OPERATIONS) {
    await t.step(op, async () => {
      using device = await open(LIMITS[op] ?? LEAST);
      await assertConforms(device, table.filter((row) => row.op === op));
    });
  }
});

gpuTest("webgpu network: a row too long for one binding", async () => {
  using device = await open(LEAST);
  using w = new Workspace(device);
  assert.throws(
    () =>
      device.ops.rmsNorm({
        x: w.room(1, 1000),
        out: w.room(1, 1000),
        weight: w.vector(new Float32Array(1000)),
        inverse: w.vector(new Float32Array(1)),
        epsilon: 0,
      }),
    /Cannot bind/,
  );
});

gpuTest("webgpu network: gradients side by side in one matrix", async () => {
  for (const bytes of [undefined, LEAST]) {
    using device = await open(bytes);
    using w = new Workspace(device);
    const random = new Random(1);
    const [gate, up, dy] = [0, 1, 2].map(() => normalMatrix(random, 9, 13));
    const apart = { dgate: w.room(9, 13), dup: w.room(9, 13) };
    device.ops.swigluBackward({
      dy: w.put(dy),
      gate: w.put(gate),
      up: w.put(up),
      ...apart,
    });
    const both = matrix(9, 26);
    for (let i = 0; i < 9; i++) {
      both.data.set(gate.data.subarray(i * 13, i * 13 + 13), i * 26);
      both.data.set(up.data.subarray(i * 13, i * 13 + 13), i * 26 + 13);
    }
    const { buffer } = w.put(both);
    const [left, right] = [0, 13].map((at) => mat(buffer, 9, 13, at, 26));
    device.ops.swigluBackward({
      dy: w.put(dy),
      gate: left,
      up: right,
      dgate: left,
      dup: right,
    });
    const result = await w.get(mat(buffer, 9, 26));
    const [dgate, dup] = [await w.get(apart.dgate), await w.get(apart.dup)];
    assertAllClose(
      result.data,
      Array.from({ length: 9 * 26 }, (_, e) => {
        const [i, j] = [Math.floor(e / 26), e % 26];
        return (j < 13 ? dgate : dup).data[i * 13 + j % 13];
      }),
    );
  }
});

gpuTest(
  "webgpu network: attention on one matrix of queries, keys and values",
  async () => {
    using device = await open();
    using w = new Workspace(device);
    const [time, headDim] = [37, 12];
    const shape = {
      batch: 1,
      time,
      keys: time,
      capacity: time,
      heads: 2,
      kvHeads: 1,
      headDim,
      scale: 0.3,
      causal: true,
      past: 0,
      window: 0,
    };
    const random = new Random(2);
    const all = normalMatrix(random, time, 4 * headDim);
    const cols = [2 * headDim, headDim, headDim];
    const starts = [0, 2 * headDim, 3 * headDim];
    const views = (buffer: DeviceBuffer) =>
      starts.map((at, i) => mat(buffer, time, cols[i], at, 4 * headDim));
    const alone = (x: { rows: number; cols: number }) => w.room(x.rows, x.cols);
    const [q, k, v] = views(w.put(all).buffer);
    const out = alone(q);
    const logSumExp = w.vector(new Float32Array(2 * time));
    device.ops.attention({ q, k, v, out, shape, logSumExp });
    const dy = w.put(normalMatrix(random, time, 2 * headDim));
    const run = ([dq, dk, dv]: (typeof q)[]) =>
      device.ops.attentionBackward({
        ...{ dy, q, k, v, out, logSumExp, shape, dq, dk, dv },
      });
    const separate = [q, k, v].map(alone);
    run(separate);
    const together = w.room(time, 4 * headDim);
    run(views(together.buffer));
    const expected = await Promise.all(separate.map((x) => w.get(x)));
    const result = await w.get(together);
    expected.forEach((x, n) => {
      x.data.forEach((value, e) => {
        const [i, j] = [Math.floor(e / x.cols), e % x.cols];
        assert.equal(result.data[i * 4 * headDim + starts[n] + j], value);
      });
    });
  },
);
