/**
 * Conformance cases of norms, rotary positions and gated units; gradients by differences in f64.
 *
 * @module
 */

import { assertAllClose } from "../helpers/assert.ts";
import { numericGradient } from "../helpers/gradients.ts";
import { integer, normalMatrix } from "../helpers/inputs.ts";
import type { Mat } from "../../src/device/buffer.ts";
import { type Matrix, matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";
import type { Case } from "./table.ts";
import { INNER, named, type View } from "./workspace.ts";

/** Unit roundoff of f32. */
const U = 2 ** -24;

const { abs } = Math;

function rowOf(x: Matrix, i: number): Float32Array {
  return x.data.subarray(i * x.cols, (i + 1) * x.cols);
}

/** `1 / sqrt(mean(x²) + epsilon)`. */
function inverseRms(x: ArrayLike<number>, epsilon: number): number {
  let squares = 0;
  for (let j = 0; j < x.length; j++) squares += x[j] * x[j];
  return 1 / Math.sqrt(squares / x.length + epsilon);
}

interface Norm {
  rows: number;
  cols: number;
  epsilon?: number;
  /** Factor of the input. */
  size?: number;
  view?: View;
}

function rmsNormCase(n: Norm): Case {
  const { rows, cols, epsilon = 1e-5, size = 1, view } = n;
  return {
    op: "rmsNorm",
    name: named(
      `${rows}x${cols}`,
      size !== 1 && `of size ${size}`,
      epsilon !== 1e-5 && `epsilon ${epsilon}`,
      view && "views",
    ),
    why: "a sum of n squares, a root, a reciprocal and two products",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const x = normalMatrix(random, rows, cols);
      x.data.forEach((v, i) => x.data[i] = size * v);
      const weight = random.normals(cols);
      const out = w.room(rows, cols, view);
      const inverse = w.guarded(new Float32Array(rows).fill(NaN));
      device.ops.rmsNorm({
        x: w.put(x, view),
        weight: w.vector(weight),
        epsilon,
        out,
        inverse,
      });
      const by = Float64Array.from(
        { length: rows },
        (_, i) => inverseRms(rowOf(x, i), epsilon),
      );
      const rtol = (cols + 16) * U;
      assertAllClose(await w.values(inverse), by, { rtol, what: "inverse" });
      assertAllClose(
        (await w.get(out)).data,
        Float64Array.from(
          x.data,
          (v, e) => v * by[Math.floor(e / cols)] * weight[e % cols],
        ),
        { rtol, atol: 1e-37, what: "out" },
      );
    },
  };
}

interface NormBackward {
  rows: number;
  cols: number;
  /** The residual: none, a matrix, or the content of `dx`. */
  add?: "other" | "dx";
  dweight?: boolean;
  view?: View;
}

function rmsNormBackwardCase(n: NormBackward): Case {
  const { rows, cols, add, dweight, view } = n;
  const epsilon = 1e-5;
  return {
    op: "rmsNormBackward",
    name: named(
      `${rows}x${cols}`,
      add && `add is ${add}`,
      dweight && "dweight",
      view && "views",
    ),
    why: "a sum of n (of m for the weight) and 16 roundings, on magnitudes",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const x = normalMatrix(random, rows, cols);
      const dy = normalMatrix(random, rows, cols);
      const around = normalMatrix(random, rows, cols);
      const weight = random.normals(cols);
      const before = random.normals(cols);
      const inverse = Float32Array.from(
        { length: rows },
        (_, i) => inverseRms(rowOf(x, i), epsilon),
      );
      const dx = add === "dx" ? w.put(around, view) : w.room(rows, cols, view);
      const grown = dweight ? w.guarded(before) : undefined;
      device.ops.rmsNormBackward({
        dy: w.put(dy, view),
        x: w.put(x, view),
        weight: w.vector(weight),
        inverse: w.vector(inverse),
        dx,
        add: add === "dx" ? dx : add && w.put(around, view),
        dweight: grown,
      });

      const lines = Array.from({ length: rows }, (_, i) => {
        const [xi, di] = [rowOf(x, i), rowOf(dy, i)];
        const gradient = numericGradient((at) => {
          const by = inverseRms(at, epsilon);
          return at.reduce((s, v, j) => s + di[j] * v * by * weight[j], 0);
        }, xi);
        const mean = xi.reduce(
          (s, v, j) => s + abs(di[j] * weight[j] * v) / cols,
          0,
        );
        const by = inverse[i];
        return {
          gradient,
          size: Float64Array.from(
            xi,
            (v, j) => by * (abs(di[j] * weight[j]) + abs(v) * by * by * mean),
          ),
        };
      });
      const plus = Float64Array.from(around.data, (v) => add ? v : 0);
      const size = lines.flatMap((r) => [...r.size]);
      assertAllClose(
        (await w.get(dx)).data,
        lines.flatMap((r) => [...r.gradient]).map((v, e) => v + plus[e]),
        {
          atol: (e) => ((cols + 16) * U + 1e-9) * (size[e] + abs(plus[e])),
          what: "dx",
        },
      );
      if (!grown) return;
      // The forward is linear in the weight: its slopes are the normed rows.
      const sums = Float64Array.from(before);
      const sizes = sums.map(abs);
      x.data.forEach((v, e) => {
        const term = dy.data[e] * v *
          inverseRms(rowOf(x, Math.floor(e / cols)), epsilon);
        sums[e % cols] += term;
        sizes[e % cols] += abs(term);
      });
      assertAllClose(await w.values(grown), sums, {
        atol: (j) => (rows + 16) * U * sizes[j],
        what: "dweight",
      });
    },
  };
}

