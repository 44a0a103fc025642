/**
 * Attention.
 *
 * @module
 */

import type { Mat } from "../device/buffer.ts";
import type { AttentionShape } from "../device/contract/attention.ts";
import { moveOrFree } from "./elementwise.ts";
import type { Tape, Tensor } from "./tape.ts";

/**
 * Softmax attention, `q, out[B * time, heads * headDim]`, `k, v[B * capacity, kvHeads * headDim]`. Backward: attention
 * scores are recomputed from the log-sum-exp of each row; needs `past` 0 and `capacity` equal to `keys`.
 */
export function attention(
  tape: Tape,
  { q, k, v }: { q: Tensor; k: Tensor; v: Tensor },
  shape: AttentionShape,
): Tensor {
  const { ops } = tape.device;
  const { rows, cols } = q.value;
  const out = tape.output(rows, cols, [q, k, v]);
  const logSumExp = out.needsGradient
    ? tape.alloc(shape.batch * shape.heads * shape.time * 4)
    : undefined;
  ops.attention({
    q: q.value,
    k: k.value,
    v: v.value,
    out: out.value,
    shape,
    logSumExp,
  });
  tape.record(out, (dy) => {
    const like = ({ value }: Tensor): Mat =>
      tape.matrix(value.rows, value.cols);
    const [dq, dk, dv] = [like(q), like(k), like(v)];
    ops.attentionBackward({
      dy,
      q: q.value,
      k: k.value,
      v: v.value,
      out: out.value,
      logSumExp: logSumExp!,
      shape,
      dq,
      dk,
      dv,
    });
    moveOrFree(tape, q, dq);
    moveOrFree(tape, k, dk);
    moveOrFree(tape, v, dv);
  }, { saved: logSumExp ? [logSumExp] : [] });
  return out;
}
