import assert from "node:assert/strict";
import { type Device, readF32 } from "../../../src/device/device.ts";
import { mat } from "../../../src/device/buffer.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { format, type FormatName } from "../../../src/quant/formats.ts";
import { allocQuant } from "../../../src/quant/quantize.ts";
import { forceSums } from "../../../wasm/ops/int8.ts";
import { Random } from "../../../src/tensor/random.ts";

interface Product {
  readonly name: FormatName;
  readonly m: number;
  readonly rows: number;
  readonly cols: number;
  readonly block: number;
  readonly transQ: boolean;
}

async function product(
  device: Device,
  { name, m, rows, cols, block, transQ }: Product,
): Promise<Float32Array> {
  const [k, n] = transQ ? [cols, rows] : [rows, cols];
  using memory = new DisposableStack();
  const put = (r: number, c: number) => {
    const buffer = memory.use(device.alloc(r * c * 4));
    device.write(buffer, new Random(r + c).normals(r * c));
    return mat(buffer, r, c);
  };
  const q = memory.use(allocQuant(device, format(name), { rows, cols, block }));
  device.ops.quantize({ w: put(rows, cols), q, scale: "minmax" });
  const [a, c] = [put(m, k), put(m, n)];
  const before = device.memory.bytes;
  device.ops.gemmInt8({ a, q, c, transQ, alpha: 0.75, beta: 1, add: c });
  assert.equal(device.memory.bytes, before, "room is given back");
  return await readF32(device, c.buffer);
}

const PRODUCTS: readonly Product[] = [
  { name: "int4", m: 1, rows: 37, cols: 96, block: 32, transQ: true },
  { name: "int3", m: 3, rows: 64, cols: 112, block: 64, transQ: true },
  { name: "int4", m: 23, rows: 83, cols: 320, block: 128, transQ: true },
  { name: "int2", m: 42, rows: 576, cols: 576, block: 32, transQ: true },
  { name: "int4", m: 1, rows: 48, cols: 96, block: 32, transQ: false },
  { name: "int3", m: 23, rows: 144, cols: 112, block: 64, transQ: false },
  { name: "int2", m: 42, rows: 576, cols: 576, block: 32, transQ: false },
];

for (const p of PRODUCTS) {
  const { name, m, rows, cols, transQ } = p;
  Deno.test(`gemmInt8 on wasm rounds as the reference does: ${name} ${m}, ${rows} x ${cols}${transQ ? " (qᵀ)" : ""}`, async () => {
    using oracle = await openDevice("reference");
    using one = await openDevice("wasm", { threads: 1 });
    using three = await openDevice("wasm", { threads: 3 });
    const expected = await product(oracle, p);
    const found = await product(one, p);
    const size = Math.max(...expected.map(Math.abs));
    for (const [i, x] of found.entries()) {
      // One value that is rounded the other way would change a sum by 1e-4 of the largest.
      assert.ok(Math.abs(x - expected[i]) <= 4e-6 * size, `element ${i}`);
    }
    assert.deepEqual(await product(three, p), found);
    // The fastest micro-kernel of a machine changes nothing.
    for (const short of [false, true]) {
      using _ = { [Symbol.dispose]: () => forceSums() };
      forceSums(short);
      assert.deepEqual(await product(one, p), found);
    }
  });
}

Deno.test("sums of 16 bits hold the largest products", async () => {
  using _ = { [Symbol.dispose]: () => forceSums() };
  using device = await openDevice("wasm", { threads: 1 });
  for (const name of ["int5", "int4", "int3", "int2"] as const) {
    const [m, n, k] = [5, 8, 256];
    using memory = new DisposableStack();
    const room = (rows: number, cols: number, value: number) => {
      const buffer = memory.use(device.alloc(rows * cols * 4));
      device.write(buffer, new Float32Array(rows * cols).fill(value));
      return mat(buffer, rows, cols);
    };
    const q = memory.use(
      allocQuant(device, format(name), { rows: n, cols: k, block: 128 }),
    );
    // Every code the largest, with a scale of 1 and no bias.
    device.write(q.codes, new Uint8Array(q.codes.bytes).fill(255));
    device.write(q.scales, new Float32Array(q.scales.bytes / 4).fill(1));
    device.write(q.biases!, new Float32Array(q.biases!.bytes / 4));
    for (const sign of [1, -1]) {
      const a = room(m, k, sign * 127);
      const c = room(m, n, NaN);
      const most = sign * 127 * k * (2 ** format(name).bits - 1);
      for (const short of [false, true]) {
        forceSums(short);
        device.ops.gemmInt8({ a, q, c, transQ: true });
        for (const x of await readF32(device, c.buffer)) {
          assert.equal(x, most);
        }
      }
    }
  }
});

Deno.test("sums of 16 bits and of 32 agree where bytes are small, large or both", async () => {
  using _ = { [Symbol.dispose]: () => forceSums() };
  using device = await openDevice("wasm", { threads: 1 });
  const random = new Random(5);
  const [m, side] = [12, 256];
  for (const name of ["int4", "int3"] as const) {
    for (const block of [32, 128, side]) {
      using memory = new DisposableStack();
      const put = (rows: number, cols: number, values: Float32Array) => {
        const buffer = memory.use(device.alloc(rows * cols * 4));
        device.write(buffer, new Float32Array(values));
        return mat(buffer, rows, cols);
      };
      const q = memory.use(
        allocQuant(device, format(name), { rows: side, cols: side, block }),
      );
      const w = put(side, side, random.normals(side * side));
      device.ops.quantize({ w, q, scale: "minmax" });
      // Rows of normal values, of signs, and of one value: the last two come to the ends of 16 bits.
      const values = random.normals(m * side).map((x, i) => {
        const kind = Math.floor(i / side) % 7;
        return kind < 5 ? x : kind < 6 ? Math.sign(x) : -1;
      });
      const a = put(m, side, values);
      for (const transQ of [true, false]) {
        const take = async (short: boolean) => {
          forceSums(short);
          const c = put(m, side, new Float32Array(m * side));
          device.ops.gemmInt8({ a, q, c, transQ });
          return await readF32(device, c.buffer);
        };
        assert.deepEqual(await take(true), await take(false));
      }
    }
  }
});
