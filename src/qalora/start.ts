/**
 * LoftQ's start for QA-LoRA: an adapter on groups that makes up for what its base lost.
 *
 * LoftQ (Li et al., 2310.08659) with the low-rank part constant in each group, so that it still merges into the biases
 * (Xu et al., QA-LoRA, 2309.14717); with second moments of the inputs, the best one for the layer's output.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import { mat } from "../device/buffer.ts";
import { exactTruncator } from "../linalg/truncated_svd.ts";
import { type LoftqResult, loraScaling } from "../loftq/loftq.ts";
import { loraStart, readFactors } from "../loftq/start.ts";
import {
  checkFinite,
  checkHalfScales,
  download,
  type OwnedQuantMat,
} from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { checkBase, groupFormat } from "./groups.ts";
import {
  type GroupQuantizer,
  keep,
  openQuantizer,
  type QuantizerOptions,
} from "./quantizer.ts";
import { type Errors, openResidual } from "./residual.ts";

/** Settings of {@linkcode qaloraStart}. */
export interface StartSettings extends Partial<QuantizerOptions> {
  /** A base quantised elsewhere, in place of a format and how to quantise: it is kept. */
  readonly base?: QuantizedMatrix;
  /** Rank of the adapter, 16 by default. Beyond the number of groups, rows of A start at random, those columns of B at zero. */
  readonly rank?: number;
  /** LoRA's alpha, by default the rank. */
  readonly alpha?: number;
  /** Scaling `alpha / sqrt(rank)` instead of `alpha / rank` (Kalajdzievski, 2312.03732). */
  readonly rslora?: boolean;
  /**
   * How often to quantise and correct, 1 by default; 0 gives the default LoRA initialisation: A Kaiming-uniform over the
   * groups, B zero. It ends once the error does not fall. More than one can help `gptq` only: the other quantisers follow a
   * shift of a group exactly.
   */
  readonly iterations?: number;
  /** Seeds the random parts, together with `name`. */
  readonly seed?: number;
}

/** Options of a start that were checked, with their defaults. */
export interface CheckedStart {
  readonly name: string;
  readonly block: number;
  readonly rank: number;
  readonly scaling: number;
  readonly iterations: number;
  readonly seed: number;
}

/**
 * Checks the options that need no device.
 *
 * @throws {RangeError} If the weight is not finite or an option is out of its range.
 * @throws {TypeError} If the base has not the weight's shape, or the format is not affine in groups.
 */
export function checkStart(
  weight: Matrix,
  options: StartSettings,
): CheckedStart {
  const { name = "the weight", rank = 16, base, seed = 0 } = options;
  const { alpha = rank, iterations = 1 } = options;
  const fail = (what: string, wanted: string, got: unknown): never => {
    throw new ValueError(
      `Cannot start QA-LoRA on ${name}: ${what} must be ${wanted}, got ${got}`,
    );
  };
  if (!Number.isInteger(rank) || rank < 1) {
    fail("rank", "a whole number >= 1", rank);
  }
  if (!(alpha > 0 && alpha < Infinity)) fail("alpha", "> 0", alpha);
  if (!Number.isInteger(iterations) || iterations < 0) {
    fail("iterations", "a whole number >= 0", iterations);
  }
  if (!base && options.format === undefined) {
    fail("format", "named where no base is given", undefined);
  }
  checkFinite(weight, name);
  if (base) checkBase(base, weight, name);
  return {
    name,
    block: base?.block ?? options.block ??
      groupFormat(options.format!, name).defaultBlock,
    rank,
    scaling: loraScaling(rank, alpha, options.rslora),
    iterations: base ? Math.min(iterations, 1) : iterations,
    seed,
  };
}

/** The quantiser that the options of a start ask for. */
export async function startQuantizer(
  device: Device,
  weight: Matrix,
  options: StartSettings,
): Promise<GroupQuantizer> {
  const { base } = options;
  return base ? keep(device, base) : await openQuantizer(device, weight, {
    ...options,
    format: options.format!,
  });
}

