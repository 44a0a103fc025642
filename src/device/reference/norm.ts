/**
 * RMS norm and layer norm on the reference device.
 *
 * @module
 */

import type { NormOperations } from "../contract/norm.ts";
import type { OperationArgs } from "../operations.ts";
import { f32, load, store } from "./memory.ts";

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

function layerNorm(args: OperationArgs<"layerNorm">): void {
  const { rows: m, cols: n } = args.x;
  const [weight, bias] = [f32(args.weight), f32(args.bias)];
  const [means, inverse] = [f32(args.mean), f32(args.inverse)];
  const x = load(args.x);
  for (let i = 0; i < m; i++) {
    const row = x.subarray(i * n, (i + 1) * n);
    const mean = row.reduce((sum, v) => sum + v, 0) / n;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / n;
    const by = 1 / Math.sqrt(variance + args.epsilon);
    means[i] = mean;
    inverse[i] = by;
    for (let j = 0; j < n; j++) {
      row[j] = (row[j] - mean) * by * weight[j] + bias[j];
    }
  }
  store(args.out, x);
}

function layerNormBackward(args: OperationArgs<"layerNormBackward">): void {
  const { rows: m, cols: n } = args.x;
  const weight = f32(args.weight);
  const [means, inverse] = [f32(args.mean), f32(args.inverse)];
  const x = load(args.x);
  const dy = load(args.dy);
  const dx = args.add ? load(args.add) : new Float64Array(m * n);
  const dweight = new Float64Array(n);
  const dbias = new Float64Array(n);
  for (let i = 0; i < m; i++) {
    const by = inverse[i];
    let first = 0;
    let second = 0;
    for (let j = 0; j < n; j++) {
      const e = i * n + j;
      const y = (x[e] - means[i]) * by;
      first += dy[e] * weight[j] / n;
      second += dy[e] * weight[j] * y / n;
      dweight[j] += dy[e] * y;
      dbias[j] += dy[e];
    }
    for (let j = 0; j < n; j++) {
      const e = i * n + j;
      const y = (x[e] - means[i]) * by;
      dx[e] += by * (dy[e] * weight[j] - first - y * second);
    }
  }
  store(args.dx, dx);
  for (
    const { to, sums } of [
      { to: args.dweight, sums: dweight },
      { to: args.dbias, sums: dbias },
    ]
  ) {
    if (to) f32(to).forEach((v, j, out) => out[j] = v + (sums[j] ?? 0));
  }
}

/** These operations on the reference device. */
export const normOperations: NormOperations = {
  rmsNorm,
  rmsNormBackward,
  layerNorm,
  layerNormBackward,
};
