/**
 * Normalisation layers.
 *
 * @module
 */

import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import type { Parameter } from "./parameter.ts";
import { accumulateParameter, type Tape, type Tensor } from "./tape.ts";

/** Weight or bias of a norm, `f32 [n]`. */
export interface NormWeight {
  readonly value: DeviceBuffer;
  readonly parameter?: Parameter;
}

/**
 * `out[m, n] = x / rms(x) * weight`: of whole rows, or head by head where the weight is as wide as a head. Backward: see
 * `rmsNormBackward` of the device contract.
 */
export function rmsNorm(
  tape: Tape,
  x: Tensor,
  { weight, epsilon }: { weight: NormWeight; epsilon: number },
): Tensor {
  const { device } = tape;
  const { ops } = device;
  const { rows, cols } = x.value;
  const { parameter } = weight;
  const width = weight.value.bytes / 4;
  const count = rows * cols / width;
  const parts = (m: Mat): Mat =>
    width === cols ? m : mat(m.buffer, count, width, m.offset);
  const out = tape.output(rows, cols, [x], parameter !== undefined);
  const inverse = tape.alloc(count * 4);
  ops.rmsNorm({
    x: parts(x.value),
    weight: weight.value,
    epsilon,
    out: parts(out.value),
    inverse,
  });
  tape.record(out, (dy) => {
    using dweight = parameter && device.alloc(width * 4);
    const zero = dweight && mat(dweight, 1, width);
    if (zero) {
      ops.combine({ x: mat(weight.value, 1, width), out: zero, alpha: 0 });
    }
    const run = (dx: Mat, add?: Mat) =>
      ops.rmsNormBackward({
        dy: parts(dy),
        x: parts(x.value),
        weight: weight.value,
        inverse,
        dx: parts(dx),
        add: add && parts(add),
        dweight,
      });
    if (x.needsGradient) tape.accumulate(x, run);
    else if (parameter) {
      const unused = tape.matrix(rows, cols);
      run(unused);
      tape.free(unused.buffer);
    }
    if (parameter) {
      accumulateParameter(
        parameter,
        (into, add) => ops.combine({ x: zero!, y: add, out: into }),
      );
    }
  }, { saved: [inverse] });
  return out;
}

/**
 * `out[m, n] = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias`. Backward: see `layerNormBackward` of the
 * device contract.
 */
export function layerNorm(
  tape: Tape,
  x: Tensor,
  { weight, bias, epsilon }: {
    weight: NormWeight;
    bias: NormWeight;
    epsilon: number;
  },
): Tensor {
  const { device } = tape;
  const { ops } = device;
  const { rows, cols } = x.value;
  const trains = [weight, bias].some(({ parameter }) => parameter);
  const out = tape.output(rows, cols, [x], trains);
  const mean = tape.alloc(rows * 4);
  const inverse = tape.alloc(rows * 4);
  const args = { x: x.value, weight: weight.value, mean, inverse };
  ops.layerNorm({ ...args, bias: bias.value, epsilon, out: out.value });
  tape.record(out, (dy) => {
    using dweight = zeros(tape, weight);
    using dbias = zeros(tape, bias);
    const run = (dx: Mat, add?: Mat) =>
      ops.layerNormBackward({ ...args, dy, dx, add, dweight, dbias });
    if (x.needsGradient) tape.accumulate(x, run);
    else {
      const unused = tape.matrix(rows, cols);
      run(unused);
      tape.free(unused.buffer);
    }
    for (
      const [sums, { parameter }] of [[dweight, weight], [dbias, bias]] as const
    ) {
      if (!sums || !parameter) continue;
      accumulateParameter(
        parameter,
        (into, add) =>
          ops.combine({ x: mat(sums, 1, cols), y: add, out: into }),
      );
    }
  }, { saved: [mean, inverse] });
  return out;
}

/** Zeros in the shape of a vector, where it is trained. */
function zeros(
  { device }: Tape,
  { value, parameter }: NormWeight,
): DeviceBuffer | undefined {
  if (!parameter) return undefined;
  const { cols } = parameter.value;
  const out = device.alloc(cols * 4);
  device.ops.combine({
    x: mat(value, 1, cols),
    out: mat(out, 1, cols),
    alpha: 0,
  });
  return out;
}
