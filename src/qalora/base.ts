/**
 * The base of a QA-LoRA layer: a weight in affine groups along its inputs (Xu et al., 2309.14717, section 3.3).
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import { mat } from "../device/buffer.ts";
import { onBestDevice } from "../backend/fallback.ts";
import { checkFinite, checkHalfScales, download } from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { groupCount } from "./groups.ts";
import { openQuantizer, type QuantizerOptions } from "./quantizer.ts";

/** Where to work. */
export interface PlaceOptions {
  /** Where to work; by default a device opened for this call, and the CPU after all if that is a GPU and fails. */
  readonly device?: Device;
  /** Takes a line about a GPU that failed, where no device is given. */
  readonly onWarning?: (line: string) => void;
}

/** Does `work` on the device given, or on the best one. */
export async function onDevice<T>(
  { device, onWarning }: PlaceOptions,
  work: (device: Device) => Promise<T>,
): Promise<T> {
  return device ? await work(device) : await onBestDevice(work, { onWarning });
}

/** Options of {@linkcode quantizeBase}. */
export interface BaseOptions extends QuantizerOptions, PlaceOptions {}

/**
 * Quantises `weight: [out, in]` in the form that QA-LoRA merges into, `w = scale * code + bias` in groups along the
 * inputs. Any shape: the last group may be short, a constant group has scale 0.
 *
 * @example
 * ```ts
 * import { matrix, qalora, Random } from "../../mod.ts";
 *
 * const weight = matrix(64, 96, new Random(0).normals(64 * 96));
 * const base = await qalora.quantize(weight, { format: "int4", block: 32 });
 * console.assert(base.biases?.length === 64 * 3);
 * ```
 *
 * @throws {TypeError} If the format is not affine in groups along the inputs, the metric has not the size of the
 * layer's input, or `gptq` has no full one.
 * @throws {RangeError} If a value is not finite, a group's range overflows f32, an option is out of its range, or the
 * moments cannot serve.
 */
export async function quantizeBase(
  weight: Matrix,
  options: BaseOptions,
): Promise<QuantizedMatrix> {
  const { name = "the weight" } = options;
  checkFinite(weight, name);
  return await onDevice(options, async (device) => {
    using quantizer = await openQuantizer(device, weight, options);
    using buffer = device.alloc(weight.data.byteLength);
    device.write(buffer, weight.data);
    using q = quantizer.alloc();
    await quantizer.run(mat(buffer, weight.rows, weight.cols), q);
    const base = await download(device, q);
    if (options.scaleDType === "f16") checkHalfScales(base, name);
    checkRanges(base, name);
    return base;
  });
}

/**
 * Checks that every scale and bias is finite.
 *
 * @throws {RangeError} With the row and group of the first that is not.
 */
export function checkRanges(base: QuantizedMatrix, name: string): void {
  const groups = groupCount(base);
  for (const values of [base.scales, base.biases!]) {
    const at = values.findIndex((x) => !Number.isFinite(x));
    if (at >= 0) {
      throw new ValueError(
        `Cannot quantize ${name}: the range of row ${
          Math.floor(at / groups)
        }, group ${at % groups} overflows f32`,
      );
    }
  }
}
