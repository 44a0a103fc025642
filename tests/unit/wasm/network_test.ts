import assert from "node:assert/strict";
import {
  type DeviceBuffer,
  type Mat,
  mat,
} from "../../../src/device/buffer.ts";
import { type PartialDevice, readF32 } from "../../../src/device/device.ts";
import { ACTIVATIONS } from "../../../src/device/contract/activation.ts";
import type { AttentionShape } from "../../../src/device/contract/attention.ts";
import type { NetworkOperations } from "../../../src/device/operations.ts";
import { openReferenceDevice } from "../../../src/device/reference/device.ts";
import { openWasmDevice } from "../../../wasm/device.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";

function normals(
  device: PartialDevice,
  rows: number,
  cols: number,
  label: string,
): Mat {
  const buffer = device.alloc(rows * cols * 4);
  device.write(buffer, new Random(1, label).normals(rows * cols));
  return mat(buffer, rows, cols);
}

function whole(device: PartialDevice, values: readonly number[]): DeviceBuffer {
  const buffer = device.alloc(values.length * 4);
  device.write(buffer, Int32Array.from(values));
  return buffer;
}

/** Results of every operation that threads share, large enough that all of them get a share. */
async function results(device: PartialDevice): Promise<Record<string, string>> {
  const ops = device.ops as NetworkOperations;
  const out: Record<string, string> = {};
  const keep = async (name: string, x: Mat | DeviceBuffer) => {
    const buffer = "buffer" in x ? x.buffer : x;
    out[name] = (await device.read(buffer)).toHex();
  };
  const [m, n] = [307, 402];
  const room = (rows = m, cols = n) => normals(device, rows, cols, "room");
  const [x, y, z] = ["x", "y", "z"].map((name) => normals(device, m, n, name));
  const weight = normals(device, 1, n, "weight").buffer;
  const inverse = normals(device, 1, m, "inverse").buffer;
  const ids = whole(device, Array.from({ length: m }, (_, i) => i * 7 % 50));
  const to = room();

  ops.combine({ x, y, out: to, alpha: 0.3, beta: 2 });
  await keep("combine", to);
  ops.addRow({ x, row: weight, out: to });
  await keep("addRow", to);
  ops.columnSums({ x, out: weight, beta: 1 });
  await keep("columnSums", weight);
  ops.gatherRows({ table: x, ids, out: to });
  await keep("gatherRows", to);
  ops.scatterRows({ x: y, ids, table: to });
  await keep("scatterRows", to);
  const pooled = normals(device, m, Math.ceil(n / 3), "pooled");
  ops.poolColumns({ x, group: 3, out: pooled });
  await keep("poolColumns", pooled);
  ops.spreadColumns({ x: pooled, group: 3, out: to, add: to });
  await keep("spreadColumns", to);
  ops.rmsNorm({ x, weight, epsilon: 1e-5, out: to, inverse });
  await keep("rmsNorm", to);
  const dweight = normals(device, 1, n, "dweight").buffer;
  ops.rmsNormBackward({ dy: y, x, weight, inverse, dx: to, add: z, dweight });
  await keep("rmsNormBackward", to);
  await keep("rmsNormBackward dweight", dweight);
  const [cos, sin] = ["cos", "sin"].map((name) => normals(device, 50, 3, name));
  ops.rope({ x, out: to, positions: ids, cos, sin, headDim: 6 });
  await keep("rope", to);
  ops.swiglu({ gate: x, up: y, out: to });
  await keep("swiglu", to);
  const dup = room();
  ops.swigluBackward({ dy: z, gate: x, up: y, dgate: to, dup });
  await keep("swigluBackward dgate", to);
  await keep("swigluBackward dup", dup);
  ops.dropout({ x, out: to, rate: 0.3, seed: 5 });
  await keep("dropout", to);
  const mean = normals(device, 1, m, "mean").buffer;
  const bias = normals(device, 1, n, "bias").buffer;
  ops.layerNorm({ x, weight, bias, epsilon: 1e-5, out: to, mean, inverse });
  await keep("layerNorm", to);
  await keep("layerNorm mean", mean);
  await keep("layerNorm inverse", inverse);
  ops.layerNormBackward({
    ...{ dy: y, x, weight, mean, inverse, dx: to, add: z },
    ...{ dweight, dbias: bias },
  });
  await keep("layerNormBackward", to);
  await keep("layerNormBackward dweight", dweight);
  await keep("layerNormBackward dbias", bias);
  for (const kind of ACTIVATIONS) {
    ops.activate({ x, out: to, kind });
    await keep(`activate ${kind}`, to);
    ops.activateBackward({ dy: y, x, dx: to, kind });
    await keep(`activateBackward ${kind}`, to);
  }
  const [time, heads, positions] = [102, 7, 30];
  const shape = {
    ...{ time, alpha: 0.4 },
    index: whole(
      device,
      Array.from({ length: 2 * time - 1 }, (_, i) => Math.floor(i / 7)),
    ),
  };
  const scores = room(heads * time, time);
  const [c2p, p2c] = [0, 1].map(() => room(heads * time, positions));
  ops.relativeScores({ scores, c2p, p2c, shape });
  await keep("relativeScores", scores);
  ops.relativeScoresBackward({ dscores: scores, dc2p: c2p, dp2c: p2c, shape });
  await keep("relativeScoresBackward dc2p", c2p);
  await keep("relativeScoresBackward dp2c", p2c);
  const soft = room(heads * time, time);
  const bounds = whole(
    device,
    Array.from({ length: heads }, (_, i) => [i, 100 - 9 * i]).flat(),
  );
  ops.maskedSoftmax({ x: scores, out: soft, rows: time, bounds });
  await keep("maskedSoftmax", soft);
  ops.maskedSoftmaxBackward({ dy: scores, y: soft, dx: scores });
  await keep("maskedSoftmaxBackward", scores);
  const step = {
    learningRate: 0.01,
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-8,
    weightDecay: 0.1,
    bias1: 0.1,
    bias2: 0.01,
  };
  const square = room();
  ops.combine({ x, out: square, alpha: 0 });
  ops.adamw({ param: x, grad: y, mean: z, square, step });
  await keep("adamw", x);
  const losses = normals(device, 1, m, "losses").buffer;
  ops.crossEntropy({ logits: y, labels: ids, losses, gradient: 0.5 });
  await keep("crossEntropy", losses);
  await keep("crossEntropy gradient", y);

  const attend = async (name: string, s: Partial<AttentionShape>) => {
    const shape: AttentionShape = {
      batch: 2,
      time: 150,
      keys: s.time ?? 150,
      capacity: s.keys ?? s.time ?? 150,
      heads: 4,
      kvHeads: 2,
      headDim: 20,
      scale: 0.2,
      causal: true,
      past: 0,
      window: 0,
      ...s,
    };
    const queries = [shape.batch * shape.time, shape.heads * 20] as const;
    const keys = [shape.batch * shape.capacity, shape.kvHeads * 20] as const;
    const q = normals(device, ...queries, "q");
    const [k, v] = ["k", "v"].map((name) => normals(device, ...keys, name));
    const [o, dy, dq] = ["o", "dy", "dq"].map((name) =>
      normals(device, ...queries, name)
    );
    const [dk, dv] = [room(...keys), room(...keys)];
    const logSumExp = room(shape.batch * shape.heads, shape.time).buffer;
    ops.attention({ q, k, v, out: o, shape, logSumExp });
    await keep(`attention ${name}`, o);
    await keep(`attention ${name}, log-sum-exp`, logSumExp);
    if (shape.past > 0) return;
    ops.attentionBackward({
      ...{ dy, q, k, v, out: o, logSumExp, shape },
      ...{ dq, dk, dv },
    });
    await keep(`attention ${name}, dq`, dq);
    await keep(`attention ${name}, dk`, dk);
    await keep(`attention ${name}, dv`, dv);
  };
  await attend("causal", {});
  await attend("one sequence", { batch: 1, causal: false, window: 90 });
  await attend("one query", { time: 1, past: 899, keys: 900 });
  return out;
}

