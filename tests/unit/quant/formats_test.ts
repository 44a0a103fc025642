import assert from "node:assert/strict";
import {
  bitsPerWeight,
  format,
  FORMAT_NAMES,
  FORMATS,
  scaleRules,
} from "../../../src/quant/formats.ts";
import { midpoints } from "../../../src/quant/codebooks.ts";

Deno.test("format() finds each row by its name", () => {
  for (const name of FORMAT_NAMES) assert.equal(format(name).name, name);
  assert.equal(FORMAT_NAMES.length, 13);
});

Deno.test("format() lists the names where there is none", () => {
  for (const name of ["nf5", "toString", "__proto__", ""]) {
    assert.throws(
      () => format(name),
      (error) =>
        error instanceof RangeError && error.message.includes("nf4, nf3, nf2"),
    );
  }
});

Deno.test("rows hold together", () => {
  for (const row of Object.values(FORMATS)) {
    assert.ok(scaleRules(row).includes(row.defaultScale), row.name);
    assert.equal(row.levels === null, row.thresholds === null, row.name);
    if (row.levels === null || row.thresholds === null) continue;
    assert.equal(row.levels.length, 2 ** row.bits);
    assert.deepEqual(row.thresholds, midpoints(row.levels));
    assert.deepEqual(row.levels, row.levels.toSorted());
    assert.deepEqual([row.levels.at(0), row.levels.at(-1)], [-1, 1]);
  }
});

Deno.test("nf4 thresholds are the constants of bitsandbytes' kernels", () => {
  assert.deepEqual(
    format("nf4").thresholds,
    Float32Array.of(
      -0.8480964004993439,
      -0.6106329262256622,
      -0.4599952697753906,
      -0.33967943489551544,
      -0.23460740596055984,
      -0.13791173323988914,
      -0.045525018125772476,
      0.03979014977812767,
      0.1202552504837513,
      0.2035212516784668,
      0.2920137718319893,
      0.3893125355243683,
      0.5016634166240692,
      0.6427869200706482,
      0.8614784181118011,
    ),
  );
});

Deno.test("bitsPerWeight() counts codes, scales and biases", () => {
  const size = { rows: 4096, cols: 4096 };
  assert.equal(bitsPerWeight(format("nf4"), size), 4.5);
  const nested = bitsPerWeight(format("nf4"), { ...size, doubleQuant: true });
  assert.ok(Math.abs(nested - 4.127) < 1e-3, `${nested}`);
  assert.equal(bitsPerWeight(format("nf2"), size), 2.5);
  assert.equal(bitsPerWeight(format("int4"), size), 6);
  assert.equal(bitsPerWeight(format("int4"), { ...size, block: 64 }), 5);
  assert.equal(bitsPerWeight(format("int3"), { ...size, block: 128 }), 3.5);
  // 7 codes of 3 bits take 3 bytes; a scale and a bias a row.
  assert.equal(
    bitsPerWeight(format("int3"), { rows: 2, cols: 7, block: 0 }),
    (2 * 24 + 2 * 64) / 14,
  );
});
