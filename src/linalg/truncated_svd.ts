/**
 * The best rank-r approximation of a matrix on a device, exact or randomised, as two balanced factors.
 *
 * @module
 */

import type { Device, DeviceBuffer, Mat } from "../device/device.ts";
import { mat, readF32 } from "../device/device.ts";
import { Random } from "../tensor/random.ts";
import { eigh } from "./eigh.ts";

/** Where the factors go: `b * a` approximates the matrix. */
export interface FactorTarget {
  /** `[m, rank]`, becomes `gain * U * sqrt(S)`. */
  readonly b: Mat;
  /** `[rank, n]`, becomes `gain * sqrt(S) * Vᵀ`. */
  readonly a: Mat;
  /** Factor on either side, so that `b * a = gain² * U * S * Vᵀ`; 1 by default. */
  readonly gain?: number;
}

/** Finds truncated SVDs of matrices of one shape; may start from the one it found last. */
export interface Truncator extends Disposable {
  /**
   * Writes the factors of `e[m, n]` and resolves to its leading singular values, `[rank]`, descending. One readback.
   */
  factor(e: Mat, target: FactorTarget): Promise<Float64Array>;
}

/** Shape of the matrices and number of singular values wanted, `1 <= rank <= min(rows, cols)`. */
export interface TruncatorShape {
  readonly rows: number;
  readonly cols: number;
  readonly rank: number;
}

/** Options of {@linkcode randomizedTruncator}. */
export interface RandomizedOptions {
  /** Columns carried beyond the rank (8). */
  readonly oversample?: number;
  /** Degree of the filter on a subspace that began at random (3). */
  readonly steps?: number;
  /** Degree of the filter on the subspace of the last result (1). */
  readonly warmSteps?: number;
  /** Seeds the random start (0). */
  readonly seed?: number;
}

function checkShape({ rows, cols, rank }: TruncatorShape): void {
  if (!(Number.isInteger(rank) && rank >= 1 && rank <= Math.min(rows, cols))) {
    throw new RangeError(
      `Cannot truncate the SVD of a ${rows} x ${cols} matrix: rank must be a whole number from 1 to ${
        Math.min(rows, cols)
      }, got ${rank}`,
    );
  }
}

/**
 * Truncated SVDs by the device's exact one.
 *
 * @throws {RangeError} If the rank does not fit the shape.
 */
export function exactTruncator(
  device: Device,
  shape: TruncatorShape,
): Truncator {
  checkShape(shape);
  const { rows, cols, rank } = shape;
  const k = Math.min(rows, cols);
  const { memory, alloc } = workspace(device);
  const u = alloc(rows, k);
  const s = alloc(1, k);
  const vt = alloc(k, cols);
  const diagonal = alloc(rank, rank);
  return {
    async factor(e, { b, a, gain = 1 }) {
      device.ops.svd({ a: e, u, s, vt });
      const values = Float64Array.from(
        await readF32(device, s.buffer, 0, rank),
      );
      const root = new Float32Array(rank * rank);
      for (let i = 0; i < rank; i++) {
        root[i * (rank + 1)] = gain * Math.sqrt(values[i]);
      }
      device.write(diagonal.buffer, root);
      const left = mat(u.buffer, rows, rank, 0, k);
      const right = mat(vt.buffer, rank, cols);
      device.ops.gemm({ a: left, b: diagonal, c: b });
      device.ops.gemm({ a: diagonal, b: right, c: a });
      return values;
    },
    [Symbol.dispose]: () => memory.dispose(),
  };
}

/**
 * Truncated SVDs by randomised subspace iteration on `G = EᵀE` (Halko, Martinsson and Tropp, Finding structure with
 * randomness, algorithms 4.4 and 5.1), made for LoftQ, where the spectrum is flat and the matrix changes little from
 * one call to the next.
 *
 * A subspace `V[n, l]`, `l = rank + oversample`, is improved by a Chebyshev filter: `T_d(2G/b - I) V` leaves what lies in
 * `[0, b]` within ±1 and lets the rest grow like cosh, which tells a flat spectrum apart in far fewer products than
 * powers of `G` do. `b` comes from what is known of the spectrum: at the first call from a power step on a random
 * subspace (at the price of a second readback), later from the call before, whose subspace is the start. Either ends
 * with `Y = E V = Q R` and the small SVD of `R[l, l]` on the host.
 *
 * @throws {RangeError} If the rank does not fit the shape.
 */