Deno.test("wasm network: results are the same bit for bit on any number of threads, and beyond 2 GiB", async () => {
  using one = await openWasmDevice({ threads: 1 });
  const expected = await results(one);
  for (const threads of [2, 3]) {
    using device = await openWasmDevice({ threads });
    using _low = threads === 2 ? device.alloc(2 ** 31) : undefined;
    const got = await results(device);
    for (const [name, bytes] of Object.entries(expected)) {
      assert.equal(got[name] === bytes, true, `${name}, ${threads} threads`);
    }
  }
});

Deno.test("wasm network: attention over several tiles of keys and blocks of queries agrees with the reference", async () => {
  using wasm = await openWasmDevice({ threads: 2 });
  using reference = await openReferenceDevice();
  const cases: Partial<AttentionShape>[] = [
    { time: 210 },
    { time: 210, window: 170 },
    { time: 12, past: 320, keys: 332 },
    { time: 5, keys: 400, causal: false },
  ];
  for (const s of cases) {
    const shape: AttentionShape = {
      batch: 1,
      time: 1,
      keys: s.time!,
      capacity: s.keys ?? s.time!,
      heads: 4,
      kvHeads: 2,
      headDim: 12,
      scale: 0.5,
      causal: true,
      past: 0,
      window: 0,
      ...s,
    };
    const run = async (device: PartialDevice) => {
      const ops = device.ops as NetworkOperations;
      const [queries, keys] = [[shape.time, 48], [shape.capacity, 24]] as const;
      const q = normals(device, ...queries, "q");
      const [k, v] = ["k", "v"].map((name) => normals(device, ...keys, name));
      const [out, dy, dq] = ["out", "dy", "dq"].map((name) =>
        normals(device, ...queries, name)
      );
      const [dk, dv] = ["k", "v"].map((name) => normals(device, ...keys, name));
      const logSumExp = normals(device, 4, shape.time, "l").buffer;
      const forward = { q, k, v, out, shape, logSumExp };
      ops.attention(forward);
      const mats = [out];
      if (shape.past === 0) {
        ops.attentionBackward({ ...forward, dy, dq, dk, dv });
        mats.push(dq, dk, dv);
      }
      return await Promise.all(mats.map((x) => readF32(device, x.buffer)));
    };
    const [got, want] = [await run(wasm), await run(reference)];
    got.forEach((values, i) =>
      assertAllClose(values, want[i], { atol: 1e-5, rtol: 1e-5 })
    );
  }
});

