import assert from "node:assert/strict";
import { type Device, readF32 } from "../../../src/device/device.ts";
import { openDevice } from "../../../src/backend/open.ts";
import {
  exactTruncator,
  randomizedTruncator,
  type Truncator,
} from "../../../src/linalg/truncated_svd.ts";
import { dequantize, quantize } from "../../../src/api/matrices.ts";
import { type Matrix, matrix } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { eachDevice } from "../../helpers/gpu.ts";
import { normalMatrix } from "../../helpers/inputs.ts";
import { countWaits } from "../../helpers/waits.ts";
import {
  distance,
  energy,
  onDevice,
  product,
  withSpectrum,
} from "./matrices.ts";

/** One factorisation, read back; `left` is `‖e - b a / gain²‖²`. */
async function factor(
  device: Device,
  truncator: Truncator,
  { e, rank, gain }: { e: Matrix; rank: number; gain?: number },
): Promise<{ s: Float64Array; b: Matrix; a: Matrix; left: number }> {
  using memory = new DisposableStack();
  const { alloc, put } = onDevice(device, memory);
  const target = { b: alloc(e.rows, rank), a: alloc(rank, e.cols), gain };
  const s = await truncator.factor(put(e), target);
  const b = matrix(e.rows, rank, await readF32(device, target.b.buffer));
  const a = matrix(rank, e.cols, await readF32(device, target.a.buffer));
  const low = product(b, a, 1 / (gain ?? 1) ** 2);
  return { s, b, a, left: distance(e, low) };
}

/** The error that quantising N(0, 1) leaves: a flat spectrum. */
async function residual(
  rows: number,
  cols: number,
  seed = 1,
): Promise<Matrix> {
  const w = normalMatrix(new Random(seed), rows, cols);
  const q = await dequantize(await quantize(w, { format: "nf4" }));
  return matrix(rows, cols, w.data.map((x, i) => x - q.data[i]));
}

/** Energy that rank-r truncation leaves at best, by the exact one. */
async function optimum(
  device: Device,
  e: Matrix,
  rank: number,
): Promise<number> {
  using truncator = exactTruncator(device, { ...e, rank });
  return (await factor(device, truncator, { e, rank })).left;
}

eachDevice(
  (name) => `exact truncation on ${name} leaves what the values say`,
  async (name) => {
    using device = await openDevice(name);
    for (
      const { rows, cols, rank } of [
        { rows: 30, cols: 20, rank: 5 },
        { rows: 20, cols: 30, rank: 20 },
        { rows: 1, cols: 9, rank: 1 },
        { rows: 9, cols: 1, rank: 1 },
      ]
    ) {
      const k = Math.min(rows, cols);
      const values = Array.from({ length: k }, (_, i) => 3 / (i + 1));
      const e = withSpectrum(new Random(3), values, { rows, cols });
      using truncator = exactTruncator(device, { rows, cols, rank });
      const { s, b, a, left } = await factor(device, truncator, {
        e,
        rank,
        gain: 2,
      });
      assertAllClose(s, values.slice(0, rank), { rtol: 1e-5 });
      assertAllClose([left], [energy(values.slice(rank))], { atol: 1e-6 });
      for (let j = 0; j < rank; j++) {
        const column = b.data.filter((_, i) => i % rank === j);
        const row = a.data.subarray(j * cols, (j + 1) * cols);
        assertAllClose([energy(column), energy(row)], [
          4 * values[j],
          4 * values[j],
        ], { rtol: 1e-4, what: `balance of direction ${j}` });
      }
    }
  },
);

