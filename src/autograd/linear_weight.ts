/**
 * Weights of linear layers: dense, or quantised and frozen.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import type { QuantMat } from "../device/quant_mat.ts";
import { hasGroups } from "../device/quant_mat.ts";
import { mat } from "../device/buffer.ts";
import { takenInInt8 } from "../device/int8.ts";
import type { Parameter } from "./parameter.ts";

/** A weight `[out, in]` that inputs are multiplied by. */
export interface LinearWeight {
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** `y[m, out] = x[m, in] * Wᵀ + add`; `add` may be `y`. */
  forward(device: Device, x: Mat, args: { y: Mat; add?: Mat }): void;
  /** `dx[m, in] = dy[m, out] * W + add`; `add` may be `dx`. */
  backward(device: Device, dy: Mat, args: { dx: Mat; add?: Mat }): void;
  /** The weight as a parameter, where it is trainable. */
  readonly parameter?: Parameter;
  /** Its values, where it is dense. */
  readonly value?: Mat;
  /** True if it is multiplied by in integers. */
  readonly int8?: boolean;
  /** Affine groups of a weight that is quantised in groups along its inputs. */
  readonly groups?: WeightGroups;
}

/** Affine groups along the inputs of a weight. */
export interface WeightGroups {
  /** Group size: inputs that share a scale and a bias; the last group may be short. */
  readonly size: number;
  /** The biases, `[out, groups]`. */
  readonly biases: Mat;
  /** The weight with other biases, `f32 [out, groups]`. */
  withBiases(biases: DeviceBuffer): LinearWeight;
}

/** A weight in f32. */
export function denseWeight(
  value: Mat,
  parameter?: Parameter,
): LinearWeight {
  return {
    rows: value.rows,
    cols: value.cols,
    parameter,
    value,
    forward: (device, x, { y, add }) =>
      device.ops.gemm({ a: x, b: value, c: y, transB: true, ...plus(add) }),
    backward: (device, dy, { dx, add }) =>
      device.ops.gemm({ a: dy, b: value, c: dx, ...plus(add) }),
  };
}

/** Every {@linkcode Compute}. */
export const COMPUTES: readonly Compute[] = ["f32", "int8"];

/**
 * Arithmetic of products with quantised weights: with values in f32, or, where the weight is affine in groups along its
 * rows, with inputs and gradients rounded to 8 bits and the codes as they are.
 */
export type Compute = "f32" | "int8";

/** A frozen quantised weight, decoded while it is multiplied by. */
export function quantizedWeight(
  q: QuantMat,
  compute: Compute = "f32",
): LinearWeight {
  const op = compute === "int8" ? "gemmInt8" : "gemmQuantized";
  return {
    rows: q.rows,
    cols: q.cols,
    int8: compute === "int8" && takenInInt8({ q, transQ: true }),
    ...(hasGroups(q.spec) && { groups: groupsOf(q, compute) }),
    forward: (device, x, { y, add }) =>
      device.ops[op]({
        a: x,
        q,
        c: y,
        transQ: true,
        ...plus(add),
      }),
    backward: (device, dy, { dx, add }) =>
      device.ops[op]({ a: dy, q, c: dx, ...plus(add) }),
  };
}

function groupsOf(q: QuantMat, compute: Compute): WeightGroups {
  const size = q.block || q.cols;
  return {
    size,
    biases: mat(q.biases!, q.rows, Math.ceil(q.cols / size)),
    withBiases: (biases) => quantizedWeight({ ...q, biases }, compute),
  };
}

/** Arguments of a product that is added to something, where there is something. */
export function plus(add: Mat | undefined): { beta?: number; add?: Mat } {
  return add ? { beta: 1, add } : {};
}
