/**
 * DeBERTa, versions 2 and 3 (He et al., 2006.03654 and 2111.09543), with gradients and adapters.
 *
 * @module
 */

import { activate } from "../../autograd/activation.ts";
import { attention } from "../../autograd/attention.ts";
import { convolution } from "../../autograd/convolution.ts";
import { add } from "../../autograd/elementwise.ts";
import { linear } from "../../autograd/linear.ts";
import { layerNorm, type NormWeight } from "../../autograd/norm.ts";
import { relativeAttention } from "../../autograd/relative.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import type { Device } from "../../device/device.ts";
import type { DeviceBuffer } from "../../device/buffer.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import type { Embedding } from "../../nn/embedding.ts";
import type { Linear } from "../../nn/linear.ts";
import {
  DEBERTA_IGNORED,
  debertaBlock,
  debertaClassifier,
  type DebertaConfig,
  debertaPrefix,
  debertaTensors,
  readDebertaConfig,
  relativeRow,
} from "../../families/deberta.ts";
import { linearsOf } from "../parts/block.ts";
import { EncoderBlock, type EncoderContext, type Projected } from "./block.ts";
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
  readonly config: DebertaConfig;
  readonly head: EncoderHead;
  readonly blocks: readonly EncoderBlock[];
  readonly words: Embedding;
  readonly positions?: Table;
  readonly types?: Table;
  /** Projection from the embedding size to the hidden size. */
  readonly widen?: Linear;
  readonly norm: LayerNormWeights;
  /** The relative position embedding, and its norm. */
  readonly relative?: Table;
  readonly relativeNorm?: LayerNormWeights;
  readonly convolution?: {
    readonly weight: Table;
    readonly bias: NormWeight;
    readonly norm: LayerNormWeights;
  };
  readonly ask: LoadedHead;
  readonly memory: DisposableStack;
}

