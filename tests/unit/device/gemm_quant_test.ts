import assert from "node:assert/strict";
import type { Device } from "../../../src/device/device.ts";
import { mat } from "../../../src/device/buffer.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { format } from "../../../src/quant/formats.ts";
import { allocQuant } from "../../../src/quant/quantize.ts";
import { Random } from "../../../src/tensor/random.ts";

/** `a * q` or `a * qᵀ` with an nf4 matrix of more values than a tile holds. */
async function product(device: Device, transQ: boolean): Promise<Uint8Array> {
  const [rows, cols, m] = [1100, 1031, 3];
  const [k, n] = transQ ? [cols, rows] : [rows, cols];
  using memory = new DisposableStack();
  const put = (r: number, c: number) => {
    const buffer = memory.use(device.alloc(r * c * 4));
    device.write(buffer, new Random(r + c).normals(r * c));
    return mat(buffer, r, c);
  };
  const q = memory.use(allocQuant(device, format("nf4"), { rows, cols }));
  device.ops.quantize({ w: put(rows, cols), q, scale: "absmax" });
  const c = put(m, n);
  const before = device.memory.bytes;
  device.ops.gemmQuantized({ a: put(m, k), q, c, transQ });
  assert.equal(device.memory.bytes - before, m * k * 4, "room is given back");
  return await device.read(c.buffer);
}

Deno.test("gemmQuantized on wasm: the same bytes on any number of threads", async () => {
  using one = await openDevice("wasm", { threads: 1 });
  using three = await openDevice("wasm", { threads: 3 });
  for (const transQ of [true, false]) {
    assert.deepEqual(await product(one, transQ), await product(three, transQ));
  }
});

Deno.test("gemmQuantized checks shapes and the addend", async () => {
  using device = await openDevice("reference");
  using memory = new DisposableStack();
  const room = (rows: number, cols: number) =>
    mat(memory.use(device.alloc(rows * cols * 4)), rows, cols);
  const q = memory.use(
    allocQuant(device, format("int4"), { rows: 3, cols: 5 }),
  );
  const { gemmQuantized } = device.ops;
  assert.throws(
    () => gemmQuantized({ a: room(2, 5), q, c: room(2, 3) }),
    /inner sizes differ: a is 2 x 5, q is 3 x 5/,
  );
  assert.throws(
    () => gemmQuantized({ a: room(2, 5), q, c: room(2, 5), transQ: true }),
    /gemmQuantized: c must be 2 x 3, got 2 x 5/,
  );
  assert.throws(
    () => gemmQuantized({ a: room(2, 3), q, c: room(2, 5), beta: 1 }),
    /beta needs an addend/,
  );
  assert.throws(
    () =>
      gemmQuantized({
        a: room(2, 3),
        q: { ...q, biases: null },
        c: room(2, 5),
      }),
    /an affine format needs biases/,
  );
});
