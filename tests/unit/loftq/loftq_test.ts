import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { loftq, type LoftqOptions } from "../../../src/api/loftq.ts";
import { type LoftqResult, loraScaling } from "../../../src/loftq/options.ts";
import type { Metric } from "../../../src/loftq/metric.ts";
import { FORMAT_NAMES } from "../../../src/quant/formats.ts";
import { dequantize, quantize } from "../../../src/api/matrices.ts";
import {
  type Matrix,
  matrix,
  relativeError,
} from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { integer, normalMatrix, pick } from "../../helpers/inputs.ts";
import { product } from "../linalg/matrices.ts";

const device = await openDevice("wasm");
const weight = normalMatrix(new Random(1), 96, 80);

function run(
  options: Partial<LoftqOptions> = {},
  w: Matrix = weight,
): Promise<LoftqResult> {
  return loftq(w, { format: "nf4", rank: 8, device, ...options });
}

/** `‖W - Q - s B A‖ / ‖W‖`, from what was returned. */
async function errorOf(
  { backbone, a, b, scaling }: LoftqResult,
  w: Matrix = weight,
): Promise<number> {
  const q = await dequantize(backbone, { device });
  const low = product(b, a, scaling);
  return relativeError(
    w,
    matrix(w.rows, w.cols, q.data.map((x, i) => x + low.data[i])),
  );
}

Deno.test("every format: the factors lower the error, which is what is told", async () => {
  for (const format of FORMAT_NAMES) {
    const r = await run({ format });
    assert.equal(r.backbone.format, format);
    assert.deepEqual(
      [r.a.rows, r.a.cols, r.b.rows, r.b.cols],
      [8, 80, 96, 8],
    );
    assert.ok(r.error < 0.95 * r.plainError, `${format}: ${r.error}`);
    assert.equal(r.error, Math.min(...r.history));
    assert.equal(r.history[r.iteration - 1], r.error);
    assertAllClose([await errorOf(r)], [r.error], { rtol: 1e-4, what: format });
    const plain = await quantize(weight, { format, device });
    assertAllClose([r.plainError], [
      relativeError(weight, await dequantize(plain, { device })),
    ], { rtol: 1e-5 });
    assert.equal(r.outputError, undefined);
  }
});

Deno.test("loraScaling() is alpha / r, or alpha / sqrt(r)", () => {
  assert.equal(loraScaling(16, 8), 0.5);
  assert.equal(loraScaling(16, 8, true), 2);
});

Deno.test("rank-stabilised scaling is folded into the factors too", async () => {
  const [plain, stable] = [
    await run({ svd: "exact" }),
    await run({ svd: "exact", rslora: true, alpha: 3 }),
  ];
  assertAllClose([stable.scaling], [3 / Math.sqrt(8)], { rtol: 1e-12 });
  assertAllClose([stable.error], [plain.error], { rtol: 1e-3 });
  assertAllClose([await errorOf(stable)], [stable.error], { rtol: 1e-4 });
});

Deno.test("T = 0 is QLoRA's start: A within Kaiming's bound, B zero", async () => {
  const r = await run({ iterations: 0, format: "nf3" });
  assert.ok(r.b.data.every((x) => x === 0));
  const bound = 1 / Math.sqrt(80);
  const largest = Math.max(...r.a.data.map(Math.abs));
  assert.ok(largest <= bound && largest > 0.98 * bound, `${largest}`);
  const mean = r.a.data.reduce((sum, x) => sum + x, 0) / r.a.data.length;
  assert.ok(Math.abs(mean) < 0.1 * bound);
  assert.equal(r.error, r.plainError);
  assert.deepEqual([r.history, r.iteration], [[], 0]);
  const q = await quantize(weight, { format: "nf3", device });
  assert.deepEqual(r.backbone, q);
  const other = await run({ iterations: 0, format: "nf3", name: "another" });
  assert.notDeepEqual(other.a.data, r.a.data);
});

Deno.test("the best iterate is kept, and earlyStop ends at the first rise", async () => {
  // nf2 rises after some iterations (LoftQ's own table: T = 4 before T = 5).
  const w = normalMatrix(new Random(0), 160, 160);
  const options = { format: "nf2", rank: 16, iterations: 9 } as const;
  const all = await run({ ...options, earlyStop: false }, w);
  const least = Math.min(...all.history);
  assert.equal(all.history.length, 9);
  assert.ok(all.history[8] > least, `no rise in ${all.history}`);
  assert.equal(all.error, least);
  assert.equal(all.iteration, all.history.indexOf(least) + 1);
  assertAllClose([await errorOf(all, w)], [all.error], { rtol: 1e-4 });

  const stopped = await run(options, w);
  const rise = all.history.findIndex((x, i) => x >= all.history[i - 1]);
  assert.deepEqual(stopped.history, all.history.slice(0, rise + 1));
  assert.equal(stopped.iteration, rise);
  assertAllClose([await errorOf(stopped, w)], [stopped.error], { rtol: 1e-4 });
});

