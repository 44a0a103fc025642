/**
 * Eigenvalues and eigenvectors of a small symmetric matrix, in f64 on the host.
 *
 * The randomised SVD reduces a large matrix to one of some dozens of columns on the device and solves that here:
 * one readback an SVD, whatever the device.
 *
 * @module
 */

import { ValueError } from "../errors.ts";

/** Eigenvalues, descending, and the matching eigenvectors as the columns of `vectors: [n, n]`, row-major. */
export interface Eigen {
  readonly values: Float64Array;
  readonly vectors: Float64Array;
}

/**
 * Eigendecomposition of the symmetric `a: [n, n]` (row-major, not changed).
 *
 * Householder reduction to tridiagonal form, then QL with implicit shifts (Golub and Van Loan, Matrix
 * Computations, 8.3). The cost is about `9 n³` operations.
 *
 * @throws {RangeError} If a value is not finite.
 */
export function eigh(a: Float64Array, n: number): Eigen {
  for (const x of a) {
    if (!Number.isFinite(x)) {
      throw new ValueError(
        `Cannot decompose a ${n} x ${n} matrix: it holds ${x}`,
      );
    }
  }
  const v = a.slice();
  const d = new Float64Array(n);
  const e = new Float64Array(n);
  tridiagonalize(v, d, e, n);
  // Rows of the transpose are contiguous; the rotations below walk along them.
  const vt = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) vt[j * n + i] = v[i * n + j];
  }
  diagonalize(vt, d, e, n);
  const order = Array.from(d.keys()).sort((i, j) => d[j] - d[i]);
  const values = new Float64Array(n);
  for (let j = 0; j < n; j++) {
    values[j] = d[order[j]];
    for (let i = 0; i < n; i++) v[i * n + j] = vt[order[j] * n + i];
  }
  return { values, vectors: v };
}

/**
 * `v` symmetric in; orthogonal `v` with `vᵀ a v` tridiagonal out: diagonal `d`, subdiagonal `e[1..n)`.
 */
function tridiagonalize(
  v: Float64Array,
  d: Float64Array,
  e: Float64Array,
  n: number,
): void {
  const tau = new Float64Array(n);
  const p = new Float64Array(n);
  // Column k is reduced by a reflector over rows k + 1 .. n; its vector is stored below the diagonal.
  for (let k = 0; k < n - 2; k++) {
    let norm = 0;
    for (let i = k + 1; i < n; i++) norm += v[i * n + k] * v[i * n + k];
    norm = Math.sqrt(norm);
    const head = v[(k + 1) * n + k];
    const alpha = head > 0 ? -norm : norm;
    e[k + 1] = alpha;
    if (norm === 0) continue;
    // Scaled so that the head of the vector is 1: u = (1, x / (head - alpha)).
    const inverse = 1 / (head - alpha);
    for (let i = k + 2; i < n; i++) v[i * n + k] *= inverse;
    v[(k + 1) * n + k] = 1;
    tau[k] = (alpha - head) / alpha;
    // p = tau * A u, from the lower triangle.
    p.fill(0, k + 1);
    for (let i = k + 1; i < n; i++) {
      const ui = v[i * n + k];
      let sum = v[i * n + i] * ui;
      for (let j = k + 1; j < i; j++) {
        const aij = v[i * n + j];
        sum += aij * v[j * n + k];
        p[j] += aij * ui;
      }
      p[i] += sum;
    }
    let up = 0;
    for (let i = k + 1; i < n; i++) {
      p[i] *= tau[k];
      up += p[i] * v[i * n + k];
    }
    const half = 0.5 * tau[k] * up;
    for (let i = k + 1; i < n; i++) p[i] -= half * v[i * n + k];
    for (let i = k + 1; i < n; i++) {
      const ui = v[i * n + k];
      for (let j = k + 1; j <= i; j++) {
        v[i * n + j] -= ui * p[j] + p[i] * v[j * n + k];
      }
    }
  }
  if (n > 1) e[n - 1] = v[(n - 1) * n + n - 2];
  for (let i = 0; i < n; i++) d[i] = v[i * n + i];
  accumulate(v, tau, p, n);
}

/** Replaces the reflectors stored below the diagonal of `v` by their product, applied from the last to the first. */
function accumulate(
  v: Float64Array,
  tau: Float64Array,
  p: Float64Array,
  n: number,
): void {
  for (let k = n - 2; k >= -1; k--) {
    // The product so far covers rows and columns from k + 2 on; it grows by those of the identity.
    for (let j = k + 2; j < n; j++) {
      v[(k + 1) * n + j] = 0;
      v[j * n + k + 1] = 0;
    }
    v[(k + 1) * n + k + 1] = 1;
    if (k < 0 || tau[k] === 0) continue;
    p.fill(0, k + 1);
    for (let i = k + 1; i < n; i++) {
      const ui = tau[k] * v[i * n + k];
      for (let j = k + 1; j < n; j++) p[j] += ui * v[i * n + j];
    }
    for (let i = k + 1; i < n; i++) {
      const ui = v[i * n + k];
      for (let j = k + 1; j < n; j++) v[i * n + j] -= ui * p[j];
    }
  }
}

/** QL with implicit shifts on the tridiagonal matrix (`d`, `e`), rotating rows of `vt` along. */
function diagonalize(
  vt: Float64Array,
  d: Float64Array,
  e: Float64Array,
  n: number,
): void {
  e.copyWithin(0, 1);
  e[n - 1] = 0;
  for (let l = 0; l < n; l++) {
    for (let sweep = 0;; sweep++) {
      let m = l;
      while (m < n - 1) {
        const scale = Math.abs(d[m]) + Math.abs(d[m + 1]);
        if (Math.abs(e[m]) <= Number.EPSILON * scale) break;
        m++;
      }
      if (m === l) break;
      if (sweep === 60) {
        throw new ValueError(
          `Cannot decompose a ${n} x ${n} matrix: no convergence in 60 sweeps`,
        );
      }
      let g = (d[l + 1] - d[l]) / (2 * e[l]);
      let r = Math.sqrt(g * g + 1);
      g = d[m] - d[l] + e[l] / (g + (g < 0 ? -r : r));
      let s = 1;
      let c = 1;
      let shift = 0;
      let i = m - 1;
      for (; i >= l; i--) {
        const f = s * e[i];
        const b = c * e[i];
        r = Math.sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1] -= shift;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - shift;
        r = (d[i] - g) * s + 2 * c * b;
        shift = s * r;
        d[i + 1] = g + shift;
        g = c * r - b;
        const lower = i * n;
        const upper = lower + n;
        for (let k = 0; k < n; k++) {
          const x = vt[upper + k];
          const y = vt[lower + k];
          vt[upper + k] = s * y + c * x;
          vt[lower + k] = c * y - s * x;
        }
      }
      if (r === 0 && i >= l) continue;
      d[l] -= shift;
      e[l] = g;
      e[m] = 0;
    }
  }
}
