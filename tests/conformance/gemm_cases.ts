/**
 * Conformance cases of products and element-wise operations.
 *
 * @module
 */

import assert from "node:assert/strict";
import { assertAllClose } from "../helpers/assert.ts";
import { normalMatrix } from "../helpers/inputs.ts";
import type { Mat } from "../../src/device/buffer.ts";
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

/** Arrangement of a batch's matrices: one below the other, one beside the other, or all the same one. */
type Arrangement = "stacked" | "beside" | "shared";

interface Batch {
  count: number;
  a: Arrangement;
  b: Arrangement;
  c: Exclude<Arrangement, "shared">;
  add?: Arrangement | "c";
}

/** The matrix that holds all of a batch. */
function batchShape(
  how: Arrangement,
  { count, rows, cols }: { count: number; rows: number; cols: number },
): [number, number] {
  if (how === "stacked") return [count * rows, cols];
  return [rows, how === "beside" ? count * cols : cols];
}

/** The first matrix of a batch, and the distance to the next. */
function firstOf(
  all: Mat,
  how: Arrangement,
  { rows, cols }: { rows: number; cols: number },
): { first: Mat; step: number } {
  const step = { stacked: rows * all.stride, beside: cols, shared: 0 }[how];
  return { first: { ...all, rows, cols }, step };
}

/** Matrix `i` of a batch. */
function blockOf(
  all: Matrix,
  how: Arrangement,
  { i, rows, cols }: { i: number; rows: number; cols: number },
): Matrix {
  const row = how === "stacked" ? i * rows : 0;
  const col = how === "beside" ? i * cols : 0;
  const out = matrix(rows, cols);
  for (let r = 0; r < rows; r++) {
    const at = (row + r) * all.cols + col;
    out.data.set(all.data.subarray(at, at + cols), r * cols);
  }
  return out;
}

function batchCase(g: Gemm, batch: Batch): Case {
  const { m, n, k, transA, transB, alpha = 1, beta = 0, view } = g;
  const { count, add } = batch;
  const sizes = {
    a: transA ? { rows: k, cols: m } : { rows: m, cols: k },
    b: transB ? { rows: n, cols: k } : { rows: k, cols: n },
    c: { rows: m, cols: n },
  };
  const marks = [
    transA && "aᵀ",
    transB && "bᵀ",
    `a ${batch.a}, b ${batch.b}, c ${batch.c}`,
    add && `add ${add}`,
    view && "views",
  ].filter(Boolean).join(", ");
  return {
    op: "gemm",
    name: `${count} of ${m}x${k} * ${k}x${n} (${marks})`,
    why: "(k + 2) roundings of f32 on the sum of magnitudes",
    async run({ w, device }) {
      const random = new Random(count * 7919 + m * 101 + n * 11 + k);
      const draw = (how: Arrangement, size: { rows: number; cols: number }) =>
        normalMatrix(random, ...batchShape(how, { count, ...size }));
      const a = draw(batch.a, sizes.a);
      const b = draw(batch.b, sizes.b);
      const addHow = add === "c" ? batch.c : add ?? batch.c;
      const added = draw(addHow, sizes.c);
      const c = add === "c"
        ? w.put(added, view)
        : w.room(...batchShape(batch.c, { count, ...sizes.c }), view);
      const firstA = firstOf(w.put(a, view), batch.a, sizes.a);
      const firstB = firstOf(w.put(b, view), batch.b, sizes.b);
      const firstC = firstOf(c, batch.c, sizes.c);
      const firstAdd = add === undefined
        ? undefined
        : add === "c"
        ? firstC
        : firstOf(w.put(added, view), add, sizes.c);
      device.ops.gemm({
        a: firstA.first,
        b: firstB.first,
        c: firstC.first,
        transA,
        transB,
        alpha: g.alpha,
        beta: g.beta,
        add: firstAdd?.first,
        batch: {
          count,
          a: firstA.step,
          b: firstB.step,
          c: firstC.step,
          ...(add !== undefined && add !== "c" && { add: firstAdd!.step }),
        },
      });
      const got = await w.get(c);
      for (let i = 0; i < count; i++) {
        const { value, size } = naive(
          blockOf(a, batch.a, { i, ...sizes.a }),
          blockOf(b, batch.b, { i, ...sizes.b }),
          g,
        );
        const plus = blockOf(added, addHow, { i, ...sizes.c }).data
          .map((x) => beta * x);
        assertAllClose(
          blockOf(got, batch.c, { i, ...sizes.c }).data,
          value.map((x, j) => alpha * x + plus[j]),
          {
            atol: (j) =>
              (k + 2) * U * (Math.abs(alpha) * size[j] + Math.abs(plus[j])) +
              1e-37,
            what: `product ${i}`,
          },
        );
      }
    },
  };
}

