import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { format, FORMAT_NAMES } from "../../../src/quant/formats.ts";
import { dequantize, quantize } from "../../../src/api/matrices.ts";
import {
  allocQuant,
  checkFinite,
  download,
  upload,
} from "../../../src/quant/quantize.ts";
import { matrix, relativeError } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { normalMatrix } from "../../helpers/inputs.ts";

Deno.test("quantize() names the place of a value that is not finite", async () => {
  for (const bad of [NaN, Infinity, -Infinity]) {
    const w = matrix(3, 5);
    w.data[11] = bad;
    await assert.rejects(
      quantize(w, { format: "nf4", name: "layer.weight" }),
      {
        name: "RangeError",
        message:
          `Cannot quantize layer.weight: wanted finite values, got ${bad} at row 2, column 1`,
      },
    );
  }
  checkFinite(matrix(1, 2, Float32Array.of(3.4e38, -3.4e38)));
});

Deno.test("quantize() refuses options that do not fit", async () => {
  const w = matrix(2, 4);
  const wrong = (options: Parameters<typeof quantize>[1], name: string) =>
    assert.rejects(quantize(w, options), { name });
  await wrong({ format: "nf4", block: -1 }, "RangeError");
  await wrong({ format: "nf4", block: 1.5 }, "RangeError");
  await wrong({ format: "nf4", scale: "minmax" }, "TypeError");
  await wrong({ format: "int4", scale: "std" }, "TypeError");
  await wrong({ format: "int4", weights: new Float32Array(4) }, "TypeError");
  const mse = { format: "int4", scale: "mse" } as const;
  await wrong({ ...mse, weights: new Float32Array(3) }, "TypeError");
  await wrong({ ...mse, weights: Float32Array.of(1, 1, -1, 1) }, "RangeError");
  await wrong({ ...mse, weights: Float32Array.of(1, NaN, 1, 1) }, "RangeError");
});

Deno.test("quantize() refuses a range that overflows f32", async () => {
  const w = matrix(1, 2, Float32Array.of(3e38, -3e38));
  await assert.rejects(quantize(w, { format: "int4" }), RangeError);
  await quantize(w, { format: "nf4" });
});

Deno.test("quantize() and dequantize() take every shape and format", async () => {
  for (const name of FORMAT_NAMES) {
    for (const [rows, cols] of [[0, 0], [0, 3], [1, 1], [1, 65], [65, 1]]) {
      const w = normalMatrix(new Random(1), rows, cols);
      const q = await quantize(w, { format: name });
      assert.equal(q.block, format(name).defaultBlock);
      assert.equal(q.biases === undefined, format(name).levels !== null);
      const back = await dequantize(q);
      assert.deepEqual([back.rows, back.cols], [rows, cols]);
      assert.ok(back.data.every(Number.isFinite));
    }
  }
});

Deno.test("quantize() reproduces zero and constant blocks", async () => {
  for (
    const name of ["nf4", "nf3", "nf2", "int5", "int4", "int3", "int2"] as const
  ) {
    for (const value of [0, 0.3, -7]) {
      const w = matrix(2, 70, new Float32Array(140).fill(value));
      const back = await dequantize(await quantize(w, { format: name }));
      assert.ok(relativeError(w, back) < 1e-7, `${name} ${value}`);
    }
  }
});

Deno.test("quantize() weighs errors by column", async () => {
  const w = normalMatrix(new Random(2), 16, 64);
  const weights = new Float32Array(64).map((_, j) => j < 8 ? 100 : 0.01);
  const error = async (options: { weights?: Float32Array }) => {
    const q = await quantize(w, { format: "nf2", scale: "mse", ...options });
    const back = await dequantize(q);
    return w.data.reduce(
      (sum, x, i) => sum + weights[i % 64] * (x - back.data[i]) ** 2,
      0,
    );
  };
  assert.ok(await error({ weights }) < 0.9 * await error({}));
});

Deno.test("mse scales beat the others at two bits", async () => {
  const w = normalMatrix(new Random(3), 128, 128);
  const error = async (options: Parameters<typeof quantize>[1]) =>
    relativeError(w, await dequantize(await quantize(w, options)));
  for (const name of ["nf2", "nf3", "int2", "int3"] as const) {
    const plain = await error({ format: name });
    const best = await error({ format: name, scale: "mse" });
    assert.ok(best < 0.97 * plain, `${name}: ${best} against ${plain}`);
  }
});

Deno.test("upload() and download() keep a matrix as it is", async () => {
  using device = await openDevice("reference");
  for (const name of ["nf4", "int3"] as const) {
    const w = normalMatrix(new Random(4), 3, 35);
    const q = await quantize(w, { format: name, device });
    const before = device.memory.bytes;
    {
      using on = upload(device, q);
      assert.deepEqual(await download(device, on), q);
    }
    assert.equal(device.memory.bytes, before);
  }
});

Deno.test("upload() refuses arrays of other sizes", async () => {
  using device = await openDevice("reference");
  const w = normalMatrix(new Random(5), 4, 64);
  const nf4 = await quantize(w, { format: "nf4" });
  const int4 = await quantize(w, { format: "int4" });
  for (
    const wrong of [
      { ...nf4, codes: nf4.codes.slice(1) },
      { ...nf4, block: 32 },
      { ...nf4, biases: nf4.scales },
      { ...int4, biases: undefined },
      { ...int4, rows: 5 },
    ]
  ) {
    assert.throws(() => upload(device, wrong), TypeError);
  }
  assert.equal(device.memory.bytes, 0);
});

Deno.test("allocQuant() gives back what it took where memory ends", async () => {
  using device = await openDevice("reference");
  assert.throws(
    () => allocQuant(device, format("nf4"), { rows: 2 ** 30, cols: 2 ** 24 }),
    RangeError,
  );
  assert.equal(device.memory.bytes, 0);
});