Deno.test("wasm network: row numbers, positions and labels out of range are refused", async () => {
  using device = await openWasmDevice({ threads: 1 });
  const ops = device.ops as NetworkOperations;
  const x = normals(device, 2, 4, "x");
  const out = normals(device, 2, 4, "out");
  const before = await readF32(device, x.buffer);
  const refused = (run: () => void, text: RegExp) =>
    assert.throws(
      run,
      (error) => error instanceof RangeError && text.test(error.message),
    );
  const ids = whole(device, [1, 2]);
  refused(
    () => ops.gatherRows({ table: x, ids, out }),
    /gatherRows: ids must be below 2, got 2 at 1/,
  );
  refused(
    () => ops.scatterRows({ x: out, ids, table: x }),
    /scatterRows: ids must be below 2, got 2 at 1/,
  );
  const negative = whole(device, [-1, 0]);
  refused(
    () => ops.gatherRows({ table: x, ids: negative, out }),
    /below 2, got 4294967295 at 0/,
  );
  const [cos, sin] = [normals(device, 2, 2, "cos"), normals(device, 2, 2, "s")];
  refused(
    () => ops.rope({ x, out, positions: ids, cos, sin, headDim: 4 }),
    /rope: positions must be below 2, got 2 at 1/,
  );
  const labels = whole(device, [-100, 4]);
  refused(
    () => ops.crossEntropy({ logits: x, labels, losses: out.buffer }),
    /crossEntropy: labels must be below 4, got 4 at 1/,
  );
  const shape = { time: 2, index: whole(device, [0, 1, 4]), alpha: 1 };
  const scores = mat(out.buffer, 2, 2);
  refused(
    () => ops.relativeScores({ scores, p2c: x, shape }),
    /relativeScores: index must be below 4, got 4 at 2/,
  );
  refused(
    () => ops.relativeScoresBackward({ dscores: scores, dc2p: x, shape }),
    /relativeScoresBackward: index must be below 4, got 4 at 2/,
  );
  const bounds = whole(device, [0, 4, 1, 5]);
  refused(
    () => ops.maskedSoftmax({ x, out: x, rows: 1, bounds }),
    /maskedSoftmax: bounds must be below 5, got 5 at 3/,
  );
  assert.deepEqual(await readF32(device, x.buffer), before);
});

