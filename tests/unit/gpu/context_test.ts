import assert from "node:assert/strict";
import { openGpuAdapter } from "../../../gpu/adapter.ts";
import { GpuContext, grid, type Kernel } from "../../../gpu/context.ts";
import { openWebGpuDevice } from "../../../gpu/device.ts";
import { mat } from "../../../src/device/buffer.ts";
import { gpuTest } from "../../helpers/gpu.ts";

/** `to[i] = from[i] * by + 1` for 64 words. */
const STEP: Kernel = {
  name: "step",
  code: `
    struct Params { by: u32 }
    @group(0) @binding(0) var<uniform> p: Params;
    @group(0) @binding(1) var<storage, read> a: array<u32>;
    @group(0) @binding(2) var<storage, read_write> b: array<u32>;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      b[id.x] = a[id.x] * p.by + 1u;
    }`,
};

/** `to[i] = factor + PLUS`, the two by override and an f32 parameter. */
const FILL: Kernel = {
  name: "fill",
  code: `
    override PLUS: f32;
    struct Params { factor: f32 }
    @group(0) @binding(0) var<uniform> p: Params;
    @group(0) @binding(1) var<storage, read_write> b: array<f32>;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      b[id.x] = p.factor + PLUS;
    }`,
};

async function open(): Promise<GpuContext> {
  return new GpuContext(await openGpuAdapter());
}

function whole(buffer: GPUBuffer, at = 0, bytes = 256) {
  return { buffer, at, bytes };
}

function step(
  context: GpuContext,
  { from, to, by }: { from: GPUBuffer; to: GPUBuffer; by: number },
): void {
  context.run(STEP, {
    params: [by],
    reads: [whole(from)],
    writes: [whole(to)],
    groups: [1],
  });
}

async function words(
  context: GpuContext,
  buffer: GPUBuffer,
  count = 64,
): Promise<number[]> {
  const bytes = await context.read(buffer, 0, count * 4);
  return [...new Uint32Array(bytes.buffer)];
}

const ALL = Uint32Array.from({ length: 64 }, (_, i) => i);

gpuTest(
  "context: runs, copies and writes happen in the order of the calls",
  async () => {
    using context = await open();
    const [a, b, c] = [context.take(256), context.take(256), context.take(256)];
    context.write(a, 0, new Uint8Array(ALL.buffer));
    step(context, { from: a, to: b, by: 2 });
    context.copy(b, c, { at: 0, toAt: 0, bytes: 256 });
    step(context, { from: b, to: a, by: 3 });
    context.write(b, 0, new Uint8Array(256));
    context.write(b, 4, Uint8Array.of(9, 0, 0, 0));
    const results = [
      words(context, a),
      words(context, b, 3),
      words(context, c),
    ];
    const [fromA, fromB, fromC] = await Promise.all(results);
    assert.deepEqual(fromC, [...ALL].map((x) => 2 * x + 1));
    assert.deepEqual(fromA, [...ALL].map((x) => 3 * (2 * x + 1) + 1));
    assert.deepEqual(fromB, [0, 9, 0]);
  },
);

gpuTest("context: data may be changed once it is written", async () => {
  using context = await open();
  const a = context.take(256);
  const data = Uint8Array.of(1, 0, 0, 0);
  context.write(a, 0, data);
  data.fill(7);
  assert.deepEqual(await words(context, a, 1), [1]);
});

gpuTest(
  "context: more runs than a batch holds keep their own parameters",
  async () => {
    using context = await open();
    const [a, b] = [context.take(256), context.take(256)];
    context.write(a, 0, new Uint8Array(256));
    let expected = 0;
    for (let i = 0; i < 1300; i++) {
      const [from, to] = i % 2 === 0 ? [a, b] : [b, a];
      step(context, { from, to, by: i % 3 });
      expected = (Math.imul(expected, i % 3) + 1) >>> 0;
    }
    assert.equal((await words(context, a, 1))[0], expected);
  },
);

