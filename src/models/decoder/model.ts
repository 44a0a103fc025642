/**
 * Models of the LLaMA family (Touvron et al., 2302.13971), with a KV cache, adapters, gradients.
 *
 * @module
 */

import {
  denseWeight,
  type LinearWeight,
} from "../../autograd/linear_weight.ts";
import { type NormWeight, rmsNorm } from "../../autograd/norm.ts";
import type { Parameter } from "../../autograd/parameter.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import type { RopeTables } from "../../autograd/elementwise.ts";
import type { Device } from "../../device/device.ts";
import { type Mat, mat } from "../../device/buffer.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { fitsEightBit, ownEightBit } from "../../nn/eight_bit.ts";
import type { Linear } from "../../nn/linear.ts";
import { ropeTables } from "../../nn/rope.ts";
import { linearsOf } from "../parts/block.ts";
import {
  type BlockContext,
  type LayerCache,
  type LlamaBlock,
  loadBlock,
} from "./block.ts";
import {
  type DecoderConfig,
  readDecoderConfig,
} from "../../families/decoder.ts";
import { TOP_MODULES } from "../../families/decoders.ts";
import { checkDecoderTensors } from "./check.ts";
import type {
  CausalModel,
  ModelOptions,
  PassOptions,
  TokenBatch,
  TokenCache,
} from "../model.ts";
import {
  checkRoom,
  checkTokens,
  gather,
  runBlocks,
  uploadBounds,
} from "../parts/token_input.ts";
import { Weights } from "../parts/weights.ts";

/** Options of {@linkcode Llama.load}. A quantised weight that is trained is decoded. */
export interface LlamaOptions extends ModelOptions {
  /** Computes products of the LM head with few rows in 8 bits, for decode steps (false). */
  readonly eightBitHead?: boolean;
}

/** Options of a forward pass. */
export interface ForwardOptions extends PassOptions {
  /** KV cache of the tokens before; this pass's keys and values are added. Not for training. */
  readonly cache?: KeyValueCache;
}

/** KV cache: keys and values of all layers, for sequences that grow. */
export class KeyValueCache implements TokenCache {
  /** Of each layer. */
  readonly layers: readonly LayerCache[];
  /** Batch size: number of sequences. */
  readonly batch: number;
  /** Capacity: most tokens of a sequence. */
  readonly capacity: number;
  /** Sequence length so far, padding included. */
  length = 0;
  readonly #memory = new DisposableStack();

  /** Room for `batch` sequences of up to `capacity` tokens. */
  constructor(
    device: Device,
    config: DecoderConfig,
    { batch, capacity }: { batch: number; capacity: number },
  ) {
    this.batch = batch;
    this.capacity = capacity;
    const cols = config.kvHeads * config.headDim;
    const room = (): Mat => {
      const buffer = this.#memory.use(
        device.alloc(batch * capacity * cols * 4),
      );
      return mat(buffer, batch * capacity, cols);
    };
    this.layers = Array.from(
      { length: config.layers },
      () => ({ k: room(), v: room(), capacity }),
    );
  }

  /** Frees it. */
  [Symbol.dispose](): void {
    this.#memory.dispose();
  }
}

/** A model on a device. */
export class Llama implements CausalModel {
  /** Causal LM (decoder-only). */
  readonly kind = "causal";
  /** Device that holds it. */
  readonly device: Device;
  /** Configuration: sizes and switches. */
  readonly config: DecoderConfig;
  /** Its layers. */
  readonly blocks: readonly LlamaBlock[];
  /** LM head, `[vocabulary, hidden]`. */
  readonly head: LinearWeight;
  readonly #embedding: { value: Mat; parameter?: Parameter };
  readonly #norm: NormWeight;
  readonly #memory: DisposableStack;
  #tables: (RopeTables & Disposable) | undefined;

  private constructor(parts: {
    device: Device;
    config: DecoderConfig;
    blocks: readonly LlamaBlock[];
    head: LinearWeight;
    embedding: { value: Mat; parameter?: Parameter };
    norm: NormWeight;
    memory: DisposableStack;
  }) {
    this.device = parts.device;
    this.config = parts.config;
    this.blocks = parts.blocks;
    this.head = parts.head;
    this.#embedding = parts.embedding;
    this.#norm = parts.norm;
    this.#memory = parts.memory;
  }

