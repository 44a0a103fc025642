/**
 * Convolution along the tokens of a sequence.
 *
 * @module
 */

import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import type { NormWeight } from "./norm.ts";
import type { Parameter } from "./parameter.ts";
import { accumulateParameter, type Tape, type Tensor } from "./tape.ts";

/** Weights of {@linkcode convolution}, and where sequences lie. */
export interface ConvolutionOptions {
  /** `[out, in / groups * kernel]`, the taps of an input feature side by side. */
  readonly weight: { readonly value: Mat; readonly parameter?: Parameter };
  /** `f32 [out]`. */
  readonly bias: NormWeight;
  /** Kernel size (taps): an odd number. */
  readonly kernel: number;
  /** Number of groups: parts of the features that do not mix. */
  readonly groups: number;
  readonly batch: number;
  readonly time: number;
  /** Attention mask: tokens `[from, to)` of each sequence that are no padding; those outside count as zeros. */
  readonly bounds?: readonly (readonly [number, number])[];
}

/**
 * `out[i, o] = bias[o] + Σ_t Σ_c weight[o, c, t] * x[i + t - (kernel - 1) / 2, c]` within each sequence: `x[batch * time, in]`,
 * `out[batch * time, out]`. Backward: `dx`, `dweight` and `dbias`, by the unfolded inputs.
 */
export function convolution(
  tape: Tape,
  x: Tensor,
  options: ConvolutionOptions,
): Tensor {
  const { ops } = tape.device;
  const { weight, bias, kernel, groups } = options;
  const { rows, cols } = x.value;
  const outputs = weight.value.rows;
  // Zeros where a tap reaches beyond its sequence.
  const zeros = new Float32Array(rows * cols * kernel);
  const unfolded = mat(tape.upload(zeros), rows, cols * kernel);
  for (const { token, tap } of taps(x.value, unfolded, options)) {
    ops.combine({ x: token, out: tap });
  }
  const trains = weight.parameter ?? bias.parameter;
  const out = tape.output(rows, outputs, [x], trains !== undefined);
  /** The columns of each group in the unfolded inputs and in the results, and its rows of the weight. */
  const parts = (wide: Mat, narrow: Mat, of: Mat) =>
    Array.from({ length: groups }, (_, g) => ({
      wide: columns(wide, g, groups),
      narrow: columns(narrow, g, groups),
      of: rowsPart(of, g, groups),
    }));
  for (const p of parts(unfolded, out.value, weight.value)) {
    ops.gemm({ a: p.wide, b: p.of, c: p.narrow, transB: true });
  }
  ops.addRow({ x: out.value, row: bias.value, out: out.value });
  tape.record(out, (dy) => {
    if (weight.parameter) {
      accumulateParameter(weight.parameter, (into, add) => {
        for (const p of parts(unfolded, dy, into)) {
          ops.gemm({
            ...{ a: p.narrow, b: p.wide, c: p.of, transA: true },
            ...(add && { beta: 1, add: p.of }),
          });
        }
      });
    }
    if (bias.parameter) {
      const sums = tape.alloc(outputs * 4);
      ops.columnSums({ x: dy, out: sums });
      accumulateParameter(
        bias.parameter,
        (into, add) =>
          ops.combine({ x: mat(sums, 1, outputs), y: add, out: into }),
      );
      tape.free(sums);
    }
    tape.accumulate(x, (dx, add) => {
      const wide = tape.matrix(rows, cols * kernel);
      for (const p of parts(wide, dy, weight.value)) {
        ops.gemm({ a: p.narrow, b: p.of, c: p.wide });
      }
      if (!add) ops.combine({ x: x.value, out: dx, alpha: 0 });
      for (const { token, tap } of taps(dx, wide, options)) {
        ops.combine({ x: token, y: tap, out: token });
      }
      tape.free(wide.buffer);
    });
  }, { saved: [unfolded.buffer] });
  return out;
}

/** The tokens' features that each tap of each sequence sees, and their places in the unfolded inputs, both as columns. */
function* taps(
  x: Mat,
  unfolded: Mat,
  { kernel, batch, time, bounds }: ConvolutionOptions,
): Generator<{ token: Mat; tap: Mat }> {
  const { cols } = x;
  const at = (buffer: DeviceBuffer, first: number, count: number, step = 1) =>
    mat(buffer, count, 1, first, step);
  for (let b = 0; b < batch; b++) {
    const [low, high] = bounds?.[b] ?? [0, time];
    for (let tap = 0; tap < kernel; tap++) {
      const shift = tap - (kernel - 1) / 2;
      // Tokens i for which token i + shift is there.
      const from = Math.max(0, low - shift);
      const to = Math.min(time, high - shift);
      const count = Math.max(0, to - from) * cols;
      const row = b * time + from;
      if (count === 0) continue;
      yield {
        token: at(x.buffer, x.offset + (row + shift) * cols, count),
        tap: at(
          unfolded.buffer,
          unfolded.offset + row * cols * kernel + tap,
          count,
          kernel,
        ),
      };
    }
  }
}

function columns(x: Mat, part: number, parts: number): Mat {
  const cols = x.cols / parts;
  return { ...x, cols, offset: x.offset + part * cols };
}

function rowsPart(x: Mat, part: number, parts: number): Mat {
  const rows = x.rows / parts;
  return { ...x, rows, offset: x.offset + part * rows * x.stride };
}
