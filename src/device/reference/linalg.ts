/**
 * Factorisations of the reference device, in f64 over plain row-major arrays.
 *
 * @module
 */

import type { LinalgOperations } from "../contract/linalg.ts";
import type { OperationArgs } from "../operations.ts";
import { load, store } from "./memory.ts";

/**
 * A column whose part outside the span of those before it is smaller than this, relative to its length, is
 * rounding noise of f32 data.
 */
const DEPENDENT = 1e-7;

/** Dot product in four partial sums, which hide the latency of an addition. */
export function dot(a: Float64Array, b: Float64Array): number {
  const n = a.length;
  let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  let i = 0;
  for (; i + 3 < n; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < n; i++) s0 += a[i] * b[i];
  return (s0 + s1) + (s2 + s3);
}

/**
 * Orthonormalises `columns` in place by Gram-Schmidt, each twice against those before it ("twice is enough",
 * Giraud et al. 2005); returns `r`, row-major, upper triangular. Dependent columns become zero.
 */
function orthonormalize(columns: Float64Array[]): Float64Array {
  const n = columns.length;
  const r = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    const y = columns[j];
    const before = Math.sqrt(dot(y, y));
    for (let pass = 0; pass < 2; pass++) {
      for (let i = 0; i < j; i++) {
        const q = columns[i];
        const h = dot(q, y);
        r[i * n + j] += h;
        for (let k = 0; k < y.length; k++) y[k] -= h * q[k];
      }
    }
    const norm = Math.sqrt(dot(y, y));
    if (norm <= DEPENDENT * before) {
      y.fill(0);
    } else {
      r[j * n + j] = norm;
      for (let k = 0; k < y.length; k++) y[k] /= norm;
    }
  }
  return r;
}

/** Lower Cholesky factor of the `n` x `n` matrix `h`; NaN from the first pivot that is not positive on. */
function choleskyFactor(h: Float64Array, n: number): Float64Array {
  const l = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    const pivot = h[j * n + j] -
      squares(l.subarray(j * n, j * n + j));
    const d = pivot > 0 ? Math.sqrt(pivot) : NaN;
    l[j * n + j] = d;
    for (let i = j + 1; i < n; i++) {
      let sum = h[i * n + j];
      for (let k = 0; k < j; k++) sum -= l[i * n + k] * l[j * n + k];
      l[i * n + j] = sum / d;
    }
  }
  return l;
}

function squares(a: Float64Array): number {
  return dot(a, a);
}

/** Left singular vectors times singular values, and right singular vectors, both as columns. */
interface Jacobi {
  readonly columns: Float64Array[];
  readonly v: Float64Array[];
  readonly sigma: Float64Array;
}

/**
 * One-sided Jacobi SVD (Hestenes 1958) of the tall matrix given by its `columns`, which become `u * sigma`;
 * unsorted. A singular value below the rounding of the largest is 0, with zero vectors.
 */
function jacobiSvd(columns: Float64Array[]): Jacobi {
  const n = columns.length;
  const m = columns[0]?.length ?? 0;
  const v = columns.map((_, j) => {
    const e = new Float64Array(n);
    e[j] = 1;
    return e;
  });
  let norms = Float64Array.from(columns, squares);
  const largest = norms.reduce((a, b) => Math.max(a, b), 0);
  const noise = Math.max(m, n) * Number.EPSILON;
  const nothing = largest * noise * noise;
  for (let sweep = 0, rotated = true; rotated && sweep < 60; sweep++) {
    rotated = false;
    for (let i = 0; i < n - 1; i++) {
      for (let j = i + 1; j < n; j++) {
        // A column of pure noise is never orthogonal to working precision: leave it.
        if (norms[i] <= nothing || norms[j] <= nothing) continue;
        const h = dot(columns[i], columns[j]);
        if (Math.abs(h) <= 1e-14 * Math.sqrt(norms[i] * norms[j])) continue;
        rotated = true;
        const zeta = (norms[j] - norms[i]) / (2 * h);
        const t = (zeta < 0 ? -1 : 1) /
          (Math.abs(zeta) + Math.hypot(1, zeta));
        const c = 1 / Math.hypot(1, t);
        rotate(columns[i], columns[j], c, c * t);
        rotate(v[i], v[j], c, c * t);
        norms[i] -= t * h;
        norms[j] += t * h;
      }
    }
    // The updates drift.
    norms = Float64Array.from(columns, squares);
  }
  const sigma = norms.map(Math.sqrt);
  const floor = sigma.reduce((a, b) => Math.max(a, b), 0) * noise;
  for (let j = 0; j < n; j++) {
    if (sigma[j] > floor) continue;
    sigma[j] = 0;
    columns[j].fill(0);
    v[j].fill(0);
  }
  return { columns, v, sigma };
}

