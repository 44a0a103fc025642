import assert from "node:assert/strict";
import {
  DTYPE_BYTES,
  fromF32,
  isFloat,
  narrow,
  toF32,
} from "../../../src/tensor/dtype.ts";
import { Random } from "../../../src/tensor/random.ts";

const words = (...values: number[]) =>
  new Uint8Array(Uint16Array.from(values).buffer);

Deno.test("toF32() reads bf16 and f16 by their bit patterns", () => {
  assert.deepEqual(
    toF32(words(0x3f80, 0xc000, 0x7f80, 0x0001), "bf16"),
    Float32Array.of(1, -2, Infinity, 9.183549615799121e-41),
  );
  assert.deepEqual(
    toF32(words(0x3c00, 0xc000, 0x7bff, 0x0001), "f16"),
    Float32Array.of(1, -2, 65504, 2 ** -24),
  );
});

Deno.test("fromF32() rounds to nearest, ties to even", () => {
  // bf16 keeps 8 significant bits: 1 + 1/256 is halfway.
  const x = Float32Array.of(1 + 1 / 256, 1 + 3 / 256, 1 + 1.001 / 256, NaN);
  const bits = new Uint16Array(fromF32(x, "bf16").slice().buffer);
  assert.deepEqual([...bits.subarray(0, 3)], [0x3f80, 0x3f82, 0x3f81]);
  assert.ok(Number.isNaN(toF32(fromF32(x, "bf16"), "bf16")[3]));
  const half = fromF32(Float32Array.of(1 + 2 ** -11, 1 + 3 * 2 ** -11), "f16");
  assert.deepEqual([...new Uint16Array(half.buffer)], [0x3c00, 0x3c02]);
});

Deno.test("fromF32() keeps a NaN whose payload is low a NaN in bf16", () => {
  const nan = new Float32Array(Uint32Array.of(0x7f800001).buffer);
  assert.ok(Number.isNaN(toF32(fromF32(nan, "bf16"), "bf16")[0]));
});

Deno.test("toF32() undoes fromF32() for values that fit", () => {
  const x = new Random(1).normals(99).map((v) => Math.round(v * 16) / 16);
  for (const dtype of ["f64", "f32", "f16", "bf16"] as const) {
    assert.ok(isFloat(dtype));
    const bytes = fromF32(x, dtype);
    assert.equal(bytes.length, 99 * DTYPE_BYTES[dtype]);
    assert.deepEqual(toF32(bytes, dtype), x);
    // At an odd address.
    const moved = new Uint8Array(bytes.length + 1);
    moved.set(bytes, 1);
    assert.deepEqual(toF32(moved.subarray(1), dtype), x);
  }
});

Deno.test("toF32() refuses part of a value", () => {
  assert.throws(() => toF32(new Uint8Array(6), "f32"), RangeError);
});

Deno.test("narrow() is fromF32() where the values fit, and refuses the first that does not", () => {
  const most = { f16: 65504, bf16: 3.3895313892515355e38 };
  for (const dtype of ["f16", "bf16"] as const) {
    const x = Float32Array.of(1, most[dtype], -most[dtype], Infinity, NaN);
    assert.deepEqual(narrow(x, dtype, "w"), fromF32(x, dtype));
  }
  // Half a step beyond the largest value is what rounds to infinity, ties to even.
  const below = Float32Array.of(65519.99609375);
  assert.equal(toF32(narrow(below, "f16", "w"), "f16")[0], 65504);
  for (const value of [65520, -70000]) {
    assert.ok(
      !isFinite(toF32(fromF32(Float32Array.of(value), "f16"), "f16")[0]),
    );
    assert.throws(
      () => narrow(Float32Array.of(1, value, 1e5), "f16", "model.norm.weight"),
      {
        name: "RangeError",
        message:
          `Cannot write "model.norm.weight" as f16: it holds ${value}, which is beyond that type; wanted a wider one (--dtype f32)`,
      },
    );
  }
  const far = new Float32Array(Uint32Array.of(0x7f7f8000).buffer);
  assert.throws(() => narrow(far, "bf16", "w"), /as bf16/);
  far[0] = new Float32Array(Uint32Array.of(0x7f7f7fff).buffer)[0];
  assert.ok(isFinite(toF32(narrow(far, "bf16", "w"), "bf16")[0]));
  assert.deepEqual(narrow(Float32Array.of(1e38), "f32", "w").length, 4);
});