gpuTest(
  "context: what is read and written at once is read as it was before",
  async () => {
    using context = await open();
    const a = context.take(1024);
    const values = Uint32Array.from({ length: 256 }, (_, i) => i);
    context.write(a, 0, new Uint8Array(values.buffer));
    context.run(STEP, {
      params: [10],
      reads: [whole(a, 512)],
      writes: [whole(a, 256)],
      groups: [1],
    });
    context.run(STEP, {
      params: [2],
      reads: [whole(a)],
      writes: [whole(a)],
      groups: [1],
    });
    const got = await words(context, a, 256);
    for (let i = 0; i < 64; i++) {
      assert.equal(got[i], 2 * i + 1);
      assert.equal(got[64 + i], 10 * (128 + i) + 1);
      assert.equal(got[128 + i], 128 + i);
    }
  },
);

gpuTest(
  "context: a temporary released at once is not reused before its work is done",
  async () => {
    using context = await open();
    const [a, out] = [context.take(256), context.take(256)];
    context.write(a, 0, new Uint8Array(ALL.buffer));
    const first = context.take(256);
    step(context, { from: a, to: first, by: 5 });
    context.release(first);
    const second = context.take(256);
    step(context, { from: a, to: second, by: 7 });
    context.release(second);
    step(context, { from: first, to: out, by: 1 });
    assert.notEqual(first, second);
    assert.deepEqual(await words(context, out), [...ALL].map((x) => 5 * x + 2));
    // Now both are free.
    assert.ok([first, second].includes(context.take(256)));
  },
);

gpuTest(
  "context: parameters as f32, constants make pipelines of their own",
  async () => {
    using context = await open();
    const a = context.take(256);
    for (const plus of [0.5, 2]) {
      context.run({ ...FILL, constants: { PLUS: plus } }, {
        params: [{ f32: 0.25 }],
        reads: [],
        writes: [whole(a)],
        groups: [1],
      });
      const [value] = new Float32Array((await context.read(a, 0, 4)).buffer);
      assert.equal(value, 0.25 + plus);
    }
  },
);

gpuTest(
  "context: no groups, no run; reading nothing gives nothing",
  async () => {
    using context = await open();
    const a = context.take(256);
    context.write(a, 0, new Uint8Array(256));
    context.run(STEP, {
      params: [1],
      reads: [],
      writes: [whole(a)],
      groups: [1, 0],
    });
    context.copy(a, a, { at: 0, toAt: 0, bytes: 0 });
    context.write(a, 0, new Uint8Array(0));
    assert.equal((await context.read(a, 0, 0)).length, 0);
    assert.deepEqual(await words(context, a, 2), [0, 0]);
  },
);

gpuTest("context: disposed twice, and refusing work after that", async () => {
  const context = await open();
  const a = context.take(256);
  step(context, { from: context.take(256), to: a, by: 1 });
  context[Symbol.dispose]();
  context[Symbol.dispose]();
  context.release(a);
  assert.throws(() => context.take(4), TypeError);
  await assert.rejects(context.read(a, 0, 4), TypeError);
});

Deno.test("grid: enough workgroups, none beyond 65535 a dimension", () => {
  for (const count of [1, 64, 65535, 65536, 200_000, 10_000_019]) {
    const [x, y] = grid(count);
    assert.ok(x <= 65535 && y <= 65535);
    assert.ok(x * y >= count && x * y - count < y);
  }
});

gpuTest("context: memory is back where it was after many rounds", async () => {
  using device = await openWebGpuDevice();
  const round = async () => {
    using memory = new DisposableStack();
    const make = (rows: number, cols: number) =>
      mat(memory.use(device.alloc(rows * cols * 4)), rows, cols);
    const [a, b, c] = [make(96, 48), make(48, 32), make(96, 32)];
    device.write(a.buffer, new Float32Array(96 * 48).fill(1));
    device.write(b.buffer, new Float32Array(48 * 32).fill(2));
    device.ops.gemm!({ a, b, c });
    device.ops.gemm!({ a, b, c, beta: 1, add: c });
    // In place within one buffer: needs a temporary.
    device.ops.gemm!({
      a: { ...a, rows: 32 },
      b,
      c: mat(a.buffer, 32, 32, 64 * 48),
    });
    const got = await device.read(c.buffer, 0, 4);
    assert.equal(new Float32Array(got.buffer)[0], 192);
  };
  for (let i = 0; i < 2; i++) await round();
  const { bytes } = device.context.pool;
  for (let i = 0; i < 30; i++) await round();
  assert.equal(device.context.pool.bytes, bytes);
  assert.equal(device.memory.bytes, 0);
});
