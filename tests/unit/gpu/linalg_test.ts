import assert from "node:assert/strict";
import { mat } from "../../../src/device/buffer.ts";
import { readF32 } from "../../../src/device/device.ts";
import { openWebGpuDevice } from "../../../gpu/device.ts";
import { Random } from "../../../src/tensor/random.ts";
import { TABLE } from "../../conformance/table.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { assertConforms } from "../../helpers/conformance.ts";
import { gpuTest } from "../../helpers/gpu.ts";

gpuTest("factorisations of matrices above one binding", async () => {
  // A block of 32 rows must fit, what is below it need not.
  const limits = { maxStorageBufferBindingSize: 32768 };
  using device = await openWebGpuDevice({ limits });
  const ops = ["qr", "cholesky", "solveRight"];
  await assertConforms(device, TABLE.filter(({ op }) => ops.includes(op)));
});

gpuTest("factorisations with the least workgroup memory", async () => {
  const limits = { maxComputeWorkgroupStorageSize: 16384 };
  using device = await openWebGpuDevice({ limits });
  await assertConforms(device, TABLE.filter(({ op }) => op === "qr"));
});

gpuTest("what the CPU does stays in the order of the calls", async () => {
  using device = await openWebGpuDevice();
  const { gemm, svd } = device.ops;
  using stack = new DisposableStack();
  const room = (rows: number, cols: number) =>
    mat(stack.use(device.alloc(rows * cols * 4)), rows, cols);
  const n = 12;
  const values = new Random(1).normals(n * n);
  const [a, doubled, one] = [room(n, n), room(n, n), room(1, 1)];
  const [u, s, vt] = [room(n, n), room(1, n), room(n, n)];
  device.write(a.buffer, values);
  device.write(one.buffer, Float32Array.of(2));
  const flat = (x: typeof a) => mat(x.buffer, n * n, 1);
  gemm!({ a: flat(a), b: one, c: flat(doubled) });
  svd!({ a: doubled, u, s, vt });
  {
    // Gone before its turn comes.
    using gone = device.alloc(n * n * 4);
    const copy = mat(gone, n, n);
    gemm!({ a: u, b: u, transA: true, c: copy });
    gemm!({ a: copy, b: vt, c: u });
  }
  // Overwritten after the svd was asked for, which still sees what was there.
  device.write(doubled.buffer, new Float32Array(n * n));
  const [found, right] = await Promise.all([
    readF32(device, s.buffer),
    readF32(device, u.buffer),
  ]);
  assertAllClose(right, await readF32(device, vt.buffer), { atol: 1e-5 });
  let total = 0;
  for (const x of values) total += 4 * x * x;
  const energy = found.reduce((sum, x) => sum + x * x, 0);
  assertAllClose([energy], [total], { rtol: 1e-5 });
  assert.ok(found.every((x, i) => i === 0 || x <= found[i - 1]));
});

gpuTest("factorisations give back what they work in", async () => {
  using device = await openWebGpuDevice();
  const { qr, cholesky, solveRight } = device.ops;
  const [rows, n] = [90, 50];
  using x = device.alloc(rows * n * 4);
  using square = device.alloc(n * n * 4);
  const [y, h] = [mat(x, rows, n), mat(square, n, n)];
  const held = [];
  for (let round = 0; round < 8; round++) {
    device.write(x, new Random(round).normals(rows * n));
    device.ops.gemm!({ a: y, b: y, c: h, transA: true });
    cholesky!({ h, l: h, damping: 0 });
    solveRight!({ x: y, l: h, transpose: true });
    qr!({ y, r: h });
    // The columns were orthonormal before, up to rounding: their triangle is the identity.
    const r = await readF32(device, square);
    assertAllClose(
      r,
      r.map((_, i) => i % (n + 1) === 0 ? 1 : 0),
      { atol: 1e-4 },
    );
    held.push(device.context.pool.bytes);
  }
  assert.equal(device.memory.bytes, (rows + n) * n * 4);
  assert.equal(held.at(-1), held[2], "bytes of buffers that exist");
});
