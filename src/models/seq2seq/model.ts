/**
 * BART (Lewis et al., 1910.13461), with a KV cache, adapters, gradients.
 *
 * @module
 */

import { FormatError, KindError } from "../../errors.ts";
import { add, scale } from "../../autograd/elementwise.ts";
import {
  denseWeight,
  type LinearWeight,
} from "../../autograd/linear_weight.ts";
import { layerNorm } from "../../autograd/norm.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import type { Device } from "../../device/device.ts";
import { type Mat, mat } from "../../device/buffer.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { quoted } from "../../io/files/errors.ts";
import type { Linear } from "../../nn/linear.ts";
import { BartCache } from "./cache.ts";
import {
  BART_EPSILON,
  BART_IGNORED,
  type BartConfig,
  bartLayer,
  bartNames,
  bartTensors,
  FINAL_BIAS,
  POSITION_OFFSET,
  readBartConfig,
} from "../../families/bart.ts";
import { type BartContext, BartLayer, type Sequences } from "./layer.ts";
import { linearsOf } from "../parts/block.ts";
import type {
  DecoderCache,
  ModelOptions,
  PassOptions,
  Seq2SeqModel,
  TokenBatch,
} from "../model.ts";
import { checkTensors } from "../parts/tensor_check.ts";
import {
  checkRoom,
  checkTokens,
  gather,
  runBlocks,
  type Table,
  uploadBounds,
} from "../parts/token_input.ts";
import { type LayerNormWeights, Weights } from "../parts/weights.ts";

/** One side of a model on a device. */
interface Side {
  /** Token embedding. */
  readonly words: Table;
  readonly positions: Table;
  readonly norm: LayerNormWeights;
  readonly layers: readonly BartLayer[];
}

interface Parts {
  readonly device: Device;
  readonly config: BartConfig;
  readonly encoder: Side;
  readonly decoder: Side;
  readonly head: LinearWeight;
  readonly headBias?: { readonly value: Mat };
  readonly memory: DisposableStack;
}

/** A model on a device. */
export class Bart implements Seq2SeqModel {
  /** Encoder-decoder (seq2seq). */
  readonly kind = "seq2seq" as const;
  readonly device: Device;
  readonly config: BartConfig;
  readonly head: LinearWeight;
  readonly headBias?: { readonly value: Mat };
  readonly #parts: Parts;

  private constructor(parts: Parts) {
    this.device = parts.device;
    this.config = parts.config;
    this.head = parts.head;
    this.headBias = parts.headBias;
    this.#parts = parts;
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
    { trained, compute, onProgress }: ModelOptions = {},
  ): Promise<Bart> {
    const config = readBartConfig(checkpoint.config, checkpoint.name);
    const names = bartNames(config, checkpoint);
    checkTensors(checkpoint, bartTensors(config, names), BART_IGNORED);
    using memory = new DisposableStack();
    const weights = memory.use(
      new Weights(device, checkpoint, { trained, compute }),
    );
    const tables = new Map<string, Table>();
    for (const name of Object.values(names.tables)) {
      // The head of its own is read below: it may be quantised.
      if (name === "lm_head.weight" || tables.has(name)) continue;
      tables.set(name, await weights.matrix(name));
    }
    const all = config.encoder.layers + config.decoder.layers + 1;
    let done = 0;
    const side = async (name: "encoder" | "decoder"): Promise<Side> => {
      const layers: BartLayer[] = [];
      for (let index = 0; index < config[name].layers; index++) {
        onProgress?.(++done / all);
        const path = bartLayer(names, name, index);
        layers.push(
          await BartLayer.load(weights, config, { side: name, path }),
        );
      }
      const path = `${names.prefix}${name}`;
      return {
        words: tables.get(names.tables[name])!,
        positions: await weights.matrix(`${path}.embed_positions.weight`),
        norm: await weights.norm(`${path}.layernorm_embedding`),
        layers,
      };
    };
    const encoder = await side("encoder");
    const decoder = await side("decoder");
    const words = tables.get(names.tables.head);
    const head = words
      ? denseWeight(words.value, words.parameter)
      : await weights.linear(names.tables.head);
    const headBias = await finalBias(weights, checkpoint, config);
    onProgress?.(1);
    return new Bart({
      ...{ device, config, encoder, decoder, head, headBias },
      memory: memory.move(),
    });
  }

