/**
 * Conformance cases of the loss, of gradient clipping and of the optimiser.
 *
 * @module
 */

import { assertAllClose } from "../helpers/assert.ts";
import { integer, normalMatrix } from "../helpers/inputs.ts";
import type { AdamwStep } from "../../src/device/contract/optimizer.ts";
import { matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";
import type { Case } from "./table.ts";
import { INNER, named, type View } from "./workspace.ts";

/** Unit roundoff of f32. */
const U = 2 ** -24;

const { abs } = Math;

interface Loss {
  rows: number;
  words: number;
  gradient?: number;
  /** Factor of the logits. */
  size?: number;
  /** Added to every logit. */
  shift?: number;
  /** Rows that are left out. */
  ignored?: "none" | "some" | "all";
  view?: View;
}

function lossCase(l: Loss): Case {
  const { rows, words, gradient, size = 3, shift = 0, view } = l;
  const ignored = l.ignored ?? "some";
  return {
    op: "crossEntropy",
    name: named(
      `${rows}x${words}, logits of size ${size} around ${shift}`,
      `${ignored} left out`,
      gradient !== undefined && `gradient ${gradient}`,
      view && "view",
    ),
    why: "a sum of v exponentials, a logarithm, differences of the logits",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + words);
      const logits = matrix(
        rows,
        words,
        random.normals(rows * words).map((x) => size * x + shift),
      );
      const labels = Int32Array.from(
        { length: rows },
        (_, i) =>
          ignored === "all" || (ignored === "some" && i % 3 === 1)
            ? (i % 2 ? -100 : -1)
            : integer(random, 0, words - 1),
      );
      const on = w.put(logits, view);
      const losses = w.guarded(new Float32Array(rows).fill(NaN));
      device.ops.crossEntropy({
        logits: on,
        labels: w.vector(labels),
        losses,
        gradient,
      });

      const expected = new Float64Array(rows);
      const slopes = Float64Array.from(logits.data);
      const limits = new Float64Array(rows * words);
      const largest = logits.data.reduce((a, b) => Math.max(a, abs(b)), 0);
      const noise = (words + 32 + 4 * largest) * U;
      labels.forEach((label, i) => {
        const row = slopes.subarray(i * words, (i + 1) * words);
        const seen = label >= 0;
        const most = Math.max(...row);
        const sum = row.reduce((s, x) => s + Math.exp(x - most), 0);
        if (seen) expected[i] = most + Math.log(sum) - row[label];
        if (gradient === undefined) return;
        row.forEach((x, j) => {
          const p = Math.exp(x - most) / sum;
          row[j] = seen ? gradient * (p - (j === label ? 1 : 0)) : 0;
          limits[i * words + j] = seen
            ? abs(gradient) * (p * noise + 2 * U) + 1e-37
            : 0;
        });
      });
      assertAllClose(await w.values(losses), expected, {
        atol: (i) => labels[i] < 0 ? 0 : noise,
        what: "losses",
      });
      assertAllClose((await w.get(on)).data, slopes, {
        atol: (e) => limits[e],
        what: "logits",
      });
    },
  };
}

function* lossCases(): Generator<Case> {
  for (
    const [rows, words] of [[1, 1], [5, 2], [7, 131], [3, 1031], [0, 5], [
      131,
      67,
    ]]
  ) {
    yield lossCase({ rows, words });
    yield lossCase({ rows, words, gradient: 1 / 7 });
  }
  yield lossCase({ rows: 2, words: 32003, gradient: 1, ignored: "none" });
  const sizes = { rows: 5, words: 37 };
  for (const view of [undefined, INNER]) {
    for (const ignored of ["none", "some", "all"] as const) {
      yield lossCase({ ...sizes, ignored, view });
      yield lossCase({ ...sizes, ignored, view, gradient: -0.25 });
    }
  }
  yield lossCase({ ...sizes, gradient: 0 });
  for (const gradient of [undefined, 1]) {
    yield lossCase({ ...sizes, gradient, size: 1e4 });
    yield lossCase({ ...sizes, gradient, size: 1, shift: 300 });
    yield lossCase({ ...sizes, gradient, size: 1, shift: -300 });
  }
}

function clipCase(
  name: string,
  squares: Float32Array,
  { most, spare = 0 }: { most: number; spare?: number },
): Case {
  const count = squares.length;
  return {
    op: "clipScale",
    name: `${name}, ${count} squares, most ${most}`,
    why: "a sum of positive terms, a root, a quotient",
    async run({ w, device }) {
      // Values beyond the count must not be summed.
      const all = new Float32Array(count + spare).fill(1e9);
      all.set(squares);
      const out = w.guarded(Float32Array.of(NaN, NaN));
      device.ops.clipScale({ squares: w.vector(all), count, most, out });
      const norm = Math.sqrt(squares.reduce((a, b) => a + b, 0));
      assertAllClose(
        await w.values(out),
        [Math.min(1, most / (norm + 1e-6)), norm],
        { rtol: (count + 16) * U },
      );
    },
  };
}