/** A model on a device. */
export class Deberta implements EncoderModel {
  /** Encoder. */
  readonly kind = "encoder" as const;
  readonly device: Device;
  readonly config: DebertaConfig;
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
  ): Promise<Deberta> {
    const config = readDebertaConfig(checkpoint.config, checkpoint.name);
    const prefix = debertaPrefix(checkpoint);
    const classifier = debertaClassifier(config);
    const head = headOf(checkpoint, classifier);
    const wanted = debertaTensors(config, { prefix, head });
    checkTensors(checkpoint, wanted, DEBERTA_IGNORED);
    const names = new Set(wanted.map(({ name }) => name));
    using memory = new DisposableStack();
    const weights = memory.use(
      new Weights(device, checkpoint, { trained, compute }),
    );
    /** Result of `load` on a tensor that the config asks for. */
    const wants = async <T>(
      name: string,
      load: (module: string) => Promise<T>,
    ): Promise<T | undefined> =>
      names.has(`${prefix}${name}.weight`)
        ? await load(`${prefix}${name}`)
        : undefined;
    const table = (module: string): Promise<Table> =>
      weights.matrix(`${module}.weight`);
    const norm = (module: string) => weights.norm(module);
    const blocks: EncoderBlock[] = [];
    for (let i = 0; i < config.layers; i++) {
      onProgress?.((i + 1) / (config.layers + 1));
      blocks.push(
        await EncoderBlock.load(
          weights,
          `${prefix}encoder.layer.${i}`,
          debertaBlock(config),
        ),
      );
    }
    const parts = {
      words: await weights.table(`${prefix}embeddings.word_embeddings`),
      positions: await wants("embeddings.position_embeddings", table),
      types: await wants("embeddings.token_type_embeddings", table),
      widen: await wants(
        "embeddings.embed_proj",
        (module) => weights.layer(module, false),
      ),
      norm: await norm(`${prefix}embeddings.LayerNorm`),
      relative: await wants("encoder.rel_embeddings", table),
      relativeNorm: await wants("encoder.LayerNorm", norm),
      convolution: await wants("encoder.conv.conv", async (module) => ({
        weight: await table(module),
        bias: await weights.vector(`${module}.bias`),
        norm: await norm(`${prefix}encoder.conv.LayerNorm`),
      })),
      ask: await loadHead(weights, head, classifier),
    };
    onProgress?.(1);
    return new Deberta({
      ...{ device, config, head, blocks, ...parts },
      memory: memory.move(),
    });
  }

  /** Linear layers of all blocks by module path. */
  get linears(): Map<string, Linear> {
    return linearsOf(this.#parts.blocks);
  }

  /** The token embedding, by its module path. */
  get embeddings(): Map<string, Embedding> {
    const { words } = this.#parts;
    return new Map([[words.module, words]]);
  }

  /**
   * Hidden states, `[batch * time, hidden]`, after the last block.
   *
   * @throws {RangeError} If a sequence is longer than the model's context, or an id is no token.
   */
  encode(tape: Tape, tokens: TokenBatch, options: PassOptions = {}): Tensor {
    checkTokens(tokens, this.config);
    const context: EncoderContext = {
      ...options,
      attend: this.#attention(tape, tokens, options),
    };
    const { blocks, convolution: beside } = this.#parts;
    return runBlocks(tape, this.#embed(tape, tokens), {
      blocks: blocks.map((block, i) => (on, x) => {
        const y = block.forward(on, x, context);
        return i === 0 && beside ? this.#convolve(on, { x, y }, tokens) : y;
      }),
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
    const { config, words, positions, types, widen, norm } = this.#parts;
    const count = tokens.batch * tokens.time;
    let x = words.embed(
      tape,
      tape.upload(Uint32Array.from(tokens.ids)),
      count,
    );
    if (positions) {
      x = add(tape, x, gather(tape, positions, positionIds(tokens, 0)));
    }
    if (types) {
      const typeIds = tokens.typeIds ?? new Uint32Array(count);
      x = add(tape, x, gather(tape, types, typeIds));
    }
    if (widen) x = linear(tape, x, { layer: widen });
    return layerNorm(tape, x, { ...norm, epsilon: config.normEpsilon });
  }

  /** The relative position embedding as the layers see it. */
  #positions(tape: Tape): Tensor | undefined {
    const { relative, relativeNorm, config } = this.#parts;
    if (!relative) return undefined;
    const { value, parameter } = relative;
    const x = parameter
      ? gather(tape, relative, Array.from({ length: value.rows }, (_, i) => i))
      : tape.input(value);
    return relativeNorm
      ? layerNorm(tape, x, { ...relativeNorm, epsilon: config.normEpsilon })
      : x;
  }

  #attention(
    tape: Tape,
    { batch, time, bounds }: TokenBatch,
    { checkpointing = false }: PassOptions,
  ): EncoderContext["attend"] {
    const { heads, hiddenSize, terms, relative } = this.config;
    const headDim = hiddenSize / heads;
    const scale = 1 / Math.sqrt(headDim * (1 + terms));
    const sizes = { batch, time, heads, headDim, scale };
    const seen = uploadBounds(tape, bounds);
    if (!relative || !(relative.c2p || relative.p2c)) {
      const shape = {
        ...{ ...sizes, kvHeads: heads, keys: time, capacity: time },
        ...{ causal: false, past: 0, window: 0, bounds: seen },
      };
      return (on, projected) => attention(on, projected, shape);
    }
    const index: DeviceBuffer = tape.upload(Uint32Array.from(
      { length: 2 * time - 1 },
      (_, i) => relativeRow(i - time + 1, relative),
    ));
    // A block that is computed again must make all that wants a gradient itself.
    const shared = checkpointing ? undefined : this.#positions(tape);
    return (on: Tape, projected: Projected, block) => {
      const positions = shared ?? this.#positions(on)!;
      const project = (name: string) =>
        block.apply(on, positions, {
          name: `attention.self.${name}`,
          context: {},
        });
      const own = relative.shared ? "" : "pos_";
      return relativeAttention(on, {
        ...projected,
        ...(relative.c2p && { posKey: project(`${own}key_proj`) }),
        ...(relative.p2c && { posQuery: project(`${own}query_proj`) }),
      }, { ...sizes, index, bounds: seen });
    };
  }

  /** The convolution of the first layer's input, added to its output. */
  #convolve(
    tape: Tape,
    { x, y }: { x: Tensor; y: Tensor },
    { batch, time, bounds }: TokenBatch,
  ): Tensor {
    const { weight, bias, norm } = this.#parts.convolution!;
    const { convolution: shape, normEpsilon } = this.config;
    const { kernel, groups, activation } = shape!;
    const seen = { batch, time, bounds };
    const out = activate(
      tape,
      convolution(tape, x, { weight, bias, kernel, groups, ...seen }),
      activation,
    );
    return layerNorm(tape, add(tape, y, out), {
      ...norm,
      epsilon: normEpsilon,
    });
  }
}