/** `[x, y] <- [c x - s y, s x + c y]`. */
function rotate(
  x: Float64Array,
  y: Float64Array,
  c: number,
  s: number,
): void {
  for (let k = 0; k < x.length; k++) {
    const a = x[k];
    const b = y[k];
    x[k] = c * a - s * b;
    y[k] = s * a + c * b;
  }
}

/** Columns of a dense `[rows, cols]` array. */
function columnsOf(
  values: Float64Array,
  rows: number,
  cols: number,
): Float64Array[] {
  return Array.from(
    { length: cols },
    (_, j) =>
      Float64Array.from({ length: rows }, (_, i) => values[i * cols + j]),
  );
}

function qr(args: OperationArgs<"qr">): void {
  const { y, r } = args;
  const columns = columnsOf(load(y), y.rows, y.cols);
  store(r, orthonormalize(columns));
  store(y, rowsFromColumns(columns, y.rows));
}

/** Dense row-major values from columns. */
function rowsFromColumns(
  columns: readonly Float64Array[],
  rows: number,
): Float64Array {
  const n = columns.length;
  const out = new Float64Array(rows * n);
  for (let j = 0; j < n; j++) {
    for (let i = 0; i < rows; i++) out[i * n + j] = columns[j][i];
  }
  return out;
}

function cholesky(args: OperationArgs<"cholesky">): void {
  const n = args.h.rows;
  const h = load(args.h);
  let trace = 0;
  for (let i = 0; i < n; i++) trace += h[i * n + i];
  for (let i = 0; i < n; i++) h[i * n + i] += args.damping * trace / n;
  store(args.l, choleskyFactor(h, n));
}

function solveRight(args: OperationArgs<"solveRight">): void {
  const { rows, cols: n } = args.x;
  const x = load(args.x);
  // Row by row z * t = x with t triangular: lower from the last column on, its transpose from the first.
  const t = load(args.l, args.transpose);
  const order = Array.from(
    { length: n },
    (_, i) => args.transpose ? i : n - 1 - i,
  );
  for (let i = 0; i < rows; i++) {
    const z = x.subarray(i * n, (i + 1) * n);
    for (const j of order) {
      z[j] /= t[j * n + j];
      const [from, to] = args.transpose ? [j + 1, n] : [0, j];
      for (let k = from; k < to; k++) z[k] -= z[j] * t[j * n + k];
    }
  }
  store(args.x, x);
}

function svd(args: OperationArgs<"svd">): void {
  const k = Math.min(args.a.rows, args.a.cols);
  const { rows, cols } = args.a;
  const tall = rows >= cols;
  // The columns of the tall one of a and aᵀ.
  const values = load(args.a);
  const columns = tall
    ? columnsOf(values, rows, cols)
    : Array.from({ length: rows }, (_, i) =>
      values.slice(i * cols, (i + 1) * cols));
  const { sigma, columns: scaled, v } = jacobiSvd(columns);
  const order = Array.from(sigma.keys()).sort((i, j) => sigma[j] - sigma[i]);
  const long = order.map((j) =>
    scaled[j].map((x) => sigma[j] === 0 ? 0 : x / sigma[j])
  );
  const short = order.map((j) => v[j]);
  const [u, vt] = tall ? [long, short] : [short, long];
  store(args.s, order.map((j) => sigma[j]));
  store(args.u, rowsFromColumns(u, rows));
  for (let j = 0; j < k; j++) {
    store(
      { ...args.vt, rows: 1, offset: args.vt.offset + j * args.vt.stride },
      vt[j],
    );
  }
}

/** These operations on the reference device. */
export const linalgOperations: LinalgOperations = {
  qr,
  cholesky,
  solveRight,
  svd,
};