Deno.test("more iterations help where the alternation is monotone", async () => {
  const errors = [];
  for (const iterations of [1, 2, 5]) {
    errors.push((await run({ iterations, svd: "exact" })).error);
  }
  assert.ok(errors[0] > errors[1] && errors[1] > errors[2], `${errors}`);
});

Deno.test("randomised and exact SVDs end close to each other", async () => {
  for (const format of ["nf4", "nf2", "int3"] as const) {
    const [fast, exact] = [
      await run({ format }),
      await run({ format, svd: "exact" }),
    ];
    assertAllClose([fast.error], [exact.error], { rtol: 0.01 });
  }
});

Deno.test("a backbone given is kept and gets the best factors for it", async () => {
  const base = await quantize(weight, { format: "int2", device });
  const r = await run({ format: undefined, base, svd: "exact" });
  assert.equal(r.backbone, base);
  assert.equal(r.history.length, 1);
  const q = await dequantize(base, { device });
  assertAllClose([r.plainError], [relativeError(weight, q)], { rtol: 1e-5 });
  assertAllClose([await errorOf(r)], [r.error], { rtol: 1e-4 });
  assert.ok(r.error < 0.9 * r.plainError);
  const own = await run({ format: "int2", iterations: 1, svd: "exact" });
  assert.deepEqual(own.b.data, r.b.data);

  const none = await run({ format: undefined, base, iterations: 0 });
  assert.equal(none.error, none.plainError);
  assert.ok(none.b.data.every((x) => x === 0));
});

for (const svd of ["randomized", "exact"] as const) {
  Deno.test(`no residual at all (${svd}): LoRA's own start, which can train`, async () => {
    const base = await quantize(weight, { format: "nf4", device });
    const w = await dequantize(base, { device });
    const r = await run({ format: undefined, base, svd }, w);
    assert.deepEqual([r.plainError, r.error, r.history], [0, 0, [0]]);
    const start = await run({ format: undefined, base, iterations: 0 }, w);
    assert.deepEqual(r.a.data, start.a.data);
    assert.ok(r.b.data.every((x) => x === 0));
    assert.ok(r.a.data.every((x) => x !== 0));
  });

  Deno.test(`a zero weight (${svd}): errors of zero, LoRA's start`, async () => {
    const r = await run({ svd }, matrix(12, 10));
    assert.deepEqual([r.plainError, r.error], [0, 0]);
    assert.ok(r.b.data.every((x) => x === 0));
    assert.ok(r.a.data.every((x) => Number.isFinite(x) && x !== 0));
  });
}

Deno.test("a residual short of rank leaves the other directions to train", async () => {
  const base = await quantize(matrix(24, 32), { format: "nf4", device });
  const w = product(
    normalMatrix(new Random(2), 24, 3),
    normalMatrix(new Random(3), 3, 32),
  );
  const r = await run({ format: undefined, base }, w);
  assert.equal(r.plainError, 1);
  const error = await errorOf(r, w);
  assert.ok(error < 1e-5, `${error}`);
  for (let j = 3; j < 8; j++) {
    const row = r.a.data.subarray(j * 32, (j + 1) * 32);
    assert.ok(row.some((x) => x !== 0), `row ${j} of A is dead`);
  }
});

Deno.test("a rank above the matrix's own: exact, the surplus as LoRA starts", async () => {
  for (const [rows, cols] of [[6, 20], [20, 6]]) {
    const w = normalMatrix(new Random(4), rows, cols);
    for (const svd of ["randomized", "exact"] as const) {
      const r = await run({ rank: 10, format: "nf2", svd }, w);
      assert.deepEqual([r.a.rows, r.b.cols], [10, 10]);
      const error = await errorOf(r, w);
      assert.ok(error < 1e-5, `${rows} x ${cols}: ${error}`);
      assert.ok(r.error < 1e-3, `${r.error}`);
      const beyond = r.a.data.subarray(6 * cols);
      assert.ok(beyond.every((x) => Math.abs(x) <= 1 / Math.sqrt(cols)));
      assert.ok(beyond.some((x) => x !== 0));
      assert.ok(r.b.data.every((x, i) => i % 10 < 6 || x === 0));
    }
  }
});

Deno.test("shapes: single rows and columns, short blocks, zero rows", async () => {
  for (const [rows, cols] of [[1, 70], [70, 1], [1, 1], [3, 5], [65, 7]]) {
    const w = normalMatrix(new Random(5), rows, cols);
    w.data.fill(0, 0, rows > 1 ? cols : 0);
    for (const format of ["nf4", "nf3", "nf2", "int4", "int3"] as const) {
      const r = await run({ format, rank: 2 }, w);
      const what = `${rows} x ${cols} ${format}`;
      assert.ok(Number.isFinite(r.error), what);
      assertAllClose([await errorOf(r, w)], [r.error], { atol: 1e-3, what });
      assert.ok(r.error <= r.plainError, what);
    }
  }
});

