/**
 * LoftQ: a quantised backbone and LoRA factors that together stay close to the weight they replace
 * (Li et al., LoftQ: LoRA-Fine-Tuning-Aware Quantization for Large Language Models, 2310.08659, algorithm 1).
 *
 * @module
 */

import { isMeant, ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import { isDeviceFailure } from "../device/errors.ts";
import type { Mat } from "../device/buffer.ts";
import {
  exactTruncator,
  randomizedTruncator,
  type Truncator,
} from "../linalg/truncated_svd.ts";
import { checkFinite } from "../quant/quantize.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { alternate, type Iterate, rankOf } from "./alternate.ts";
import { prepareMetric } from "./metric.ts";
import {
  type CheckedLoftq,
  checkLoftq,
  type LoftqResult,
  type LoftqSettings,
} from "./options.ts";
import { loftqQuantizer } from "./quantizer.ts";
import { inRange, times } from "./range.ts";
import {
  type Asked,
  type Errors,
  later,
  openResidual,
  relative,
  reported,
} from "./residual.ts";
import type { AdapterShape } from "./start.ts";

/**
 * Quantises `weight: [out, in]` and finds LoRA factors with `W ≈ Q + s B A`, alternating `Q = quantise(W - s B A)` and
 * `s B A = SVD_r(W - Q)`. Ends on the SVD and keeps the best iterate.
 *
 * @throws {RangeError} If the weight is not finite, or a setting is out of its range.
 * @throws {TypeError} If the scale rule does not fit the format, or `base` or the metric not the weight's shape.
 */
export async function loftq(
  device: Device,
  weight: Matrix,
  settings: LoftqSettings,
): Promise<LoftqResult> {
  const checked = { ...settings, ...checkLoftq(weight, settings) };
  return await inRange(weight, settings.base, async (weight, base, up) => {
    const { stored } = settings;
    // What a file keeps of values is asked of them as they are in it.
    const asStored = (form?: (values: Float32Array) => Float32Array) =>
      form &&
      ((values: Float32Array) => times(form(times(values, 1 / up)), up));
    return await run(device, weight, {
      ...checked,
      base,
      ...(stored && up !== 1 && {
        stored: {
          scales: asStored(stored.scales),
          values: asStored(stored.values),
        },
      }),
    });
  });
}

async function run(
  device: Device,
  weight: Matrix,
  settings: LoftqSettings & CheckedLoftq,
): Promise<LoftqResult> {
  const { name, rank, scaling, iterations, earlyStop, seed = 0 } = settings;
  const { metric: given = { kind: "identity" }, stored } = settings;
  const { rows, cols } = weight;
  const adapter = { rows, cols, rank, seed, name };
  using memory = new DisposableStack();
  const metric = memory.use(await prepareMetric(device, given, { cols, name }));
  const residual = memory.use(
    openResidual(device, weight, { metric, values: stored?.values }),
  );
  const quantizer = memory.use(loftqQuantizer(device, weight, settings));
  const truncator = iterations === 0
    ? undefined
    : memory.use(openTruncator(device, adapter, settings));
  const { w, e, ec, norms } = residual;
  const gain = 1 / Math.sqrt(scaling);
  /** `e = from - s B A`. */
  const lessFactors = ({ b, a }: Iterate, add: Mat): void =>
    device.ops.gemm({ a: b, b: a, c: e, alpha: -scaling, beta: 1, add });

  /** Squared errors before any correction. */
  let plain = undefined as Errors | undefined;
  const { errors, history, ...kept } = await alternate(device, quantizer, {
    adapter,
    iterations,
    earlyStop,
    quantise({ q }, last) {
      if (last) lessFactors(last, w);
      return quantizer.run(last ? e : w, q);
    },
    async correct({ q, b, a }) {
      const read = residual.subtract(q);
      if (read) await read;
      const asked: Partial<Asked> = plain
        ? { output: residual.measureOutput() }
        : residual.measure();
      // The one wait of an iteration: nothing is awaited before all is asked for.
      const factored = truncator && later(truncator.factor(ec, { b, a, gain }));
      const [norm, outputError] = [await norms.plain, await asked.output!];
      if (!Number.isFinite(norm) || !Number.isFinite(outputError)) {
        await factored?.catch(() => {});
        if (!Number.isFinite(norm)) checkFinite(weight, name);
        else await quantizer.download(q);
        fail(
          name,
          Number.isFinite(norm)
            ? `the error of its backbone is ${outputError}`
            : "its norm overflows f32",
        );
      }
      plain ??= { error: await asked.plain!, outputError };
      if (!factored) return outputError;
      const singular = await factored.catch((error) => {
        // Whoever opened the device answers its failures, and has to know them.
        if (!isMeant(error) || isDeviceFailure(error)) throw error;
        return fail(name, error.message, error);
      });
      metric.remove(a);
      // A truncated SVD is a projection: the error left is what it did not take.
      return singular.reduce((left, s) => left - s * s, outputError);
    },
    async errors(best, least) {
      let left = Promise.resolve(truncator ? least : plain!.error);
      if (truncator && !metric.identity) {
        const read = residual.subtract(best.q);
        if (read) await read;
        lessFactors(best, e);
        left = residual.measurePlain();
      }
      return [plain!, { error: await left, outputError: least }];
    },
  });
  const [norm, outputNorm] = [await norms.plain, await norms.output];
  const [before, after] = errors.map(({ error, outputError }) => ({
    error: relative(error, norm),
    outputError: relative(outputError, outputNorm),
  }));
  return {
    ...kept,
    scaling,
    history: history.map((squared) => relative(squared, outputNorm)),
    ...reported(metric.identity, before, after),
  };
}

function fail(name: string, why: string, cause?: unknown): never {
  throw new ValueError(`Cannot run LoftQ on ${name}: ${why}`, { cause });
}

function openTruncator(
  device: Device,
  adapter: AdapterShape,
  { svd, iterations }: LoftqSettings & CheckedLoftq,
): Truncator {
  const shape = { ...adapter, rank: rankOf(adapter) };
  if (svd === "exact") return exactTruncator(device, shape);
  return randomizedTruncator(device, {
    ...shape,
    // A single iteration has no later ones to make up for a rough start.
    steps: iterations === 1 ? 6 : 2,
    warmSteps: iterations > 3 ? 1 : 3,
  });
}