export function randomizedTruncator(
  device: Device,
  shape: TruncatorShape & RandomizedOptions,
): Truncator {
  checkShape(shape);
  const { rows, cols, rank, oversample = 8, seed = 0 } = shape;
  const { steps = 3, warmSteps = 1 } = shape;
  const l = Math.min(rank + oversample, rows, cols);
  const { memory, alloc } = workspace(device);
  const { gemm, qr } = device.ops;
  const y = alloc(rows, l);
  const r = alloc(l, l);
  // The subspace and the one before it in the recurrence; they trade places with every step.
  let v = alloc(cols, l);
  let spare = alloc(cols, l);
  const identity = alloc(l, l);
  device.write(identity.buffer, identityValues(l));
  const toB = alloc(l, rank);
  const toA = alloc(l, rank);
  let found: SmallSvd | undefined;

  /** `spare = alpha * G v + spare`, and the two trade places. */
  function product(e: Mat, alpha: number, addSpare: boolean): void {
    gemm({ a: e, b: v, c: y });
    gemm({
      a: e,
      b: y,
      c: spare,
      transA: true,
      alpha,
      ...(addSpare && { beta: 1, add: spare }),
    });
    [v, spare] = [spare, v];
  }

  /**
   * `v = T_degree(2G/b - I) v` for the bound b, orthonormalised as often as f32 needs it. `top` is about the largest
   * eigenvalue of G.
   */
  function filter(
    e: Mat,
    { degree, top, bound: b }: {
      degree: number;
      top: number;
      bound: number;
    },
  ): void {
    if (l === Math.min(rows, cols) || !(b > SHORT ** 2 * top)) {
      // Nothing lies beyond the subspace: there is no flat part to tell apart, and what is below b is wanted.
      product(e, 1, false);
      qr({ y: v, r });
      return;
    }
    const most = Math.acosh(LARGEST_GROWTH) /
      Math.acosh(Math.max((2 * top) / b - 1, 1 + 1e-6));
    for (let left = degree; left > 0;) {
      const d = Math.max(1, Math.min(left, Math.floor(most)));
      gemm({ a: v, b: identity, c: spare, alpha: -1 });
      product(e, 2 / b, true);
      for (let k = 2; k <= d; k++) {
        gemm({
          a: v,
          b: identity,
          c: spare,
          alpha: -2,
          beta: -1,
          add: spare,
        });
        product(e, 4 / b, true);
      }
      qr({ y: v, r });
      left -= d;
    }
  }

  /** The small SVD of the triangle that `qr` left. */
  async function readSmall(): Promise<SmallSvd> {
    return smallSvd(await readF32(device, r.buffer, 0, l * l), l);
  }

  return {
    async factor(e, { b, a, gain = 1 }) {
      // A subspace short of rank cannot grow; the next matrix may need it to.
      if (found && found.values[l - 1] > SHORT * found.values[0]) {
        filter(e, {
          degree: warmSteps,
          top: found.values[0] ** 2,
          bound: WARM_SLACK * found.values[l - 1] ** 2,
        });
      } else {
        device.write(v.buffer, start(cols * l, seed));
        qr({ y: v, r });
        product(e, 1, false);
        qr({ y: v, r });
        // V was orthonormal, so that the values of R in G V = Q R tell those of G.
        const { values } = await readSmall();
        filter(e, {
          degree: steps,
          top: values[0],
          bound: COLD_SLACK * values[l - 1],
        });
      }
      gemm({ a: e, b: v, c: y });
      qr({ y, r });
      found = await readSmall();
      const factors = balance(found, { l, rank, gain });
      device.write(toB.buffer, factors.toB);
      device.write(toA.buffer, factors.toA);
      gemm({ a: y, b: toB, c: b });
      gemm({ a: toA, b: v, c: a, transA: true, transB: true });
      return found.values.slice(0, rank);
    },
    [Symbol.dispose]: () => memory.dispose(),
  };
}

