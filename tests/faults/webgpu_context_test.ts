import assert from "node:assert/strict";
import type { GpuContext, Kernel } from "../../gpu/context.ts";
import { mat } from "../../src/device/buffer.ts";
import { readF32 } from "../../src/device/device.ts";
import { openWebGpuDevice } from "../../gpu/device.ts";
import { gpuTest, openFaulty } from "../helpers/gpu.ts";
import { FAULTS, nth } from "../helpers/gpu_faults.ts";
import { outcome, spawnLoqa } from "../helpers/cli.ts";

/** Writes the number of each of 64 words; `line` is put into its middle. */
const counting = (line = ""): Kernel => ({
  name: "counting",
  code: `
    struct Params { first: u32 }
    @group(0) @binding(0) var<uniform> params: Params;
    @group(0) @binding(1) var<storage, read_write> words: array<u32>;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      ${line}
      words[id.x] = params.first + id.x;
    }`,
});

function count(
  context: GpuContext,
  { kernel = counting(), groups = 1 }: { kernel?: Kernel; groups?: number } =
    {},
): GPUBuffer {
  const buffer = context.take(256);
  context.run(kernel, {
    params: [7],
    reads: [],
    writes: [{ buffer, at: 0, bytes: 256 }],
    groups: [groups],
    shape: "64",
  });
  return buffer;
}

async function assertWorks(context: GpuContext): Promise<void> {
  const buffer = count(context);
  const words = new Uint32Array((await context.read(buffer, 0, 256)).buffer);
  assert.deepEqual([...words.subarray(0, 3), words[63]], [7, 8, 9, 70]);
  context.release(buffer);
}

const lost = { name: "DeviceLostError", message: /^[^\n]* was lost: [^\n]+$/ };

/** Asserts that every one of them ends, and so. */
async function assertLost(results: Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(results)) {
    assert.ok(result.status === "rejected");
    assert.equal(result.reason.name, lost.name);
    assert.match(result.reason.message, lost.message);
  }
}

gpuTest(
  "a shader that does not compile: each use says so, with its name, in one line",
  async () => {
    using device = await openWebGpuDevice();
    const { context } = device;
    const kernel = counting("let x: f32 = nowhere;");
    for (let i = 0; i < 2; i++) {
      const buffer = count(context, { kernel });
      await assert.rejects(context.read(buffer, 0, 256), {
        name: "DeviceFaultError",
        message: /, the kernel counting: [^\n]*nowhere[^\n]*$/,
      });
      context.release(buffer);
    }
    await assertWorks(context);
  },
);

gpuTest(
  "a dispatch that WebGPU refuses: the next wait names kernel and shape",
  async () => {
    using device = await openWebGpuDevice();
    const { context } = device;
    const buffer = count(context, { groups: 65536 });
    await assert.rejects(
      context.settle().then(() => context.read(buffer, 0, 4)),
      {
        name: "DeviceFaultError",
        message: /, counting 64: [^\n]+$/,
      },
    );
    context.release(buffer);
    await assertWorks(context);
  },
);

gpuTest(
  "a binding that does not fit the kernel is reported, the first of a batch too",
  async () => {
    using device = await openWebGpuDevice();
    const { context } = device;
    const buffer = context.take(256);
    const span = { buffer, at: 0, bytes: 256 };
    context.run(counting(), {
      params: [],
      reads: [span],
      writes: [{ ...span, buffer: context.take(256) }],
      groups: [1],
    });
    await assert.rejects(context.read(buffer, 0, 256), {
      name: "DeviceFaultError",
      message: /, counting : [^\n]+$/,
    });
    await assertWorks(context);
  },
);

gpuTest("an error outside of all scopes reaches the next wait", async () => {
  using device = await openWebGpuDevice();
  const { context } = device;
  const buffer = context.take(256);
  context.device.queue.writeBuffer(buffer, 252, new Uint8Array(8));
  await assert.rejects(context.read(buffer, 0, 256), {
    name: "DeviceFaultError",
  });
  await assertWorks(context);
});

gpuTest(
  "a buffer larger than any: RangeError at once, the device goes on",
  async () => {
    using device = await openWebGpuDevice({
      limits: { maxBufferSize: 1 << 20 },
    });
    const refused = { name: "DeviceMemoryError", message: /^Cannot allocate / };
    assert.throws(() => device.alloc((1 << 20) + 1), refused);
    assert.throws(() => device.alloc(2 ** 40), RangeError);
    assert.throws(() => device.alloc(-1), RangeError);
    assert.equal(device.memory.bytes, 0);
    // Sizes are rounded up to a class, but not beyond the limit.
    using large = device.alloc((1 << 20) - 5);
    device.write(large, Uint8Array.of(1, 2, 3), large.bytes - 3);
    assert.deepEqual([...await device.read(large, large.bytes - 4)], [
      0,
      1,
      2,
      3,
    ]);
  },
);

