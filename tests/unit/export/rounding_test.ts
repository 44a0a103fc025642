import assert from "node:assert/strict";
import { roundingLoss } from "../../../src/export/rounding.ts";
import { FORMATS } from "../../../src/quant/formats.ts";
import { packMatrix } from "../../../src/quant/pack.ts";
import type { QuantizedMatrix } from "../../../src/quant/quantized.ts";

/** Two groups a row, the second a short one; the last group has no step. */
const codes = Uint8Array.of(0, 15, 3, 7, 1, 2);
const q: QuantizedMatrix = {
  format: "int4",
  rows: 2,
  cols: 3,
  block: 2,
  codes: packMatrix(FORMATS.int4, { rows: 2, cols: 3, codes }),
  scales: Float32Array.of(0.5, 2, 1, 0),
  biases: Float32Array.of(-1, 4, 0, 8),
};

Deno.test("roundingLoss() is exact where nothing changed", () => {
  assert.deepEqual(roundingLoss(q, { scales: q.scales, biases: q.biases! }), {
    exact: true,
    maxError: 0,
    meanError: 0,
  });
});

Deno.test("roundingLoss() measures values in steps of their groups", () => {
  const loss = roundingLoss(q, {
    scales: [0.5 + 0.25, 2, 1, 0],
    biases: [-1 - 0.25, 4, 0, 10],
  });
  // Codes 0 and 15 of the first group move by -0.25 and 15 / 4 - 0.25, the last group's value by 2 of 8.
  const moved = [0.25 / 0.5, (15 / 4 - 0.25) / 0.5, 2 / 8];
  assert.equal(loss.exact, false);
  assert.equal(loss.maxError, moved[1]);
  assert.ok(
    Math.abs(loss.meanError - moved.reduce((a, b) => a + b) / 6) < 1e-12,
  );
});
