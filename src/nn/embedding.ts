/**
 * Token embeddings, with the adapters that are loaded onto them.
 *
 * @module
 */

import { embedding, scale } from "../autograd/elementwise.ts";
import { linear } from "../autograd/linear.ts";
import { denseWeight } from "../autograd/linear_weight.ts";
import type { Parameter } from "../autograd/parameter.ts";
import type { Tape, Tensor } from "../autograd/tape.ts";
import type { DeviceBuffer, Mat } from "../device/buffer.ts";

/** LoRA factors of a token embedding. */
export interface EmbeddingFactors {
  /** `lora_embedding_A` transposed, `[tokens, rank]`: a row for each token. */
  readonly table: Mat;
  /** `lora_embedding_B: [features, rank]`. */
  readonly up: Mat;
  /** LoRA scaling: factor of the product. */
  readonly scaling: number;
  /** Both factors as parameters, where they are trainable. */
  readonly trained?: { readonly table: Parameter; readonly up: Parameter };
}

/** A token embedding by its path in the checkpoint. */
export class Embedding {
  /** Path of the module: `bert.embeddings.word_embeddings`. */
  readonly module: string;
  /** Embedding weight, `[tokens, features]`. */
  readonly value: Mat;
  /** Embedding weight as a parameter, where it is trainable itself. */
  readonly parameter?: Parameter;
  readonly #adapters = new Map<string, EmbeddingFactors>();
  #enabled: EmbeddingFactors[] = [];

  /** A token embedding without adapters. */
  constructor(
    module: string,
    { value, parameter }: { value: Mat; parameter?: Parameter },
  ) {
    this.module = module;
    this.value = value;
    this.parameter = parameter;
  }

  /** Adds an adapter's factors to the embedding, under the adapter's name, not yet enabled. */
  setAdapter(name: string, factors: EmbeddingFactors): void {
    this.#adapters.set(name, factors);
  }

  /** Enables these adapters and no others. */
  enable(names: readonly string[]): void {
    this.#enabled = names.flatMap((name) => this.#adapters.get(name) ?? []);
  }

  /** Embeds `count` tokens, `ids: u32 [count]`: their rows of the weight, plus those of enabled adapters. */
  embed(tape: Tape, ids: DeviceBuffer, count: number): Tensor {
    const { value, parameter } = this;
    let x = embedding(tape, ids, { table: value, parameter, count });
    for (const { table, up, scaling, trained } of this.#enabled) {
      const rows = embedding(tape, ids, {
        table,
        parameter: trained?.table,
        count,
      });
      x = linear(tape, scale(tape, rows, scaling), {
        layer: { weight: denseWeight(up, trained?.up), lora: [] },
        add: x,
      });
    }
    return x;
  }
}
