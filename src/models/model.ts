/**
 * Model interfaces: causal LM, encoder and encoder-decoder (seq2seq), all that the rooms above know of a model.
 *
 * @module
 */

import type { Compute, LinearWeight } from "../autograd/linear_weight.ts";
import type { ParameterSet } from "../autograd/parameter.ts";
import type { Tape, Tensor } from "../autograd/tape.ts";
import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import type { BaseConfig, EncoderHead } from "../families/tensors.ts";
import type { Embedding } from "../nn/embedding.ts";
import type { Linear } from "../nn/linear.ts";

/** A batch of token sequences, padded to one length. */
export interface TokenBatch {
  /** Token ids `[batch * time]`, sequence by sequence. */
  readonly ids: ArrayLike<number>;
  /** Batch size: number of sequences. */
  readonly batch: number;
  /** Sequence length, in tokens. */
  readonly time: number;
  /**
   * Attention mask as valid ranges: tokens `[from, to)` of each sequence that are no padding, counted from the start of the
   * KV cache; all without it.
   */
  readonly bounds?: readonly (readonly [number, number])[];
  /** Token type (segment) ids `[batch * time]`, for models with a token type embedding; all 0 without it. */
  readonly typeIds?: ArrayLike<number>;
}

/** Properties of every model. */
export interface BaseModel extends Disposable {
  /** Device that holds it. */
  readonly device: Device;
  /** Config, as far as every architecture has it. */
  readonly config: BaseConfig;
  /** Linear layers of all blocks by module path. */
  readonly linears: ReadonlyMap<string, Linear>;
  /** Token embeddings by module path, where adapters can go on them. */
  readonly embeddings?: ReadonlyMap<string, Embedding>;
}

/** Options of a forward pass, for every kind of model. */
export interface PassOptions {
  /** Activation (gradient) checkpointing: recompute blocks in the backward pass instead of keeping their activations. */
  readonly checkpointing?: boolean;
  /** Called with the input `[batch * time, in]` of each linear layer of the blocks before it is used; for calibration. */
  readonly onInput?: (module: string, x: Mat) => void;
}

/** KV cache: keys and values of the tokens before, for sequences that grow. */
export interface TokenCache extends Disposable {
  /** Batch size: number of sequences. */
  readonly batch: number;
  /** Capacity: most tokens of a sequence. */
  readonly capacity: number;
  /** Sequence length so far, padding included. */
  readonly length: number;
}

/** Causal LM (decoder-only): LLaMA. */
export interface CausalModel extends BaseModel {
  /** Kind of model. */
  readonly kind: "causal";
  /** LM head, `[vocabulary, hidden]`: its products with hidden states are the logits. */
  readonly head: LinearWeight;
  /** An empty KV cache. */
  cache(size: { batch: number; capacity: number }): TokenCache;
  /**
   * Hidden states, `[batch * time, hidden]`, after the last norm. With a KV cache of this model attention sees the tokens
   * before: prefill with many tokens, decode with one (`time` 1).
   */
  forward(
    tape: Tape,
    tokens: TokenBatch,
    options?: PassOptions & { readonly cache?: TokenCache },
  ): Tensor;
}

/** Encoder, with bidirectional attention: BERT, RoBERTa, DeBERTa. */
export interface EncoderModel extends BaseModel {
  /** Kind of model. */
  readonly kind: "encoder";
  /** Head: classification, span or none. */
  readonly head: EncoderHead;
  /** Hidden states, `[batch * time, hidden]`, after the last block. */
  encode(tape: Tape, tokens: TokenBatch, options?: PassOptions): Tensor;
  /**
   * Logits of the head: of the classes `[batch, labels]`, or `[2, batch * time]`, of every position as an answer's first
   * token (start logits) and as its last (end logits).
   *
   * @throws {TypeError} If it has no head.
   */
  logits(tape: Tape, tokens: TokenBatch, options?: PassOptions): Tensor;
}

/** KV cache of a decoder: of the tokens before (self-attention) and of the source (cross-attention). */
export interface DecoderCache extends TokenCache {
  /** Puts sequence `sequences[i]` in the place of sequence `i`, for all of them at once; the source's part stays. */
  reorder(sequences: ArrayLike<number>): void;
}

/** Encoder-decoder (seq2seq): BART. */
export interface Seq2SeqModel extends BaseModel {
  /** Kind of model. */
  readonly kind: "seq2seq";
  /** Config, with the decoder's start token. */
  readonly config: BaseConfig & {
    /** Decoder start token id. */
    readonly startId: number;
  };
  /** LM head, `[vocabulary, hidden]`: its products with hidden states are the logits. */
  readonly head: LinearWeight;
  /** Bias of the logits, `f32 [vocabulary]`, where the model has one and it is not all zeros. */
  readonly headBias?: { readonly value: Mat };
  /** An empty KV cache for decoding. */
  cache(size: { batch: number; capacity: number }): DecoderCache;
  /** Encoder hidden states of the source, `[batch * time, hidden]`. */
  encode(tape: Tape, source: TokenBatch, options?: PassOptions): Tensor;
  /**
   * Decoder hidden states of the target, `[batch * time, hidden]`, with cross-attention to `encoded`, the hidden states
   * of `source` from {@linkcode encode}. With a KV cache of this model it attends to the tokens before, and `encoded` is
   * read the first time only.
   */
  decode(
    tape: Tape,
    target: TokenBatch,
    options: PassOptions & {
      readonly encoded: Tensor;
      readonly source: TokenBatch;
      readonly cache?: DecoderCache;
    },
  ): Tensor;
}

/** A model of any kind. */
export type Model = CausalModel | EncoderModel | Seq2SeqModel;

/** Options of loading a checkpoint onto a device, for every kind of model. */
export interface ModelOptions {
  /** Trainable parameters, by their names in the checkpoint; the model uses them where they are. */
  readonly trained?: ParameterSet;
  /** Arithmetic of products with quantised weights (`f32`). */
  readonly compute?: Compute;
  /** Called with the share loaded, from 0 to 1. */
  readonly onProgress?: (done: number) => void;
}