Deno.test("options drawn at random: never worse than plain, always as told", async () => {
  for (let seed = 0; seed < 25; seed++) {
    const random = new Random(seed, "options");
    const rows = integer(random, 1, 60);
    const cols = integer(random, 1, 60);
    const w = normalMatrix(random, rows, cols);
    const options: Partial<LoftqOptions> = {
      format: pick(random, FORMAT_NAMES),
      block: pick(random, [undefined, 0, 16, 17, 128]),
      rank: integer(random, 1, 12),
      alpha: pick(random, [undefined, 1, 0.3, 64]),
      rslora: random.uniform() < 0.5,
      iterations: integer(random, 0, 4),
      svd: pick(random, ["randomized", "exact"]),
      earlyStop: random.uniform() < 0.5,
      seed,
    };
    const r = await run(options, w);
    const what = `seed ${seed}`;
    assert.ok(r.error <= r.plainError * (1 + 1e-6), what);
    assertAllClose([await errorOf(r, w)], [r.error], { atol: 1e-3, what });
  }
});

Deno.test("the same seed gives the same bytes, another seed others", async () => {
  const [one, same, other] = [
    await run({ seed: 3 }),
    await run({ seed: 3 }),
    await run({ seed: 4 }),
  ];
  assert.deepEqual(one, same);
  assert.notDeepEqual(one.a.data, other.a.data);
  assertAllClose([one.error], [other.error], { rtol: 0.01 });
});

Deno.test("device memory is back where it was, after success and failure", async () => {
  const before = device.memory.bytes;
  const moments = new Float32Array(80 * 80);
  for (let i = 0; i < 80; i++) moments[i * 81] = i + 1;
  const metric: Metric = { kind: "full", moments };
  await run({ metric, format: "int2", scale: "mse", earlyStop: false });
  assert.equal(device.memory.bytes, before);
  const bad = weight.data.slice();
  bad[5] = NaN;
  await assert.rejects(run({}, matrix(96, 80, bad)));
  await assert.rejects(run({ metric: { kind: "full", moments: bad } }));
  assert.equal(device.memory.bytes, before);
});

for (const bad of [NaN, Infinity, -Infinity]) {
  Deno.test(`a weight that holds ${bad} is refused by name, row and column`, async () => {
    const data = weight.data.slice();
    data[3 * 80 + 7] = bad;
    await assert.rejects(run({ name: "q_proj" }, matrix(96, 80, data)), {
      name: "RangeError",
      message:
        `Cannot quantize q_proj: wanted finite values, got ${bad} at row 3, column 7`,
    });
  });
}

Deno.test("a finite weight whose norm overflows is refused", async () => {
  const w = matrix(2, 2, Float32Array.of(3e38, 1, 1, 1));
  await assert.rejects(run({}, w), {
    name: "RangeError",
    message: "Cannot run LoftQ on the weight: its norm overflows f32",
  });
});

Deno.test("a base with scales that are not finite is refused", async () => {
  const base = await quantize(weight, { format: "nf4", device });
  base.scales[2] = NaN;
  await assert.rejects(run({ format: undefined, base, name: "v" }), {
    name: "RangeError",
    message: "Cannot run LoftQ on v: the error of its backbone is NaN",
  });
});

Deno.test("options out of range are refused", async () => {
  const cases: [Partial<LoftqOptions>, string, string][] = [
    [{ rank: 0 }, "RangeError", "rank must be a whole number >= 1, got 0"],
    [{ rank: 1.5 }, "RangeError", "rank must be a whole number >= 1, got 1.5"],
    [{ alpha: 0 }, "RangeError", "alpha must be > 0, got 0"],
    [{ alpha: Infinity }, "RangeError", "alpha must be > 0, got Infinity"],
    [
      { iterations: -1 },
      "RangeError",
      "iterations must be a whole number >= 0, got -1",
    ],
    [{ block: 1.5 }, "RangeError", "block must be a whole number >= 0"],
    [{ block: -64 }, "RangeError", "block must be a whole number >= 0"],
    [
      { format: undefined },
      "RangeError",
      "format must be named where no base is given",
    ],
    [
      { scale: "minmax" },
      "TypeError",
      'scale "minmax" does not fit nf4, wanted one of absmax, mse, std',
    ],
    [
      {
        base: await quantize(matrix(80, 96), { format: "nf4", device }),
      },
      "TypeError",
      "the base is 80 x 96, the weight 96 x 80",
    ],
  ];
  for (const [options, name, part] of cases) {
    await assert.rejects(run({ ...options, name: "w" }), (error: Error) => {
      assert.equal(error.name, name);
      assert.ok(error.message.startsWith("Cannot run LoftQ on w: "));
      assert.ok(error.message.includes(part), error.message);
      return true;
    });
  }
});