interface Rope {
  rows: number;
  heads: number;
  headDim: number;
  inverse?: boolean;
  inPlace?: boolean;
  view?: View;
}

function ropeCase(r: Rope): Case {
  const { rows, heads, headDim, inverse, inPlace, view } = r;
  return {
    op: "rope",
    name: named(
      `${rows} rows, ${heads} heads of ${headDim}`,
      inverse && "inverse",
      inPlace && "in place",
      view && "views",
    ),
    why: "two products and a sum: 3 roundings of magnitudes",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + headDim);
      const cols = heads * headDim;
      const half = headDim / 2;
      const x = normalMatrix(random, rows, cols);
      const angles = Float64Array.from(
        { length: 11 * half },
        (_, e) => Math.floor(e / half) * 100 ** (-(e % half) / half),
      );
      const cos = matrix(11, half, Float32Array.from(angles, Math.cos));
      const sin = matrix(11, half, Float32Array.from(angles, Math.sin));
      const positions = Uint32Array.from(
        { length: rows },
        () => integer(random, 0, 10),
      );
      const on = w.put(x, view);
      const out = inPlace ? on : w.room(rows, cols, view);
      device.ops.rope({
        x: on,
        out,
        positions: w.vector(positions),
        cos: w.put(cos, view),
        sin: w.put(sin, view),
        headDim,
        inverse,
      });
      // As complex numbers: (a + ib) * (cos ± i sin).
      const expected = new Float64Array(rows * cols);
      const size = new Float64Array(rows * cols);
      expected.forEach((_, e) => {
        const c = e % headDim % half;
        const first = e % headDim < half;
        const at = positions[Math.floor(e / cols)] * half + c;
        const s = inverse ? -sin.data[at] : sin.data[at];
        const other = x.data[first ? e + half : e - half];
        const terms = [x.data[e] * cos.data[at], (first ? -s : s) * other];
        expected[e] = terms[0] + terms[1];
        size[e] = abs(terms[0]) + abs(terms[1]);
      });
      assertAllClose((await w.get(out)).data, expected, {
        atol: (e) => 3 * U * size[e],
      });
    },
  };
}

/** Error of a gate of 1e4 from an exponential that stops at e^88, or a subnormal flushed to 0. */
const FLUSHED = 1e-32;

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

/** Gates of ordinary size, then some whose exponential is next to nothing or overflows an f32. */
function gates(random: Random, rows: number, cols: number): Matrix {
  const gate = normalMatrix(random, rows, cols);
  const special = [0, -0, 20, -20, 60, -60, 100, -100, 1e4, -1e4, -1.2784645];
  if (gate.data.length > 40) gate.data.set(special, 3);
  return gate;
}

interface Gated {
  rows: number;
  cols: number;
  out?: "gate" | "up";
  view?: View;
}

function swigluCase({ rows, cols, out, view }: Gated): Case {
  return {
    op: "swiglu",
    name: named(`${rows}x${cols}`, out && `out is ${out}`, view && "views"),
    why: "an exponential (3 + 2 |x| ulp on a GPU), a quotient, two products",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const gate = gates(random, rows, cols);
      const up = normalMatrix(random, rows, cols);
      const args = { gate: w.put(gate, view), up: w.put(up, view) };
      const to = out ? args[out] : w.room(rows, cols, view);
      device.ops.swiglu({ ...args, out: to });
      const expected = Array.from(
        gate.data,
        (g, e) => silu(g) * up.data[e],
      );
      assertAllClose((await w.get(to)).data, expected, {
        atol: (e) =>
          (16 + 4 * abs(gate.data[e])) * U * abs(expected[e]) + FLUSHED,
      });
    },
  };
}

