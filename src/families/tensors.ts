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

/** Shapes of a checkpoint's tensors, all that is asked of it here. */
export interface TensorShapes {
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>;
}

/** A tensor that a model wants from its checkpoint. */
export interface WantedTensor {
  readonly name: string;
  readonly shape: readonly number[];
}
