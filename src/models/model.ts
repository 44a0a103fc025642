/**
 * What the rooms above know of a model: three kinds of transformer behind one face each.
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

/** Sequences of equal length, padded where they differ. */
export interface TokenBatch {
  /** `batch * time` token ids, sequence by sequence. */
  readonly ids: ArrayLike<number>;
  /** Sequences. */
  readonly batch: number;
  /** Tokens of each. */
  readonly time: number;
  /** Tokens `[from, to)` of each sequence that are no padding, counted from the start of the cache; all without it. */
  readonly bounds?: readonly (readonly [number, number])[];
  /** `batch * time`: which of two texts a token belongs to, for models that tell them apart; all 0 without it. */
  readonly typeIds?: ArrayLike<number>;
}

/** What every model has. */
export interface BaseModel extends Disposable {
  /** Where it is. */
  readonly device: Device;
  /** What every config tells. */
  readonly config: BaseConfig;
  /** Linear layers of all blocks by module path. */
  readonly linears: ReadonlyMap<string, Linear>;
  /** Tables of tokens' features by module path, where adapters can go on them. */
  readonly embeddings?: ReadonlyMap<string, Embedding>;
}

/** How a pass runs, for every kind of model. */
export interface PassOptions {
  /** Whether blocks are computed again going backwards instead of kept. */
  readonly checkpointing?: boolean;
  /** Told the input `[batch * time, in]` of each linear layer of the blocks before it is used; for calibration. */
  readonly onInput?: (module: string, x: Mat) => void;
}

/** What a model keeps of the tokens before, for sequences that grow. */
export interface TokenCache extends Disposable {
  /** Sequences. */
  readonly batch: number;
  /** The most tokens of a sequence. */
  readonly capacity: number;
  /** Tokens of each sequence so far, padding included. */
  readonly length: number;
}

/** A model that goes on from what it reads: LLaMA. */
export interface CausalModel extends BaseModel {
  /** What it does. */
  readonly kind: "causal";
  /** The head, `[vocabulary, hidden]`. */
  readonly head: LinearWeight;
  /** An empty cache. */
  cache(size: { batch: number; capacity: number }): TokenCache;
  /** The features of each token, `[batch * time, hidden]`, after the last norm. With a cache of this model, it sees the tokens before. */
  forward(
    tape: Tape,
    tokens: TokenBatch,
    options?: PassOptions & { readonly cache?: TokenCache },
  ): Tensor;
}

/** A model that reads whole sequences: BERT, RoBERTa, DeBERTa. */
export interface EncoderModel extends BaseModel {
  /** What it does. */
  readonly kind: "encoder";
  /** What it answers. */
  readonly head: EncoderHead;
  /** The features of each token, `[batch * time, hidden]`, after the last block. */
  encode(tape: Tape, tokens: TokenBatch, options?: PassOptions): Tensor;
  /**
   * What the head says: scores of the classes `[batch, labels]`, or `[2, batch * time]`, the scores of every position as
   * an answer's first token and as its last.
   *
   * @throws {TypeError} If it has no head.
   */
  answer(tape: Tape, tokens: TokenBatch, options?: PassOptions): Tensor;
}

/** What a decoder keeps, of the tokens before and of the source. */
export interface DecoderCache extends TokenCache {
  /** Puts sequence `sequences[i]` in the place of sequence `i`, for all of them at once; the source's part stays. */
  reorder(sequences: ArrayLike<number>): void;
}

/** A model that reads one sequence and writes another: BART. */
export interface Seq2SeqModel extends BaseModel {
  /** What it does. */
  readonly kind: "seq2seq";
  /** What every config tells, and what its decoder begins with. */
  readonly config: BaseConfig & {
    /** Token that the decoder begins with. */
    readonly startId: number;
  };
  /** The head, `[vocabulary, hidden]`. */
  readonly head: LinearWeight;
  /** `f32 [vocabulary]`, added to the scores of the head, where the model has such a bias and it is not all zeros. */
  readonly headBias?: { readonly value: Mat };
  /** An empty cache for decoding. */
  cache(size: { batch: number; capacity: number }): DecoderCache;
  /** Features of the source, `[batch * time, hidden]`. */
  encode(tape: Tape, source: TokenBatch, options?: PassOptions): Tensor;
  /**
   * Features of the target `[batch * time, hidden]`, seeing `encoded`, what {@linkcode encode} made of `source`. With a
   * cache of this model it sees the tokens before, and `encoded` is looked at the first time only.
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

/** How a checkpoint is put on a device, for every kind of model. */
export interface ModelOptions {
  /** Tensors that are trained, by their names in the checkpoint; the model uses them where they are. */
  readonly trained?: ParameterSet;
  /** How products with quantised weights are computed (`f32`). */
  readonly compute?: Compute;
  /** Told the share that is loaded, from 0 to 1. */
  readonly onProgress?: (done: number) => void;
}
