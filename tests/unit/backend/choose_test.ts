import assert from "node:assert/strict";
import type { Device } from "../../../src/device/device.ts";
import {
  DeviceLacksError,
  DeviceLostError,
} from "../../../src/device/errors.ts";
import { openDevice } from "../../../src/backend/open.ts";
import {
  type Candidates,
  choose,
  distrust,
} from "../../../src/backend/choose.ts";
import { HARDWARE } from "../../helpers/gpu.ts";

const wasm = await openDevice("wasm", { threads: 1 });
const slow = await openDevice("reference");

/** A stand-in that counts how often it is opened and disposed of. */
function standIn(device: Device, ops: Partial<Device["ops"]> = {}) {
  const count = { opened: 0, disposed: 0 };
  return {
    count,
    open: () => {
      count.opened++;
      return Promise.resolve({
        ...device,
        memory: device.memory,
        ops: { ...device.ops, ...ops },
        [Symbol.dispose]: () => {
          count.disposed++;
        },
      });
    },
  };
}

/** An adapter in hardware that is never asked for a device. */
function hardware(): GPU {
  return {
    requestAdapter: () => Promise.resolve({ info: HARDWARE }),
  } as unknown as GPU;
}

function candidates(
  gpu: { open: () => Promise<Device> },
  cpu: { open: () => Promise<Device> },
): Candidates {
  return { gpu: hardware(), openGpu: gpu.open, openCpu: cpu.open };
}

Deno.test("choose() takes the faster one, after one contest", async () => {
  const [gpu, cpu] = [standIn(wasm), standIn(slow)];
  const both = candidates(gpu, cpu);
  for (let i = 1; i <= 3; i++) {
    const { device, why, broken } = await choose(both);
    assert.equal(device.name, "wasm");
    assert.match(
      why,
      /^\S+ GFLOP\/s in matrix products, reference \S+$/,
    );
    assert.equal(broken, false);
    assert.deepEqual(gpu.count, { opened: i, disposed: 0 });
    assert.deepEqual(cpu.count, { opened: 1, disposed: 1 });
  }
});

Deno.test("choose() leaves the slower one, after one contest", async () => {
  const gpu = standIn(wasm, {
    gemm(args) {
      for (let i = 0; i < 20; i++) wasm.ops.gemm(args);
    },
  });
  const cpu = standIn(wasm);
  const both = candidates(gpu, cpu);
  for (let i = 1; i <= 3; i++) {
    const { why, broken } = await choose(both);
    assert.match(why, / is slower: \S+ GFLOP\/s in matrix products, wasm \S+$/);
    assert.equal(broken, false);
    assert.deepEqual(gpu.count, { opened: 1, disposed: 1 });
    assert.deepEqual(cpu.count, { opened: i, disposed: 0 });
  }
});

Deno.test("choose() passes over a GPU that lacks operations, for work that needs them", async () => {
  const [gpu, cpu] = [standIn(wasm), standIn(slow)];
  const both = candidates(gpu, cpu);
  const lacking = await choose({
    ...both,
    openGpu: () => Promise.reject(new DeviceLacksError("it lacks rope")),
  });
  assert.equal(lacking.device.name, "reference");
  assert.deepEqual([lacking.why, lacking.broken], ["it lacks rope", false]);
  assert.equal((await choose(both)).device.name, "wasm");
});

Deno.test("choose() passes over a GPU that was lost before", async () => {
  const [gpu, cpu] = [standIn(wasm), standIn(slow)];
  const both = candidates(gpu, cpu);
  assert.equal((await choose(both)).device.name, "wasm");
  distrust(both.gpu, "it was lost");
  const { device, why, broken } = await choose(both);
  assert.equal(device.name, "reference");
  assert.deepEqual([why, broken], ["it was lost", false]);
  assert.equal(gpu.count.opened, 1);
});

Deno.test("choose() disposes of a GPU that fails in the contest, and calls it broken once", async () => {
  const gpu = standIn(wasm, {
    quantize() {
      throw new DeviceLostError("it was lost");
    },
  });
  const cpu = standIn(slow);
  const both = candidates(gpu, cpu);
  for (const broken of [true, false]) {
    const choice = await choose(both);
    assert.equal(choice.device.name, "reference");
    assert.deepEqual([choice.why, choice.broken], ["it was lost", broken]);
  }
  assert.deepEqual(gpu.count, { opened: 1, disposed: 1 });
  assert.deepEqual(cpu.count, { opened: 2, disposed: 0 });
});

Deno.test("choose() fails only if the CPU does", async () => {
  const none = () => Promise.reject(new RangeError("Cannot open a device"));
  await assert.rejects(choose(candidates({ open: none }, { open: none })), {
    message: "Cannot open a device",
  });
});
