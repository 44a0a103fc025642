import assert from "node:assert/strict";
import { dequantize, quantize } from "../../../src/api/matrices.ts";
import { recode } from "../../../src/quant/recode.ts";
import { Random } from "../../../src/tensor/random.ts";
import { normalMatrix } from "../../helpers/inputs.ts";

Deno.test("recode() turns nf2 into nf4 without changing a value", async () => {
  for (const [rows, cols] of [[8, 64], [5, 13], [1, 1]]) {
    const w = normalMatrix(new Random(rows), rows, cols);
    const nf2 = await quantize(w, { format: "nf2", scale: "mse" });
    const nf4 = recode(nf2, "nf4");
    assert.equal(nf4.format, "nf4");
    assert.equal(nf4.codes.length, Math.ceil(rows * cols / 2));
    assert.deepEqual(await dequantize(nf4), await dequantize(nf2));
  }
});

Deno.test("recode() refuses what would change values", async () => {
  const w = normalMatrix(new Random(1), 4, 64);
  const nf3 = await quantize(w, { format: "nf3" });
  assert.throws(() => recode(nf3, "nf4"), {
    name: "TypeError",
    message: /no level -0\.478/,
  });
  assert.throws(() => recode(nf3, "int4"), TypeError);
  const int2 = await quantize(w, { format: "int2" });
  assert.throws(() => recode(int2, "nf4"), TypeError);
});
