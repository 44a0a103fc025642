/**
 * The best biases for a base's codes and scales, in closed form.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import type { Metric } from "../loftq/metric.ts";
import { type OwnedQuantMat, upload } from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { checkBase } from "./groups.ts";
import { withBiases } from "./merge.ts";
import { type Errors, openResidual, type Residual } from "./residual.ts";

/** Settings of {@linkcode groupBiases}. */
export interface BiasesSettings {
  /** Moments of the layer's inputs; none by default. */
  readonly metric?: Metric;
  /** What errors call the weight. */
  readonly name?: string;
}

/**
 * `base` with the biases that come closest to `weight` in the metric; codes and scales stay. Without moments a group's
 * mean error goes, with full ones the least squares are over all groups of a row.
 *
 * @throws {TypeError} If the base is not affine in groups along the inputs, or it or the metric has not the weight's
 * shape.
 * @throws {RangeError} If the weight is not finite, or the moments cannot serve.
 */
export async function groupBiases(
  device: Device,
  weight: Matrix,
  { base, metric, name = "the weight" }: BiasesSettings & {
    base: QuantizedMatrix;
  },
): Promise<QuantizedMatrix> {
  checkBase(base, weight, name);
  const { block } = base;
  using residual = await openResidual(device, weight, { block, metric, name });
  using q = upload(device, base);
  return (await fitBiases(device, residual, { base, q })).base;
}

/**
 * {@linkcode groupBiases} of a base that is on the device as `q`, which gets the biases too, rounded to the type that they
 * will be stored in; and the errors before and after.
 */
export async function fitBiases(
  device: Device,
  residual: Residual,
  { base, q, scaleDType }: {
    base: QuantizedMatrix;
    q: OwnedQuantMat;
    scaleDType?: "f16" | "f32";
  },
): Promise<{ base: QuantizedMatrix; before: Errors; after: Errors }> {
  const { rows } = base;
  const { groups } = residual;
  using buffer = device.alloc(rows * groups * 4);
  const constants = mat(buffer, rows, groups);
  const before = await residual.subtract(q);
  residual.project(constants);
  residual.constants(constants);
  const exact = withBiases(base, await readF32(device, buffer));
  const fitted = scaleDType === "f16"
    ? { ...exact, biases: exact.biases!.map((x) => Math.f16round(x)) }
    : exact;
  device.write(q.biases!, fitted.biases!);
  return { base: fitted, before, after: await residual.subtract(q) };
}
