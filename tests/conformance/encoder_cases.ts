/**
 * Conformance cases of encoders' operations: layer norms, activations, DeBERTa's scores, softmax. Gradients by
 * differences in f64.
 *
 * @module
 */

import {
  type Activation,
  ACTIVATIONS,
} from "../../src/device/contract/activation.ts";
import { type Matrix, matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";
import { assertAllClose } from "../helpers/assert.ts";
import { numericGradient } from "../helpers/gradients.ts";
import { normalMatrix } from "../helpers/inputs.ts";
import type { Case } from "./table.ts";
import { INNER, named, type View } from "./workspace.ts";

/** Unit roundoff of f32. */
const U = 2 ** -24;

const { abs, exp } = Math;

function rowOf(x: Matrix, i: number): Float32Array {
  return x.data.subarray(i * x.cols, (i + 1) * x.cols);
}

const sum = (x: ArrayLike<number>) => Array.from(x).reduce((a, b) => a + b, 0);

/** Mean, and 1 over the root of the variance and `epsilon`. */
function statistics(x: ArrayLike<number>, epsilon: number) {
  const mean = sum(x) / x.length;
  const off = Array.from(x, (v) => (v - mean) ** 2);
  return { mean, inverse: 1 / Math.sqrt(sum(off) / x.length + epsilon) };
}

interface Norm {
  rows: number;
  cols: number;
  /** Added to all values, times their size. */
  shift?: number;
  size?: number;
  view?: View;
}

function layerNormCase(
  { rows, cols, shift = 0, size = 1, view }: Norm,
): Case {
  const epsilon = 1e-5;
  return {
    op: "layerNorm",
    name: named(
      `${rows}x${cols}`,
      shift !== 0 && `around ${shift}`,
      size !== 1 && `of size ${size}`,
      view && "views",
    ),
    why: "sums of n values and squares, whose rounding grows with the mean",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const x = normalMatrix(random, rows, cols);
      x.data.forEach((v, i) => x.data[i] = size * (v + shift));
      const [weight, bias] = [random.normals(cols), random.normals(cols)];
      const out = w.room(rows, cols, view);
      const mean = w.guarded(new Float32Array(rows).fill(NaN));
      const inverse = w.guarded(new Float32Array(rows).fill(NaN));
      device.ops.layerNorm({
        x: w.put(x, view),
        weight: w.vector(weight),
        bias: w.vector(bias),
        epsilon,
        out,
        mean,
        inverse,
      });
      const rowsOf = Array.from(
        { length: rows },
        (_, i) => statistics(rowOf(x, i), epsilon),
      );
      const rounding = (cols + 16) * U * (1 + abs(shift));
      assertAllClose(await w.values(mean), rowsOf.map((r) => r.mean), {
        atol: rounding * size * (1 + abs(shift)),
        what: "mean",
      });
      assertAllClose(await w.values(inverse), rowsOf.map((r) => r.inverse), {
        rtol: rounding * 4,
        what: "inverse",
      });
      assertAllClose(
        (await w.get(out)).data,
        Float64Array.from(x.data, (v, e) => {
          const { mean, inverse } = rowsOf[Math.floor(e / cols)];
          return (v - mean) * inverse * weight[e % cols] + bias[e % cols];
        }),
        {
          atol: (e) => rounding * 8 * (1 + abs(weight[e % cols])),
          what: "out",
        },
      );
    },
  };
}

interface NormBackward {
  rows: number;
  cols: number;
  add?: "other" | "dx";
  trained?: boolean;
  view?: View;
}

