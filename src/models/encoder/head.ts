/**
 * What is asked of an encoder: a class or a number for each sequence, or a span of it.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { activate } from "../../autograd/activation.ts";
import { selectRows } from "../../autograd/elementwise.ts";
import { transpose } from "../../autograd/layout.ts";
import { linear } from "../../autograd/linear.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import type { Activation } from "../../device/contract/network.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import type { Linear } from "../../nn/linear.ts";
import type { EncoderHead, TokenBatch, WantedTensor } from "../model.ts";
import type { Weights } from "../parts/weights.ts";

/** How a family answers with classes. */
export interface ClassifierShape {
  /** Linear layer on the first token's features, with its activation after it. */
  readonly dense: string;
  readonly activation: Activation;
  /** Linear layer that makes the scores. */
  readonly out: string;
}

/** Linear layer that makes the scores of spans. */
const SPAN = "qa_outputs";

/** The head that a checkpoint has the tensors of. */
export function headOf(
  checkpoint: Checkpoint,
  { out }: ClassifierShape,
): EncoderHead {
  const rows = checkpoint.tensors.get(`${out}.weight`)?.shape[0];
  if (rows !== undefined) return { kind: "classify", labels: rows };
  if (checkpoint.tensors.has(`${SPAN}.weight`)) return { kind: "span" };
  return { kind: "none" };
}

/** Tensors of a head on features of size `n`. */
export function headTensors(
  head: EncoderHead,
  { dense, out }: ClassifierShape,
  n: number,
): WantedTensor[] {
  const layer = (name: string, rows: number): WantedTensor[] => [
    { name: `${name}.weight`, shape: [rows, n] },
    { name: `${name}.bias`, shape: [rows] },
  ];
  switch (head.kind) {
    case "classify":
      return [...layer(dense, n), ...layer(out, head.labels)];
    case "span":
      return layer(SPAN, 2);
    case "none":
      return [];
  }
}

/** A head on a device: scores from the features `[batch * time, hidden]` of tokens. */
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
        "Cannot answer: the model has no head, wanted one for classes or for spans",
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
