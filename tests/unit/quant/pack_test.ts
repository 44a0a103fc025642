import assert from "node:assert/strict";
import { format } from "../../../src/quant/formats.ts";
import {
  codesOf,
  packCodes,
  packMatrix,
  unpackCodes,
} from "../../../src/quant/pack.ts";

const bytes = (...values: number[]) => Uint8Array.from(values);

Deno.test("packCodes() puts the first code of a byte high for nf4", () => {
  assert.deepEqual(
    packCodes(format("nf4"), { rows: 1, cols: 4, codes: bytes(1, 2, 15, 0) }),
    bytes(0x12, 0xf0),
  );
});

Deno.test("packCodes() puts the first code of a byte low for nf2", () => {
  // The example in LoftQ's own comment: [1, 0, 3, 2] is 0b10110001.
  assert.deepEqual(
    packCodes(format("nf2"), { rows: 1, cols: 4, codes: bytes(1, 0, 3, 2) }),
    bytes(0b10110001),
  );
});

Deno.test("packCodes() lets 3-bit codes straddle bytes", () => {
  assert.deepEqual(
    packCodes(format("nf3"), {
      rows: 1,
      cols: 8,
      codes: bytes(0, 1, 2, 3, 4, 5, 6, 7),
    }),
    bytes(0b10001000, 0b11000110, 0b11111010),
  );
});

Deno.test("packCodes() starts a row at a byte for row grouping only", () => {
  const codes = bytes(1, 2, 3, 3, 2, 1);
  assert.deepEqual(
    packCodes(format("int2"), { rows: 2, cols: 3, codes }),
    bytes(0b111001, 0b011011),
  );
  assert.deepEqual(
    packCodes(format("nf2"), { rows: 2, cols: 3, codes }),
    bytes(0b11111001, 0b0110),
  );
});

Deno.test("packMatrix() pads an odd nf4 stream with the code of 0", () => {
  const nf4 = format("nf4");
  const odd = { rows: 1, cols: 3, codes: bytes(1, 2, 15) };
  assert.deepEqual(packMatrix(nf4, odd), bytes(0x12, 0xf7));
  assert.deepEqual(packCodes(nf4, odd), bytes(0x12, 0xf0));
  assert.deepEqual(
    packMatrix(format("nf2"), { rows: 1, cols: 1, codes: bytes(3) }),
    bytes(3),
  );
});

Deno.test("unpackCodes() reads an empty matrix", () => {
  const empty = { rows: 0, cols: 5, codes: bytes() };
  assert.equal(unpackCodes(format("int3"), empty).length, 0);
});

Deno.test("codesOf() gives one code a byte", () => {
  assert.deepEqual(
    codesOf({
      format: "nf4",
      rows: 1,
      cols: 3,
      block: 64,
      codes: bytes(0x12, 0xf7),
      scales: Float32Array.of(1),
    }),
    bytes(1, 2, 15),
  );
});
