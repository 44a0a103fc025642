/**
 * Transformers' operations of the reference device, by their formulas: rows, norms, rotary positions, losses, the
 * optimiser. Everything in f64, rounded to f32 once where it is stored.
 *
 * @module
 */

import type { NetworkOperations, OperationArgs } from "../operations.ts";
import { dropoutFactor, dropoutHash, dropoutThreshold } from "../dropout.ts";
import { attention, attentionBackward } from "./attention.ts";
import { referenceEncoder } from "./encoder.ts";
import { f32, i32, load, store, u32 } from "./memory.ts";

function combine(args: OperationArgs<"combine">): void {
  const { alpha = 1, beta = 1 } = args;
  const y = args.y && load(args.y);
  store(
    args.out,
    load(args.x).map((x, i) => alpha * x + (y ? beta * y[i] : 0)),
  );
}

function addRow(args: OperationArgs<"addRow">): void {
  const row = f32(args.row);
  store(args.out, load(args.x).map((x, i) => x + row[i % args.x.cols]));
}

function columnSums(args: OperationArgs<"columnSums">): void {
  const n = args.x.cols;
  const out = f32(args.out);
  const sums = args.beta
    ? Float64Array.from(out.subarray(0, n))
    : new Float64Array(n);
  load(args.x).forEach((x, i) => sums[i % n] += args.square ? x * x : x);
  out.set(sums);
}

function poolColumns(args: OperationArgs<"poolColumns">): void {
  const { x, group, out } = args;
  const sums = new Float64Array(out.rows * out.cols);
  load(x).forEach((value, e) => {
    const [i, j] = [Math.floor(e / x.cols), e % x.cols];
    sums[i * out.cols + Math.floor(j / group)] += value;
  });
  store(out, sums);
}

function spreadColumns(args: OperationArgs<"spreadColumns">): void {
  const { x, group, out, add } = args;
  const values = load(x);
  const sums = add ? load(add) : new Float64Array(out.rows * out.cols);
  store(
    out,
    sums.map((value, e) => {
      const [i, j] = [Math.floor(e / out.cols), e % out.cols];
      return value + values[i * x.cols + Math.floor(j / group)];
    }),
  );
}

function gatherRows(args: OperationArgs<"gatherRows">): void {
  const { rows: m, cols: n } = args.out;
  const table = load(args.table);
  const ids = u32(args.ids);
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    out.set(table.subarray(ids[i] * n, (ids[i] + 1) * n), i * n);
  }
  store(args.out, out);
}

function scatterRows(args: OperationArgs<"scatterRows">): void {
  const n = args.x.cols;
  const table = load(args.table);
  const ids = u32(args.ids);
  load(args.x).forEach((x, i) => {
    table[ids[Math.floor(i / n)] * n + i % n] += x;
  });
  store(args.table, table);
}

function rmsNorm(args: OperationArgs<"rmsNorm">): void {
  const { rows: m, cols: n } = args.x;
  const weight = f32(args.weight);
  const inverse = f32(args.inverse);
  const x = load(args.x);
  for (let i = 0; i < m; i++) {
    const row = x.subarray(i * n, (i + 1) * n);
    let squares = 0;
    for (const v of row) squares += v * v;
    const by = 1 / Math.sqrt(squares / n + args.epsilon);
    inverse[i] = by;
    for (let j = 0; j < n; j++) row[j] *= by * weight[j];
  }
  store(args.out, x);
}

function rmsNormBackward(args: OperationArgs<"rmsNormBackward">): void {
  const { rows: m, cols: n } = args.x;
  const weight = f32(args.weight);
  const inverse = f32(args.inverse);
  const x = load(args.x);
  const dy = load(args.dy);
  const dx = args.add ? load(args.add) : new Float64Array(m * n);
  const dweight = new Float64Array(n);
  for (let i = 0; i < m; i++) {
    const by = inverse[i];
    let mean = 0;
    for (let j = 0; j < n; j++) {
      const e = i * n + j;
      mean += dy[e] * weight[j] * x[e] / n;
      dweight[j] += dy[e] * x[e] * by;
    }
    for (let j = 0; j < n; j++) {
      const e = i * n + j;
      dx[e] += by * (dy[e] * weight[j] - x[e] * by * by * mean);
    }
  }
  store(args.dx, dx);
  if (args.dweight) {
    const out = f32(args.dweight);
    for (let j = 0; j < n; j++) out[j] += dweight[j];
  }
}