/** The quantised weight of a start, whose scales were looked at. */
export async function downloadStart(
  device: Device,
  q: OwnedQuantMat,
  { scaleDType, name }: StartSettings & CheckedStart,
): Promise<QuantizedMatrix> {
  const found = await download(device, q);
  if (scaleDType === "f16") checkHalfScales(found, name);
  return found;
}

/**
 * Quantises `weight: [out, in]` and finds `lora_A: [rank, groups]` and `lora_B: [out, rank]`, on inputs summed over each
 * group, with `W ≈ Q + s B A`, each value of `B A` added to all weights of its group. In the metric, no such pair comes
 * closer to what the base lacks. With more iterations `W - s B A` is quantised again, and the best is kept.
 *
 * @throws {RangeError} If the weight is not finite, an option is out of its range, or the moments cannot serve.
 * @throws {TypeError} If the format is not affine in groups along the inputs, or the base or the metric has not the
 * weight's shape.
 */
export async function qaloraStart(
  device: Device,
  weight: Matrix,
  options: StartSettings,
): Promise<LoftqResult> {
  const checked = checkStart(weight, options);
  return await run(device, weight, { ...options, ...checked });
}

async function run(
  device: Device,
  weight: Matrix,
  options: StartSettings & CheckedStart,
): Promise<LoftqResult> {
  const { rank, scaling, iterations, seed, name } = options;
  const { rows } = weight;
  using memory = new DisposableStack();
  const alloc = (m: number, n: number) =>
    mat(memory.use(device.alloc(m * n * 4)), m, n);
  const residual = memory.use(await openResidual(device, weight, options));
  const quantizer = memory.use(await startQuantizer(device, weight, options));
  const { w, e, groups, identity } = residual;
  const k = Math.min(rank, rows, groups);
  // The next iterate never goes where the best one is, which is the last one: after a rise nothing follows.
  const slots = Array.from({ length: iterations > 1 ? 2 : 1 }, () => ({
    q: memory.use(quantizer.alloc()),
    b: alloc(rows, k),
    a: alloc(k, groups),
    minus: alloc(rows, groups),
  }));
  const t = alloc(rows, groups);
  const truncator = memory.use(
    exactTruncator(device, { rows, cols: groups, rank: k }),
  );
  const gain = 1 / Math.sqrt(scaling);

  const history: number[] = [];
  let best = slots[0];
  let plain: Errors | undefined;
  let found: Errors = { error: 0, outputError: Infinity };
  for (let step = 0; step < Math.max(iterations, 1); step++) {
    const { q, b, a, minus } = slots[step % slots.length];
    if (step > 0) residual.add(best.minus, e);
    await quantizer.run(step > 0 ? e : w, q);
    const before = await residual.subtract(q);
    plain ??= before;
    if (iterations === 0) break;
    residual.project(t);
    const values = await truncator.factor(t, { b, a, gain });
    residual.constants(a);
    const outputError = residual.without(before.outputError, values);
    history.push(outputError);
    if (outputError >= found.outputError) break;
    device.ops.gemm({ a: b, b: a, c: minus, alpha: -scaling });
    best = slots[step % slots.length];
    found = { error: outputError, outputError };
  }

  const adapter = { rows, cols: groups, rank, seed, name };
  const [errors, backbone, factors] = await Promise.all([
    iterations === 0
      ? plain!
      : identity
      ? found
      : residual.subtract(best.q, best.minus),
    options.base ?? downloadStart(device, best.q, options),
    iterations === 0 ? loraStart(adapter) : readFactors(device, best, adapter),
  ]);
  return {
    backbone,
    ...factors,
    scaling,
    plainError: plain!.error,
    error: errors.error,
    history,
    iteration: history.indexOf(Math.min(...history)) + 1,
    ...(!identity && {
      plainOutputError: plain!.outputError,
      outputError: errors.outputError,
    }),
  };
}
