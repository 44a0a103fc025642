/**
 * What a quantised weight lacks, and the best that one number an output and group can add to it.
 *
 * With `E = W - Q`, a metric `H = C Cᵀ` (see `src/loftq/metric.ts`) and `P: [in, groups]` the matrix that sums each group,
 * the error left by constants `D: [out, groups]` is `‖(E - D Pᵀ) C‖² = ‖E C - D K‖²`, `K = Pᵀ C`. With `K Kᵀ = M Mᵀ` the
 * best D is `T M⁻¹`, `T = E C Kᵀ M⁻ᵀ`, and any D leaves `‖T - D M‖²` more than that: the best of rank r is
 * `SVD_r(T) M⁻¹`. In the identity D is the groups' means, and M holds the square roots of their sizes.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import type { QuantMat } from "../device/quant_mat.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import { type Metric, prepareMetric } from "../loftq/metric.ts";
import { checkFinite } from "../quant/quantize.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { groupCount, groupSize } from "./groups.ts";

/** Errors relative to the weight. */
export interface Errors {
  /** In Frobenius norm. */
  readonly error: number;
  /** In the metric; the same in the identity. */
  readonly outputError: number;
}

/** A weight on a device beside what it lacks. */
export interface Residual extends Disposable {
  /** `W: [out, in]`. */
  readonly w: Mat;
  /** `E: [out, in]`; free to be overwritten. */
  readonly e: Mat;
  /** Whether the metric is the identity. */
  readonly identity: boolean;
  /** Numbers of a row that can be added. */
  readonly groups: number;
  /**
   * `E = W - Q`, or with `minus: [out, groups]` `W - Q + minus Pᵀ`; resolves to its errors.
   *
   * @throws {RangeError} If they are not finite: a group's range overflows f32.
   */
  subtract(q: QuantMat, minus?: Mat): Promise<Errors>;
  /** `t = E C Kᵀ M⁻ᵀ: [out, groups]` for the E of the last {@linkcode subtract}. */
  project(t: Mat): void;
  /** `x[m, groups] <- x M⁻¹`. */
  constants(x: Mat): void;
  /** `out[out, in] = W + minus Pᵀ`. */
  add(minus: Mat, out: Mat): void;
  /** The error in the metric after a correction whose `SVD_r(T)` has the singular values `values`. */
  without(outputError: number, values: Iterable<number>): number;
}

/** Options of {@linkcode openResidual}. */
export interface ResidualOptions {
  /** Inputs of a group; 0 means all. */
  readonly block: number;
  readonly metric?: Metric;
  readonly name: string;
}

/**
 * Copies `weight` to `device` and makes its metric ready.
 *
 * @throws {TypeError} If the metric has not the size of the layer's input.
 * @throws {RangeError} If the weight is not finite or its norm overflows f32, or the moments cannot serve.
 */
export async function openResidual(
  device: Device,
  weight: Matrix,
  { block, metric = { kind: "identity" }, name }: ResidualOptions,
): Promise<Residual> {
  checkFinite(weight, name);
  const { rows, cols } = weight;
  const { gemm, cholesky, solveRight, spreadColumns } = device.ops;
  const group = groupSize({ cols, block });
  const groups = groupCount({ cols, block });
  using memory = new DisposableStack();
  const alloc = (m: number, n: number): Mat =>
    mat(memory.use(device.alloc(m * n * 4)), m, n);
  const c = memory.use(await prepareMetric(device, metric, { cols, name }));
  const w = alloc(rows, cols);
  device.write(w.buffer, weight.data);
  const e = alloc(rows, cols);
  const ec = c.identity ? e : alloc(rows, cols);

  const k = alloc(groups, cols);
  const m = alloc(groups, groups);
  const one = new Float32Array(groups * groups);
  for (let g = 0; g < groups; g++) one[g * (groups + 1)] = 1;
  device.write(m.buffer, one);
  {
    using scratch = device.alloc(groups * cols * 4);
    const sums = mat(scratch, groups, cols);
    spreadColumns({ x: m, group, out: c.identity ? k : sums });
    if (!c.identity) c.apply(sums, k);
  }
  gemm({ a: k, b: k, c: m, transB: true });
  cholesky({ h: m, l: m, damping: 0 });

  const squares = alloc(1, rows);
  const squaresC = alloc(1, rows);
  const measure = async (): Promise<[number, number]> => {
    device.ops.rowSquares({ x: e, out: squares.buffer });
    if (!c.identity) {
      c.apply(e, ec);
      device.ops.rowSquares({ x: ec, out: squaresC.buffer });
    }
    const [plain, output] = await Promise.all([
      readF32(device, squares.buffer, 0, rows),
      c.identity ? undefined : readF32(device, squaresC.buffer, 0, rows),
    ]);
    return [sum(plain), sum(output ?? plain)];
  };

  device.write(e.buffer, weight.data);
  const [[norm, outputNorm], [last]] = await Promise.all([
    measure(),
    readF32(device, m.buffer, groups * groups - 1, 1),
  ]);
  for (const x of [norm, outputNorm]) {
    if (!Number.isFinite(x)) {
      throw new ValueError(
        `Cannot quantize ${name}: its norm overflows f32`,
      );
    }
  }
  if (!Number.isFinite(last)) {
    throw new ValueError(
      `Cannot use the ${metric.kind} metric for ${name}: its moments summed over groups of ${group} are not positive definite`,
    );
  }
  const owned = memory.move();
  return {
    w,
    e,
    identity: c.identity,
    groups,
    async subtract(q, minus) {
      device.ops.dequantize({ q, out: e, from: w });
      if (minus) spreadColumns({ x: minus, group, out: e, add: e });
      const [plain, output] = await measure();
      if (!Number.isFinite(plain) || !Number.isFinite(output)) {
        throw new ValueError(
          `Cannot quantize ${name}: the error of its base overflows f32`,
        );
      }
      return {
        error: relative(plain, norm),
        outputError: relative(output, outputNorm),
      };
    },
    project(t) {
      gemm({ a: ec, b: k, c: t, transB: true });
      solveRight({ x: t, l: m, transpose: true });
    },
    constants: (x) => solveRight({ x, l: m }),
    add: (minus, out) => spreadColumns({ x: minus, group, out, add: w }),
    without(outputError, values) {
      let left = outputError ** 2 * outputNorm;
      for (const s of values) left -= s * s;
      return relative(left, outputNorm);
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function relative(squared: number, total: number): number {
  return squared <= 0 ? 0 : Math.sqrt(squared / total);
}

function sum(values: Float32Array): number {
  let total = 0;
  for (const x of values) total += x;
  return total;
}
