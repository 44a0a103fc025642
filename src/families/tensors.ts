/**
 * Config of every architecture: sizes, the head, and the tensors that a model wants.
 *
 * @module
 */

/** Fields that every config has. */
export interface BaseConfig {
  /** `llama`, `bert`, `deberta-v2`, `bart`, … */
  readonly modelType: string;
  /** Maximum sequence length (context length), special tokens included. */
  readonly maxLength: number;
  /** Vocabulary size. */
  readonly vocabSize: number;
}

/** Head of an encoder, by its outputs. */
export type EncoderHead =
  /** Sequence classification, or regression where `labels` is 1. */
  | { readonly kind: "classify"; readonly labels: number }
  /** Extractive question answering: start and end logits of every position. */
  | { readonly kind: "span" }
  /** No head: hidden states only. */
  | { readonly kind: "none" };

/** Shapes of a checkpoint's tensors. */
export interface TensorShapes {
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>;
}

/** A tensor that a model wants from its checkpoint. */
export interface WantedTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

/** A module with a weight: a linear layer, a norm, an embedding. */
export interface ModuleShape {
  /** Path, of a layer's module within the layer: `self_attn.q_proj`. */
  readonly name: string;
  /** Shape of its weight: `[out, in]` of a linear layer, `[features]` of a norm, `[rows, features]` of an embedding. */
  readonly shape: readonly number[];
  /** True if it has a bias, `[shape[0]]`; not without it. */
  readonly bias?: boolean;
  /** Features of its output (`shape[0]`). */
  readonly outputs?: number;
}

/** Layers of one kind. */
export interface LayersShape {
  /** Path of the list of layers: layer `i` is `PATH.i`. */
  readonly path: string;
  /** Number of layers. */
  readonly count: number;
  /** The modules of each, in the order of a checkpoint's tensors. */
  readonly modules: readonly ModuleShape[];
  /** Hidden size: features that pass from layer to layer. */
  readonly hiddenSize: number;
  /** Intermediate (MLP) size: features inside the feed-forward part. */
  readonly intermediateSize: number;
  /** Attentions in a layer, and features of all query heads of one. */
  readonly attentions: { readonly count: number; readonly width: number };
}

/** True if a part of a model is its layers of one kind, not a module beside them. */
export function isLayers(
  part: ModuleShape | LayersShape,
): part is LayersShape {
  return "modules" in part;
}

/** Every tensor of the parts of a model, by name, in their order. */
export function tensorsOf(
  parts: readonly (ModuleShape | LayersShape)[],
): WantedTensor[] {
  return parts.flatMap((part) =>
    isLayers(part)
      ? Array.from(
        { length: part.count },
        (_, i) =>
          part.modules.flatMap((module) =>
            moduleTensors(module, `${part.path}.${i}.`)
          ),
      ).flat()
      : moduleTensors(part)
  );
}

function moduleTensors(
  { name, shape, bias = false }: ModuleShape,
  prefix = "",
): WantedTensor[] {
  const weight = { name: `${prefix}${name}.weight`, shape };
  return bias
    ? [weight, { name: `${prefix}${name}.bias`, shape: [shape[0]] }]
    : [weight];
}
