/**
 * Heads of an encoder: sequence classification or regression, or span (question answering).
 *
 * @module
 */

import { activate } from "../../autograd/activation.ts";
import { selectRows } from "../../autograd/elementwise.ts";
import { transpose } from "../../autograd/layout.ts";
import { linear } from "../../autograd/linear.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import { KindError } from "../../errors.ts";
import { type ClassifierShape, SPAN } from "../../families/encoder.ts";
import type { EncoderHead } from "../../families/tensors.ts";
import type { Linear } from "../../nn/linear.ts";
import type { TokenBatch } from "../model.ts";
import type { Weights } from "../parts/weights.ts";

/** A head on a device: logits from the hidden states `[batch * time, hidden]`. */
export type LoadedHead = (
  tape: Tape,
  features: Tensor,
  tokens: TokenBatch,
) => Tensor;

/** Puts a head on the device of `weights`. */
export async function loadHead(
  weights: Weights,
  head: EncoderHead,
  { dense, activation, out }: ClassifierShape,
): Promise<LoadedHead> {
  if (head.kind === "none") {
    return () => {
      throw new KindError(
        "Cannot compute logits: the model has no head, wanted one for classes or for spans",
      );
    };
  }
  if (head.kind === "span") {
    const layer = await weights.layer(SPAN, true);
    return (tape, features) =>
      transpose(tape, linear(tape, features, { layer }));
  }
  const first: Linear = await weights.layer(dense, true);
  const last = await weights.layer(out, true);
  return (tape, features, { batch, time }) => {
    const ids = Uint32Array.from({ length: batch }, (_, b) => b * time);
    const picked = selectRows(tape, features, {
      ids: tape.upload(ids),
      count: batch,
    });
    const inner = activate(
      tape,
      linear(tape, picked, { layer: first }),
      activation,
    );
    return linear(tape, inner, { layer: last });
  };
}
