import assert from "node:assert/strict";
import { OPERATIONS } from "../../../src/device/device.ts";
import {
  DEVICE_NAMES,
  missingOperations,
  openDevice,
} from "../../../src/device/open.ts";

Deno.test("openDevice() opens each device by name", async () => {
  for (const name of DEVICE_NAMES) {
    using device = await openDevice(name);
    assert.equal(device.name, name);
    assert.deepEqual(missingOperations(device), []);
  }
});

Deno.test("openDevice() says what this build has", async () => {
  await assert.rejects(openDevice("webgpu"), {
    name: "RangeError",
    message: `Cannot open device "webgpu": this build has ${
      DEVICE_NAMES.join(", ")
    }`,
  });
  await assert.rejects(openDevice("toString" as "wasm"), RangeError);
});

Deno.test("openDevice() without a name opens wasm and has nothing to note", async () => {
  const notes: string[] = [];
  using device = await openDevice("auto", { onNote: (x) => notes.push(x) });
  assert.equal(device.name, "wasm");
  assert.deepEqual(notes, []);
});

Deno.test("openDevice() settles for reference without WebAssembly, with one note", async () => {
  const { WebAssembly: kept } = globalThis;
  const notes: string[] = [];
  try {
    Reflect.deleteProperty(globalThis, "WebAssembly");
    using device = await openDevice("auto", { onNote: (x) => notes.push(x) });
    assert.equal(device.name, "reference");
    await assert.rejects(openDevice("wasm"));
  } finally {
    globalThis.WebAssembly = kept;
  }
  assert.equal(notes.length, 1);
  assert.match(notes[0], /using reference/);
});

Deno.test("missingOperations() lists what a device lacks", async () => {
  using device = await openDevice("reference");
  const { svd: _, ...ops } = device.ops;
  assert.deepEqual(missingOperations({ ...device, ops }), ["svd"]);
  assert.deepEqual(missingOperations({ ...device, ops: {} }), OPERATIONS);
});