/** Of the largest singular value: what f32 cannot tell from zero. */
const SHORT = 1e-6;

/** What a random subspace shows of a flat spectrum lies well below its top, so the bound lies above the least of it. */
const COLD_SLACK = 2;

/**
 * From one LoftQ iteration to the next the directions about the smallest singular value kept change, and a subspace that
 * runs after them undoes what it had corrected. With twice its square as the bound those are held back: on 21
 * layers of SmolLM2 the fifth iterate came out 0.3 % better than with exact SVDs at rank 64, at rank 16 the same.
 */
const WARM_SLACK = 2;

/** How far a filter may set directions apart before they are orthonormalised: f32 keeps the smallest to 1e-2 then. */
const LARGEST_GROWTH = 1e5;

function identityValues(n: number): Float32Array {
  const out = new Float32Array(n * n);
  for (let i = 0; i < n; i++) out[i * (n + 1)] = 1;
  return out;
}

/** Uniform random numbers in [-1, 1): as good a start as normal ones, and five times as cheap to draw. */
function start(n: number, seed: number): Float32Array {
  const random = new Random(seed, "range finder");
  const out = new Float32Array(n);
  for (let i = 0; i < n; i++) out[i] = random.uint32() / 0x8000_0000 - 1;
  return out;
}

interface SmallSvd {
  /** The triangle decomposed, `[l, l]`. */
  readonly r: Float32Array;
  /** Singular values, descending. */
  readonly values: Float64Array;
  /** Right singular vectors as columns, `[l, l]`. */
  readonly vectors: Float64Array;
}

/** Singular values and right vectors of `r[l, l]`: squaring in f64 costs an f32 matrix no accuracy it has. */
function smallSvd(r: Float32Array, l: number): SmallSvd {
  const gram = new Float64Array(l * l);
  for (let k = 0; k < l; k++) {
    for (let i = k; i < l; i++) {
      const x = r[k * l + i];
      if (x === 0) continue;
      for (let j = k; j <= i; j++) gram[i * l + j] += x * r[k * l + j];
    }
  }
  for (let i = 0; i < l; i++) {
    for (let j = 0; j < i; j++) gram[j * l + i] = gram[i * l + j];
  }
  const { values, vectors } = eigh(gram, l);
  return { r, values: values.map((x) => Math.sqrt(Math.max(x, 0))), vectors };
}

/**
 * The small matrices of `B = Q toB` and `A = toAᵀ Vᵀ`: with `R = P S Tᵀ`, `toB = P √S = R T / √S` and `toA = T √S`.
 */
function balance(
  { r, values, vectors }: SmallSvd,
  { l, rank, gain }: { l: number; rank: number; gain: number },
): { toB: Float32Array; toA: Float32Array } {
  const toB = new Float32Array(l * rank);
  const toA = new Float32Array(l * rank);
  // A direction this far below the largest is rounding noise of f32; its left vector cannot be told.
  const least = values[0] * 1e-7;
  for (let j = 0; j < rank; j++) {
    const root = Math.sqrt(values[j]);
    if (!(values[j] > least)) continue;
    for (let i = 0; i < l; i++) {
      let sum = 0;
      for (let k = i; k < l; k++) sum += r[i * l + k] * vectors[k * l + j];
      toB[i * rank + j] = (gain * sum) / root;
      toA[i * rank + j] = gain * root * vectors[i * l + j];
    }
  }
  return { toB, toA };
}

/** Matrices that are freed together. */
function workspace(device: Device): {
  memory: DisposableStack;
  alloc: (rows: number, cols: number) => Mat;
} {
  const memory = new DisposableStack();
  const buffer = (bytes: number): DeviceBuffer =>
    memory.use(device.alloc(bytes));
  return {
    memory,
    alloc: (rows, cols) => mat(buffer(rows * cols * 4), rows, cols),
  };
}
