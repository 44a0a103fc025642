/**
 * Factorisations of the reference device, in f64 over plain row-major arrays.
 *
 * @module
 */

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
export function orthonormalize(columns: Float64Array[]): Float64Array {
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
export function choleskyFactor(h: Float64Array, n: number): Float64Array {
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
export function jacobiSvd(columns: Float64Array[]): Jacobi {
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
