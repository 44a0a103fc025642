import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { loftq } from "../../../src/api/loftq.ts";
import { layer } from "../../../src/api/qalora.ts";
import { matrix } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";

const [ROWS, COLS] = [24, 64];
const normals = new Random(3).normals(ROWS * COLS);
/** A type without numbers below 1e-30. */
const coarse = (values: Float32Array) =>
  Float32Array.from(values, (x) => Math.abs(x) < 1e-30 ? 0 : x);
const at = (exponent: number) =>
  matrix(ROWS, COLS, normals.map((x) => x * 2 ** exponent));

Deno.test("weights of 1e-20 and 1e-30 are initialised as those of 1 are, their errors told", async () => {
  using device = await openDevice("wasm", { threads: 1 });
  for (
    const [what, run] of Object.entries({
      loftq: (exponent: number) =>
        loftq(at(exponent), { format: "nf4", block: 32, rank: 4, device }),
      qlora: (exponent: number) =>
        loftq(at(exponent), { format: "nf4", rank: 4, iterations: 0, device }),
      qalora: (exponent: number) =>
        layer(at(exponent), {
          ...{ format: "int4", block: 32, rank: 2, device },
          quantizer: "minmax",
        }),
    })
  ) {
    const one = await run(0);
    assert.ok(one.plainError > 0.01);
    for (const exponent of [-66, -100]) {
      const tiny = await run(exponent);
      assert.deepEqual(tiny.backbone.codes, one.backbone.codes, what);
      assert.deepEqual(
        tiny.backbone.scales,
        one.backbone.scales.map((x) => x * 2 ** exponent),
      );
      assert.ok(Math.abs(tiny.error / one.error - 1) < 1e-3, what);
      assert.ok(Math.abs(tiny.plainError / one.plainError - 1) < 1e-3, what);
      const product = (r: typeof one) => r.b.data[0] * r.a.data[0];
      assert.ok(
        Math.abs(product(tiny) - product(one) * 2 ** exponent) <=
          1e-3 * Math.abs(product(one)) * 2 ** exponent,
        `${what}: ${product(tiny)} ${product(one)}`,
      );
    }
  }
});

Deno.test("what a file keeps of tiny values counts: none of them is an error of 1", async () => {
  using device = await openDevice("wasm", { threads: 1 });
  for (const [exponent, lost] of [[-66, false], [-110, true]] as const) {
    const { error, plainError } = await loftq(at(exponent), {
      ...{ format: "nf4", block: 32, rank: 4, iterations: 0, device },
      stored: { values: coarse },
    });
    for (const e of [error, plainError]) {
      assert.ok(lost ? e > 0.99 : e < 0.2, `${exponent}: ${e}`);
    }
  }
});
