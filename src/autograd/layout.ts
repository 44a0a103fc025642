/**
 * Matrices in another order.
 *
 * @module
 */

import { mat } from "../device/buffer.ts";
import type { Tape, Tensor } from "./tape.ts";

/** `out[n, m] = xᵀ` of a matrix `x[m, n]` with few columns, by a product with the unit matrix. Backward: turns back. */
export function transpose(tape: Tape, x: Tensor): Tensor {
  const { ops } = tape.device;
  const { rows, cols } = x.value;
  const unit = new Float32Array(cols * cols);
  for (let i = 0; i < cols; i++) unit[i * (cols + 1)] = 1;
  const one = mat(tape.upload(unit), cols, cols);
  const out = tape.output(cols, rows, [x]);
  ops.gemm({ a: one, b: x.value, c: out.value, transB: true });
  tape.record(out, (dy) => {
    tape.accumulate(x, (dx, add) =>
      ops.gemm({
        ...{ a: dy, b: one, c: dx, transA: true },
        ...(add && { beta: 1, add }),
      }));
  }, { saved: [one.buffer] });
  return out;
}