function rope(args: OperationArgs<"rope">): void {
  const { rows: m, cols: n } = args.x;
  const half = args.headDim / 2;
  const positions = u32(args.positions);
  const cos = load(args.cos);
  const sin = load(args.sin);
  const x = load(args.x);
  for (let i = 0; i < m; i++) {
    for (let head = i * n; head < (i + 1) * n; head += args.headDim) {
      for (let c = 0; c < half; c++) {
        const at = positions[i] * half + c;
        const s = args.inverse ? -sin[at] : sin[at];
        const [a, b] = [x[head + c], x[head + c + half]];
        x[head + c] = a * cos[at] - b * s;
        x[head + c + half] = b * cos[at] + a * s;
      }
    }
  }
  store(args.out, x);
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function swiglu(args: OperationArgs<"swiglu">): void {
  const up = load(args.up);
  store(args.out, load(args.gate).map((g, i) => g * sigmoid(g) * up[i]));
}

function swigluBackward(args: OperationArgs<"swigluBackward">): void {
  const dy = load(args.dy);
  const gate = load(args.gate);
  const up = load(args.up);
  store(
    args.dgate,
    gate.map((g, i) => {
      const s = sigmoid(g);
      return dy[i] * up[i] * s * (1 + g * (1 - s));
    }),
  );
  store(args.dup, gate.map((g, i) => dy[i] * g * sigmoid(g)));
}

function crossEntropy(args: OperationArgs<"crossEntropy">): void {
  const { gradient } = args;
  const { rows: m, cols: v } = args.logits;
  const labels = i32(args.labels);
  const losses = f32(args.losses);
  const logits = load(args.logits);
  for (let i = 0; i < m; i++) {
    const row = logits.subarray(i * v, (i + 1) * v);
    const label = labels[i];
    if (label < 0) {
      losses[i] = 0;
      row.fill(0);
      continue;
    }
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
    let sum = 0;
    for (const x of row) sum += Math.exp(x - most);
    losses[i] = most - row[label] + Math.log(sum);
    if (gradient === undefined) continue;
    for (let j = 0; j < v; j++) {
      row[j] = gradient * (Math.exp(row[j] - most) / sum - Number(j === label));
    }
  }
  if (gradient !== undefined) store(args.logits, logits);
}

function dropout(args: OperationArgs<"dropout">): void {
  const { rate, seed } = args;
  const threshold = dropoutThreshold(rate);
  const factor = dropoutFactor(rate);
  store(
    args.out,
    load(args.x).map((x, e) =>
      dropoutHash(seed, e) >= threshold ? x * factor : 0
    ),
  );
}

function clipScale(args: OperationArgs<"clipScale">): void {
  let sum = 0;
  for (const x of f32(args.squares).subarray(0, args.count)) sum += x;
  const norm = Math.sqrt(sum);
  const out = f32(args.out);
  out[0] = Math.min(1, args.most / (norm + 1e-6));
  out[1] = norm;
}

function adamw(args: OperationArgs<"adamw">): void {
  const { step } = args;
  const scale = args.scale ? f32(args.scale)[0] : 1;
  const param = load(args.param);
  const mean = load(args.mean);
  const square = load(args.square);
  load(args.grad).forEach((grad, e) => {
    const g = grad * scale;
    mean[e] = step.beta1 * mean[e] + (1 - step.beta1) * g;
    square[e] = step.beta2 * square[e] + (1 - step.beta2) * g * g;
    param[e] = param[e] * (1 - step.learningRate * step.weightDecay) -
      step.learningRate / step.bias1 * mean[e] /
        (Math.sqrt(square[e]) / Math.sqrt(step.bias2) + step.epsilon);
  });
  store(args.param, param);
  store(args.mean, mean);
  store(args.square, square);
}

/** Transformers' operations of the reference device. */
export const networkOperations: NetworkOperations = {
  combine,
  addRow,
  columnSums,
  poolColumns,
  spreadColumns,
  gatherRows,
  scatterRows,
  rmsNorm,
  rmsNormBackward,
  rope,
  swiglu,
  swigluBackward,
  attention,
  attentionBackward,
  crossEntropy,
  dropout,
  clipScale,
  adamw,
  ...referenceEncoder,
};
