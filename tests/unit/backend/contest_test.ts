import assert from "node:assert/strict";
import type { Device } from "../../../src/device/device.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { compareDevices } from "../../../src/backend/contest.ts";

const cpu = await openDevice("wasm", { threads: 1 });

/** The device with some of its operations replaced. */
const altered = (ops: Partial<Device["ops"]>): Device => ({
  ...cpu,
  memory: cpu.memory,
  ops: { ...cpu.ops, ...ops },
});

Deno.test("compareDevices() finds nothing wrong with what is right, and measures both", async () => {
  const before = cpu.memory.bytes;
  const { wrong, gpuFlops, cpuFlops } = await compareDevices(cpu, cpu);
  assert.equal(wrong, undefined);
  assert.ok(gpuFlops > 1e8 && gpuFlops < Infinity, `${gpuFlops}`);
  assert.ok(cpuFlops > 1e8 && cpuFlops < Infinity, `${cpuFlops}`);
  assert.equal(cpu.memory.bytes, before);
});

Deno.test("compareDevices() sees one wrong tile of a product", async () => {
  const { wrong } = await compareDevices(
    altered({
      gemm(args) {
        cpu.ops.gemm(args);
        const { c } = args;
        const corner = (480 * c.stride + 480) * 4;
        cpu.write(c.buffer, new Float32Array(8), corner);
      },
    }),
    cpu,
  );
  assert.match(
    wrong!,
    /^its matrix products are off by 0\.00\d+ of their size$/,
  );
});

Deno.test("compareDevices() sees a product that is not a number", async () => {
  const { wrong } = await compareDevices(
    altered({
      gemm({ c }) {
        cpu.write(c.buffer, new Float32Array(c.rows * c.cols).fill(NaN));
      },
    }),
    cpu,
  );
  assert.equal(wrong, "its matrix products are off by NaN of their size");
});

Deno.test("compareDevices() sees one wrong code, and one wrong scale", async () => {
  for (const part of ["codes", "scales"] as const) {
    const { wrong } = await compareDevices(
      altered({
        quantize(args) {
          cpu.ops.quantize(args);
          cpu.write(args.q[part], new Uint8Array([0xa5]), 77);
        },
      }),
      cpu,
    );
    assert.equal(wrong, "it quantises to other codes");
  }
});
