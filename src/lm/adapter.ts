/**
 * A LoRA adapter on a causal LM in memory: put on, trained, read back, written as PEFT has it.
 *
 * @module
 */

import { KindError } from "../errors.ts";
import type { ParameterSet } from "../autograd/parameter.ts";
import { readF32 } from "../device/device.ts";
import { memorySink } from "../io/files/sources.ts";
import {
  ADAPTER_CONFIG,
  ADAPTER_FILE,
  adapterTensorName,
} from "../io/peft/adapter.ts";
import { adapterConfig } from "../io/peft/config.ts";
import {
  safetensorsHeader,
  SafetensorsWriter,
} from "../io/safetensors/write.ts";
import type { CausalModel } from "../models/model.ts";
import {
  type AdapterModuleFactors,
  attachAdapter,
  type AttachedAdapter,
  factorName,
} from "../nn/adapter.ts";
import { fromF32 } from "../tensor/dtype.ts";

const NAME = "default";

/** Shape of a new adapter. */
export interface NewAdapter {
  /** Rank of the factors, `lora_A: [rank, in]`, `lora_B: [out, rank]` (16). */
  readonly rank?: number;
  /** LoRA's alpha; the product of the factors is scaled by `alpha / rank` (the rank). */
  readonly alpha?: number;
  /** Linear layers by the end of their names, `q_proj` (all of the blocks). */
  readonly targets?: readonly string[];
  /** Seed of `lora_A` (0). */
  readonly seed?: number;
}

/** The adapter of a model: one at most, whose factors are on the device while it counts. */
export class LmAdapter implements Disposable {
  readonly #model: CausalModel;
  #factors: readonly AdapterModuleFactors[] = [];
  #attached?: AttachedAdapter;

  /** An adapter of these factors, or none yet. */
  constructor(
    model: CausalModel,
    factors: readonly AdapterModuleFactors[] = [],
  ) {
    this.#model = model;
    if (factors.length > 0) this.#attach(factors, {});
  }

  /** True if there is one. */
  get exists(): boolean {
    return this.#factors.length > 0;
  }

  /** The factors as parameters to train, `fresh` ones where there are none; those that are trained already keep their values. */
  trained(
    dropout: number,
    fresh: () => readonly AdapterModuleFactors[],
  ): ParameterSet {
    if (!this.#attached?.parameters) {
      const factors = this.exists ? this.#factors : fresh();
      this.#attach(factors, { train: true, dropout });
    }
    return this.#attached!.parameters!;
  }

  #attach(
    factors: readonly AdapterModuleFactors[],
    options: { train?: boolean; dropout?: number },
  ): void {
    const { device, linears, embeddings } = this.#model;
    this.#enable([]);
    this.#attached?.[Symbol.dispose]();
    this.#attached = undefined;
    this.#attached = attachAdapter(device, linears, {
      ...{ name: NAME, factors, embeddings },
      ...options,
    });
    this.#factors = factors;
    this.#enable([NAME]);
  }

  #enable(names: readonly string[]): void {
    const { linears, embeddings } = this.#model;
    for (const layer of linears.values()) layer.enable(names);
    for (const table of embeddings?.values() ?? []) table.enable(names);
  }

  /**
   * The adapter as PEFT's files, `adapter_config.json` and `adapter_model.safetensors`.
   *
   * @throws {TypeError} If there is none, or it is more than plain LoRA on linear layers.
   */
  async files(): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
    const factors = this.#factors;
    if (factors.length === 0) {
      throw new KindError(
        "Cannot write the adapter: the model has none; train one first",
      );
    }
    const other = factors.find(({ group, embedding }) => group || embedding);
    if (other) {
      throw new KindError(
        `Cannot write the adapter: the factors of ${other.module} are ${
          other.embedding ? "of an embedding" : "QA-LoRA's"
        }, wanted plain LoRA on linear layers; "loqa train" writes such adapters`,
      );
    }
    const tensors = factors.flatMap(({ module, rank, a, b }) => [
      { name: adapterTensorName(module, "A"), shape: [rank, a.length / rank] },
      { name: adapterTensorName(module, "B"), shape: [b.length / rank, rank] },
    ]);
    const sink = memorySink(ADAPTER_FILE);
    const writer = await SafetensorsWriter.open(
      sink,
      safetensorsHeader(
        tensors.map((tensor) => ({ ...tensor, dtype: "f32" as const })),
        { format: "pt" },
      ),
    );
    for (const { module, a, b } of factors) {
      for (const [factor, values] of [["A", a], ["B", b]] as const) {
        const now = await this.#values(module, factor) ?? values;
        await writer.write(
          adapterTensorName(module, factor),
          fromF32(now, "f32"),
        );
      }
    }
    await writer.close();
    await sink.close();
    return new Map([
      [
        ADAPTER_CONFIG,
        new TextEncoder().encode(
          `${JSON.stringify(configOf(factors), null, 2)}\n`,
        ),
      ],
      [ADAPTER_FILE, sink.bytes()],
    ]);
  }

  /** A factor as it is on the device, where it is trained. */
  async #values(
    module: string,
    factor: "A" | "B",
  ): Promise<Float32Array | undefined> {
    const value = this.#attached?.parameters?.get(factorName(module, factor))
      .value;
    return value &&
      await readF32(
        this.#model.device,
        value.buffer,
        value.offset,
        value.rows * value.cols,
      );
  }

  /** Frees its memory. */
  [Symbol.dispose](): void {
    this.#enable([]);
    this.#attached?.[Symbol.dispose]();
  }
}

/** PEFT's settings: the first module's rank and alpha, and those of the others where they differ. */
function configOf(factors: readonly AdapterModuleFactors[]) {
  const [{ rank, scaling }] = factors;
  const alphaOf = (f: AdapterModuleFactors) => f.scaling * f.rank;
  const alpha = scaling * rank;
  const others = factors.filter((f) => f.rank !== rank || alphaOf(f) !== alpha);
  return adapterConfig({
    rank,
    alpha,
    taskType: "CAUSAL_LM",
    targetModules: factors.map(({ module }) => module),
    rankPattern: Object.fromEntries(others.map((f) => [f.module, f.rank])),
    alphaPattern: Object.fromEntries(others.map((f) => [f.module, alphaOf(f)])),
  });
}
