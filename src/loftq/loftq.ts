/**
 * LoftQ: a quantised backbone and LoRA factors that together stay close to the weight they replace
 * (Li et al., LoftQ: LoRA-Fine-Tuning-Aware Quantization for Large Language Models, 2310.08659, algorithm 1).
 *
 * @module
 */

import { isMeant, KindError, ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import type { ScaleRule } from "../device/quant_mat.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import {
  exactTruncator,
  randomizedTruncator,
} from "../linalg/truncated_svd.ts";
import { format, type FormatName, scaleRules } from "../quant/formats.ts";
import {
  allocQuant,
  checkFinite,
  checkHalfScales,
  download,
  type OwnedQuantMat,
  roundScales,
  upload,
} from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { channelWeights, type Metric, prepareMetric } from "./metric.ts";
import { inRange, times } from "./range.ts";
import { loraStart, readFactors } from "./start.ts";

/** What a file makes of a backbone that it does not hold as it is. */
export interface StoredForm {
  /** The scales that a reader of the file gets for these. */
  readonly scales?: (scales: Float32Array) => Float32Array<ArrayBuffer>;
  /** The weights that it gets for these decoded ones. */
  readonly values?: (values: Float32Array) => Float32Array;
}

/** Settings of {@linkcode loftq}. */
export interface LoftqSettings {
  /** Number format of the backbone; not needed with `base`. */
  readonly format?: FormatName;
  /** Elements of a block; the format's default without it. */
  readonly block?: number;
  /** How scales are chosen; the format's default without it. With `mse` the metric's moments weigh the error. */
  readonly scale?: ScaleRule;
  /** Rank of the adapter, 16 by default. It may exceed the matrix's: the surplus rows of A start at random, those columns of B at zero. */
  readonly rank?: number;
  /** LoRA's alpha, by default the rank. */
  readonly alpha?: number;
  /** Scaling `alpha / sqrt(rank)` instead of `alpha / rank` (Kalajdzievski, 2312.03732). */
  readonly rslora?: boolean;
  /** Number of iterations T, 5 by default; 0 gives the default LoRA initialisation (QLoRA's): A Kaiming-uniform, B zero. */
  readonly iterations?: number;
  /** Whether to stop after an iteration that made the error larger (true): the alternation is not monotone. */
  readonly earlyStop?: boolean;
  /** `randomized` (default) or `exact`. */
  readonly svd?: "randomized" | "exact";
  /** Norm of the residual; the identity, LoftQ's own, by default. */
  readonly metric?: Metric;
  /** Type that scales and biases will be stored in: with `f16` all is computed with the rounded ones. `f32` by default. */
  readonly scaleDType?: "f16" | "f32";
  /** A backbone quantised elsewhere: it is kept, and only the factors are found, by one SVD. */
  readonly base?: QuantizedMatrix;
  /** How the backbone is rounded once more when it is written: factors make up for that too, and errors count it. */
  readonly stored?: StoredForm;
  /** Seeds the random parts, together with `name`. */
  readonly seed?: number;
  /** What errors call the weight, and the label of its random numbers. */
  readonly name?: string;
}

/** Values of one factor at most: what a device can hold of it. */
const MOST_FACTOR = 2 ** 30;

/** What {@linkcode loftq} found. Errors are relative, `‖error‖ / ‖W‖`. */
export interface LoftqResult {
  /** The quantised weight. */
  readonly backbone: QuantizedMatrix;
  /** `lora_A: [rank, in]`. */
  readonly a: Matrix;
  /** `lora_B: [out, rank]`. */
  readonly b: Matrix;
  /** `s` of `W ≈ Q + s B A`, folded into the factors. */
  readonly scaling: number;
  /** Frobenius error of quantising without a correction. */
  readonly plainError: number;
  /** Frobenius error of `Q + s B A`. */
  readonly error: number;
  /** Error after each iteration, in the metric. */
  readonly history: number[];
  /** The iteration that was kept, from 1; 0 if there was none. */
  readonly iteration: number;
  /** {@linkcode plainError} in the metric, where one was given. */
  readonly plainOutputError?: number;
  /** {@linkcode error} in the metric, where one was given. */
  readonly outputError?: number;
}

