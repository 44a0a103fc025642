/**
 * Operations without parameters: embedding lookup, rotary position embedding, gated activations, residual add, dropout.
 *
 * @module
 */

import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import type { Parameter } from "./parameter.ts";
import { accumulateParameter, type Tape, type Tensor } from "./tape.ts";

/**
 * `out[m, n] = table[ids]`, `ids: u32 [m]`. Backward: `dtable[ids] += dout`.
 */
export function embedding(
  tape: Tape,
  ids: DeviceBuffer,
  { table, parameter, count }: {
    table: Mat;
    parameter?: Parameter;
    count: number;
  },
): Tensor {
  const { ops } = tape.device;
  const out = tape.output(count, table.cols, [], parameter !== undefined);
  ops.gatherRows({ table, ids, out: out.value });
  tape.record(out, (dy) => {
    accumulateParameter(parameter!, (into, add) => {
      if (!add) ops.combine({ x: table, out: into, alpha: 0 });
      ops.scatterRows({ x: dy, ids, table: into });
    });
  });
  return out;
}

/** Rows `ids: u32 [count]` of `x[m, n]`, each at most once. Backward: `dx[ids] += dout`, zeros elsewhere. */
export function selectRows(
  tape: Tape,
  x: Tensor,
  { ids, count }: { ids: DeviceBuffer; count: number },
): Tensor {
  const { ops } = tape.device;
  const out = tape.output(count, x.value.cols, [x]);
  ops.gatherRows({ table: x.value, ids, out: out.value });
  tape.record(out, (dy) => {
    tape.accumulate(x, (dx, add) => {
      if (!add) ops.combine({ x: x.value, out: dx, alpha: 0 });
      ops.scatterRows({ x: dy, ids, table: dx });
    });
  });
  return out;
}

/** Cosines and sines of the rotary position embedding; see `rope` of the device contract. */
export interface RopeTables {
  /** `[positions, headDim / 2]`. */
  readonly cos: Mat;
  /** `[positions, headDim / 2]`. */
  readonly sin: Mat;
}

/**
 * Turns the heads of `x[m, heads * headDim]` by their `positions: u32 [m]`, in place. Backward: turns `dx` back.
 */
export function rope(
  tape: Tape,
  x: Tensor,
  { positions, tables, headDim }: {
    positions: DeviceBuffer;
    tables: RopeTables;
    headDim: number;
  },
): Tensor {
  const { ops } = tape.device;
  const args = { positions, ...tables, headDim };
  ops.rope({ x: x.value, out: x.value, ...args });
  tape.record(x, (dx) => {
    ops.rope({ x: dx, out: dx, ...args, inverse: true });
  }, { inPlace: true });
  return x;
}

/** `out[m, n] = silu(gate) * up`. Backward: the gradients take the places of `gate` and `up`. */
export function swiglu(tape: Tape, gate: Tensor, up: Tensor): Tensor {
  const { ops } = tape.device;
  const { rows, cols } = gate.value;
  const out = tape.output(rows, cols, [gate, up]);
  ops.swiglu({ gate: gate.value, up: up.value, out: out.value });
  tape.record(out, (dy) => {
    const dgate = tape.matrix(rows, cols);
    const dup = tape.matrix(rows, cols);
    ops.swigluBackward({ dy, gate: gate.value, up: up.value, dgate, dup });
    moveOrFree(tape, gate, dgate);
    moveOrFree(tape, up, dup);
  });
  return out;
}

/** `out[m, n] = x + y`. Backward: the gradient goes to both. */
export function add(tape: Tape, x: Tensor, y: Tensor): Tensor {
  const { ops } = tape.device;
  const out = tape.output(x.value.rows, x.value.cols, [x, y]);
  ops.combine({ x: x.value, y: y.value, out: out.value });
  tape.record(out, (dy) => {
    // Only one of the two may have the matrix itself: later additions to it must not reach the other.
    tape.accumulate(
      y,
      (into, plus) => ops.combine({ x: dy, y: plus, out: into }),
    );
    tape.moveGradient(x, dy);
  });
  return out;
}

/** `out[m, n] = by * x`. Backward: `dx = by * dout`. */
export function scale(tape: Tape, x: Tensor, by: number): Tensor {
  const { ops } = tape.device;
  const out = tape.output(x.value.rows, x.value.cols, [x]);
  ops.combine({ x: x.value, out: out.value, alpha: by });
  tape.record(out, (dy) => {
    tape.accumulate(
      x,
      (dx, plus) => ops.combine({ x: dy, y: plus, out: dx, alpha: by }),
    );
  });
  return out;
}

/** Dropout with probability `rate`, in training; `x` itself else. Backward: drops the same of the gradient. */
export function dropout(tape: Tape, x: Tensor, rate: number): Tensor {
  if (!(rate > 0) || !tape.training) return x;
  const { ops } = tape.device;
  const seed = tape.seed();
  const out = tape.output(x.value.rows, x.value.cols, [x]);
  ops.dropout({ x: x.value, out: out.value, rate, seed });
  tape.record(out, (dy) => {
    ops.dropout({ x: dy, out: dy, rate, seed });
    tape.moveGradient(x, dy);
  });
  return out;
}

/** Moves a gradient to `t`, or frees it where it was added to another. */
export function moveOrFree(tape: Tape, t: Tensor, gradient: Mat): void {
  tape.moveGradient(t, gradient);
  if (tape.gradient(t) !== gradient) tape.free(gradient.buffer);
}