function* clipCases(): Generator<Case> {
  const some = (n: number) => new Random(n).normals(n).map((x) => x * x);
  yield clipCase("nothing to clip", some(9), { most: 100 });
  yield clipCase("clipped", some(9), { most: 0.3 });
  yield clipCase("one", Float32Array.of(4), { most: 1 });
  yield clipCase("none", new Float32Array(), { most: 1, spare: 3 });
  yield clipCase("all zero", new Float32Array(5), { most: 1 });
  yield clipCase("a part of the buffer", some(67), { most: 1, spare: 6 });
  yield clipCase("as small as 1e-6", Float32Array.of(1e-12), { most: 1e-6 });
  yield clipCase("many", some(4099), { most: 1 });
}

interface Adam {
  rows: number;
  cols: number;
  step?: Partial<AdamwStep>;
  /** Number of the step. */
  t?: number;
  scale?: number;
  /** True if this is the first step of a parameter whose gradient is zero. */
  idle?: boolean;
  view?: View;
}

function adamwCase(a: Adam): Case {
  const { rows, cols, t = 3, scale, idle, view } = a;
  const step: AdamwStep = {
    learningRate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    bias1: 1 - 0.9 ** t,
    bias2: 1 - 0.999 ** t,
    ...a.step,
  };
  return {
    op: "adamw",
    name: named(
      `${rows}x${cols}, step ${t}`,
      idle && "no gradient yet",
      scale !== undefined && `scale ${scale}`,
      ...Object.entries(a.step ?? {}).map(([k, v]) => `${k} ${v}`),
      view && "views",
    ),
    why: "4 roundings of each moment, 24 of the change, 2 of the parameter",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const values = (f: (x: number) => number) =>
        matrix(rows, cols, random.normals(rows * cols).map(f));
      const param = normalMatrix(random, rows, cols);
      const grad = values((x) => idle ? 0 : x / 10);
      const mean = values((x) => idle ? 0 : x / 20);
      const square = values((x) => idle ? 0 : x * x / 100);
      const mats = {
        param: w.put(param, view),
        grad: w.put(grad, view),
        mean: w.put(mean, view),
        square: w.put(square, view),
      };
      device.ops.adamw({
        ...mats,
        scale: scale === undefined
          ? undefined
          : w.vector(Float32Array.of(scale)),
        step,
      });
      const by = scale === undefined ? 1 : Math.fround(scale);
      const changes = Array.from(grad.data, (g, e) => {
        const old = step.beta1 * mean.data[e];
        const fresh = (1 - step.beta1) * g * by;
        const s = step.beta2 * square.data[e] +
          (1 - step.beta2) * (g * by) ** 2;
        const rate = step.learningRate / step.bias1 /
          (Math.sqrt(s) / Math.sqrt(step.bias2) + step.epsilon);
        const kept = param.data[e] *
          (1 - step.learningRate * step.weightDecay);
        return {
          mean: old + fresh,
          square: s,
          param: kept - rate * (old + fresh),
          meanSize: abs(old) + abs(fresh),
          paramSize: 2 * abs(kept) + 24 * rate * (abs(old) + abs(fresh)),
        };
      });
      assertAllClose(
        (await w.get(mats.mean)).data,
        changes.map((r) => r.mean),
        {
          atol: (e) => 4 * U * changes[e].meanSize,
          what: "mean",
        },
      );
      assertAllClose(
        (await w.get(mats.square)).data,
        changes.map((r) => r.square),
        { rtol: 6 * U, what: "square" },
      );
      assertAllClose(
        (await w.get(mats.param)).data,
        changes.map((r) => r.param),
        { atol: (e) => U * changes[e].paramSize, what: "param" },
      );
      assertAllClose((await w.get(mats.grad)).data, grad.data, {
        what: "grad",
      });
    },
  };
}

function* adamwCases(): Generator<Case> {
  for (
    const [rows, cols] of [[1, 1], [1, 131], [131, 1], [0, 3], [203, 307]]
  ) {
    yield adamwCase({ rows, cols });
  }
  const sizes = { rows: 7, cols: 13 };
  yield adamwCase({ ...sizes, t: 1 });
  yield adamwCase({ ...sizes, t: 10000 });
  yield adamwCase({ ...sizes, t: 1, idle: true });
  yield adamwCase({ ...sizes, scale: 0.37 });
  yield adamwCase({ ...sizes, scale: 0 });
  yield adamwCase({ ...sizes, step: { weightDecay: 0.1 } });
  yield adamwCase({ ...sizes, step: { learningRate: 0.5, weightDecay: 0.5 } });
  yield adamwCase({ ...sizes, step: { learningRate: 0 } });
  yield adamwCase({ ...sizes, step: { epsilon: 0.1 } });
  yield adamwCase({
    ...sizes,
    step: { beta1: 0, beta2: 0.95, bias1: 1, bias2: 1 - 0.95 ** 3 },
  });
  yield adamwCase({
    ...sizes,
    view: INNER,
    scale: 0.5,
    step: { weightDecay: 0.01 },
  });
}

/** The loss, gradient clipping and the optimiser. */
export function lossTable(): Case[] {
  return [...lossCases(), ...clipCases(), ...adamwCases()];
}
