/**
 * Tables of tokens' features, with the adapters that are loaded onto them.
 *
 * @module
 */

import { embedding, scale } from "../autograd/elementwise.ts";
import { linear } from "../autograd/linear.ts";
import { denseWeight } from "../autograd/linear_weight.ts";
import type { Parameter } from "../autograd/parameter.ts";
import type { Tape, Tensor } from "../autograd/tape.ts";
import type { DeviceBuffer, Mat } from "../device/buffer.ts";

/** Low-rank factors of what is added to a table. */
export interface EmbeddingFactors {
  /** A row for each token, `[tokens, rank]`: PEFT's `lora_embedding_A`, turned. */
  readonly table: Mat;
  /** `lora_embedding_B: [features, rank]`. */
  readonly up: Mat;
  /** Factor of the product. */
  readonly scaling: number;
  /** Both factors, where they are trained. */
  readonly trained?: { readonly table: Parameter; readonly up: Parameter };
}

/** A table by its path in the checkpoint. */
export class Embedding {
  /** Path of the module: `bert.embeddings.word_embeddings`. */
  readonly module: string;
  /** The table, `[tokens, features]`. */
  readonly value: Mat;
  /** The same, where it is trained itself. */
  readonly parameter?: Parameter;
  readonly #adapters = new Map<string, EmbeddingFactors>();
  #enabled: EmbeddingFactors[] = [];

  /** A table without adapters. */
  constructor(
    module: string,
    { value, parameter }: { value: Mat; parameter?: Parameter },
  ) {
    this.module = module;
    this.value = value;
    this.parameter = parameter;
  }

  /** Puts an adapter's factors on the table, under the adapter's name, not yet enabled. */
  setAdapter(name: string, factors: EmbeddingFactors): void {
    this.#adapters.set(name, factors);
  }

  /** Adds the factors of these adapters from now on, of no others. */
  enable(names: readonly string[]): void {
    this.#enabled = names.flatMap((name) => this.#adapters.get(name) ?? []);
  }

  /** The features of `count` tokens, `ids: u32 [count]`: their rows, and what the adapters add to them. */
  look(tape: Tape, ids: DeviceBuffer, count: number): Tensor {
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