eachDevice(
  (name) => `randomised truncation on ${name} of steep spectra is exact`,
  async (name, t) => {
    using device = await openDevice(name);
    const shape = { rows: 70, cols: 50 };
    const spectra: Record<string, (i: number) => number> = {
      "1 / i": (i) => 1 / (i + 1),
      "exponential": (i) => 2 ** -i,
      "rank 5, less than asked for": (i) => i < 5 ? 5 - i : 0,
      "rank 10, as asked for": (i) => i < 10 ? 20 - i : 0,
      "large": (i) => 1e12 / (i + 1),
      "small": (i) => 1e-12 / (i + 1),
    };
    for (const [what, f] of Object.entries(spectra)) {
      await t.step(what, async () => {
        const values = Array.from({ length: 50 }, (_, i) => f(i));
        const e = withSpectrum(
          new Random(4),
          values.filter((x) => x > 0),
          shape,
        );
        using truncator = randomizedTruncator(device, { ...shape, rank: 10 });
        // The second call starts from the first one's result.
        for (let call = 1; call <= 2; call++) {
          const { s, left } = await factor(device, truncator, { e, rank: 10 });
          const total = energy(values);
          assertAllClose(s, values.slice(0, 10), {
            rtol: 1e-3,
            atol: values[0] * 1e-6,
            what: `values of call ${call}`,
          });
          assertAllClose([left / total], [energy(values.slice(10)) / total], {
            rtol: 1e-3,
            atol: 1e-9,
            what: `energy left by call ${call}`,
          });
        }
      });
    }
  },
);

eachDevice(
  (name) => `both truncators on ${name} turn zero into zero`,
  async (name) => {
    using device = await openDevice(name);
    const e = matrix(12, 8);
    for (const make of [exactTruncator, randomizedTruncator]) {
      using truncator = make(device, { ...e, rank: 3 });
      for (let call = 0; call < 2; call++) {
        const { s, b, a } = await factor(device, truncator, { e, rank: 3 });
        for (const x of [s, b.data, a.data]) {
          assert.ok(x.every((v) => v === 0));
        }
      }
    }
  },
);

eachDevice(
  (name) => `randomised truncation on ${name} at full rank gives the matrix`,
  async (name) => {
    using device = await openDevice(name);
    for (const [rows, cols] of [[20, 13], [13, 20], [1, 7], [7, 1], [1, 1]]) {
      const rank = Math.min(rows, cols);
      using truncator = randomizedTruncator(device, { rows, cols, rank });
      for (let call = 0; call < 3; call++) {
        const e = normalMatrix(new Random(call), rows, cols);
        const { left } = await factor(device, truncator, { e, rank });
        assert.ok(left <= 1e-10 * energy(e.data), `${rows} x ${cols}: ${left}`);
      }
    }
  },
);

eachDevice(
  (name) => `randomised truncation on ${name} near full rank is exact`,
  async (name) => {
    using device = await openDevice(name);
    for (const [rows, cols] of [[20, 13], [13, 20], [12, 12]]) {
      using truncator = randomizedTruncator(device, { rows, cols, rank: 6 });
      for (let call = 0; call < 3; call++) {
        const e = normalMatrix(new Random(call), rows, cols);
        const { left } = await factor(device, truncator, { e, rank: 6 });
        assertAllClose([left], [await optimum(device, e, 6)], { rtol: 1e-4 });
      }
    }
  },
);

eachDevice(
  (name) =>
    `a randomised truncator on ${name} recovers from a matrix short of rank`,
  async (name) => {
    using device = await openDevice(name);
    const shape = { rows: 40, cols: 30 };
    const values = Array.from({ length: 30 }, (_, i) => 1 / (i + 1));
    for (const rank of [0, 2, 4]) {
      using truncator = randomizedTruncator(device, { ...shape, rank: 4 });
      for (const kept of [rank, 30]) {
        const e = withSpectrum(new Random(6), values.slice(0, kept), shape);
        const { s } = await factor(device, truncator, { e, rank: 4 });
        const wanted = [...values.slice(0, Math.min(kept, 4)), 0, 0, 0, 0];
        assertAllClose(s, wanted.slice(0, 4), { atol: 2e-3 });
      }
    }
  },
);

Deno.test("randomised truncation of flat spectra comes close to the optimum", async (t) => {
  using device = await openDevice("wasm");
  for (
    const { rows, cols, rank, cold, warm } of [
      { rows: 192, cols: 160, rank: 8, cold: 0.9, warm: 0.97 },
      { rows: 192, cols: 160, rank: 32, cold: 0.95, warm: 0.985 },
      { rows: 120, cols: 256, rank: 64, cold: 0.98, warm: 0.995 },
    ]
  ) {
    await t.step(`${rows} x ${cols}, rank ${rank}`, async () => {
      const e = await residual(rows, cols);
      const total = energy(e.data);
      const best = total - await optimum(device, e, rank);
      using truncator = randomizedTruncator(device, { rows, cols, rank });
      const shares = [];
      for (let call = 0; call < 5; call++) {
        const { s, left } = await factor(device, truncator, { e, rank });
        assertAllClose([energy(s)], [total - left], { rtol: 1e-4 });
        shares.push((total - left) / best);
      }
      assert.ok(shares[0] >= cold, `the first call takes ${shares[0]}`);
      assert.ok(shares[4] >= warm, `the fifth call takes ${shares[4]}`);
      for (let i = 1; i < 5; i++) {
        assert.ok(
          shares[i] > shares[i - 1],
          `a warm start made it worse: ${shares}`,
        );
        assert.ok(shares[i] <= 1 + 1e-6, `more than the optimum: ${shares}`);
      }
    });
  }
});

