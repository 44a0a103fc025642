/**
 * The rules by which a base of QA-LoRA is quantised, made ready for weights of one shape.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import { channelWeights, checkMetric, type Metric } from "../loftq/metric.ts";
import type { Quantizer } from "../loftq/quantizer.ts";
import type { FormatName } from "../quant/formats.ts";
import { packMatrix } from "../quant/pack.ts";
import {
  allocQuant,
  downloadStored,
  type OwnedQuantMat,
  roundScales,
} from "../quant/quantize.ts";
import { gptq } from "./gptq.ts";
import {
  checkOrder,
  type GptqFactor,
  gptqFactor,
  type GptqOrder,
} from "./gptq_factor.ts";
import { type GroupCodes, groupFormat, type GroupShape } from "./groups.ts";
import { hqq } from "./hqq.ts";

/**
 * Quantiser of a base.
 *
 * - `minmax`: groups over their range.
 * - `mse`: groups over the best of 25 shrunk ranges by squared error, weighted by the inputs' moments where there are any.
 * - `hqq`: groups whose zero point is moved by half-quadratic steps, weighted likewise.
 * - `gptq`: column after column, each error made up for by the columns to come; needs a full metric.
 */
export type BaseQuantizer = "minmax" | "mse" | "hqq" | "gptq";

/** Every {@linkcode BaseQuantizer}. */
export const BASE_QUANTIZERS: readonly BaseQuantizer[] = [
  "minmax",
  "mse",
  "hqq",
  "gptq",
];

/** Options of quantising a base. */
export interface QuantizerOptions {
  /** `int5`, `int4`, `int3` or `int2`. */
  readonly format: FormatName;
  /** Inputs of a group, the format's default without it; 0 means all. */
  readonly block?: number;
  /** `minmax` by default. */
  readonly quantizer?: BaseQuantizer;
  /** In which order `gptq` rounds columns, `none` by default. */
  readonly order?: GptqOrder;
  /** Moments of the layer's inputs; none by default. */
  readonly metric?: Metric;
  /** Type that scales and biases will be stored in: with `f16` they are rounded to it. `f32` by default. */
  readonly scaleDType?: "f16" | "f32";
  /** Name of the weight in errors. */
  readonly name?: string;
}

/**
 * Makes ready what weights of `rows` by `cols` are quantised with.
 *
 * @throws {TypeError} If the format is not affine in groups along the inputs, the metric has not the size of the
 * layer's input, or `gptq` has no full one.
 * @throws {RangeError} If an option is out of its range, or the moments cannot serve.
 */
export async function openQuantizer(
  device: Device,
  { rows, cols }: { readonly rows: number; readonly cols: number },
  options: QuantizerOptions,
): Promise<Quantizer> {
  const { name = "the weight", quantizer = "minmax" } = options;
  const { metric = { kind: "identity" }, order = "none" } = options;
  const spec = groupFormat(options.format, name);
  const { block = spec.defaultBlock } = options;
  if (!BASE_QUANTIZERS.includes(quantizer)) {
    throw new ValueError(
      `Cannot quantize ${name}: wanted one of the quantizers ${
        BASE_QUANTIZERS.join(", ")
      }, got "${quantizer}"`,
    );
  }
  if (!Number.isInteger(block) || block < 0) {
    throw new ValueError(
      `Cannot quantize ${name}: block must be a whole number >= 0, got ${block}`,
    );
  }
  checkOrder(order, name);
  if (metric.kind !== "identity") checkMetric(metric, { cols, name });
  const shape: GroupShape = { rows, cols, block };
  const weights = channelWeights(metric, cols);

  using memory = new DisposableStack();
  let run: Quantizer["run"];
  if (quantizer === "hqq") {
    run = async (w, q) => {
      const values = await readMat(device, w);
      write(device, q, hqq(values, { ...shape, spec, weights }));
    };
  } else if (quantizer === "gptq") {
    const factor = memory.use(
      await factorOf(device, metric, { ...shape, order, name }),
    );
    run = async (w, q) => {
      const values = await readMat(device, w);
      write(
        device,
        q,
        await gptq(device, values, { ...shape, spec, factor }),
      );
    };
  } else {
    const by = quantizer === "mse" && weights
      ? memory.use(device.alloc(weights.byteLength))
      : undefined;
    if (by) device.write(by, weights!);
    run = (w, q) => device.ops.quantize({ w, q, scale: quantizer, weight: by });
  }
  const owned = memory.move();
  const { scaleDType } = options;
  return {
    alloc: () => allocQuant(device, spec, shape),
    async run(w, q) {
      await run(w, q);
      if (scaleDType === "f16") roundScales(device, q);
    },
    download: (q) => downloadStored(device, q, { scaleDType, name }),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

async function factorOf(
  device: Device,
  metric: Metric,
  options: { cols: number; block: number; order: GptqOrder; name: string },
): Promise<GptqFactor> {
  if (metric.kind !== "full") {
    throw new KindError(
      `Cannot use GPTQ for ${options.name}: wanted a full metric, got ${metric.kind}`,
    );
  }
  return await gptqFactor(device, metric, options);
}

/** The values of a whole buffer's matrix. */
function readMat(device: Device, w: Mat): Promise<Float32Array> {
  return readF32(device, w.buffer, w.offset, w.rows * w.cols);
}

/** Copies codes, one a byte, and ranges to a device. */
function write(device: Device, q: OwnedQuantMat, found: GroupCodes): void {
  const { rows, cols } = q;
  device.write(q.codes, packMatrix(q.spec, { rows, cols, codes: found.codes }));
  device.write(q.scales, found.scales);
  device.write(q.biases!, found.biases);
}
