/**
 * The residual of a weight in groups, and the best that one number an output and group can add to it.
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
import {
  type Asked,
  type Errors,
  openResidual,
  relative,
} from "../loftq/residual.ts";
import { checkFinite } from "../quant/quantize.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { groupCount, groupSize } from "./groups.ts";

/** A weight on a device beside what a quantised one lacks of it. */
export interface GroupResidual extends Disposable {
  /** `W: [out, in]`. */
  readonly w: Mat;
  /** `E: [out, in]`; free to be overwritten. */
  readonly e: Mat;
  /** True if the metric is the identity. */
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

/** Options of {@linkcode openGroupResidual}. */
export interface GroupResidualOptions {
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
export async function openGroupResidual(
  device: Device,
  weight: Matrix,
  { block, metric: given = { kind: "identity" }, name }: GroupResidualOptions,
): Promise<GroupResidual> {
  checkFinite(weight, name);
  const { cols } = weight;
  const { gemm, cholesky, solveRight, spreadColumns } = device.ops;
  const group = groupSize({ cols, block });
  const groups = groupCount({ cols, block });
  using memory = new DisposableStack();
  const alloc = (m: number, n: number): Mat =>
    mat(memory.use(device.alloc(m * n * 4)), m, n);
  const metric = memory.use(await prepareMetric(device, given, { cols, name }));
  const { identity } = metric;

  const k = alloc(groups, cols);
  const m = alloc(groups, groups);
  const one = new Float32Array(groups * groups);
  for (let g = 0; g < groups; g++) one[g * (groups + 1)] = 1;
  device.write(m.buffer, one);
  {
    using scratch = device.alloc(groups * cols * 4);
    const sums = mat(scratch, groups, cols);
    spreadColumns({ x: m, group, out: identity ? k : sums });
    if (!identity) metric.apply(sums, k);
  }
  gemm({ a: k, b: k, c: m, transB: true });
  cholesky({ h: m, l: m, damping: 0 });

  const residual = memory.use(openResidual(device, weight, { metric }));
  const { w, e, ec } = residual;
  const errorsOf = async ({ plain, output }: Asked): Promise<Errors> => {
    const [error, outputError] = await Promise.all([plain, output]);
    return { error, outputError };
  };
  const [norms, [last]] = await Promise.all([
    errorsOf(residual.norms),
    readF32(device, m.buffer, groups * groups - 1, 1),
  ]);
  if (!isFinite(norms)) {
    throw new ValueError(`Cannot quantize ${name}: its norm overflows f32`);
  }
  if (!Number.isFinite(last)) {
    throw new ValueError(
      `Cannot use the ${given.kind} metric for ${name}: its moments summed over groups of ${group} are not positive definite`,
    );
  }
  const owned = memory.move();
  return {
    w,
    e,
    identity,
    groups,
    async subtract(q, minus) {
      residual.subtract(q);
      if (minus) spreadColumns({ x: minus, group, out: e, add: e });
      const left = await errorsOf(residual.measure());
      if (!isFinite(left)) {
        throw new ValueError(
          `Cannot quantize ${name}: the error of its base overflows f32`,
        );
      }
      return {
        error: relative(left.error, norms.error),
        outputError: relative(left.outputError, norms.outputError),
      };
    },
    project(t) {
      gemm({ a: ec, b: k, c: t, transB: true });
      solveRight({ x: t, l: m, transpose: true });
    },
    constants: (x) => solveRight({ x, l: m }),
    add: (minus, out) => spreadColumns({ x: minus, group, out, add: w }),
    without(outputError, values) {
      let left = outputError ** 2 * norms.outputError;
      for (const s of values) left -= s * s;
      return relative(left, norms.outputError);
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function isFinite({ error, outputError }: Errors): boolean {
  return Number.isFinite(error) && Number.isFinite(outputError);
}