/** LoRA's scaling of `B A`: `alpha / rank`, or `alpha / sqrt(rank)` with rank-stabilised LoRA. */
export function loraScaling(
  rank: number,
  alpha: number,
  rslora = false,
): number {
  return alpha / (rslora ? Math.sqrt(rank) : rank);
}

/**
 * Quantises `weight: [out, in]` and finds LoRA factors with `W ≈ Q + s B A`, alternating `Q = quantise(W - s B A)` and
 * `s B A = SVD_r(W - Q)`. Ends on the SVD and keeps the best iterate.
 *
 * @throws {RangeError} If the weight is not finite, or an option is out of its range.
 * @throws {TypeError} If the scale rule does not fit the format, or `base` or the metric not the weight's shape.
 */
export async function loftq(
  device: Device,
  weight: Matrix,
  options: LoftqSettings,
): Promise<LoftqResult> {
  check(weight, options);
  return await inRange(weight, options.base, async (weight, base, up) => {
    const { stored } = options;
    // What a file keeps of values is asked of them as they are in it.
    const asStored = (form?: (values: Float32Array) => Float32Array) =>
      form &&
      ((values: Float32Array) => times(form(times(values, 1 / up)), up));
    return await run(device, weight, {
      ...options,
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

interface Checked {
  readonly name: string;
  readonly rank: number;
  readonly scaling: number;
  readonly iterations: number;
  readonly earlyStop: boolean;
}

function check(weight: Matrix, options: LoftqSettings): Checked {
  const { name = "the weight", rank = 16, base } = options;
  const { alpha = rank, iterations = base ? 1 : 5 } = options;
  const fail = (what: string, wanted: string, got: unknown): never => {
    throw new ValueError(
      `Cannot run LoftQ on ${name}: ${what} must be ${wanted}, got ${got}`,
    );
  };
  if (!Number.isInteger(rank) || rank < 1) {
    fail("rank", "a whole number >= 1", rank);
  }
  const most = Math.floor(MOST_FACTOR / Math.max(weight.rows, weight.cols, 1));
  if (rank > most) fail("rank", `at most ${most}`, rank);
  if (!(alpha > 0 && alpha < Infinity)) fail("alpha", "> 0", alpha);
  if (!Number.isInteger(iterations) || iterations < 0) {
    fail("iterations", "a whole number >= 0", iterations);
  }
  const { block } = options;
  if (block !== undefined && !(Number.isInteger(block) && block >= 0)) {
    fail("block", "a whole number >= 0", block);
  }
  if (base) {
    if (base.rows !== weight.rows || base.cols !== weight.cols) {
      throw new KindError(
        `Cannot run LoftQ on ${name}: the base is ${base.rows} x ${base.cols}, the weight ${weight.rows} x ${weight.cols}`,
      );
    }
  } else if (options.format === undefined) {
    fail("format", "named where no base is given", undefined);
  } else {
    const rules = scaleRules(format(options.format));
    if (options.scale && !rules.includes(options.scale)) {
      throw new KindError(
        `Cannot run LoftQ on ${name}: scale "${options.scale}" does not fit ${options.format}, wanted one of ${
          rules.join(", ")
        }`,
      );
    }
  }
  return {
    name,
    rank,
    scaling: loraScaling(rank, alpha, options.rslora),
    iterations: base ? Math.min(iterations, 1) : iterations,
    earlyStop: options.earlyStop ?? true,
  };
}

async function run(
  device: Device,
  weight: Matrix,
  options: LoftqSettings,
): Promise<LoftqResult> {
  const { name, rank, scaling, iterations, earlyStop } = check(weight, options);
  const { rows, cols } = weight;
  const { metric = { kind: "identity" }, seed = 0 } = options;
  using memory = new DisposableStack();
  const alloc = (m: number, n: number): Mat =>
    mat(memory.use(device.alloc(m * n * 4)), m, n);
  const squares = alloc(1, rows);
  const measure = (x: Mat): Promise<number> => {
    device.ops.rowSquares({ x, out: squares.buffer });
    return later(
      readF32(device, squares.buffer, 0, rows).then(sum),
    );
  };
  const relative = (squared: number, total: number): number =>
    squared <= 0 ? 0 : Math.sqrt(squared / total);

  const c = memory.use(await prepareMetric(device, metric, { cols, name }));
  const w = alloc(rows, cols);
  device.write(w.buffer, weight.data);
  // What is asked for here arrives with what the first iteration asks for: a GPU takes as long for one read as for many.
  const normFound = measure(w);
  const e = alloc(rows, cols);
  const ec = c.identity ? e : alloc(rows, cols);
  if (!c.identity) c.apply(w, ec);
  const outputNormFound = c.identity ? normFound : measure(ec);

  // The rank that the matrix can have; what lies beyond stays at the default LoRA initialisation.
  const k = Math.min(rank, rows, cols);
  // The next iterate goes where neither the last nor the best one is; the two differ only after a rise.
  const quantize = memory.use(quantizer(device, weight, options));
  const slots = Array.from({ length: earlyStop ? 2 : 3 }, () => ({
    q: memory.use(quantize.alloc()),
    b: alloc(rows, k),
    a: alloc(k, cols),
    /** The scales before they were rounded, where they are. */
    scales: undefined as Float32Array<ArrayBuffer> | undefined,
  }));
  const { stored } = options;
  /** `e = w - q`, with q as it is read again. */
  const missed = async (q: OwnedQuantMat): Promise<void> => {
    if (!stored?.values) {
      device.ops.dequantize({ q, out: e, from: w });
      return;
    }
    device.ops.dequantize({ q, out: e });
    const values = await readF32(device, e.buffer, 0, rows * cols);
    const read = stored.values(values);
    device.write(e.buffer, values.map((_, i) => weight.data[i] - read[i]));
  };
  const gain = 1 / Math.sqrt(scaling);
  const truncator = iterations === 0 ? undefined : memory.use(
    options.svd === "exact"
      ? exactTruncator(device, { rows, cols, rank: k })
      : randomizedTruncator(device, {
        rows,
        cols,
        rank: k,
        seed,
        // A single iteration has no later ones to make up for a rough start.
        steps: iterations === 1 ? 6 : 2,
        warmSteps: iterations > 3 ? 1 : 3,
      }),
  );

  const history: number[] = [];
  let best = slots[0];
  let bestError = Infinity;
  let iteration = 0;
  let norm = 0;
  let outputNorm = 0;
  let plain = 0;
  let plainOutput = 0;
  let last = best;
  for (let t = 1; t <= Math.max(iterations, 1); t++) {
    const next = slots.find((s) => s !== last && s !== best) ?? slots[1];
    const { q, b, a } = next;
    if (t > 1) residual(device, { w, from: last, scaling, out: e });
    quantize.run(t > 1 ? e : w, q);
    if (stored?.scales) {
      next.scales = await readF32(device, q.scales, 0, q.scales.bytes / 4);
      device.write(q.scales, stored.scales(next.scales));
    }
    // No wait where there is nothing to wait for.
    if (stored) await missed(q);
    else device.ops.dequantize({ q, out: e, from: w });
    const plainFound = t === 1 ? measure(e) : undefined;
    if (!c.identity) c.apply(e, ec);
    const errorFound = plainFound && c.identity ? plainFound : measure(ec);
    // The one wait of an iteration: nothing is awaited before all is asked for.
    const factored = truncator && later(truncator.factor(ec, { b, a, gain }));
    if (t === 1) {
      norm = await normFound;
      if (!Number.isFinite(norm)) {
        await factored?.catch(() => {});
        checkFinite(weight, name);
        throw new ValueError(
          `Cannot run LoftQ on ${name}: its norm overflows f32`,
        );
      }
      outputNorm = await outputNormFound;
    }
    let error = await errorFound;
    if (!Number.isFinite(error)) {
      await factored?.catch(() => {});
      if (!options.base) await downloadChecked(device, q, options);
      throw new ValueError(
        `Cannot run LoftQ on ${name}: the error of its backbone is ${error}`,
      );
    }
    if (t === 1) {
      plain = await plainFound!;
      plainOutput = error;
    }
    if (factored) {
      const singular = await factored.catch((error) => {
        if (!isMeant(error)) throw error;
        throw new ValueError(
          `Cannot run LoftQ on ${name}: ${error.message}`,
          { cause: error },
        );
      });
      c.remove(a);
      // A truncated SVD is a projection: the error left is what it did not take.
      for (const s of singular) error -= s * s;
      history.push(relative(error, outputNorm));
    }
    last = next;
    if (error < bestError) {
      best = next;
      bestError = error;
      iteration = truncator ? t : 0;
    } else if (earlyStop) break;
  }

  let errorFound = Promise.resolve(bestError);
  if (!c.identity && truncator) {
    await missed(best.q);
    residual(device, { w: e, from: best, scaling, out: e });
    errorFound = measure(e);
  }
  const start = { rows, cols, rank, seed, name };
  const [error, backbone, factors] = await Promise.all([
    errorFound,
    options.base ?? downloadChecked(device, best.q, options).then((q) => ({
      ...q,
      ...(best.scales && { scales: best.scales }),
    })),
    truncator ? readFactors(device, best, start) : loraStart(start),
  ]);
  return {
    backbone,
    ...factors,
    scaling,
    plainError: relative(plain, norm),
    error: relative(truncator ? error : plain, norm),
    history,
    iteration,
    ...(!c.identity && {
      plainOutputError: relative(plainOutput, outputNorm),
      outputError: relative(bestError, outputNorm),
    }),
  };
}

/** The quantised weight, whose scales were looked at. */
async function downloadChecked(
  device: Device,
  q: OwnedQuantMat,
  { scaleDType, name = "the weight" }: LoftqSettings,
): Promise<QuantizedMatrix> {
  const found = await download(device, q);
  if (scaleDType === "f16") checkHalfScales(found, name);
  return found;
}

/** `promise`, which may fail before anyone awaits it. */
function later<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

function sum(values: Float32Array): number {
  let total = 0;
  for (const x of values) total += x;
  return total;
}

/** `out = w - scaling * b * a`. */
function residual(
  device: Device,
  { w, from, scaling, out }: {
    w: Mat;
    from: { b: Mat; a: Mat };
    scaling: number;
    out: Mat;
  },
): void {
  const { b, a } = from;
  device.ops.gemm({ a: b, b: a, c: out, alpha: -scaling, beta: 1, add: w });
}

interface Quantizer extends Disposable {
  /** Memory for one quantised matrix. */
  alloc(): OwnedQuantMat;
  /** Quantises `w` into `q`; does nothing where the base is given. */
  run(w: Mat, q: OwnedQuantMat): void;
}

function quantizer(
  device: Device,
  weight: Matrix,
  options: LoftqSettings,
): Quantizer {
  const { base, block } = options;
  if (base) {
    return {
      alloc: () => upload(device, base),
      run() {},
      [Symbol.dispose]() {},
    };
  }
  const spec = format(options.format!);
  const scale = options.scale ?? spec.defaultScale;
  const channels = scale === "mse" && options.metric
    ? channelWeights(options.metric, weight.cols)
    : undefined;
  const memory = new DisposableStack();
  let by: DeviceBuffer | undefined;
  if (channels) {
    by = memory.use(device.alloc(channels.byteLength));
    device.write(by, channels);
  }
  return {
    alloc: () => allocQuant(device, spec, { ...weight, block }),
    run(w, q) {
      device.ops.quantize({ w, q, scale, weight: by });
      if (options.scaleDType === "f16") roundScales(device, q);
    },
    [Symbol.dispose]: () => memory.dispose(),
  };
}
