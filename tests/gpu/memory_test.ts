import assert from "node:assert/strict";
import { openDevice } from "../../src/backend/open.ts";
import type { WebGpuDevice } from "../../gpu/device.ts";
import { loftq } from "../../src/api/loftq.ts";
import { Random } from "../../src/tensor/random.ts";
import { gpuTest } from "../helpers/gpu.ts";
import { normalMatrix } from "../helpers/inputs.ts";

const MIB = 2 ** 20;

gpuTest(
  "100 inits of a layer leave no memory behind, on the GPU or in the process",
  async () => {
    using device = await openDevice("webgpu");
    const { pool } = (device as unknown as WebGpuDevice).context;
    const before = device.memory.bytes;
    const weight = normalMatrix(new Random(0), 128, 256);
    const levels: { pool: number; rss: number }[] = [];
    for (let i = 0; i < 100; i++) {
      await loftq(weight, { format: "nf4", rank: 4, iterations: 1, device });
      assert.equal(device.memory.bytes, before);
      levels.push({ pool: pool.bytes, rss: Deno.memoryUsage().rss });
    }
    // What is kept for the next layer is no more after the hundredth than after the second.
    assert.equal(levels[99].pool, levels[1].pool);
    assert.ok(levels[99].pool < 16 * MIB, `${levels[99].pool}`);
    // One layer takes this much at once: what 80 of them left would show.
    assert.ok(device.memory.peakBytes > MIB / 4);
    // The engine's own heap comes and goes by some 16 MiB; half a megabyte a layer would be 40.
    const grown = levels[99].rss - levels[19].rss;
    assert.ok(grown < 32 * MIB, `${grown / MIB} MiB`);
    pool.trim(0);
    assert.equal(pool.bytes, 0);
  },
);

gpuTest(
  "what is written or read many times leaves nothing behind",
  async () => {
    using device = await openDevice("webgpu");
    using buffer = device.alloc(4 * MIB);
    const data = new Uint8Array(4 * MIB);
    let level = 0;
    for (let i = 0; i < 100; i++) {
      device.write(buffer, data);
      if (i % 10 === 9) await device.read(buffer, 0, 4);
      if (i === 20) level = Deno.memoryUsage().rss;
    }
    for (let i = 0; i < 30; i++) await device.read(buffer);
    const grown = Deno.memoryUsage().rss - level;
    assert.ok(
      grown < 100 * MIB,
      `${grown / MIB} MiB of 300 and 120 written and read`,
    );
  },
);
