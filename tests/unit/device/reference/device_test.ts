import assert from "node:assert/strict";
import { mat } from "../../../../src/device/buffer.ts";
import { readF32 } from "../../../../src/device/device.ts";
import { openDevice } from "../../../../src/backend/open.ts";

Deno.test("reference: memory that nobody wrote reads as NaN", async () => {
  using device = await openDevice("reference");
  using buffer = device.alloc(12);
  assert.ok((await readF32(device, buffer)).every(Number.isNaN));
});

Deno.test("reference: a freed buffer is refused, freeing twice is not", async () => {
  using device = await openDevice("reference");
  const buffer = device.alloc(8);
  buffer[Symbol.dispose]();
  buffer[Symbol.dispose]();
  assert.deepEqual({ ...device.memory }, { bytes: 0, peakBytes: 8 });
  assert.throws(() => device.write(buffer, new Uint8Array(8)), {
    name: "TypeError",
    message: /freed/,
  });
});

Deno.test("reference: another device's buffer is refused", async () => {
  using device = await openDevice("reference");
  const foreign = { bytes: 16, [Symbol.dispose]() {} };
  assert.throws(() => device.write(foreign, new Uint8Array(4)), {
    name: "TypeError",
    message: /another device/,
  });
});

Deno.test("reference: impossible sizes and ranges are refused", async () => {
  using device = await openDevice("reference");
  for (const bytes of [-1, 2 ** 60]) {
    assert.throws(() => device.alloc(bytes), RangeError);
  }
  using buffer = device.alloc(8);
  assert.throws(() => device.write(buffer, new Uint8Array(9)), RangeError);
  assert.throws(() => device.read(buffer, 4, 5), RangeError);
  assert.throws(() => mat(buffer, 1, 3), RangeError);
});

Deno.test("reference: a buffer of a device that was disposed of is refused, freeing it is not", async () => {
  const device = await openDevice("reference");
  const buffer = device.alloc(8);
  device.write(buffer, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  device[Symbol.dispose]();
  const gone = {
    name: "TypeError",
    message: "Cannot use a buffer: its device was disposed",
  };
  await assert.rejects(async () => await device.read(buffer), gone);
  assert.throws(() => device.write(buffer, new Uint8Array(8)), gone);
  buffer[Symbol.dispose]();
});