  /**
   * Loads a checkpoint onto a device.
   *
   * @throws {TypeError} If it is no model of this family.
   * @throws {SyntaxError} If its tensors do not fit its config; the error lists all that do not.
   */
  static async load(
    device: Device,
    checkpoint: Checkpoint,
    { trained, compute, eightBitHead = false, onProgress }: LlamaOptions = {},
  ): Promise<Llama> {
    const config = readDecoderConfig(checkpoint.config, checkpoint.name);
    checkDecoderTensors(checkpoint, config);
    using memory = new DisposableStack();
    const weights = memory.use(
      new Weights(device, checkpoint, { trained, compute }),
    );
    const embedding = await weights.matrix(
      `${TOP_MODULES.embedding.name}.weight`,
    );
    const blocks: LlamaBlock[] = [];
    for (let i = 0; i < config.layers; i++) {
      onProgress?.((i + 1) / (config.layers + 2));
      blocks.push(await loadBlock(weights, config, i));
    }
    const norm = await weights.vector(`${TOP_MODULES.norm.name}.weight`);
    let head = config.tied
      ? denseWeight(embedding.value, embedding.parameter)
      : await weights.linear(`${TOP_MODULES.head.name}.weight`);
    if (eightBitHead && head.value && fitsEightBit(head.cols)) {
      head = memory.use(await ownEightBit(device, head, head.value)).weight;
    }
    onProgress?.(1);
    return new Llama({
      device,
      config,
      blocks,
      head,
      embedding,
      norm,
      memory: memory.move(),
    });
  }

  /** Linear layers of all blocks by module path. */
  get linears(): Map<string, Linear> {
    return linearsOf(this.blocks);
  }

  /** An empty KV cache. */
  cache(size: { batch: number; capacity: number }): KeyValueCache {
    return new KeyValueCache(this.device, this.config, size);
  }

  /**
   * Hidden states, `[batch * time, hidden]`, after the last norm.
   *
   * @throws {RangeError} If the sequence is longer than the model's context or the cache, or an id is no token.
   */
  forward(
    tape: Tape,
    tokens: TokenBatch,
    { cache, checkpointing, onInput }: ForwardOptions = {},
  ): Tensor {
    const context = this.#context(tape, tokens, { cache, onInput });
    const x = runBlocks(tape, gather(tape, this.#embedding, tokens.ids), {
      blocks: this.blocks.map((block) => (on, from) =>
        block.forward(on, from, {
          context,
          cache: cache?.layers[block.index],
        })
      ),
      checkpointing,
    });
    if (cache) cache.length += tokens.time;
    return rmsNorm(tape, x, {
      weight: this.#norm,
      epsilon: this.config.normEpsilon,
    });
  }

  /** Context of a pass that blocks share, with attention mask and position ids checked and uploaded. */
  #context(
    tape: Tape,
    tokens: TokenBatch,
    { cache, onInput }: ForwardOptions,
  ): BlockContext {
    const { batch, time, bounds } = tokens;
    const { maxLength } = this.config;
    const past = cache?.length ?? 0;
    checkTokens(tokens, this.config, past);
    checkRoom(tokens, cache);
    const positions = new Uint32Array(batch * time);
    for (let b = 0; b < batch; b++) {
      const first = bounds?.[b][0] ?? 0;
      for (let t = 0; t < time; t++) {
        positions[b * time + t] = Math.max(0, past + t - first);
      }
    }
    this.#tables ??= this.#memory.use(
      ropeTables(this.device, maxLength, {
        headDim: this.config.headDim,
        theta: this.config.ropeTheta,
        scaling: this.config.ropeScaling,
      }),
    );
    return {
      batch,
      time,
      past,
      positions: tape.upload(positions),
      tables: this.#tables,
      bounds: uploadBounds(tape, bounds),
      onInput,
    };
  }

  /** Frees the model; adapters are their owners'. */
  [Symbol.dispose](): void {
    this.#memory.dispose();
  }
}
