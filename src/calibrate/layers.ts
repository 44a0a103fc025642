/**
 * Moments of the layers of a LLaMA, one layer after the other.
 *
 * The features of all tokens wait in ordinary memory while a layer is loaded, runs them all, and is freed. So a model
 * larger than the memory is calibrated too.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { Tape } from "../autograd/tape.ts";
import { type Device, readF32 } from "../device/device.ts";
import { mat } from "../device/buffer.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { type BlockContext, loadBlock } from "../models/decoder/block.ts";
import { type DecoderConfig, readDecoderConfig } from "../families/decoder.ts";
import { blockModules, layerPrefix } from "../families/decoder_block.ts";
import { BLOCK_MODULES, TOP_MODULES } from "../families/decoders.ts";
import { checkDecoderTensors } from "../models/decoder/check.ts";
import { Weights } from "../models/parts/weights.ts";
import { ropeTables } from "../nn/rope.ts";
import { MomentSums, type WriteMoments } from "./sums.ts";

/** Tokens that go through a layer at a time. */
const BATCH_TOKENS = 2048;

/** Layers that see the same input as another one, by name. */
const SAME_INPUT = new Map(
  BLOCK_MODULES.flatMap(({ name, sameInputAs }) =>
    sameInputAs ? [[name, sameInputAs]] : []
  ),
);

/** Options of a pass. */
export interface LayerPassOptions {
  readonly device: Device;
  /** Sequences of equal length. */
  readonly sequences: readonly Int32Array[];
  readonly kind: "diag" | "full";
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, text: string) => void;
}

/**
 * The config of a LLaMA that is to be calibrated.
 *
 * @throws {SyntaxError} If its tensors do not fit it.
 */
export function layerConfig(checkpoint: Checkpoint): DecoderConfig {
  const config = readDecoderConfig(checkpoint.config, checkpoint.name);
  checkDecoderTensors(checkpoint, config);
  return config;
}

/** The layers that get moments with the size of their inputs, and for the others the one whose moments serve for them. */
export function layerMoments(config: DecoderConfig): {
  inputs: Map<string, number>;
  aliases: Record<string, string>;
} {
  const aliases: Record<string, string> = {};
  const inputs = new Map<string, number>();
  for (let i = 0; i < config.layers; i++) {
    for (const { name, shape: [, cols] } of blockModules(config)) {
      if (cols === undefined) continue;
      const module = `${layerPrefix(i)}.${name}`;
      const same = SAME_INPUT.get(name);
      if (same) aliases[module] = `${layerPrefix(i)}.${same}`;
      else inputs.set(module, cols);
    }
  }
  return { inputs, aliases };
}

/** One pass through the layers. */
export class LayerPass {
  readonly #checkpoint: Checkpoint;
  readonly #config: DecoderConfig;
  readonly #options: LayerPassOptions;
  readonly #time: number;
  /** Sequences of a batch. */
  readonly #batch: number;
  /** Hidden states of each batch, `[tokens, hidden]`. */
  readonly #features: Float32Array[] = [];

  /** @param options Its sequences are of one length, which the model's context has room for. */
  constructor(
    checkpoint: Checkpoint,
    config: DecoderConfig,
    options: LayerPassOptions,
  ) {
    this.#checkpoint = checkpoint;
    this.#config = config;
    this.#options = options;
    this.#time = options.sequences[0].length;
    this.#batch = Math.max(1, Math.floor(BATCH_TOKENS / this.#time));
  }

  /** Runs all sequences and writes the moments of the layers that {@linkcode layerMoments} lists, in that order. */
  async run(write: WriteMoments): Promise<void> {
    const { device, onProgress, signal } = this.#options;
    const { layers, headDim, ropeTheta, ropeScaling } = this.#config;
    await this.#embed();
    using tables = ropeTables(device, this.#time, {
      headDim,
      theta: ropeTheta,
      scaling: ropeScaling,
    });
    for (let i = 0; i < layers; i++) {
      signal?.throwIfAborted();
      onProgress?.(i / layers, `calibrating layer ${i + 1} of ${layers}`);
      await this.#layer(i, { tables, write });
    }
  }

  /** Looks the tokens up, one row of the embedding at a time: it may be larger than the memory. */
  async #embed(): Promise<void> {
    const { sequences } = this.#options;
    const { hiddenSize, vocabSize } = this.#config;
    const rows = new Map<number, Float32Array>();
    for (const sequence of sequences) {
      for (const id of sequence) {
        if (!(id >= 0 && id < vocabSize)) {
          throw new ValueError(
            `Cannot calibrate: token ${id} is not in the vocabulary of ${vocabSize}`,
          );
        }
        if (rows.has(id)) continue;
        rows.set(
          id,
          await this.#checkpoint.readF32(
            `${TOP_MODULES.embedding.name}.weight`,
            id,
            id + 1,
          ),
        );
      }
    }
    for (let from = 0; from < sequences.length; from += this.#batch) {
      const ids = sequences.slice(from, from + this.#batch).flatMap((s) => [
        ...s,
      ]);
      const features = new Float32Array(ids.length * hiddenSize);
      ids.forEach((id, t) => features.set(rows.get(id)!, t * hiddenSize));
      this.#features.push(features);
    }
  }

  async #layer(
    index: number,
    { tables, write }: { tables: BlockContext["tables"]; write: WriteMoments },
  ): Promise<void> {
    const { device } = this.#options;
    const { hiddenSize } = this.#config;
    using weights = new Weights(device, this.#checkpoint);
    const block = await loadBlock(weights, this.#config, index);
    using moments = new MomentSums(this.#options);
    for (const [n, features] of this.#features.entries()) {
      const rows = features.length / hiddenSize;
      using tape = new Tape(device);
      const buffer = tape.upload(features);
      const positions = Uint32Array.from(
        { length: rows },
        (_, t) => t % this.#time,
      );
      const out = block.forward(
        tape,
        tape.input(mat(buffer, rows, hiddenSize)),
        {
          context: {
            batch: rows / this.#time,
            time: this.#time,
            past: 0,
            positions: tape.upload(positions),
            tables,
            onInput(module, x) {
              const name = module.slice(layerPrefix(index).length + 1);
              if (!SAME_INPUT.has(name)) moments.add(module, x);
            },
          },
        },
      );
      this.#features[n] = await readF32(device, out.value.buffer);
    }
    await moments.write(write);
  }
}