function layerNormBackwardCase(
  { rows, cols, add, trained, view }: NormBackward,
): Case {
  const epsilon = 1e-5;
  return {
    op: "layerNormBackward",
    name: named(
      `${rows}x${cols}`,
      add && `add is ${add}`,
      trained && "dweight and dbias",
      view && "views",
    ),
    why: "sums of n (of m for weight and bias) and 16 roundings",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const x = normalMatrix(random, rows, cols);
      const dy = normalMatrix(random, rows, cols);
      const around = normalMatrix(random, rows, cols);
      const weight = random.normals(cols);
      const before = random.normals(cols);
      const each = Array.from(
        { length: rows },
        (_, i) => statistics(rowOf(x, i), epsilon),
      );
      const dx = add === "dx" ? w.put(around, view) : w.room(rows, cols, view);
      const dweight = trained ? w.guarded(before) : undefined;
      const dbias = trained ? w.guarded(before) : undefined;
      device.ops.layerNormBackward({
        dy: w.put(dy, view),
        x: w.put(x, view),
        weight: w.vector(weight),
        mean: w.vector(Float32Array.from(each, (r) => r.mean)),
        inverse: w.vector(Float32Array.from(each, (r) => r.inverse)),
        dx,
        add: add === "dx" ? dx : add && w.put(around, view),
        dweight,
        dbias,
      });
      const gradient = each.flatMap((_, i) => {
        const di = rowOf(dy, i);
        return [...numericGradient((at) => {
          const { mean, inverse } = statistics(at, epsilon);
          return sum(
            at.map((v, j) => di[j] * weight[j] * (v - mean) * inverse),
          );
        }, rowOf(x, i))];
      });
      assertAllClose(
        (await w.get(dx)).data,
        gradient.map((v, e) => v + (add ? around.data[e] : 0)),
        {
          atol: (e) =>
            ((cols + 32) * U + 1e-8) *
            (8 * each[Math.floor(e / cols)].inverse + 4),
          what: "dx",
        },
      );
      if (!dweight || !dbias) return;
      const columns = Array.from({ length: cols }, (_, j) => {
        const terms = each.map(({ mean, inverse }, i) => {
          const d = dy.data[i * cols + j];
          return [d * (x.data[i * cols + j] - mean) * inverse, d];
        });
        return [sum(terms.map(([a]) => a)), sum(terms.map(([, b]) => b))];
      });
      for (const [k, grown] of [dweight, dbias].entries()) {
        assertAllClose(
          await w.values(grown),
          columns.map((c, j) => before[j] + c[k]),
          {
            atol: (rows + 16) * U * (8 + 4 * rows),
            what: k === 0 ? "dweight" : "dbias",
          },
        );
      }
    },
  };
}

/** The normal distribution, by Simpson's rule. */
function normal(x: number): number {
  const steps = 2000;
  const h = x / steps;
  let total = 0;
  for (let i = 0; i <= steps; i++) {
    const factor = i === 0 || i === steps ? 1 : i % 2 ? 4 : 2;
    total += factor * exp(-((i * h) ** 2) / 2);
  }
  return 0.5 + total * h / 3 / Math.sqrt(2 * Math.PI);
}

const FUNCTIONS: Record<Activation, (x: number) => number> = {
  gelu: (x) => x * normal(x),
  "gelu_tanh": (x) =>
    0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu: (x) => x > 0 ? x : 0,
  tanh: Math.tanh,
};

/** Values of all sizes; none so near 0 that a difference would reach across the corner of `relu`. */
function activationInputs(rows: number, cols: number): Matrix {
  const x = normalMatrix(new Random(rows * 1009 + cols), rows, cols);
  x.data.forEach((v, i) => {
    const wide = v * [0.1, 1, 3, 8, 30][i % 5];
    x.data[i] = abs(wide) < 1e-3 ? 0.01 : wide;
  });
  return x;
}

function activateCases(kind: Activation, shape: {
  rows: number;
  cols: number;
  view?: View;
  inPlace?: boolean;
}): Case[] {
  const { rows, cols, view, inPlace } = shape;
  const name = named(
    `${kind}, ${rows}x${cols}`,
    inPlace && "in place",
    view && "views",
  );
  return [{
    op: "activate",
    name,
    why:
      "an approximation within 2e-7 |x|, tanh within 2e-7; an exponential and roundings",
    async run({ w, device }) {
      const x = activationInputs(rows, cols);
      const on = w.put(x, view);
      const out = inPlace ? on : w.room(rows, cols, view);
      device.ops.activate({ x: on, out, kind });
      const [by, most] = kind === "tanh" ? [6e-7, 0.5] : [3e-7, 10];
      assertAllClose(
        (await w.get(out)).data,
        Float64Array.from(x.data, FUNCTIONS[kind]),
        { atol: (e) => by * Math.min(abs(x.data[e]) + 0.1, most) },
      );
    },
  }, {
    op: "activateBackward",
    name,
    why: "a slope within 4e-7, and two roundings; by differences",
    async run({ w, device }) {
      const x = activationInputs(rows, cols);
      const dy = normalMatrix(new Random(7), rows, cols);
      const on = w.put(dy, view);
      const dx = inPlace ? on : w.room(rows, cols, view);
      device.ops.activateBackward({ dy: on, x: w.put(x, view), dx, kind });
      const f = FUNCTIONS[kind];
      assertAllClose(
        (await w.get(dx)).data,
        Float64Array.from(
          x.data,
          (v, e) => dy.data[e] * (f(v + 1e-5) - f(v - 1e-5)) / 2e-5,
        ),
        { atol: (e) => 6e-7 * (0.1 + abs(dy.data[e])) },
      );
    },
  }];
}

