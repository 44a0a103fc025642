import assert from "node:assert/strict";
import type { Device } from "../../../src/device/device.ts";
import type { ScaleRule } from "../../../src/device/quant_mat.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { loftq, type LoftqOptions } from "../../../src/api/loftq.ts";
import type { LoftqResult } from "../../../src/loftq/options.ts";
import type { FormatName } from "../../../src/quant/formats.ts";
import { dequantize } from "../../../src/api/matrices.ts";
import {
  type Matrix,
  matrix,
  relativeError,
} from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { golden } from "../../helpers/golden.ts";
import { normalMatrix } from "../../helpers/inputs.ts";
import { product } from "../../unit/linalg/matrices.ts";
import { nearNormal } from "./data.ts";

interface Row {
  name: string;
  plain: number;
  history: number[];
  /** Error of the last iterate with its factors applied at another scaling than they were made for. */
  scaled: Record<string, number>;
}

interface Table {
  rank: number;
  rows: Row[];
}

const { small, large } = golden<{ small: Table; large: Table }>(
  import.meta,
  "loftq.json",
);

function optionsOf(
  { name }: Row,
  { rank }: Table,
  device: Device,
): LoftqOptions {
  const [format, scale] = name.split(" ") as [FormatName, ScaleRule];
  return { format, scale, rank, iterations: 5, earlyStop: false, device };
}

/** `‖W - Q - s B A‖ / ‖W‖`, from what was returned. */
async function errorAt(
  w: Matrix,
  { backbone, a, b }: LoftqResult,
  s: number,
): Promise<number> {
  const q = await dequantize(backbone);
  const low = product(b, a, s);
  return relativeError(
    w,
    matrix(w.rows, w.cols, q.data.map((x, i) => x + low.data[i])),
  );
}

for (const name of ["wasm", "reference"] as const) {
  Deno.test(`LoftQ with exact SVDs on ${name} is NumPy's, iteration for iteration`, async (t) => {
    using device = await openDevice(name);
    const w = nearNormal(96, 128, 10);
    for (const row of small.rows) {
      await t.step(row.name, async () => {
        const result = await loftq(w, {
          ...optionsOf(row, small, device),
          svd: "exact",
        });
        // A code within an ulp of a threshold may fall to the other side: one of 12288 moves the error by less.
        const tolerance = { rtol: 2e-4 };
        assertAllClose([result.plainError], [row.plain], tolerance);
        assertAllClose(result.history, row.history, tolerance);
        assertAllClose([result.error], [Math.min(...row.history)], tolerance);
        assert.equal(
          result.iteration,
          row.history.indexOf(Math.min(...row.history)) + 1,
        );
        assertAllClose([await errorAt(w, result, 1)], [result.error], {
          rtol: 1e-4,
        });
      });
    }
  });
}

Deno.test("the published table: W 1024 x 1024 of N(0, 1), rank 64, randomised SVDs", async (t) => {
  using device = await openDevice("wasm", { threads: 2 });
  const w = normalMatrix(new Random(0), 1024, 1024);
  for (const row of large.rows) {
    await t.step(row.name, async () => {
      const { plainError, history } = await loftq(
        w,
        optionsOf(row, large, device),
      );
      // Another sample, of which clip's range depends on the extremes; and the first SVDs are rough, the second most.
      assertAllClose([plainError], [row.plain], { rtol: 2e-3 });
      row.history.forEach((wanted, i) =>
        assertAllClose([history[i]], [wanted], {
          rtol: [0.009, 0.014, 0.006, 0.005, 0.004][i],
          what: `T = ${i + 1}`,
        })
      );
      assertAllClose([history[4]], [row.history[4]], { atol: 0.001 });
    });
  }
});

Deno.test("the scaling is part of LoftQ: the error is that of alpha = rank", async (t) => {
  using device = await openDevice("wasm");
  const w = nearNormal(96, 128, 10);
  const row = small.rows[0];
  const rank = small.rank;
  const options: LoftqOptions = {
    ...optionsOf(row, small, device),
    svd: "exact",
  };
  const plain = await loftq(w, options);
  for (const s of [0.25, 0.5, 2]) {
    await t.step(`alpha / rank = ${s}`, async () => {
      const result = await loftq(w, { ...options, alpha: s * rank });
      assert.equal(result.scaling, s);
      assertAllClose(result.history, plain.history, { rtol: 2e-4 });
      const error = await errorAt(w, result, s);
      assertAllClose([error], [result.error], { rtol: 1e-4 });
      // What PEFT's loftq_init does: factors made for 1, applied with s.
      const wrong = await errorAt(w, plain, s);
      assertAllClose([wrong], [row.scaled[String(s)]], { rtol: 1e-3 });
      assert.ok(error < 0.9 * wrong, `${error} against ${wrong}`);
    });
  }
});
