import assert from "node:assert/strict";
import { eigh } from "../../../src/linalg/eigh.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { forSeeds } from "../../helpers/inputs.ts";

function symmetric(random: Random, n: number): Float64Array {
  const a = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      a[i * n + j] = a[j * n + i] = random.normal();
    }
  }
  return a;
}

/** Orthogonal matrix from Gram-Schmidt, twice. */
function orthogonal(random: Random, n: number): Float64Array {
  const q = Float64Array.from({ length: n * n }, () => random.normal());
  for (let i = 0; i < n; i++) {
    const row = q.subarray(i * n, (i + 1) * n);
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const other = q.subarray(j * n, (j + 1) * n);
        const dot = row.reduce((sum, x, k) => sum + x * other[k], 0);
        for (let k = 0; k < n; k++) row[k] -= dot * other[k];
      }
    }
    const norm = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    for (let k = 0; k < n; k++) row[k] /= norm;
  }
  return q;
}

/** `qᵀ diag(values) q`. */
function withValues(q: Float64Array, values: number[]): Float64Array {
  const n = values.length;
  const a = new Float64Array(n * n);
  for (let k = 0; k < n; k++) {
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        a[i * n + j] += values[k] * q[k * n + i] * q[k * n + j];
      }
    }
  }
  return a;
}

function check(a: Float64Array, n: number, what: string): Float64Array {
  const before = a.slice();
  const { values, vectors } = eigh(a, n);
  assert.deepEqual(a, before, `${what}: the input changed`);
  const scale = Math.max(...values.map(Math.abs), 0);
  for (let j = 1; j < n; j++) {
    assert.ok(values[j - 1] >= values[j], `${what}: not descending at ${j}`);
  }
  let residual = 0;
  let skew = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let av = 0;
      let dot = 0;
      for (let k = 0; k < n; k++) {
        av += a[i * n + k] * vectors[k * n + j];
        dot += vectors[k * n + i] * vectors[k * n + j];
      }
      residual = Math.max(
        residual,
        Math.abs(av - values[j] * vectors[i * n + j]),
      );
      skew = Math.max(skew, Math.abs(dot - (i === j ? 1 : 0)));
    }
  }
  assert.ok(residual <= 1e-13 * n * scale, `${what}: A v - l v is ${residual}`);
  assert.ok(skew <= 1e-13 * n, `${what}: VᵀV - I is ${skew}`);
  return values;
}

Deno.test("eigh() of random symmetric matrices of all small sizes", () =>
  forSeeds(2, (random) => {
    for (const n of [1, 2, 3, 4, 5, 8, 13, 32, 120]) {
      check(symmetric(random, n), n, `n = ${n}`);
    }
  }));

Deno.test("eigh() finds the eigenvalues a matrix was made of", async (t) => {
  const n = 24;
  const spectra: Record<string, (i: number) => number> = {
    "well apart": (i) => n - i,
    "three degenerate groups": (i) => [5, 1, -2][Math.floor(i / 8)],
    "all but one equal": (i) => i === 0 ? 3 : 1,
    "half zero": (i) => Math.max(0, 12 - i),
    "steep": (i) => 10 ** -i,
    "large and small": (i) => i < 12 ? 1e60 * (i + 1) : 1e40 * (i + 1),
    "negative": (i) => -i - 1,
  };
  for (const [what, f] of Object.entries(spectra)) {
    await t.step(what, () => {
      const wanted = Array.from({ length: n }, (_, i) => f(i));
      const q = orthogonal(new Random(7), n);
      const found = check(withValues(q, wanted), n, what);
      wanted.sort((x, y) => y - x);
      const scale = Math.max(...wanted.map(Math.abs));
      assertAllClose(found, wanted, { atol: 1e-13 * n * scale, what });
    });
  }
});

Deno.test("eigh() of special matrices", () => {
  const n = 6;
  assert.deepEqual([...check(new Float64Array(n * n), n, "zero")], [
    ...new Float64Array(n),
  ]);
  const diagonal = new Float64Array(n * n);
  for (let i = 0; i < n; i++) diagonal[i * (n + 1)] = i - 2;
  assert.deepEqual([...check(diagonal, n, "diagonal")], [3, 2, 1, 0, -1, -2]);
  const ones = new Float64Array(n * n).fill(1);
  assertAllClose(check(ones, n, "ones"), [6, 0, 0, 0, 0, 0], { atol: 1e-14 });
  const one = check(Float64Array.of(-3), 1, "1 x 1");
  assert.deepEqual([...one], [-3]);
  const block = new Float64Array(n * n);
  for (let i = 0; i < n; i += 2) {
    block[i * n + i + 1] = block[(i + 1) * n + i] = 1;
  }
  assertAllClose(check(block, n, "pairs"), [1, 1, 1, -1, -1, -1], {
    atol: 1e-14,
  });
});

for (const bad of [NaN, Infinity, -Infinity]) {
  Deno.test(`eigh() refuses ${bad}`, () => {
    assert.throws(() => eigh(Float64Array.of(1, bad, bad, 1), 2), {
      name: "RangeError",
      message: `Cannot decompose a 2 x 2 matrix: it holds ${bad}`,
    });
  });
}
