/**
 * Linear layers: a weight that may be quantised and frozen, a bias, and LoRA or QA-LoRA factors, in one operation.
 *
 * @module
 */

import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import { type LinearWeight, plus } from "./linear_weight.ts";
import {
  joinedBackward,
  joinedBiases,
  joins,
  type LoraFactors,
  loraForward,
  pool,
} from "./lora.ts";
import type { Parameter } from "./parameter.ts";
import { accumulateParameter, type Tape, type Tensor } from "./tape.ts";

/** Weight, bias and LoRA factors of a linear layer. */
export interface LinearLayer {
  /** The weight. */
  readonly weight: LinearWeight;
  /** `f32 [out]`. */
  readonly bias?: {
    readonly value: DeviceBuffer;
    readonly parameter?: Parameter;
  };
  /** Enabled adapters; their parts add up. */
  readonly lora: readonly LoraFactors[];
}

/**
 * `y[m, out] = x[m, in] Wᵀ + bias + Σ scaling * dropout(x) Aᵀ Bᵀ + add[m, out]`.
 *
 * Backward: `dx = dy W + Σ scaling * (dy B) A`, `dA = scaling * (dy B)ᵀ x`, `dB = scaling * dyᵀ (x Aᵀ)`, `dW = dyᵀ x`.
 * Factors with a group have `pool(x)` for `x`, made once for all factors of that group, and their part of `dx` spread over
 * the groups. Where the groups are the weight's own, `scaling * B A` is added to its biases instead, as it will be when
 * they are merged (2309.14717, section 3.3): then they cost a token nothing, whatever their rank.
 *
 * @throws {TypeError} If the features do not fit.
 */
export function linear(
  tape: Tape,
  x: Tensor,
  { layer, add }: { layer: LinearLayer; add?: Tensor },
): Tensor {
  const { device } = tape;
  const { bias, lora } = layer;
  const m = x.value.rows;
  const trains = layer.weight.parameter !== undefined ||
    bias?.parameter !== undefined || lora.some((l) => l.trained);
  const joined = lora.filter((l) => joins(tape, m, layer.weight, l));
  const biases = joined.length > 0
    ? joinedBiases(tape, layer.weight.groups!, joined)
    : undefined;
  const weight = biases
    ? layer.weight.groups!.withBiases(biases.buffer)
    : layer.weight;
  const y = tape.output(m, weight.rows, [x, add], trains);
  weight.forward(device, x.value, { y: y.value, add: add?.value });
  if (bias) {
    device.ops.addRow({ x: y.value, row: bias.value, out: y.value });
  }
  const pooled = new Map<number, Mat>();
  const inputsOf = (group: number | undefined): Mat => {
    if (group === undefined) return x.value;
    const found = pooled.get(group);
    if (found) return found;
    const out = pool(tape, x.value, group);
    pooled.set(group, out);
    return out;
  };
  const parts = lora.filter((l) => !joined.includes(l)).map((factors) =>
    loraForward(tape, factors, { x, inputs: inputsOf(factors.group), y })
  );
  const saved = [
    ...parts.map(({ u }) => u),
    ...pooled.values(),
    ...(biases ? [biases] : []),
  ].map(({ buffer }) => buffer);
  tape.record(y, (dy) => {
    if (weight.parameter) {
      accumulateParameter(
        weight.parameter,
        (c, plusC) =>
          device.ops.gemm({
            a: dy,
            b: x.value,
            c,
            transA: true,
            ...plus(plusC),
          }),
      );
    }
    if (bias?.parameter) {
      accumulateParameter(bias.parameter, (into, plusInto) => {
        using sums = device.alloc(into.cols * 4);
        device.ops.columnSums({ x: dy, out: sums });
        const row = mat(sums, 1, into.cols);
        device.ops.combine({ x: row, y: plusInto, out: into });
      });
    }
    if (x.needsGradient) {
      tape.accumulate(
        x,
        (dx, plusX) => weight.backward(device, dy, { dx, add: plusX }),
      );
    }
    joinedBackward(tape, joined, { dy, x: x.value });
    for (const part of parts) part.backward(dy);
    if (add) tape.moveGradient(add, dy);
  }, { saved });
  return y;
}
