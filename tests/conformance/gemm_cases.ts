/**
 * Conformance cases of products and element-wise operations.
 *
 * @module
 */

import { assertAllClose } from "../helpers/assert.ts";
import { normalMatrix } from "../helpers/inputs.ts";
import { readF32 } from "../../src/device/device.ts";
import { type Matrix, matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";
import type { Case } from "./table.ts";
import { INNER, type View, WHOLE } from "./workspace.ts";

/** Unit roundoff of f32. */
const U = 2 ** -24;

interface Gemm {
  m: number;
  n: number;
  k: number;
  transA?: boolean;
  transB?: boolean;
  alpha?: number;
  beta?: number;
  inPlace?: boolean;
  view?: View;
}

/** The product by its definition, and the sum of magnitudes that bounds its rounding. */
function naive(a: Matrix, b: Matrix, g: Gemm) {
  const { m, n, k } = g;
  const value = new Float64Array(m * n);
  const size = new Float64Array(m * n);
  const [ai, al] = g.transA ? [1, m] : [k, 1];
  const [bl, bj] = g.transB ? [1, k] : [n, 1];
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      let magnitude = 0;
      for (let l = 0; l < k; l++) {
        const term = a.data[i * ai + l * al] * b.data[l * bl + j * bj];
        sum += term;
        magnitude += Math.abs(term);
      }
      value[i * n + j] = sum;
      size[i * n + j] = magnitude;
    }
  }
  return { value, size };
}

function gemmCase(g: Gemm): Case {
  const { m, n, k, transA, transB, alpha = 1, beta, inPlace, view } = g;
  const marks = [
    transA && "aᵀ",
    transB && "bᵀ",
    alpha !== 1 && `alpha ${alpha}`,
    beta !== undefined && `beta ${beta}`,
    inPlace && "add is c",
    view && "views",
  ].filter(Boolean).join(", ");
  return {
    op: "gemm",
    name: `${m}x${k} * ${k}x${n}${marks && ` (${marks})`}`,
    why: "(k + 2) roundings of f32 on the sum of magnitudes",
    async run({ w, device }) {
      const random = new Random(m * 10007 + n * 101 + k);
      const a = normalMatrix(
        random,
        ...(transA ? [k, m] : [m, k]) as [
          number,
          number,
        ],
      );
      const b = normalMatrix(
        random,
        ...(transB ? [n, k] : [k, n]) as [
          number,
          number,
        ],
      );
      const added = normalMatrix(random, m, n);
      const c = inPlace ? w.put(added, view) : w.room(m, n, view);
      const add = beta === undefined
        ? undefined
        : inPlace
        ? c
        : w.put(added, view);
      device.ops.gemm({
        a: w.put(a, view),
        b: w.put(b, view),
        c,
        transA,
        transB,
        alpha: g.alpha,
        beta,
        add,
      });
      const { value, size } = naive(a, b, g);
      const plus = (i: number) => (beta ?? 0) * added.data[i];
      assertAllClose(
        (await w.get(c)).data,
        value.map((x, i) => alpha * x + plus(i)),
        {
          atol: (i) =>
            (k + 2) * U * (Math.abs(alpha) * size[i] + Math.abs(plus(i))) +
            1e-37,
        },
      );
    },
  };
}

const SHAPES: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [1, 7, 5],
  [7, 1, 3],
  [3, 5, 1],
  [1, 130, 67],
  [13, 17, 19],
  [64, 64, 64],
  [31, 66, 129],
  [97, 40, 257],
  [0, 4, 3],
  [4, 3, 0],
];

function* gemmCases(): Generator<Case> {
  for (const [m, n, k] of SHAPES) {
    for (const transA of [false, true]) {
      for (const transB of [false, true]) {
        yield gemmCase({ m, n, k, transA, transB });
      }
    }
  }
  const sizes = { m: 13, n: 37, k: 29 };
  for (const transA of [false, true]) {
    for (const transB of [false, true]) {
      const g = { ...sizes, transA, transB, view: INNER };
      yield gemmCase(g);
      yield gemmCase({ ...g, alpha: -1, beta: 1 });
      yield gemmCase({ ...g, alpha: 0.5, beta: -2, inPlace: true });
    }
  }
  // Large enough that threads share the work.
  for (const transB of [false, true]) {
    yield gemmCase({ m: 301, n: 259, k: 317, transB });
    yield gemmCase({ m: 203, n: 67, k: 1100, transA: true, transB });
  }
  yield gemmCase({ ...sizes, alpha: -1, beta: 1, inPlace: true });
  yield gemmCase({ ...sizes, alpha: 0.25 });
  yield gemmCase({ m: 5, n: 6, k: 0, alpha: 2, beta: -1 });
}

function rowSquaresCase(rows: number, cols: number, view: View): Case {
  return {
    op: "rowSquares",
    name: `${rows}x${cols}${view === WHOLE ? "" : " (view)"}`,
    why: "(n + 1) roundings of f32 on a sum of positive terms",
    async run({ w, device }) {
      const x = normalMatrix(new Random(rows * 1009 + cols), rows, cols);
      const out = w.vector(new Float32Array(rows).fill(NaN));
      device.ops.rowSquares({ x: w.put(x, view), out });
      const expected = new Float64Array(rows);
      x.data.forEach((v, i) => expected[Math.floor(i / cols)] += v * v);
      assertAllClose(await readF32(device, out), expected, {
        rtol: (cols + 1) * U,
      });
    },
  };
}

function scaleColumnsCase(
  rows: number,
  cols: number,
  { view, inPlace }: { view: View; inPlace: boolean },
): Case {
  return {
    op: "scaleColumns",
    name: `${rows}x${cols}${view === WHOLE ? "" : " (view)"}${
      inPlace ? " in place" : ""
    }`,
    why: "exact: one product, rounded once",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const x = normalMatrix(random, rows, cols);
      const by = random.normals(cols);
      const on = w.put(x, view);
      const out = inPlace ? on : w.room(rows, cols, view);
      device.ops.scaleColumns({ x: on, by: w.vector(by), out });
      assertAllClose(
        (await w.get(out)).data,
        x.data.map((v, i) => Math.fround(v * by[i % cols])),
      );
    },
  };
}

/** Products and element-wise operations. */
export function gemmTable(): Case[] {
  const table = [...gemmCases()];
  for (
    const [rows, cols] of [[1, 1], [1, 131], [131, 1], [17, 33], [0, 3], [
      1201,
      259,
    ]]
  ) {
    for (const view of [WHOLE, INNER]) {
      table.push(rowSquaresCase(rows, cols, view));
      for (const inPlace of [false, true]) {
        table.push(scaleColumnsCase(rows, cols, { view, inPlace }));
      }
    }
  }
  table.push({
    op: "rowSquares",
    name: "no columns",
    why: "exact: an empty sum",
    async run({ w, device }) {
      const out = w.vector(Float32Array.of(NaN, NaN));
      device.ops.rowSquares({ x: w.put(matrix(2, 0)), out });
      assertAllClose(await readF32(device, out), [0, 0]);
    },
  });
  return table;
}