gpuTest(
  "no memory for a buffer: told by the next wait, and the buffer is not used again",
  async () => {
    using device = await openFaulty((gpu) => FAULTS.memory(gpu, nth(2)));
    {
      using buffer = device.alloc(1000);
      await assert.rejects(device.read(buffer), {
        name: "DeviceFaultError",
        message: /, a buffer of \d+ bytes: Not enough memory left$/,
      });
    }
    assert.equal(device.context.pool.bytes, 0);
    using buffer = device.alloc(1000);
    device.write(buffer, new Uint8Array(1000).fill(5));
    assert.ok((await device.read(buffer)).every((x) => x === 5));
  },
);

gpuTest(
  "lost before a read: the read and all that follows say so, disposing does not",
  async () => {
    using device = await openWebGpuDevice();
    using buffer = device.alloc(4096);
    const x = mat(buffer, 32, 32);
    const results = [device.read(buffer), device.read(buffer)];
    device.context.device.destroy();
    await assertLost(results);
    await assert.rejects(device.read(buffer), lost);
    assert.throws(() => device.write(buffer, new Uint8Array(8)), lost);
    assert.throws(() => device.ops.gemm!({ a: x, b: x, c: x }), lost);
    assert.throws(() => device.alloc(8), lost);
  },
);

gpuTest("lost with work recorded, then used at once", async () => {
  using device = await openWebGpuDevice();
  const buffer = count(device.context);
  device.context.device.destroy();
  await assert.rejects(device.context.read(buffer, 0, 256), lost);
  await assert.rejects(device.context.settle(), lost);
});

for (const fault of ["lost", "lostWhileReading"] as const) {
  for (const strikes of [1, 3]) {
    gpuTest(
      `${fault}, time ${strikes}: the read ends with an error`,
      async () => {
        using device = await openFaulty((gpu) =>
          FAULTS[fault](gpu, nth(strikes))
        );
        using buffer = device.alloc(1 << 20);
        for (let i = 1; i < strikes; i++) {
          device.write(buffer, new Float32Array(4).fill(i));
          const got = readF32(device, buffer, 0, 4);
          // A write is sent with what was recorded before it: nothing here.
          assert.deepEqual([...await got], [i, i, i, i]);
        }
        await assert.rejects(device.read(buffer), lost);
        await assert.rejects(device.read(buffer), lost);
      },
    );
  }
}

gpuTest("lost while work waits in line behind the CPU", async () => {
  using device = await openWebGpuDevice();
  using memory = new DisposableStack();
  const room = (rows: number, cols: number) =>
    mat(memory.use(device.alloc(rows * cols * 4)), rows, cols);
  const [a, u, s, vt] = [room(8, 8), room(8, 8), room(1, 8), room(8, 8)];
  device.write(a.buffer, new Float32Array(64).fill(1));
  device.ops.svd!({ a, u, s, vt });
  device.ops.gemm!({ a: u, b: vt, c: a });
  device.ops.svd!({ a, u, s, vt });
  const results = [device.read(s.buffer), device.read(a.buffer)];
  device.context.device.destroy();
  await assertLost(results);
  await assert.rejects(device.read(s.buffer), lost);
});

gpuTest(
  "disposed while a read waits: the read ends with an error",
  async () => {
    const device = await openWebGpuDevice();
    const buffer = device.alloc(1 << 16);
    const result = device.read(buffer);
    device[Symbol.dispose]();
    await assert.rejects(result, lost);
    assert.throws(() => device.alloc(4), TypeError);
    buffer[Symbol.dispose]();
    device[Symbol.dispose]();
    assert.equal(device.memory.bytes, 0);
    assert.equal(device.context.pool.bytes, 0);
  },
);

const ENDS: Record<string, string> = {
  "disposed": "device[Symbol.dispose]();",
  "never disposed": "",
  "lost": "device.context.device.destroy();",
  "disposed while a read waits":
    "device.read(buffer).catch(() => console.log('rejected')); device[Symbol.dispose]();",
  "lost, and nobody asks for what was recorded":
    "device.ops.gemm!({ a: x, b: x, c: y }); device.context.device.destroy();",
  "disposed with work recorded":
    "device.ops.gemm!({ a: x, b: x, c: y }); device[Symbol.dispose]();",
  "a fault, and nobody waits":
    "device.context.run({ name: 'none', code: 'fn' }, { params: [], reads: [], writes: [], groups: [1] });" +
    "device[Symbol.dispose]();",
};

for (const [end, code] of Object.entries(ENDS)) {
  gpuTest(`a process ends by itself and in peace: ${end}`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "loqa-test-" });
    try {
      const root = new URL("../../", import.meta.url);
      const script = `${folder}/end.ts`;
      await Deno.writeTextFile(
        script,
        `import { mat } from "${root}src/device/buffer.ts";
         import { openWebGpuDevice } from "${root}gpu/device.ts";
         const device = await openWebGpuDevice();
         const buffer = device.alloc(1024);
         const x = mat(buffer, 16, 16);
         const y = mat(device.alloc(1024), 16, 16);
         device.write(buffer, new Float32Array(256).fill(1));
         await device.read(buffer);
         ${code}
         console.log("end");`,
      );
      const child = spawnLoqa([], { main: script });
      const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
      const { code: exit, stdout, stderr } = await outcome(child);
      clearTimeout(timer);
      assert.equal(stderr, "");
      assert.match(stdout, /^end\n(rejected\n)?$/);
      assert.equal(exit, 0);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