interface Relative {
  time: number;
  heads: number;
  positions: number;
  terms: "both" | "c2p" | "p2c";
  view?: View;
}

/** Index of relative positions that never falls, as buckets do. */
function relativeIndex({ time, positions }: Relative): Uint32Array {
  return Uint32Array.from(
    { length: 2 * time - 1 },
    (_, i) => Math.floor(i * positions / (2 * time - 1)),
  );
}

function relativeCases(r: Relative): Case[] {
  const { time, heads, positions, terms, view } = r;
  const rows = heads * time;
  const alpha = 0.375;
  const index = relativeIndex(r);
  const name = named(
    `${heads} heads of ${time}, ${positions} positions, ${terms}`,
    view && "views",
  );
  const uses = (term: "c2p" | "p2c") => terms === "both" || terms === term;
  return [{
    op: "relativeScores",
    name,
    why: "two terms, a factor and two sums",
    async run({ w, device }) {
      const random = new Random(time * 31 + positions);
      const scores = normalMatrix(random, rows, time);
      const c2p = normalMatrix(random, rows, positions);
      const p2c = normalMatrix(random, rows, positions);
      const on = w.put(scores, view);
      device.ops.relativeScores({
        scores: on,
        c2p: uses("c2p") ? w.put(c2p, view) : undefined,
        p2c: uses("p2c") ? w.put(p2c, view) : undefined,
        shape: { time, index: w.vector(index), alpha },
      });
      const expected = Float64Array.from(scores.data, (v, e) => {
        const [row, j] = [Math.floor(e / time), e % time];
        const i = row % time;
        const p = index[i - j + time - 1];
        const content = c2p.data[row * positions + p];
        const position = p2c.data[(row - i + j) * positions + p];
        return v +
          alpha * ((uses("c2p") ? content : 0) + (uses("p2c") ? position : 0));
      });
      assertAllClose((await w.get(on)).data, expected, { atol: 16 * U });
    },
  }, {
    op: "relativeScoresBackward",
    name,
    why: "sums of up to `time` scores",
    async run({ w, device }) {
      const dscores = normalMatrix(new Random(time), rows, time);
      const dc2p = w.room(rows, positions, view);
      const dp2c = w.room(rows, positions, view);
      device.ops.relativeScoresBackward({
        dscores: w.put(dscores, view),
        dc2p: uses("c2p") ? dc2p : undefined,
        dp2c: uses("p2c") ? dp2c : undefined,
        shape: { time, index: w.vector(index), alpha },
      });
      const content = new Float64Array(rows * positions);
      const position = new Float64Array(rows * positions);
      dscores.data.forEach((v, e) => {
        const [row, j] = [Math.floor(e / time), e % time];
        const i = row % time;
        const p = index[i - j + time - 1];
        content[row * positions + p] += alpha * v;
        position[(row - i + j) * positions + p] += alpha * v;
      });
      const atol = 8 * time * U;
      if (uses("c2p")) {
        assertAllClose((await w.get(dc2p)).data, content, { atol });
      }
      if (uses("p2c")) {
        assertAllClose((await w.get(dp2c)).data, position, { atol });
      }
    },
  }];
}

interface Softmax {
  sequences: number;
  rows: number;
  cols: number;
  bounds?: readonly (readonly [number, number])[];
  inPlace?: boolean;
  view?: View;
  /** Added to all values. */
  shift?: number;
}

function softmaxCase(s: Softmax): Case {
  const { sequences, rows, cols, bounds, inPlace, view, shift = 0 } = s;
  return {
    op: "maskedSoftmax",
    name: named(
      `${sequences} x ${rows}x${cols}`,
      bounds && "bounds",
      inPlace && "in place",
      view && "views",
      shift !== 0 && `around ${shift}`,
    ),
    why: "an exponential within 4e-7 and a sum of n",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const x = normalMatrix(random, sequences * rows, cols);
      x.data.forEach((v, i) => x.data[i] = 3 * v + shift);
      const seen = (e: number) => {
        const [from, to] = bounds?.[Math.floor(e / cols / rows)] ?? [0, cols];
        return e % cols >= from && e % cols < to;
      };
      // Masked values may be anything.
      x.data.forEach((_, e) => {
        if (!seen(e)) x.data[e] = NaN;
      });
      const on = w.put(x, view);
      const out = inPlace ? on : w.room(x.rows, cols, view);
      device.ops.maskedSoftmax({
        x: on,
        out,
        rows,
        bounds: bounds && w.vector(Uint32Array.from(bounds.flat())),
      });
      const powers = Float64Array.from(
        x.data,
        (v, e) => seen(e) ? exp(v - shift) : 0,
      );
      assertAllClose(
        (await w.get(out)).data,
        powers.map((v, e) => {
          const i = Math.floor(e / cols);
          return v === 0
            ? 0
            : v / sum(powers.subarray(i * cols, (i + 1) * cols));
        }),
        { rtol: (cols + 32) * U + 1e-6, atol: 1e-37 },
      );
    },
  };
}

