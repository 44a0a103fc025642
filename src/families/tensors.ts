/**
 * What a config tells of every architecture: sizes, the head, and the tensors that a model wants.
 *
 * @module
 */

/** What every config tells. */
export interface BaseConfig {
  /** `llama`, `bert`, `deberta-v2`, `bart`, … */
  readonly modelType: string;
  /** Longest sequence, special tokens included. */
  readonly maxLength: number;
  /** Tokens of the vocabulary. */
  readonly vocabSize: number;
}

/** What an encoder's head answers. */
export type EncoderHead =
  /** A class of each sequence, or a number where `labels` is 1. */
  | { readonly kind: "classify"; readonly labels: number }
  /** Where in each sequence an answer begins and ends. */
  | { readonly kind: "span" }
  /** Nothing: features only. */
  | { readonly kind: "none" };

/** What is asked of a checkpoint here: the shapes of its tensors. */
export interface TensorShapes {
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>;
}

/** A tensor that a model wants from its checkpoint. */
export interface WantedTensor {
  readonly name: string;
  readonly shape: readonly number[];
}
