/**
 * Tensors of encoders as BERT has them: of a layer, and of the heads on it.
 *
 * @module
 */

import type { EncoderHead, TensorShapes, WantedTensor } from "./tensors.ts";
import type { Activation } from "../device/contract/activation.ts";

/** Sizes and names of a layer. */
export interface EncoderBlockShape {
  /** Hidden size: features of a token. */
  readonly hiddenSize: number;
  /** Intermediate (MLP) size: features inside the feed-forward part. */
  readonly intermediateSize: number;
  /** Activation function between the two linear layers of the feed-forward part. */
  readonly activation: Activation;
  /** Epsilon of a layer norm, added to the variance. */
  readonly normEpsilon: number;
  /** Names in `attention.self` of the query, key and value projections. */
  readonly projections: readonly [q: string, k: string, v: string];
  /** Further linear layers of `attention.self`, in the shape of these. */
  readonly others?: readonly string[];
}

/** Names of the linear layers that end the two parts of a layer. */
export const OUTPUTS = ["attention.output", "output"] as const;

/** Tensors of the layer at `prefix`. */
export function blockTensors(
  prefix: string,
  shape: EncoderBlockShape,
): WantedTensor[] {
  const { hiddenSize: n, intermediateSize: m, projections, others } = shape;
  const layer = (name: string, rows: number, cols: number): WantedTensor[] => [
    { name: `${prefix}.${name}.weight`, shape: [rows, cols] },
    { name: `${prefix}.${name}.bias`, shape: [rows] },
  ];
  const norm = (name: string): WantedTensor[] =>
    ["weight", "bias"].map((part) => ({
      name: `${prefix}.${name}.LayerNorm.${part}`,
      shape: [n],
    }));
  return [
    ...[...projections, ...others ?? []].flatMap((name) =>
      layer(`attention.self.${name}`, n, n)
    ),
    ...layer("attention.output.dense", n, n),
    ...norm("attention.output"),
    ...layer("intermediate.dense", m, n),
    ...layer("output.dense", n, m),
    ...norm("output"),
  ];
}

/** Classification head of a family. */
export interface ClassifierShape {
  /** Linear layer on the first token's hidden state, with its activation after it. */
  readonly dense: string;
  readonly activation: Activation;
  /** Linear layer that makes the logits. */
  readonly out: string;
}

/** Linear layer that makes the span logits. */
export const SPAN = "qa_outputs";

/** The head that a checkpoint has the tensors of. */
export function headOf(
  checkpoint: TensorShapes,
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