Deno.test("more power steps take more, and the seed decides the start", async () => {
  using device = await openDevice("wasm");
  const e = await residual(128, 128);
  const run = async (options: { steps?: number; seed?: number }) => {
    using truncator = randomizedTruncator(device, {
      ...e,
      rank: 16,
      ...options,
    });
    return await factor(device, truncator, { e, rank: 16 });
  };
  const lefts = [];
  for (const steps of [0, 1, 2, 4, 8]) lefts.push((await run({ steps })).left);
  for (let i = 1; i < lefts.length; i++) {
    assert.ok(lefts[i] < lefts[i - 1], `energy left: ${lefts}`);
  }
  const [one, same, other] = [
    await run({ seed: 1 }),
    await run({ seed: 1 }),
    await run({ seed: 2 }),
  ];
  assert.deepEqual(one.b.data, same.b.data);
  assert.notDeepEqual(one.b.data, other.b.data);
});

Deno.test("LoftQ's half-step: with Q fixed, an SVD step never raises the residual", async () => {
  using device = await openDevice("wasm");
  for (let seed = 0; seed < 6; seed++) {
    const random = new Random(seed);
    const w = normalMatrix(random, 64, 96);
    const rank = 4 + seed;
    for (const make of [exactTruncator, randomizedTruncator]) {
      using truncator = make(device, { ...w, rank });
      let low = matrix(64, 96);
      for (let t = 0; t < 4; t++) {
        const rest = matrix(64, 96, w.data.map((x, i) => x - low.data[i]));
        const q = await dequantize(
          await quantize(rest, { format: seed % 2 ? "nf2" : "int2" }),
        );
        const e = matrix(64, 96, w.data.map((x, i) => x - q.data[i]));
        const before = distance(e, low);
        const { b, a, left } = await factor(device, truncator, { e, rank });
        assert.ok(
          left <= before * (1 + 1e-6),
          `seed ${seed}, step ${t}: ${before} became ${left}`,
        );
        low = product(b, a);
      }
    }
  }
});

Deno.test("truncators free their memory and refuse ranks that do not fit", async () => {
  using device = await openDevice("wasm");
  const before = device.memory.bytes;
  for (const make of [exactTruncator, randomizedTruncator]) {
    make(device, { rows: 10, cols: 6, rank: 6 })[Symbol.dispose]();
    for (const rank of [0, 7, 1.5, NaN]) {
      assert.throws(() => make(device, { rows: 10, cols: 6, rank }), {
        name: "RangeError",
        message:
          `Cannot truncate the SVD of a 10 x 6 matrix: rank must be a whole number from 1 to 6, got ${rank}`,
      });
    }
  }
  assert.equal(device.memory.bytes, before);
});

eachDevice(
  (name) => `randomised truncation on ${name} waits once a call`,
  async (name) => {
    using opened = await openDevice(name);
    const device = countWaits(opened);
    const shape = { rows: 60, cols: 50 };
    const flat = await residual(shape.rows, shape.cols);
    const steep = withSpectrum(
      new Random(5),
      Array.from({ length: 50 }, (_, i) => 10 ** (-i / 4)),
      shape,
    );
    using memory = new DisposableStack();
    const { alloc, put } = onDevice(device, memory);
    const target = { b: alloc(shape.rows, 8), a: alloc(8, shape.cols) };
    for (
      const { e, waits } of [{ e: flat, waits: 3 }, { e: steep, waits: 4 }]
    ) {
      using truncator = randomizedTruncator(device, { ...shape, rank: 8 });
      const on = put(e);
      const before = device.waits;
      for (let call = 0; call < 3; call++) await truncator.factor(on, target);
      assert.equal(device.waits - before, waits);
    }
  },
);