function* batchCases(): Generator<Case> {
  const sizes = { m: 19, n: 21, k: 13 };
  const stacked = { a: "stacked", b: "stacked", c: "stacked" } as const;
  for (const transA of [false, true]) {
    for (const transB of [false, true]) {
      const g = { ...sizes, transA, transB };
      yield batchCase(g, { count: 3, ...stacked });
      yield batchCase({ ...g, view: INNER }, {
        count: 2,
        a: "beside",
        b: "shared",
        c: "beside",
      });
    }
  }
  const even = { m: 24, n: 40, k: 16 };
  yield batchCase({ ...even, transB: true }, { count: 4, ...stacked });
  yield batchCase(even, { count: 3, a: "shared", b: "beside", c: "beside" });
  yield batchCase({ ...even, alpha: 0.5, beta: -2 }, {
    count: 3,
    ...stacked,
    add: "c",
  });
  for (const add of ["stacked", "beside", "shared"] as const) {
    yield batchCase({ ...sizes, alpha: -1, beta: 1, view: INNER }, {
      count: 3,
      ...stacked,
      add,
    });
  }
  yield batchCase({ ...sizes, k: 0, beta: 2 }, {
    count: 2,
    ...stacked,
    add: "shared",
  });
  yield batchCase(sizes, { count: 1, ...stacked });
  yield batchCase({ m: 40, n: 24, k: 600, transA: true }, {
    count: 2,
    ...stacked,
  });
  yield {
    op: "gemm",
    name: "a batch of nothing, and batches that do not fit",
    why: "arguments are checked before anything runs",
    run({ w, device }) {
      const [a, b, c] = [w.room(2, 2), w.room(2, 2), w.room(2, 2)];
      const steps = { a: 0, b: 0, c: 0 };
      device.ops.gemm({ a, b, c, batch: { count: 0, ...steps } });
      for (
        const batch of [
          { count: 2, ...steps },
          { count: 2, ...steps, c: 4 },
          { count: 2, a: 1, b: 0, c: 0 },
          { count: 1.5, ...steps },
          { count: 1, ...steps, a: -1 },
        ]
      ) assert.throws(() => device.ops.gemm({ a, b, c, batch }), RangeError);
      return Promise.resolve();
    },
  };
}

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

/** Values at which f16 rounds in another way: ties, the ends of its ranges, values beyond them. */
const HALF_EDGES = [
  ...[0, -0, 1, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -14, 2 ** -14 - 2 ** -25],
  ...[2 ** -24, 2 ** -25, 1.5 * 2 ** -24, 3 * 2 ** -25, 2 ** -26, 1e-30, 1e-40],
  ...[65504, 65519.99, 65520, -65520, 1e9, Infinity, -Infinity, NaN],
];

function roundHalfCase(
  rows: number,
  cols: number,
  { view, inPlace }: { view: View; inPlace: boolean },
): Case {
  return {
    op: "roundHalf",
    name: `${rows}x${cols}${view === WHOLE ? "" : " (view)"}${
      inPlace ? " in place" : ""
    }`,
    why: "exact: a rounding",
    async run({ w, device }) {
      const x = normalMatrix(new Random(rows * 1009 + cols), rows, cols);
      x.data.forEach((v, i) => {
        x.data[i] = HALF_EDGES[i % 41] ?? v * 10 ** (i % 9 - 5);
      });
      const on = w.put(x, view);
      const out = inPlace ? on : w.room(rows, cols, view);
      device.ops.roundHalf({ x: on, out });
      assertAllClose(
        (await w.get(out)).data,
        Float32Array.from(new Float16Array(x.data)),
      );
    },
  };
}

/** Products and element-wise operations. */
export function gemmTable(): Case[] {
  const table = [...gemmCases(), ...batchCases()];
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
        table.push(roundHalfCase(rows, cols, { view, inPlace }));
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
