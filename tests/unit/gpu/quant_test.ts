import assert from "node:assert/strict";
import { type Device, readF32 } from "../../../src/device/device.ts";
import { mat } from "../../../src/device/buffer.ts";
import { quantSizes, type ScaleRule } from "../../../src/device/quant_mat.ts";
import { openReferenceDevice } from "../../../src/device/reference/device.ts";
import { openWebGpuDevice, type WebGpuDevice } from "../../../gpu/device.ts";
import {
  format,
  type FormatName,
  scaleRules,
} from "../../../src/quant/formats.ts";
import { allocQuant } from "../../../src/quant/quantize.ts";
import { Random } from "../../../src/tensor/random.ts";
import { TABLE } from "../../conformance/table.ts";
import { assertBytes } from "../../helpers/assert.ts";
import { assertConforms } from "../../helpers/conformance.ts";
import { faultyGpu, gpuTest, HARDWARE } from "../../helpers/gpu.ts";

const FORMATS = ["nf4", "nf3", "nf2", "int5", "int4", "int3", "int2"] as const;

/** Kernels for hardware, within what every device has, or with small bindings. */
function open(
  { hardware = false, bound }: { hardware?: boolean; bound?: number },
): Promise<WebGpuDevice> {
  return openWebGpuDevice({
    ...(hardware && { gpu: faultyGpu({ info: HARDWARE }) }),
    limits: {
      maxComputeInvocationsPerWorkgroup: 256,
      maxComputeWorkgroupStorageSize: 16384,
      ...(bound && { maxStorageBufferBindingSize: bound }),
    },
  });
}

const products = TABLE.filter(({ op }) => op === "gemmQuantized");

gpuTest("gemmQuantized by the kernels for hardware conforms", async () => {
  using device = await open({ hardware: true });
  await assertConforms(device, products);
});

const int8 = TABLE.filter(({ op }) => op === "gemmInt8");

gpuTest(
  "gemmInt8 by the kernels for hardware conforms, whole and in parts",
  async () => {
    for (const bound of [undefined, 16384]) {
      using device = await open({ hardware: true, bound });
      assert.ok(device.context.packedDots);
      await assertConforms(device, int8);
    }
  },
);

for (const transQ of [true, false]) {
  gpuTest(
    `gemmInt8 rounds as the reference does${transQ ? " (qᵀ)" : ""}`,
    async () => {
      const random = new Random(11);
      const [m, rows, cols] = [70, 208, 160];
      const [k, n] = transQ ? [cols, rows] : [rows, cols];
      const [x, w] = [random.normals(m * k), random.normals(rows * cols)];
      const found: Float32Array[] = [];
      using gpu = await open({ hardware: true });
      using oracle = await openReferenceDevice();
      for (const device of [gpu, oracle] as Device[]) {
        using memory = new DisposableStack();
        const put = (rows: number, cols: number, data: Float32Array) => {
          const buffer = memory.use(device.alloc(4 * rows * cols));
          device.write(buffer, data);
          return mat(buffer, rows, cols);
        };
        const shape = { rows, cols, block: 32 };
        const q = memory.use(allocQuant(device, format("int4"), shape));
        device.ops.quantize({ w: put(rows, cols, w), q, scale: "minmax" });
        const c = put(m, n, new Float32Array(m * n));
        const before = device.memory.bytes;
        device.ops.gemmInt8({ a: put(m, k, x), q, c, transQ });
        found.push(await readF32(device, c.buffer));
        assert.equal(device.memory.bytes - before, 4 * m * k);
      }
      const [ours, wanted] = found;
      const size = Math.max(...wanted.map(Math.abs));
      // A GPU may divide a little otherwise, so that a value at a tie goes the other way: then a sum differs by 1e-3 of these.
      const far = ours.filter((y, i) => Math.abs(y - wanted[i]) > 4e-6 * size);
      assert.ok(far.length < 0.01 * ours.length, `${far.length}`);
    },
  );
}

for (const hardware of [true, false]) {
  gpuTest(
    `gemmQuantized conforms in parts, ${
      hardware ? "as on hardware" : "in software"
    }`,
    async () => {
      using device = await open({ hardware, bound: 16384 });
      await assertConforms(
        device,
        products.filter(({ name }) => /^nf4|^int3/.test(name)),
      );
    },
  );
}

interface Input {
  format: FormatName;
  rule: ScaleRule;
  block: number;
  rows: number;
  cols: number;
  /** Elements between rows. */
  gap?: number;
  value?: (normal: number, index: number) => number;
  weighted?: boolean;
}

