import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { loftq, type LoftqOptions } from "../../../src/api/loftq.ts";
import type { Metric } from "../../../src/loftq/metric.ts";
import { matrix } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { gpuTest } from "../../helpers/gpu.ts";
import { normalMatrix } from "../../helpers/inputs.ts";
import { countWaits } from "../../helpers/waits.ts";
import { withSpectrum } from "../linalg/matrices.ts";

const wasm = await openDevice("wasm");
const shape = { rows: 72, cols: 96 };
const weight = normalMatrix(new Random(1), shape.rows, shape.cols);

function metric(kind: Metric["kind"]): Metric {
  const { cols } = shape;
  if (kind === "identity") return { kind };
  const random = new Random(2);
  if (kind === "diag") {
    return {
      kind,
      moments: random.normals(cols).map((x) => x * x),
    };
  }
  const moments = new Float32Array(cols * cols);
  for (let i = 0; i < cols; i++) moments[i * (cols + 1)] = 1 + random.uniform();
  return { kind, moments };
}

async function waitsOf(
  options: Partial<LoftqOptions>,
  w = weight,
): Promise<number> {
  const device = countWaits(wasm);
  await loftq(w, { format: "nf4", rank: 8, device, ...options });
  return device.waits;
}

for (const kind of ["identity", "diag", "full"] as const) {
  Deno.test(`loftq() in the ${kind} metric waits once an iteration and once at the end`, async () => {
    // The full metric looks first whether its moments are positive definite.
    const before = kind === "full" ? 1 : 0;
    for (const iterations of [0, 1, 2, 3, 5]) {
      for (const format of ["nf4", "int2"] as const) {
        for (const earlyStop of [true, false]) {
          const waits = await waitsOf({
            iterations,
            format,
            earlyStop,
            metric: metric(kind),
          });
          const most = before + Math.max(iterations, 1) + 1;
          if (earlyStop) assert.ok(waits <= most, `${format}: ${waits}`);
          else assert.equal(waits, most, `${format}, T = ${iterations}`);
        }
      }
    }
  });
}

Deno.test("loftq() with exact SVDs waits as often", async () => {
  assert.equal(
    await waitsOf({ svd: "exact", iterations: 3, earlyStop: false }),
    4,
  );
});

Deno.test("loftq() looks once more where the spectrum is too steep to begin unseen", async () => {
  const values = Array.from({ length: 72 }, (_, i) => 10 ** (-i / 8));
  const steep = withSpectrum(new Random(3), values, shape);
  const zero = matrix(shape.rows, shape.cols);
  for (const w of [steep, zero]) {
    const waits = await waitsOf({ iterations: 3, earlyStop: false }, w);
    assert.ok(waits >= 4 && waits <= 2 * 3 + 2, `${waits} waits`);
  }
});

Deno.test("loftq() refuses values that are not finite, though it looks late", async () => {
  for (const format of ["nf4", "int3", "uniform4"] as const) {
    for (const svd of ["randomized", "exact"] as const) {
      for (const value of [NaN, Infinity, -Infinity]) {
        const w = matrix(shape.rows, shape.cols, weight.data.slice());
        w.data[100] = value;
        const before = wasm.memory.bytes;
        await assert.rejects(waitsOf({ format, svd, name: "w" }, w), {
          name: "RangeError",
          message:
            `Cannot quantize w: wanted finite values, got ${value} at row 1, column 4`,
        });
        assert.equal(wasm.memory.bytes, before, "memory");
      }
      await assert.rejects(
        waitsOf(
          { format, svd, name: "w" },
          matrix(2, 2, Float32Array.of(3e38, 3e38, -3e38, 3e38)),
        ),
        { message: "Cannot run LoftQ on w: its norm overflows f32" },
      );
    }
  }
});

gpuTest(
  "loftq() on webgpu comes as close as on wasm, in as many waits",
  async () => {
    using gpu = await openDevice("webgpu");
    for (
      const options of [
        { format: "nf4", rank: 8 },
        { format: "nf2", rank: 16, iterations: 3 },
        { format: "int3", rank: 4, iterations: 1 },
        { format: "nf3", rank: 8, iterations: 2, metric: metric("diag") },
        { format: "nf4", rank: 8, iterations: 2, metric: metric("full") },
      ] as const
    ) {
      const device = countWaits(gpu);
      const { error, plainError, history } = await loftq(weight, {
        ...options,
        earlyStop: false,
        device,
      });
      const wanted = await loftq(weight, {
        ...options,
        earlyStop: false,
        device: wasm,
      });
      assertAllClose([plainError], [wanted.plainError], { rtol: 1e-5 });
      assertAllClose([error], [wanted.error], { rtol: 5e-3 });
      assertAllClose(history, wanted.history, { rtol: 5e-3 });
      assert.ok(device.waits <= history.length + 2, `${device.waits} waits`);
    }
  },
);
