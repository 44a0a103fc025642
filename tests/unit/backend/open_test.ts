import assert from "node:assert/strict";
import { CORE_OPERATIONS } from "../../../src/device/operations.ts";
import { DeviceFaultError } from "../../../src/device/errors.ts";
import {
  DEVICE_NAMES,
  missingOperations,
  openDevice,
  type OpenOptions,
} from "../../../src/backend/open.ts";
import { replaced } from "../../helpers/globals.ts";
import { eachDevice, faultyGpu, gpuTest, HARDWARE } from "../../helpers/gpu.ts";
import { FAULTS, nth } from "../../helpers/gpu_faults.ts";

function listener(): { lines: string[]; options: OpenOptions } {
  const lines: string[] = [];
  return {
    lines,
    options: {
      threads: 1,
      onNote: (line) => lines.push(`note ${line}`),
      onWarning: (line) => lines.push(`warning ${line}`),
    },
  };
}

eachDevice((name) => `openDevice() opens ${name}`, async (name) => {
  using device = await openDevice(name);
  assert.equal(device.name, name);
  assert.deepEqual(missingOperations(device), []);
});

Deno.test("openDevice() says what this build has", async () => {
  await assert.rejects(openDevice("cuda" as "wasm"), {
    name: "RangeError",
    message: `Cannot open device "cuda": this build has ${
      DEVICE_NAMES.join(", ")
    }`,
  });
  await assert.rejects(openDevice("toString" as "wasm"), RangeError);
});

Deno.test("openDevice() without a GPU opens wasm, and notes that it is not there", async () => {
  const { lines, options } = listener();
  using device = await openDevice("auto", { ...options, gpu: null });
  assert.equal(device.name, "wasm");
  assert.deepEqual(lines, []);
  const gpu = { requestAdapter: () => Promise.resolve(null) } as unknown as GPU;
  using other = await openDevice("auto", { ...options, gpu });
  assert.equal(other.name, "wasm");
  assert.deepEqual(lines, [
    `note webgpu: WebGPU has no adapter here (no GPU, or no driver for it); using ${other.description}`,
  ]);
});

Deno.test("openDevice() by name rejects where there is no GPU", async () => {
  const absent = { name: "DeviceAbsentError" };
  await assert.rejects(openDevice("webgpu", { gpu: null }), absent);
  await assert.rejects(openDevice("webgpu", { gpu: null }), DeviceFaultError);
  const gpu = {
    requestAdapter: () => Promise.reject(new Error("driver says no")),
  } as unknown as GPU;
  await assert.rejects(openDevice("webgpu", { gpu }), {
    name: "DeviceFaultError",
    message: "WebGPU gave no adapter: driver says no",
  });
});

Deno.test("openDevice() settles for reference without WebAssembly, with one warning", async () => {
  const { lines, options } = listener();
  using _kept = replaced(globalThis, "WebAssembly");
  using device = await openDevice("auto", { ...options, gpu: null });
  assert.equal(device.name, "reference");
  await assert.rejects(openDevice("wasm"));
  assert.equal(lines.length, 1);
  assert.match(lines[0], /^warning .*; using reference/);
});

gpuTest(
  "openDevice() passes over a GPU in software, and notes it",
  async () => {
    const { lines, options } = listener();
    const gpu = faultyGpu({
      info: { description: "llvmpipe (LLVM 99)", isFallbackAdapter: true },
      device: () => assert.fail("a device was opened"),
    });
    for (let i = 0; i < 2; i++) {
      using device = await openDevice("auto", { ...options, gpu });
      assert.equal(device.name, "wasm");
      assert.equal(
        lines[i],
        `note webgpu: llvmpipe (LLVM 99) is software; using ${device.description}`,
      );
    }
  },
);

/** Memory of a size that only the contest's products on the reference device ask for takes a fifth of a second. */
class SlowArray extends Float64Array {
  constructor(...args: ConstructorParameters<typeof Float64Array>) {
    super(...args);
    const until = performance.now() + (this.length === 32 * 512 ? 200 : 0);
    while (performance.now() < until);
  }
}

gpuTest(
  "openDevice() takes a GPU that computes correctly and wins",
  async () => {
    // Plain TypeScript, whose products take their time: a GPU in software need not be faster than it.
    using _kept = replaced(globalThis, "WebAssembly");
    using _slow = replaced(globalThis, "Float64Array", SlowArray);
    const { lines, options } = listener();
    const gpu = faultyGpu({ info: HARDWARE });
    for (let i = 0; i < 2; i++) {
      using device = await openDevice("auto", { ...options, gpu });
      assert.equal(device.name, "webgpu");
      assert.match(
        lines.at(-1)!,
        /^note webgpu: \S+ GFLOP\/s in matrix products, reference \S+; using webgpu \(Test GPU 9000\)$/,
      );
    }
    // The contest, which opened the other device as well, was held once.
    assert.equal(lines.filter((line) => line.startsWith("warning")).length, 1);
  },
);

for (
  const [fault, line] of [
    [
      "shader",
      /^webgpu: Test GPU 9000, the kernel [^:]+: .*broken.*; using wasm/,
    ],
    ["lost", /^webgpu: Test GPU 9000 was lost: .*; using wasm/],
    ["lostWhileReading", /^webgpu: Test GPU 9000 was lost: .*; using wasm/],
    [
      "memory",
      /^webgpu: Test GPU 9000, a buffer for parameters: Not enough memory left; /,
    ],
    [
      "zeros",
      /^webgpu: webgpu \(Test GPU 9000\) is not used: its matrix products are off by 1.0 of their size; using wasm/,
    ],
  ] as const
) {
  gpuTest(
    `openDevice() passes over a GPU with a fault (${fault}), and warns once`,
    async () => {
      const { lines, options } = listener();
      const gpu = faultyGpu({
        info: HARDWARE,
        device: (device) => FAULTS[fault](device, nth(1)),
      });
      for (let i = 0; i < 2; i++) {
        using device = await openDevice("auto", { ...options, gpu });
        assert.equal(device.name, "wasm");
      }
      assert.equal(lines.length, 2);
      assert.equal(lines[0].replace("warning", "note"), lines[1]);
      assert.match(lines[0].replace("warning ", ""), line);
    },
  );
}

gpuTest(
  "openDevice() passes over an adapter that gives no device",
  async () => {
    const { lines, options } = listener();
    const gpu = faultyGpu({
      info: HARDWARE,
      device: () => {
        throw new Error("too many devices");
      },
    });
    using device = await openDevice("auto", { ...options, gpu });
    assert.equal(device.name, "wasm");
    assert.deepEqual(lines, [
      `warning webgpu: Test GPU 9000 gave no device: too many devices; using ${device.description}`,
    ]);
  },
);

Deno.test("missingOperations() lists what a device lacks", async () => {
  using device = await openDevice("reference");
  const { svd: _, ...ops } = device.ops;
  assert.deepEqual(missingOperations({ ...device, ops }), ["svd"]);
  assert.deepEqual(missingOperations({ ...device, ops: {} }), CORE_OPERATIONS);
  const { rope: _rope, ...without } = device.ops;
  const lacking = { ...device, ops: without };
  assert.deepEqual(missingOperations(lacking), []);
  assert.deepEqual(missingOperations(lacking, { network: true }), ["rope"]);
});