interface GatedBackward {
  rows: number;
  cols: number;
  dgate?: "gate";
  dup?: "up" | "dy";
  view?: View;
}

function swigluBackwardCase(g: GatedBackward): Case {
  const { rows, cols, dgate, dup, view } = g;
  return {
    op: "swigluBackward",
    name: named(
      `${rows}x${cols}`,
      dgate && `dgate is ${dgate}`,
      dup && `dup is ${dup}`,
      view && "views",
    ),
    why: "as swiglu, with a few products and sums more, on magnitudes",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const gate = gates(random, rows, cols);
      const up = normalMatrix(random, rows, cols);
      const dy = normalMatrix(random, rows, cols);
      const args: Record<"dy" | "gate" | "up", Mat> = {
        dy: w.put(dy, view),
        gate: w.put(gate, view),
        up: w.put(up, view),
      };
      const into = {
        dgate: dgate ? args[dgate] : w.room(rows, cols, view),
        dup: dup ? args[dup] : w.room(rows, cols, view),
      };
      device.ops.swigluBackward({ ...args, ...into });
      const step = 1e-5;
      const slope = Array.from(
        gate.data,
        (x, e) =>
          dy.data[e] * up.data[e] *
          (silu(x + step) - silu(x - step)) / (2 * step),
      );
      const limit = (e: number, size: number) =>
        ((32 + 4 * abs(gate.data[e])) * U + 1e-8) * abs(size) + FLUSHED;
      assertAllClose((await w.get(into.dgate)).data, slope, {
        atol: (e) => {
          const s = 1 / (1 + Math.exp(-gate.data[e]));
          const terms = s * (1 + abs(gate.data[e]) * (1 - s));
          return limit(e, dy.data[e] * up.data[e] * terms);
        },
        what: "dgate",
      });
      const expected = Array.from(
        gate.data,
        (x, e) => dy.data[e] * silu(x),
      );
      assertAllClose((await w.get(into.dup)).data, expected, {
        atol: (e) => limit(e, expected[e]),
        what: "dup",
      });
    },
  };
}

function* normCases(): Generator<Case> {
  for (
    const [rows, cols] of [[1, 1], [1, 131], [131, 1], [7, 13], [0, 3], [
      301,
      67,
    ]]
  ) {
    yield rmsNormCase({ rows, cols });
    yield rmsNormBackwardCase({ rows, cols });
    yield rmsNormBackwardCase({ rows, cols, add: "dx", dweight: true });
  }
  yield rmsNormCase({ rows: 301, cols: 320 });
  const sizes = { rows: 9, cols: 37 };
  yield rmsNormCase({ ...sizes, view: INNER });
  yield rmsNormCase({ ...sizes, size: 1e-6 });
  yield rmsNormCase({ ...sizes, size: 1e6, epsilon: 0 });
  yield rmsNormCase({ ...sizes, size: 0, epsilon: 1e-6 });
  for (const view of [undefined, INNER]) {
    for (const add of [undefined, "other", "dx"] as const) {
      for (const dweight of [false, true]) {
        yield rmsNormBackwardCase({ ...sizes, add, dweight, view });
      }
    }
  }
}

function* ropeCases(): Generator<Case> {
  for (
    const [rows, heads, headDim] of [
      [1, 1, 2],
      [5, 3, 6],
      [7, 2, 64],
      [0, 2, 4],
      [301, 4, 34],
    ]
  ) {
    for (const inverse of [false, true]) {
      for (const inPlace of [false, true]) {
        yield ropeCase({ rows, heads, headDim, inverse, inPlace });
      }
    }
  }
  for (const inPlace of [false, true]) {
    yield ropeCase({ rows: 9, heads: 3, headDim: 10, inPlace, view: INNER });
  }
}

function* gatedCases(): Generator<Case> {
  for (
    const [rows, cols] of [[1, 1], [1, 131], [131, 1], [0, 3], [203, 307]]
  ) {
    yield swigluCase({ rows, cols });
    yield swigluBackwardCase({ rows, cols });
  }
  const sizes = { rows: 7, cols: 13 };
  for (const view of [undefined, INNER]) {
    for (const out of [undefined, "gate", "up"] as const) {
      yield swigluCase({ ...sizes, out, view });
    }
    for (const dgate of [undefined, "gate"] as const) {
      for (const dup of [undefined, "up", "dy"] as const) {
        yield swigluBackwardCase({ ...sizes, dgate, dup, view });
      }
    }
  }
}

/** Norms, rotary positions and gated units. */
export function normTable(): Case[] {
  return [...normCases(), ...ropeCases(), ...gatedCases()];
}
