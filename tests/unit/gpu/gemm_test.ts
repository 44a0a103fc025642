import assert from "node:assert/strict";
import { type Mat, mat } from "../../../src/device/buffer.ts";
import { readF32 } from "../../../src/device/device.ts";
import { openWebGpuDevice, type WebGpuDevice } from "../../../gpu/device.ts";
import {
  chooseTile,
  shareOut,
  TILES,
} from "../../../gpu/kernels/gemm/tiles.ts";
import { Random } from "../../../src/tensor/random.ts";
import { TABLE } from "../../conformance/table.ts";
import { assertConforms } from "../../helpers/conformance.ts";
import { allGemmKernels, compileErrors } from "../../helpers/gemm_kernels.ts";
import { faultyGpu, gpuTest, HARDWARE } from "../../helpers/gpu.ts";

/** Limits of every device; kernels for hardware keep to them. */
const FLOOR = {
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16384,
};

function openAsHardware(): Promise<WebGpuDevice> {
  return openWebGpuDevice({
    gpu: faultyGpu({ info: HARDWARE }),
    limits: FLOOR,
  });
}

Deno.test("tiles keep to the limits that every device has", () => {
  for (const { lanesX, lanesY, rows, cols, depth } of TILES) {
    assert.ok(lanesX * lanesY <= FLOOR.maxComputeInvocationsPerWorkgroup);
    const values = 2 * depth * (lanesX * cols + lanesY * rows);
    assert.ok(4 * values <= FLOOR.maxComputeWorkgroupStorageSize);
    assert.ok(lanesX * lanesY >= 64);
    assert.deepEqual([lanesX % 8, lanesY % 8, rows % 4, cols % 4], [
      0,
      0,
      0,
      0,
    ]);
    for (
      const share of [rows * depth / 4 / lanesX, cols * depth / 4 / lanesY]
    ) {
      assert.ok(share < 1 || Number.isInteger(share));
    }
  }
});

Deno.test("tiles: large ones for large results, narrow ones for narrow results", () => {
  const across = (m: number, n: number, count = 1) => {
    const t = chooseTile({ m, n, k: 512, count });
    return [t.lanesY * t.rows, t.lanesX * t.cols];
  };
  assert.deepEqual(across(4096, 4096), [128, 128]);
  assert.deepEqual(across(512, 512), [64, 64]);
  assert.deepEqual(across(512, 512, 8), [128, 128]);
  assert.deepEqual(across(1536, 24), [128, 32]);
  assert.deepEqual(across(24, 1536), [32, 128]);
});

Deno.test("shares of the inner indices cover them, in whole blocks", () => {
  const most = 2 ** 27;
  for (const m of [1, 24, 576, 4096]) {
    for (const n of [1, 24, 72, 4096]) {
      for (const k of [1, 16, 500, 1536, 100_003]) {
        const sizes = { m, n, k, count: 1 };
        const tile = chooseTile(sizes);
        const { part, parts } = shareOut(sizes, tile, { most });
        assert.ok(part * parts >= k && part * (parts - 1) < k);
        if (parts > 1) assert.equal(part % tile.depth, 0);
      }
    }
  }
  const skinny = { m: 576, n: 24, k: 1536, count: 1 };
  const tile = chooseTile(skinny);
  assert.ok(shareOut(skinny, tile, { most }).parts > 8);
  assert.equal(shareOut(skinny, tile, { most: 4 * 576 * 24 }).parts, 1);
  const square = { m: 4096, n: 4096, k: 4096, count: 1 };
  assert.equal(shareOut(square, chooseTile(square), { most }).parts, 1);
});

gpuTest(
  "the kernels for hardware conform, within the least limits",
  async () => {
    using device = await openAsHardware();
    await assertConforms(device, TABLE.filter(({ op }) => op === "gemm"));
  },
);

/** The most that two products of random matrices differ by, with the largest tile. */
async function largest(
  device: WebGpuDevice,
  { m, n, k, count, transA, transB }: {
    m: number;
    n: number;
    k: number;
    count: number;
    transA: boolean;
    transB: boolean;
  },
): Promise<void> {
  using memory = new DisposableStack();
  const random = new Random(m + n + k);
  const put = (rows: number, cols: number): [Mat, Float32Array] => {
    const values = Float32Array.from(random.normals(count * rows * cols));
    const buffer = memory.use(device.alloc(values.byteLength));
    device.write(buffer, values);
    return [mat(buffer, rows, cols), values];
  };
  const [a, aValues] = transA ? put(k, m) : put(m, k);
  const [b, bValues] = transB ? put(n, k) : put(k, n);
  const [c] = put(m, n);
  const sizes = { m, n, k, count };
  assert.equal(chooseTile(sizes), TILES[0]);
  device.ops.gemm!({
    a,
    b,
    c,
    transA,
    transB,
    batch: { count, a: m * k, b: k * n, c: m * n },
  });
  const got = await readF32(device, c.buffer);
  const [ai, al] = transA ? [1, m] : [k, 1];
  const [bl, bj] = transB ? [1, k] : [n, 1];
  for (let at = 0; at < got.length; at += 7) {
    const i = Math.floor(at / n) % m;
    const j = at % n;
    const z = Math.floor(at / (m * n));
    let sum = 0;
    let size = 0;
    for (let l = 0; l < k; l++) {
      const term = aValues[z * m * k + i * ai + l * al] *
        bValues[z * k * n + l * bl + j * bj];
      sum += term;
      size += Math.abs(term);
    }
    assert.ok(
      Math.abs(got[at] - sum) <= (k + 2) * 2 ** -24 * size,
      `${transA} ${transB} ${z} ${i} ${j}: ${got[at]} against ${sum}`,
    );
  }
}

gpuTest(
  "every kernel of products compiles, within the least limits",
  async () => {
    using device = await openAsHardware();
    const kernels = allGemmKernels();
    const keys = kernels.map(({ name, constants }) =>
      `${name} ${JSON.stringify(constants)}`
    );
    assert.equal(new Set(keys).size, kernels.length);
    assert.deepEqual(await compileErrors(device.context.device, kernels), []);
  },
);

gpuTest("the largest tile, in all transposes, with ragged sides", async () => {
  using device = await openAsHardware();
  for (const transA of [false, true]) {
    for (const transB of [false, true]) {
      const how = { count: 16, transA, transB };
      await largest(device, { m: 132, n: 260, k: 40, ...how });
      await largest(device, { m: 131, n: 257, k: 19, ...how });
    }
  }
});

gpuTest("more inner indices than a software adapter's loops turn", async () => {
  for (const open of [openWebGpuDevice, openAsHardware]) {
    using device = await open();
    const k = 300_001;
    using ones = device.alloc(4 * k);
    using result = device.alloc(4);
    device.write(ones, new Float32Array(k).fill(1));
    const [a, b, c] = [mat(ones, 1, k), mat(ones, k, 1), mat(result, 1, 1)];
    device.ops.gemm!({ a, b, c });
    device.ops.gemm!({ a, b, c, beta: 1, add: c });
    assert.deepEqual([...await readF32(device, result)], [2 * k]);
  }
});