/** Codes, scales and biases of a matrix, and what they stand for, as bytes. */
async function roundTrip(device: Device, input: Input) {
  const { rows, cols, gap = 0, block, rule } = input;
  const spec = format(input.format);
  using memory = new DisposableStack();
  const put = (values: Float32Array) => {
    const buffer = memory.use(device.alloc(values.byteLength));
    device.write(buffer, values);
    return buffer;
  };
  const values = new Random(block + rows).normals(rows * (cols + gap))
    .map(input.value ?? ((x) => x));
  const x = mat(put(values), rows, cols, 0, cols + gap);
  const q = memory.use(allocQuant(device, spec, { rows, cols, block }));
  const weight = input.weighted
    ? put(new Random(7).normals(cols).map((v) => v * v))
    : undefined;
  device.ops.quantize({ w: x, q, scale: rule, weight });
  device.ops.dequantize({ q, out: x, from: x });
  const { blocks, codeBytes } = quantSizes(spec, rows, cols, block);
  const [codes, scales, biases, rest] = await Promise.all([
    device.read(q.codes, 0, codeBytes),
    device.read(q.scales, 0, blocks * 4),
    q.biases ? device.read(q.biases, 0, blocks * 4) : new Uint8Array(0),
    device.read(x.buffer),
  ]);
  return { codes, scales, biases, rest };
}

async function assertSame(
  device: WebGpuDevice,
  input: Input,
  keys: readonly ("scales" | "biases" | "codes" | "rest")[] = [
    "scales",
    "biases",
    "codes",
    "rest",
  ],
): Promise<void> {
  using reference = await openReferenceDevice() as Device;
  const ours = await roundTrip(device as Device, input);
  const wanted = await roundTrip(reference, input);
  const { format: name, rule, block, rows, cols } = input;
  for (const key of keys) {
    assertBytes(
      ours[key],
      wanted[key],
      `${key} of ${name} ${rule} block ${block} ${rows}x${cols}`,
    );
  }
}

gpuTest("every rule gives the reference's bytes, the search too", async () => {
  using device = await open({});
  for (const name of FORMATS) {
    for (const rule of scaleRules(format(name))) {
      // Sums in another order would be no fault, but these are done in the same one.
      const base = { format: name, rule, rows: 37, cols: 129 };
      await assertSame(device, { ...base, block: 64, gap: 3 });
      await assertSame(device, { ...base, block: 0 });
      if (rule === "mse") {
        await assertSame(device, { ...base, block: 32, weighted: true });
      }
    }
  }
});

gpuTest("blocks of several pieces, in several bindings", async () => {
  using device = await open({ bound: 32768 });
  const base = { rows: 71, cols: 311 };
  for (const rule of ["absmax", "mse"] as const) {
    for (const name of ["nf3", "int3"] as const) {
      for (const block of [0, 20000, 3000, 1024, 7]) {
        await assertSame(device, { ...base, format: name, rule, block });
      }
      await assertSame(device, {
        ...base,
        ...{ format: name, rule, block: 32, gap: 5 },
      });
    }
  }
});

gpuTest("tiny, huge and lopsided blocks", async () => {
  using device = await open({});
  const values: ((x: number, i: number) => number)[] = [
    (x, i) => x * 10 ** (((i >> 5) % 70) - 38),
    (x) => x * 3e37,
    (x, i) => x * 1e-39 + (i >> 6) % 3 * 1e-38,
    (x, i) => x + ((i >> 6) % 7) * 300,
    (x, i) => i % 5 === 0 ? 0 : x * 1e-20,
  ];
  for (const value of values) {
    for (const name of ["nf4", "nf2", "int4", "int2", "uniform3"] as const) {
      const rule = format(name).levels ? "absmax" : "minmax";
      // Values that are subnormal a GPU may take for 0.
      await assertSame(
        device,
        { format: name, rule, value, block: 32, rows: 36, cols: 128 },
        ["scales", "biases", "codes"],
      );
    }
  }
});

gpuTest("rules that the CPU does keep their place in the order", async () => {
  using device = await open({});
  const whole = device as Device;
  using memory = new DisposableStack();
  const spec = format("uniform4");
  const [rows, cols] = [6, 70];
  const w = mat(memory.use(whole.alloc(rows * cols * 4)), rows, cols);
  const q = memory.use(allocQuant(whole, spec, { rows, cols }));
  const out = mat(memory.use(whole.alloc(rows * cols * 4)), rows, cols);
  whole.write(w.buffer, new Float32Array(rows * cols).fill(0.5));
  whole.ops.quantize({ w, q, scale: "std" });
  // What is written next may not reach the matrix that is still to be read.
  whole.write(w.buffer, new Float32Array(rows * cols).fill(-8));
  whole.ops.dequantize({ q, out });
  const values = await readF32(whole, out.buffer);
  assert.ok(values.every((x) => x === 0.5), `got ${values[0]}`);
});
