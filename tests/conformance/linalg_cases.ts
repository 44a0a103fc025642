/**
 * Conformance cases of the factorisations, as properties: reconstruction, orthogonality, zeros.
 *
 * @module
 */

import assert from "node:assert/strict";
import { assertAllClose } from "../helpers/assert.ts";
import { normalMatrix } from "../helpers/inputs.ts";
import { type Matrix, matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";
import type { Case, Tools } from "./table.ts";
import { INNER, type View, WHOLE } from "./workspace.ts";

function multiply(a: Matrix, b: Matrix): Matrix {
  const out = matrix(a.rows, b.cols);
  for (let i = 0; i < a.rows; i++) {
    for (let j = 0; j < b.cols; j++) {
      let sum = 0;
      for (let k = 0; k < a.cols; k++) {
        sum += a.data[i * a.cols + k] * b.data[k * b.cols + j];
      }
      out.data[i * b.cols + j] = sum;
    }
  }
  return out;
}

function transpose(a: Matrix): Matrix {
  const out = matrix(a.cols, a.rows);
  a.data.forEach((x, i) => {
    out.data[(i % a.cols) * a.rows + Math.floor(i / a.cols)] = x;
  });
  return out;
}

function diagonal(values: readonly number[]): Matrix {
  const n = values.length;
  const out = matrix(n, n);
  values.forEach((x, i) => out.data[i * n + i] = x);
  return out;
}

function norm(a: Matrix): number {
  return Math.hypot(...a.data);
}

/** Asserts that the columns where `alive` are orthonormal to `atol` and the others zero. */
function assertOrthonormal(
  q: Matrix,
  alive: readonly boolean[],
  atol: number,
): void {
  assertAllClose(
    multiply(transpose(q), q).data,
    diagonal(alive.map((x) => x ? 1 : 0)).data,
    { atol, what: "qᵀq" },
  );
}

interface QrInput {
  name: string;
  y: () => Matrix;
  /** Columns that depend on those before them. */
  dependent?: readonly number[];
  view?: View;
}

function qrCase(
  { name, y: make, dependent = [], view = WHOLE }: QrInput,
): Case {
  return {
    op: "qr",
    name,
    why: "1e-5 of the contract for orthogonality, 1e-6 of the norm to rebuild",
    async run({ w, device }) {
      const y = make();
      const on = w.put(y, view);
      const r = w.room(y.cols, y.cols, view);
      device.ops.qr({ y: on, r });
      const [q, t] = [await w.get(on), await w.get(r)];
      const alive = Array.from(
        { length: y.cols },
        (_, j) => !dependent.includes(j),
      );
      assertOrthonormal(q, alive, 1e-5);
      assertAllClose(multiply(q, t).data, y.data, {
        atol: 1e-6 * Math.max(norm(y), 1e-30),
        what: "q * r",
      });
      q.data.forEach((x, i) => {
        if (!alive[i % y.cols]) assert.equal(x, 0, "a dependent column");
      });
      for (let i = 0; i < y.cols; i++) {
        for (let j = 0; j < i; j++) {
          assert.equal(t.data[i * y.cols + j], 0, "r below the diagonal");
        }
        assert.equal(t.data[i * y.cols + i] === 0, !alive[i], `r[${i}, ${i}]`);
      }
    },
  };
}

/** Columns of small whole numbers, so that sums and multiples are exact. */
function wholeColumns(
  rows: number,
  cols: number,
  change: (set: (j: number, f: (row: Float32Array) => number) => void) => void,
): Matrix {
  const random = new Random(rows * 31 + cols);
  const y = matrix(
    rows,
    cols,
    random.normals(rows * cols).map((x) => Math.round(8 * x)),
  );
  change((j, f) => {
    for (let i = 0; i < rows; i++) {
      y.data[i * cols + j] = f(y.data.subarray(i * cols, (i + 1) * cols));
    }
  });
  return y;
}

function qrTable(): Case[] {
  const shapes = [
    [1, 1],
    [5, 1],
    [5, 5],
    [33, 8],
    [130, 24],
    [2003, 37],
    [150, 97],
    [290, 280],
  ];
  const cases = shapes.map(
    ([rows, cols]) =>
      qrCase({
        name: `${rows}x${cols}`,
        y: () => normalMatrix(new Random(rows), rows, cols),
      }),
  );
  return [
    ...cases,
    qrCase({
      name: "37x6 (view)",
      y: () => normalMatrix(new Random(7), 37, 6),
      view: INNER,
    }),
    qrCase({
      name: "columns nearly parallel, condition about 1e6",
      y: () => {
        const random = new Random(3);
        const base = random.normals(60);
        const noise = random.normals(60 * 5);
        return matrix(
          60,
          5,
          noise.map((x, i) => base[Math.floor(i / 5)] + 4e-6 * x),
        );
      },
    }),
    ...[1e2, 1e3, 1e4].map((condition) =>
      qrCase({
        name: `150x40, condition about ${condition}`,
        y: () => {
          const random = new Random(9);
          const steep = diagonal(
            Array.from({ length: 40 }, (_, i) => condition ** (-i / 39)),
          );
          return multiply(
            multiply(normalMatrix(random, 150, 40), steep),
            normalMatrix(random, 40, 40),
          );
        },
      })
    ),
    ...[1e-30, 1e30].map((size) =>
      qrCase({
        name: `values of about ${size}, whose squares leave f32`,
        y: () => {
          const y = normalMatrix(new Random(10), 30, 5);
          return matrix(30, 5, y.data.map((x) => x * size));
        },
      })
    ),
    qrCase({
      name: "columns from 1e-12 to 1e12",
      y: () => {
        const y = normalMatrix(new Random(4), 40, 7);
        return matrix(
          40,
          7,
          y.data.map((x, i) => x * 10 ** (4 * (i % 7) - 12)),
        );
      },
    }),
    qrCase({
      name: "a copy, a sum and a zero among the columns",
      y: () =>
        wholeColumns(50, 9, (set) => {
          set(2, (row) => row[0]);
          set(5, (row) => row[1] + row[3]);
          set(7, () => 0);
        }),
      dependent: [2, 5, 7],
    }),
    qrCase({
      name: "all zero",
      y: () => matrix(6, 3),
      dependent: [0, 1, 2],
    }),
  ];
}

interface SvdInput {
  name: string;
  a: () => Matrix;
  /** Singular values, where they are known; else only those of the oracle count. */
  sigma?: readonly number[];
  rank?: number;
  view?: View;
}

async function thinSvd(
  { w, device }: Pick<Tools, "w" | "device">,
  a: Matrix,
  view: View,
): Promise<{ u: Matrix; s: Matrix; vt: Matrix }> {
  const k = Math.min(a.rows, a.cols);
  const u = w.room(a.rows, k, view);
  const s = w.room(1, k, view);
  const vt = w.room(k, a.cols, view);
  device.ops.svd({ a: w.put(a, view), u, s, vt });
  return { u: await w.get(u), s: await w.get(s), vt: await w.get(vt) };
}

function svdCase({ name, a: make, sigma, rank, view = WHOLE }: SvdInput): Case {
  return {
    op: "svd",
    name,
    why: "1e-5 of the contract for the values, 1e-6 of the norm to rebuild",
    async run(tools) {
      const a = make();
      const { u, s, vt } = await thinSvd(tools, a, view);
      const oracle = await thinSvd(
        { w: tools.oracleWorkspace, device: tools.oracle },
        a,
        WHOLE,
      );
      assertAllClose(s.data, oracle.s.data, { rtol: 1e-5, what: "s" });
      if (sigma) {
        assertAllClose(s.data, sigma, {
          rtol: 1e-5,
          atol: 1e-6 * sigma[0],
          what: "known s",
        });
      }
      const values = [...s.data];
      assert.ok(
        values.every((x, i) => x >= 0 && (i === 0 || x <= values[i - 1])),
        "s descends",
      );
      if (rank !== undefined) {
        assert.equal(values.filter((x) => x > 1e-6 * values[0]).length, rank);
      }
      const alive = values.map((x) => x > 0);
      assertOrthonormal(u, alive, 1e-5);
      assertOrthonormal(transpose(vt), alive, 1e-5);
      assertAllClose(multiply(multiply(u, diagonal(values)), vt).data, a.data, {
        atol: 1e-6 * norm(a),
        what: "u * s * vt",
      });
    },
  };
}

function svdTable(): Case[] {
  const shapes = [
    [1, 1],
    [1, 9],
    [9, 1],
    [5, 5],
    [13, 8],
    [8, 13],
    [64, 16],
    [40, 41],
  ].map(([rows, cols]) =>
    svdCase({
      name: `${rows}x${cols}`,
      a: () => normalMatrix(new Random(rows * 7 + cols), rows, cols),
    })
  );
  return [
    ...shapes,
    svdCase({
      name: "12x7 (views)",
      a: () => normalMatrix(new Random(5), 12, 7),
      view: INNER,
    }),
    svdCase({
      name: "diagonal with negative and repeated entries",
      a: () => diagonal([3, -5, 1, 3]),
      sigma: [5, 3, 3, 1],
    }),
    svdCase({
      name: "2x2 by hand",
      a: () => matrix(2, 2, Float32Array.of(3, 0, 4, 5)),
      sigma: [Math.sqrt(45), Math.sqrt(5)],
    }),
    svdCase({
      name: "rank 3 of 20x15",
      a: () =>
        multiply(
          normalMatrix(new Random(1), 20, 3),
          normalMatrix(new Random(2), 3, 15),
        ),
      rank: 3,
    }),
    svdCase({
      name: "equal columns (exact rank 1)",
      a: () =>
        matrix(6, 4, Float32Array.from({ length: 24 }, (_, i) => 1 + (i >> 2))),
      sigma: [Math.sqrt(4 * 91), 0, 0, 0],
      rank: 1,
    }),
    svdCase({ name: "zero", a: () => matrix(5, 3), sigma: [0, 0, 0], rank: 0 }),
    svdCase({
      name: "flat spectrum (reflection)",
      a: () => {
        const v = new Random(6).normals(24);
        const vv = v.reduce((sum, x) => sum + x * x, 0);
        return matrix(
          24,
          24,
          Float32Array.from({ length: 576 }, (_, i) => {
            const [r, c] = [Math.floor(i / 24), i % 24];
            return (r === c ? 1 : 0) - 2 * v[r] * v[c] / vv;
          }),
        );
      },
      sigma: new Array(24).fill(1),
    }),
    svdCase({
      name: "values from 1 to 1e-6",
      a: () => {
        const y = normalMatrix(new Random(8), 30, 7);
        return matrix(30, 7, y.data.map((x, i) => x * 10 ** -(i % 7)));
      },
    }),
  ];
}

function gram(n: number): Matrix {
  const x = normalMatrix(new Random(n), 2 * n + 3, n);
  return multiply(transpose(x), x);
}

/** Ones, the diagonal larger by 4e-6: rounding in f32 can make it indefinite, sums in f64 cannot. */
function ones(n: number): Matrix {
  const all = matrix(n, n, new Float32Array(n * n).fill(1));
  for (let i = 0; i < n; i++) all.data[i * (n + 1)] += 4e-6;
  return all;
}

interface CholeskyInput {
  n: number;
  damping: number;
  what?: string;
  h?: () => Matrix;
  inPlace?: boolean;
  view?: View;
}

function choleskyCase(
  { n, damping, what = "", h: make = () => gram(n), inPlace, view = WHOLE }:
    CholeskyInput,
): Case {
  return {
    op: "cholesky",
    name: `${what || `${n}x${n}`}, damping ${damping}${
      inPlace ? ", in place" : ""
    }${view === WHOLE ? "" : " (views)"}`,
    why: "n + 2 roundings of f32 on the diagonal bound the rebuilt matrix",
    async run({ w, device }) {
      const h = make();
      const on = w.put(h, view);
      const l = inPlace ? on : w.room(n, n, view);
      device.ops.cholesky({ h: on, l, damping });
      const factor = await w.get(l);
      const trace = h.data.reduce(
        (sum, x, i) => i % (n + 1) === 0 ? sum + x : sum,
        0,
      );
      const expected = h.data.map((x, i) =>
        i % (n + 1) === 0 ? x + damping * trace / n : x
      );
      const largest = Math.max(...expected);
      assertAllClose(multiply(factor, transpose(factor)).data, expected, {
        atol: (n + 2) * 2 ** -24 * largest,
      });
      factor.data.forEach((x, i) => {
        if (i % n > Math.floor(i / n)) assert.equal(x, 0, "above the diagonal");
      });
    },
  };
}

function notPositive(name: string, h: Matrix): Case {
  return {
    op: "cholesky",
    name,
    why: "a NaN in the last place, nothing else is promised",
    async run({ w, device }) {
      const l = w.room(h.rows, h.rows);
      device.ops.cholesky({ h: w.put(h), l, damping: 0 });
      assert.ok(Number.isNaN((await w.get(l)).data.at(-1)));
    },
  };
}

function solveRightCase(
  rows: number,
  n: number,
  { transpose: t, view = WHOLE }: { transpose: boolean; view?: View },
): Case {
  return {
    op: "solveRight",
    name: `${rows}x${n}${t ? ", transposed" : ""}${
      view === WHOLE ? "" : " (views)"
    }`,
    why: "n roundings of f32 on |z| |l|, the residual of back substitution",
    async run({ w, device }) {
      const random = new Random(rows * 100 + n);
      const x = normalMatrix(random, rows, n);
      const l = matrix(
        n,
        n,
        Float32Array.from({ length: n * n }, (_, i) => {
          const [r, c] = [Math.floor(i / n), i % n];
          return r === c ? 2 + random.uniform() : r > c ? random.normal() : 0;
        }),
      );
      const on = w.put(x, view);
      device.ops.solveRight({ x: on, l: w.put(l, view), transpose: t });
      const z = await w.get(on);
      const op = t ? transpose(l) : l;
      const size = multiply(
        matrix(rows, n, z.data.map(Math.abs)),
        matrix(n, n, op.data.map(Math.abs)),
      );
      assertAllClose(multiply(z, op).data, x.data, {
        atol: (i) => (n + 2) * 2 ** -23 * size.data[i],
        what: "z * op(l)",
      });
    },
  };
}

/** Factorisations and triangular solves. */
export function linalgTable(): Case[] {
  const table = [...qrTable(), ...svdTable()];
  for (const n of [1, 2, 5, 33, 64]) {
    for (const damping of [0, 0.01]) {
      table.push(choleskyCase({ n, damping, inPlace: n === 33 }));
    }
  }
  table.push(
    choleskyCase({ n: 100, damping: 0.01, view: INNER }),
    choleskyCase({ n: 19, damping: 0.1, view: INNER }),
    choleskyCase({
      n: 40,
      damping: 0,
      what: "nearly singular",
      h: () => ones(40),
    }),
    notPositive("indefinite", diagonal([1, -1, 2])),
    notPositive("zero", matrix(3, 3)),
    notPositive("semi-definite, last pivot", diagonal([1, 1, 0])),
  );
  for (
    const [rows, n] of [[1, 1], [1, 7], [7, 1], [5, 13], [40, 65], [0, 3], [
      9,
      150,
    ]]
  ) {
    for (const transpose of [false, true]) {
      table.push(solveRightCase(rows, n, { transpose }));
    }
  }
  table.push(
    solveRightCase(9, 17, { transpose: false, view: INNER }),
    solveRightCase(9, 17, { transpose: true, view: INNER }),
  );
  return table;
}
