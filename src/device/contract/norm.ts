/**
 * RMS norm and layer norm, each with its backward: the operations of the contract, and the checks of their sizes.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { DeviceBuffer, Mat } from "../buffer.ts";
import { type CallArgs, type Checks, wantBytes, wantSame } from "./want.ts";

/** RMS norm and layer norm, each with its backward. */
export interface NormOperations {
  /**
   * `out[i, :] = x[i, :] * inverse[i] * weight`, `inverse[i] = 1 / sqrt(mean(x[i, :]²) + epsilon)`; `weight: f32 [n]`,
   * `inverse: f32 [m]` is an output for the backward. (Zhang and Sennrich, 1910.07467.)
   */
  rmsNorm(
    args: {
      x: Mat;
      weight: DeviceBuffer;
      epsilon: number;
      out: Mat;
      inverse: DeviceBuffer;
    },
  ): void;

  /**
   * `dx[i, :] = inverse[i] * (g - x[i, :] * inverse[i]² * mean(g * x[i, :])) + add[i, :]` with `g = dy[i, :] * weight`;
   * `add` (the gradient that went around the norm) may be `dx`. `dweight: f32 [n]`, where given, grows by
   * `Σ_i dy[i, :] * x[i, :] * inverse[i]`.
   */
  rmsNormBackward(
    args: {
      dy: Mat;
      x: Mat;
      weight: DeviceBuffer;
      inverse: DeviceBuffer;
      dx: Mat;
      add?: Mat;
      dweight?: DeviceBuffer;
    },
  ): void;

  /**
   * `out[i, :] = (x[i, :] - mean[i]) * inverse[i] * weight + bias`, `inverse[i] = 1 / sqrt(variance + epsilon)` with the
   * variance over all `n`; `weight, bias: f32 [n]`; `mean, inverse: f32 [m]` are outputs for the backward.
   * (Ba et al., 1607.06450.)
   */
  layerNorm(
    args: {
      x: Mat;
      weight: DeviceBuffer;
      bias: DeviceBuffer;
      epsilon: number;
      out: Mat;
      mean: DeviceBuffer;
      inverse: DeviceBuffer;
    },
  ): void;

  /**
   * `dx[i, :] = inverse[i] * (g - mean(g) - y * mean(g * y)) + add[i, :]` with `g = dy[i, :] * weight` and
   * `y = (x[i, :] - mean[i]) * inverse[i]`; `add` may be `dx`. `dweight, dbias: f32 [n]`, where given, grow by
   * `Σ_i dy[i, :] * y` and `Σ_i dy[i, :]`.
   */
  layerNormBackward(
    args: {
      dy: Mat;
      x: Mat;
      weight: DeviceBuffer;
      mean: DeviceBuffer;
      inverse: DeviceBuffer;
      dx: Mat;
      add?: Mat;
      dweight?: DeviceBuffer;
      dbias?: DeviceBuffer;
    },
  ): void;
}

type Args<K extends keyof NormOperations> = CallArgs<NormOperations, K>;

/** Checks a norm. */
export function checkRmsNorm(
  { x, weight, epsilon, out, inverse }: Args<"rmsNorm">,
): void {
  wantSame("rmsNorm", x, { out });
  wantBytes("rmsNorm: weight", weight, x.cols * 4);
  wantBytes("rmsNorm: inverse", inverse, x.rows * 4);
  if (!(epsilon >= 0)) {
    throw new ValueError(
      `Cannot run rmsNorm: epsilon must be >= 0, got ${epsilon}`,
    );
  }
}

/** Checks the backward of a norm. */
export function checkRmsNormBackward(
  { dy, x, weight, inverse, dx, add, dweight }: Args<"rmsNormBackward">,
): void {
  const op = "rmsNormBackward";
  wantSame(op, x, { dy, dx, ...(add && { add }) });
  wantBytes(`${op}: weight`, weight, x.cols * 4);
  wantBytes(`${op}: inverse`, inverse, x.rows * 4);
  if (dweight) wantBytes(`${op}: dweight`, dweight, x.cols * 4);
}

/** Checks a norm. */
export function checkLayerNorm(args: Args<"layerNorm">): void {
  const { x, weight, bias, epsilon, out, mean, inverse } = args;
  wantSame("layerNorm", x, { out });
  wantBytes("layerNorm: weight", weight, x.cols * 4);
  wantBytes("layerNorm: bias", bias, x.cols * 4);
  wantBytes("layerNorm: mean", mean, x.rows * 4);
  wantBytes("layerNorm: inverse", inverse, x.rows * 4);
  if (!(epsilon >= 0)) {
    throw new ValueError(
      `Cannot run layerNorm: epsilon must be >= 0, got ${epsilon}`,
    );
  }
}

/** Checks the backward of a norm. */
export function checkLayerNormBackward(
  args: Args<"layerNormBackward">,
): void {
  const op = "layerNormBackward";
  const { dy, x, weight, mean, inverse, dx, add, dweight, dbias } = args;
  wantSame(op, x, { dy, dx, ...(add && { add }) });
  wantBytes(`${op}: weight`, weight, x.cols * 4);
  wantBytes(`${op}: mean`, mean, x.rows * 4);
  wantBytes(`${op}: inverse`, inverse, x.rows * 4);
  if (dweight) wantBytes(`${op}: dweight`, dweight, x.cols * 4);
  if (dbias) wantBytes(`${op}: dbias`, dbias, x.cols * 4);
}

/** The check of each. */
export const normChecks: Checks<NormOperations> = {
  rmsNorm: checkRmsNorm,
  rmsNormBackward: checkRmsNormBackward,
  layerNorm: checkLayerNorm,
  layerNormBackward: checkLayerNormBackward,
};
