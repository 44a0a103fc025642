import assert from "node:assert/strict";
import { dynamicMap } from "../../../src/quant/double.ts";
import { format, type FormatName } from "../../../src/quant/formats.ts";
import { codesOf } from "../../../src/quant/pack.ts";
import { dequantize, quantize } from "../../../src/api/matrices.ts";
import type { ScaleRule } from "../../../src/device/quant_mat.ts";
import { matrix, relativeError } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { floats, golden, u8 } from "../../helpers/golden.ts";
import { normalMatrix } from "../../helpers/inputs.ts";

interface Loftq {
  shape: [number, number];
  weights: string;
  rows: { format: string; codes: string; scales?: string; norm: number }[];
  plain: Record<string, number>;
}

const books = golden<Record<string, string>>(import.meta, "codebooks.json");
const loftq = golden<Loftq>(import.meta, "loftq.json");

for (
  const name of [
    "nf4",
    "nf3",
    "nf2",
    "uniform4",
    "uniform3",
    "uniform2",
  ] as const
) {
  Deno.test(`codebook of ${name} is the peer's to the bit`, () => {
    assert.deepEqual(format(name).levels, floats(books[name]));
  });
}

Deno.test("dynamicMap() is bitsandbytes' to the bit", () => {
  assert.deepEqual(dynamicMap(), floats(books.dynamic));
});

for (const row of loftq.rows) {
  Deno.test(`${row.format} agrees with LoftQ's formula`, async () => {
    const [rows, cols] = loftq.shape;
    const w = matrix(rows, cols, floats(loftq.weights));
    const q = await quantize(w, {
      format: row.format as FormatName,
    });
    const codes = codesOf(q);
    const expected = u8(row.codes);
    // A quotient and a product with the reciprocal may fall on two sides of a threshold: at most one code here.
    const differ = codes.filter((code, i) => code !== expected[i]).length;
    assert.ok(differ <= 1, `${differ} codes differ`);
    if (row.scales) {
      // torch sums 64 values in f32.
      assertAllClose(q.scales, floats(row.scales), { rtol: 1e-6 });
    }
    assertAllClose([relativeError(w, await dequantize(q))], [row.norm], {
      rtol: 1e-3,
    });
  });
}

Deno.test("plain quantisation of N(0, 1) has the published errors", async (t) => {
  // Another sample than NumPy's: over 2^20 weights the error varies by about 1e-3 of itself.
  const w = normalMatrix(new Random(0), 1024, 1024);
  for (const [key, error] of Object.entries(loftq.plain)) {
    await t.step(key, async () => {
      const [name, scale] = key.split(" ") as [FormatName, ScaleRule];
      const q = await quantize(w, { format: name, scale });
      assertAllClose([relativeError(w, await dequantize(q))], [error], {
        rtol: name.startsWith("clip") ? 1e-2 : 3e-3,
      });
    });
  }
});
