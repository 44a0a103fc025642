/**
 * The best biases for a base's codes and scales, in closed form.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import type { Metric } from "../loftq/metric.ts";
import type { LoftqResult } from "../loftq/options.ts";
import { type Errors, reported } from "../loftq/residual.ts";
import { loraStart } from "../loftq/start.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { checkBase } from "./groups.ts";
import { withBiases } from "./merge.ts";
import { type CheckedStart, prepare, type Prepared } from "./prepare.ts";

/** Settings of {@linkcode groupBiases}. */
export interface BiasesSettings {
  /** Moments of the layer's inputs; none by default. */
  readonly metric?: Metric;
  /** Name of the weight in errors. */
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
  using prepared = await prepare(device, weight, { base, block, metric, name });
  return (await fitBiases(device, prepared, "f32")).base;
}

/** Quantises a weight and corrects in the biases, at full rank; the factors of its adapter add nothing yet. */
export async function startBiases(
  device: Device,
  prepared: Prepared,
  settings: CheckedStart,
): Promise<LoftqResult> {
  const { residual: { groups, identity, w } } = prepared;
  const { base, before, after } = await fitBiases(
    device,
    prepared,
    settings.scaleDType,
  );
  return {
    backbone: base,
    ...loraStart({ ...settings, rows: w.rows, cols: groups }),
    scaling: settings.scaling,
    history: [after.outputError],
    iteration: 1,
    ...reported(identity, before, after),
  };
}

/** A base with its best biases, rounded to the type that they will be stored in; and the errors before and after. */
async function fitBiases(
  device: Device,
  { residual, quantizer }: Prepared,
  scaleDType: "f16" | "f32" | undefined,
): Promise<{ base: QuantizedMatrix; before: Errors; after: Errors }> {
  const { groups, w } = residual;
  using q = quantizer.alloc();
  await quantizer.run(w, q);
  const base = await quantizer.download(q);
  using buffer = device.alloc(w.rows * groups * 4);
  const constants = mat(buffer, w.rows, groups);
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