function softmaxBackwardCase(
  { rows, cols, inPlace, view }: Omit<Softmax, "sequences">,
): Case {
  return {
    op: "maskedSoftmaxBackward",
    name: named(`${rows}x${cols}`, inPlace && "in place", view && "views"),
    why: "a sum of n products",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const x = normalMatrix(random, rows, cols);
      const dy = normalMatrix(random, rows, cols);
      const softmax = (at: ArrayLike<number>) => {
        const powers = Array.from(at, exp);
        return powers.map((v) => v / sum(powers));
      };
      const lines = Array.from({ length: rows }, (_, i) => rowOf(x, i));
      const y = matrix(rows, cols, Float32Array.from(lines.flatMap(softmax)));
      const on = w.put(dy, view);
      const dx = inPlace ? on : w.room(rows, cols, view);
      device.ops.maskedSoftmaxBackward({ dy: on, y: w.put(y, view), dx });
      assertAllClose(
        (await w.get(dx)).data,
        lines.flatMap((line, i) => {
          const di = rowOf(dy, i);
          return [...numericGradient(
            (at) => sum(softmax(at).map((v, j) => di[j] * v)),
            line,
          )];
        }),
        { atol: (cols + 16) * U * 4 + 1e-9 },
      );
    },
  };
}

/** Cases of the encoders' operations. */
export function encoderTable(): Case[] {
  const cases: Case[] = [];
  for (
    const [rows, cols] of [[1, 1], [1, 131], [131, 2], [0, 3], [67, 320], [
      3,
      1030,
    ]]
  ) {
    cases.push(layerNormCase({ rows, cols }));
    cases.push(layerNormBackwardCase({ rows, cols, trained: true }));
  }
  const sizes = { rows: 9, cols: 37 };
  cases.push(layerNormCase({ ...sizes, view: INNER }));
  cases.push(layerNormCase({ ...sizes, shift: 100 }));
  cases.push(layerNormCase({ ...sizes, size: 1e4 }));
  for (const view of [undefined, INNER]) {
    for (const add of [undefined, "other", "dx"] as const) {
      for (const trained of [false, true]) {
        cases.push(layerNormBackwardCase({ ...sizes, add, trained, view }));
      }
    }
  }
  for (const kind of ACTIVATIONS) {
    for (const [rows, cols] of [[1, 1], [1, 131], [0, 3], [43, 107]]) {
      cases.push(...activateCases(kind, { rows, cols }));
    }
    cases.push(...activateCases(kind, { rows: 7, cols: 13, inPlace: true }));
    cases.push(...activateCases(kind, { rows: 7, cols: 13, view: INNER }));
  }
  for (
    const [time, heads, positions] of [[1, 1, 1], [5, 3, 4], [33, 6, 16], [
      9,
      2,
      17,
    ]]
  ) {
    for (const terms of ["both", "c2p", "p2c"] as const) {
      cases.push(...relativeCases({ time, heads, positions, terms }));
    }
  }
  cases.push(
    ...relativeCases({
      ...{ time: 5, heads: 3, positions: 4, terms: "both" },
      view: INNER,
    }),
  );
  for (
    const [sequences, rows, cols] of [[1, 1, 1], [3, 4, 37], [2, 3, 600], [
      0,
      1,
      3,
    ]]
  ) {
    cases.push(softmaxCase({ sequences, rows, cols }));
    // Differences take as many softmaxes as there are columns.
    cases.push(
      softmaxBackwardCase({ rows: sequences * rows, cols: Math.min(cols, 67) }),
    );
  }
  const masked = {
    ...{ sequences: 3, rows: 4, cols: 37 },
    bounds: [[0, 37], [5, 20], [0, 1]] as const,
  };
  cases.push(softmaxCase(masked));
  cases.push(softmaxCase({ ...masked, bounds: [[0, 0], [9, 9], [36, 37]] }));
  cases.push(softmaxCase({ ...masked, inPlace: true }));
  cases.push(softmaxCase({ ...masked, view: INNER }));
  cases.push(softmaxCase({ ...masked, shift: 200 }));
  cases.push(softmaxBackwardCase({ rows: 7, cols: 13, inPlace: true }));
  cases.push(softmaxBackwardCase({ rows: 7, cols: 13, view: INNER }));
  return cases;
}
