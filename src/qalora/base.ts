/**
 * The base of a QA-LoRA layer: a weight in affine groups along its inputs (Xu et al., 2309.14717, section 3.3).
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import { mat } from "../device/buffer.ts";
import { checkFinite } from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { Matrix } from "../tensor/matrix.ts";
import { groupCount } from "./groups.ts";
import { openQuantizer, type QuantizerOptions } from "./quantizer.ts";

/**
 * Quantises `weight: [out, in]` in the form that QA-LoRA merges into, `w = scale * code + bias` in groups along the
 * inputs. Any shape: the last group may be short, a constant group has scale 0.
 *
 * @throws {TypeError} If the format is not affine in groups along the inputs, the metric has not the size of the
 * layer's input, or `gptq` has no full one.
 * @throws {RangeError} If a value is not finite, a group's range overflows f32, an option is out of its range, or the
 * moments cannot serve.
 */
export async function quantizeBase(
  device: Device,
  weight: Matrix,
  options: QuantizerOptions,
): Promise<QuantizedMatrix> {
  const { name = "the weight" } = options;
  checkFinite(weight, name);
  using quantizer = await openQuantizer(device, weight, options);
  using buffer = device.alloc(weight.data.byteLength);
  device.write(buffer, weight.data);
  using q = quantizer.alloc();
  await quantizer.run(mat(buffer, weight.rows, weight.cols), q);
  const base = await quantizer.download(q);
  checkRanges(base, name);
  return base;
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