  /** Linear layers of all blocks by module path, the encoder's first. */
  get linears(): Map<string, Linear> {
    const { encoder, decoder } = this.#parts;
    return linearsOf([...encoder.layers, ...decoder.layers]);
  }

  /** An empty KV cache for decoding. */
  cache(size: { batch: number; capacity: number }): BartCache {
    return new BartCache(this.device, this.config, size);
  }

  /**
   * Encoder hidden states of the source, `[batch * time, hidden]`.
   *
   * @throws {RangeError} If a sequence is longer than the model's context, or an id is no token.
   */
  encode(tape: Tape, source: TokenBatch, options: PassOptions = {}): Tensor {
    const { encoder } = this.#parts;
    const context: BartContext = {
      ...{ ...options, causal: false, past: 0 },
      own: sequencesOf(tape, source),
    };
    return runBlocks(tape, this.#embed(tape, source, { side: encoder }), {
      blocks: encoder.layers.map((layer) => (on, x) =>
        layer.forward(on, x, { context })
      ),
      checkpointing: options.checkpointing,
    });
  }

  /**
   * Decoder hidden states of the target, `[batch * time, hidden]`; see {@linkcode Seq2SeqModel.decode}.
   *
   * @throws {RangeError} If a sequence is longer than the model's context or the cache, or an id is no token.
   */
  decode(
    tape: Tape,
    target: TokenBatch,
    { encoded, source, cache, ...options }: PassOptions & {
      encoded: Tensor;
      source: TokenBatch;
      cache?: DecoderCache;
    },
  ): Tensor {
    const { decoder } = this.#parts;
    if (cache && !(cache instanceof BartCache)) {
      throw new KindError("Cannot run the model: the cache is another model's");
    }
    const past = cache?.length ?? 0;
    checkRoom(target, cache);
    const context: BartContext = {
      ...{ ...options, causal: true, past },
      own: sequencesOf(tape, target),
    };
    const looked = sequencesOf(tape, source);
    const x = this.#embed(tape, target, { side: decoder, past });
    const out = runBlocks(tape, x, {
      blocks: decoder.layers.map((layer, i) => (on, from, [seen]) =>
        layer.forward(on, from, {
          context: { ...context, source: { ...looked, encoded: seen } },
          cache: cache?.layers[i],
        })
      ),
      checkpointing: options.checkpointing,
      others: [encoded],
    });
    if (cache) cache.length += target.time;
    return out;
  }

  /** Frees the model; adapters are their owners'. */
  [Symbol.dispose](): void {
    this.#parts.memory.dispose();
  }

  #embed(
    tape: Tape,
    tokens: TokenBatch,
    { side, past = 0 }: { side: Side; past?: number },
  ): Tensor {
    const { config } = this.#parts;
    const { time } = tokens;
    const { vocabSize, maxLength } = config;
    checkTokens(tokens, { vocabSize, maxLength }, past);
    const ids = Uint32Array.from(tokens.ids);
    const positions = ids.map((_, i) => POSITION_OFFSET + past + i % time);
    const x = gather(tape, side.words, ids);
    return layerNorm(
      tape,
      add(
        tape,
        config.scale === 1 ? x : scale(tape, x, config.scale),
        gather(tape, side.positions, positions),
      ),
      { ...side.norm, epsilon: BART_EPSILON },
    );
  }
}

function sequencesOf(
  tape: Tape,
  { batch, time, bounds }: TokenBatch,
): Sequences {
  return { batch, time, bounds: uploadBounds(tape, bounds) };
}

/**
 * The bias of the logits, where there is one and it is not all zeros.
 *
 * @throws {SyntaxError} If it is not one number a token.
 */
async function finalBias(
  weights: Weights,
  checkpoint: Checkpoint,
  { vocabSize }: BartConfig,
): Promise<{ value: Mat } | undefined> {
  const info = checkpoint.tensors.get(FINAL_BIAS);
  if (!info) return undefined;
  if (info.shape.join() !== `1,${vocabSize}`) {
    throw new FormatError(
      `Cannot run the model ${
        quoted(checkpoint.name)
      }: tensor "${FINAL_BIAS}" is [${
        info.shape.join(", ")
      }], wanted [1, ${vocabSize}]`,
    );
  }
  const values = await checkpoint.readF32(FINAL_BIAS);
  if (values.every((x) => x === 0)) return undefined;
  const { value } = await weights.vector(FINAL_BIAS);
  return { value: mat(value, 1, values.length) };
}