Deno.test("wasm network: activations far from 0, and what is no number", async () => {
  using device = await openWasmDevice({ threads: 1 });
  const ops = device.ops as NetworkOperations;
  const far = [-Infinity, -1e30, -200, -6, 6, 200, 1e30, Infinity];
  const values = [...far, NaN];
  const x = mat(device.alloc(values.length * 4), 1, values.length);
  const out = mat(device.alloc(values.length * 4), 1, values.length);
  device.write(x.buffer, Float32Array.from(values));
  for (const kind of ACTIVATIONS) {
    ops.activate({ x, out, kind });
    const got = [...(await readF32(device, out.buffer)).subarray(0, 9)];
    assert.ok(Number.isNaN(got[8]), kind);
    if (kind === "tanh") {
      assertAllClose(got.slice(0, 8), far.map(Math.sign), { atol: 2e-5 });
      continue;
    }
    // Minus infinity times zero is no number, in PyTorch too; relu cuts it off.
    assertAllClose(got.slice(1, 4), [0, 0, 0], { atol: 1e-6, what: kind });
    assert.deepEqual(got.slice(4, 8), far.slice(4).map(Math.fround), kind);
  }
});

Deno.test("wasm network: what is not finite shows, and what is minus infinity counts for nothing", async () => {
  using device = await openWasmDevice({ threads: 1 });
  const ops = device.ops as NetworkOperations;
  const buffer = device.alloc(12 * 4);
  const losses = device.alloc(16);
  const logits = mat(buffer, 4, 3);
  const [a, b] = [1, 1 + Math.log(3)];
  device.write(
    buffer,
    Float32Array.of(
      ...[a, -Infinity, b],
      ...[0, NaN, 0],
      ...[0, Infinity, 0],
      ...[-200, 0, -88],
    ),
  );
  const labels = whole(device, [0, 0, 0, 1]);
  ops.crossEntropy({ logits, labels, losses, gradient: 4 });
  const [first, second, third, fourth] = await readF32(device, losses);
  assert.ok(Math.abs(first - Math.log(4)) < 1e-6);
  assert.ok(Number.isNaN(second));
  assert.ok(Number.isNaN(third));
  assert.equal(fourth, 0);
  const gradient = await readF32(device, buffer);
  assert.ok(Math.abs(gradient[0] + 3) < 1e-6);
  assert.equal(gradient[1], 0);
  assert.ok(Math.abs(gradient[2] - 3) < 1e-6);
  assert.ok(gradient.subarray(3, 6).some(Number.isNaN));
  assert.deepEqual([...gradient.subarray(9)], [0, 0, 0]);
});
