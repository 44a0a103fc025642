/**
 * Activations between layers.
 *
 * @module
 */

import type { Activation } from "../device/contract/activation.ts";
import { moveOrFree } from "./elementwise.ts";
import type { Tape, Tensor } from "./tape.ts";

/** `out[m, n] = f(x)`. Backward: `dx = dy * f'(x)`. */
export function activate(tape: Tape, x: Tensor, kind: Activation): Tensor {
  const { ops } = tape.device;
  const { rows, cols } = x.value;
  const out = tape.output(rows, cols, [x]);
  ops.activate({ x: x.value, out: out.value, kind });
  tape.record(out, (dy) => {
    const dx = tape.matrix(rows, cols);
    ops.activateBackward({ dy, x: x.value, dx, kind });
    moveOrFree(tape, x, dx);
  });
  return out;
}
