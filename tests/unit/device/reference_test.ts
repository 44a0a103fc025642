import assert from "node:assert/strict";
import { mat, readF32 } from "../../../src/device/device.ts";
import { openDevice } from "../../../src/device/open.ts";

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
