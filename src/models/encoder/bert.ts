/**
 * BERT (Devlin et al., 1810.04805) and RoBERTa (Liu et al., 1907.11692), with gradients and adapters.
 *
 * @module
 */

import { attention } from "../../autograd/attention.ts";
import { add } from "../../autograd/elementwise.ts";
import { layerNorm } from "../../autograd/norm.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import type { Device } from "../../device/device.ts";
import type { AttentionShape } from "../../device/contract/attention.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import type { Embedding } from "../../nn/embedding.ts";
import type { Linear } from "../../nn/linear.ts";
import {
  BERT_IGNORED,
  bertBlock,
  bertClassifier,
  type BertConfig,
  bertPrefix,
  bertTensors,
  readBertConfig,
} from "../../families/bert.ts";
import { linearsOf } from "../parts/block.ts";
import { EncoderBlock, type EncoderContext } from "./block.ts";
import { headOf } from "../../families/encoder.ts";
import { type LoadedHead, loadHead } from "./head.ts";
import type { EncoderHead } from "../../families/tensors.ts";
import type {
  EncoderModel,
  ModelOptions,
  PassOptions,
  TokenBatch,
} from "../model.ts";
import { checkTensors } from "../parts/tensor_check.ts";
import {
  checkTokens,
  gather,
  positionIds,
  runBlocks,
  type Table,
  uploadBounds,
} from "../parts/token_input.ts";
import { type LayerNormWeights, Weights } from "../parts/weights.ts";

interface Parts {
  readonly device: Device;
  readonly config: BertConfig;
  readonly head: EncoderHead;
  readonly blocks: readonly EncoderBlock[];
  readonly tables: {
    readonly words: Embedding;
    readonly positions: Table;
    readonly types: Table;
  };
  readonly norm: LayerNormWeights;
  readonly ask: LoadedHead;
  readonly memory: DisposableStack;
}

/** A model on a device. */
export class Bert implements EncoderModel {
  /** Encoder. */
  readonly kind = "encoder" as const;
  readonly device: Device;
  readonly config: BertConfig;
  readonly head: EncoderHead;
  readonly #parts: Parts;

  private constructor(parts: Parts) {
    this.device = parts.device;
    this.config = parts.config;
    this.head = parts.head;
    this.#parts = parts;
  }

  /**
   * Loads a checkpoint onto a device, with the head that it has.
   *
   * @throws {TypeError} If it is no model of this family.
   * @throws {SyntaxError} If its tensors do not fit its config; the error lists all that do not.
   */
  static async load(
    device: Device,
    checkpoint: Checkpoint,
    { trained, compute, onProgress }: ModelOptions = {},
  ): Promise<Bert> {
    const config = readBertConfig(checkpoint.config, checkpoint.name);
    const prefix = bertPrefix(config, checkpoint);
    const classifier = bertClassifier(config, prefix);
    const head = headOf(checkpoint, classifier);
    checkTensors(
      checkpoint,
      bertTensors(config, { prefix, head }),
      BERT_IGNORED,
    );
    using memory = new DisposableStack();
    const weights = memory.use(
      new Weights(device, checkpoint, { trained, compute }),
    );
    const table = (name: string) =>
      weights.matrix(`${prefix}embeddings.${name}.weight`);
    const tables = {
      words: await weights.table(`${prefix}embeddings.word_embeddings`),
      positions: await table("position_embeddings"),
      types: await table("token_type_embeddings"),
    };
    const norm = await weights.norm(`${prefix}embeddings.LayerNorm`);
    const blocks: EncoderBlock[] = [];
    for (let i = 0; i < config.layers; i++) {
      onProgress?.((i + 1) / (config.layers + 1));
      blocks.push(
        await EncoderBlock.load(
          weights,
          `${prefix}encoder.layer.${i}`,
          bertBlock(config),
        ),
      );
    }
    const ask = await loadHead(weights, head, classifier);
    onProgress?.(1);
    return new Bert({
      ...{ device, config, head, blocks, tables, norm, ask },
      memory: memory.move(),
    });
  }

  /** Linear layers of all blocks by module path. */
  get linears(): Map<string, Linear> {
    return linearsOf(this.#parts.blocks);
  }

  /** The token embedding, by its module path. */
  get embeddings(): Map<string, Embedding> {
    const { words } = this.#parts.tables;
    return new Map([[words.module, words]]);
  }

  /**
   * Hidden states, `[batch * time, hidden]`, after the last block.
   *
   * @throws {RangeError} If a sequence is longer than the model's context, or an id is no token.
   */
  encode(tape: Tape, tokens: TokenBatch, options: PassOptions = {}): Tensor {
    checkTokens(tokens, this.config);
    const { heads, hiddenSize } = this.config;
    const { batch, time, bounds } = tokens;
    const shape: AttentionShape = {
      ...{ batch, time, keys: time, capacity: time, heads, kvHeads: heads },
      headDim: hiddenSize / heads,
      scale: 1 / Math.sqrt(hiddenSize / heads),
      ...{ causal: false, past: 0, window: 0 },
      bounds: uploadBounds(tape, bounds),
    };
    const context: EncoderContext = {
      ...options,
      attend: (on, projected) => attention(on, projected, shape),
    };
    return runBlocks(tape, this.#embed(tape, tokens), {
      blocks: this.#parts.blocks.map((block) => (on, x) =>
        block.forward(on, x, context)
      ),
      checkpointing: options.checkpointing,
    });
  }

  /** Logits of the head; see {@linkcode EncoderModel.answer}. */
  logits(tape: Tape, tokens: TokenBatch, options: PassOptions = {}): Tensor {
    return this.#parts.ask(tape, this.encode(tape, tokens, options), tokens);
  }

  /** Frees the model; adapters are their owners'. */
  [Symbol.dispose](): void {
    this.#parts.memory.dispose();
  }

  #embed(tape: Tape, tokens: TokenBatch): Tensor {
    const { config, tables, norm } = this.#parts;
    const count = tokens.batch * tokens.time;
    const ids = tape.upload(Uint32Array.from(tokens.ids));
    const words = tables.words.embed(tape, ids, count);
    const types = gather(
      tape,
      tables.types,
      tokens.typeIds ?? new Uint32Array(count),
    );
    const positions = gather(
      tape,
      tables.positions,
      positionIds(tokens, config.firstPosition),
    );
    return layerNorm(tape, add(tape, add(tape, words, types), positions), {
      ...norm,
      epsilon: config.normEpsilon,
    });
  }
}
