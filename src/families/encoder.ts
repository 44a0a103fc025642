/**
 * Tensors of encoders as BERT has them: of a layer, and of the heads on it.
 *
 * @module
 */

import type {
  EncoderHead,
  LayersShape,
  ModuleShape,
  TensorShapes,
} from "./tensors.ts";
import type { Activation } from "../device/contract/activation.ts";

/** Sizes and names of a layer. */
export interface EncoderLayerShape {
  /** Hidden size: features of a token. */
  readonly hiddenSize: number;
  /** Intermediate (MLP) size: features inside the feed-forward part. */
  readonly intermediateSize: number;
  /** Names in `attention.self` of the query, key and value projections. */
  readonly projections: readonly [q: string, k: string, v: string];
  /** Further linear layers of `attention.self`, in the shape of these. */
  readonly others?: readonly string[];
}

/** Sizes, names and settings of a layer. */
export interface EncoderBlockShape extends EncoderLayerShape {
  /** Activation function between the two linear layers of the feed-forward part. */
  readonly activation: Activation;
  /** Epsilon of a layer norm, added to the variance. */
  readonly normEpsilon: number;
}

/** Names of the linear layers that end the two parts of a layer. */
export const OUTPUTS = ["attention.output", "output"] as const;

/** The modules of a layer, by their names within it. */
export function encoderModules(
  { hiddenSize: n, intermediateSize: m, projections, others }:
    EncoderLayerShape,
): ModuleShape[] {
  const [attention, output] = OUTPUTS;
  const norm = (name: string): ModuleShape => ({
    name: `${name}.LayerNorm`,
    shape: [n],
    bias: true,
  });
  return [
    ...[...projections, ...others ?? []].map((name): ModuleShape => ({
      name: `attention.self.${name}`,
      shape: [n, n],
      bias: true,
    })),
    { name: `${attention}.dense`, shape: [n, n], bias: true },
    norm(attention),
    { name: "intermediate.dense", shape: [m, n], bias: true },
    { name: `${output}.dense`, shape: [n, m], bias: true },
    norm(output),
  ];
}

/** The layers of an encoder whose names begin with `prefix`. */
export function encoderLayers(
  prefix: string,
  count: number,
  shape: EncoderLayerShape,
): LayersShape {
  const { hiddenSize, intermediateSize } = shape;
  return {
    ...{ count, hiddenSize, intermediateSize },
    path: `${prefix}encoder.layer`,
    modules: encoderModules(shape),
    attentions: { count: 1, width: hiddenSize },
  };
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

/** The modules of a head on features of size `n`. */
export function headModules(
  head: EncoderHead,
  { dense, out }: Pick<ClassifierShape, "dense" | "out">,
  n: number,
): ModuleShape[] {
  const layer = (name: string, rows: number): ModuleShape => ({
    name,
    shape: [rows, n],
    bias: true,
  });
  switch (head.kind) {
    case "classify":
      return [layer(dense, n), layer(out, head.labels)];
    case "span":
      return [layer(SPAN, 2)];
    case "none":
      return [];
  }
}
