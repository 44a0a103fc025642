/**
 * A model ready to run: weights on a device, adapters on the weights.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { Compute } from "../../autograd/linear_weight.ts";
import type { Device } from "../../device/device.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { type AdapterModuleFactors, attachAdapter } from "../../nn/adapter.ts";
import { headOf } from "../../families/encoder.ts";
import { type Family, familyOf, ofKind } from "../families.ts";
import type { BaseConfig, EncoderHead } from "../../families/tensors.ts";
import type { CausalModel, Model } from "../model.ts";
import { findModel, type ModelPlace, type PlaceOptions } from "./locate.ts";
import { openTuned } from "./with_adapters.ts";

export { Llama } from "../decoder/model.ts";
export { ofKind } from "../families.ts";
export {
  write,
  WRITE_DEFAULTS,
  type WriteOptions,
  writeOptions,
} from "../generate/seq2seq.ts";
export type {
  ForwardOptions,
  KeyValueCache,
  LlamaOptions,
} from "../decoder/model.ts";
export type { BaseConfig, EncoderHead } from "../../families/tensors.ts";
export type {
  BaseModel,
  CausalModel,
  DecoderCache,
  EncoderModel,
  Model,
  ModelOptions,
  PassOptions,
  Seq2SeqModel,
  TokenBatch,
  TokenCache,
} from "../model.ts";
export { generate, type GenerateOptions } from "../generate/causal.ts";
export type { BeamOptions } from "../generate/beam.ts";
export type { ConfigJson } from "../../families/config_reader.ts";
export type { SamplingOptions } from "../generate/sampling.ts";
export type { ModelPlace, PlaceOptions, Unfinished } from "./locate.ts";
export type { DecoderConfig, DecoderSizes } from "../../families/decoder.ts";
export type { Block } from "../parts/block.ts";
export type { BlockContext, LayerCache, LlamaBlock } from "../decoder/block.ts";
export type { Linear } from "../../nn/linear.ts";
export type { Embedding, EmbeddingFactors } from "../../nn/embedding.ts";
export type { DecoderBias } from "../../families/decoders.ts";
export type { RopeConfig, RopeScaling } from "../../families/rope.ts";
export { Tape, type Tensor } from "../../autograd/tape.ts";
export type { LinearLayer } from "../../autograd/linear.ts";
export type {
  Compute,
  LinearWeight,
  WeightGroups,
} from "../../autograd/linear_weight.ts";
export type { LoraFactors } from "../../autograd/lora.ts";
export type { RopeTables } from "../../autograd/elementwise.ts";
export type {
  Parameter,
  ParameterArena,
  ParameterSet,
} from "../../autograd/parameter.ts";

/** Options of {@linkcode loadModel}. */
export interface LoadOptions extends PlaceOptions {
  /** Folders of adapters by the name they are enabled by; besides the one that belongs to the model. */
  readonly adapters?: Readonly<Record<string, string>>;
  /** True if the adapter that belongs to the model is put on it (true). */
  readonly own?: boolean;
  /**
   * Arithmetic of products with quantised weights: `int8` for a model that an adapter was merged into exactly, else `f32`.
   */
  readonly compute?: Compute;
  /** Called with the share loaded, from 0 to 1. */
  readonly onProgress?: (done: number) => void;
}

/** A model whose files are open, before its weights are read: a run can check all else first. */
export interface OpenedModel extends AsyncDisposable {
  /** Where it was found. */
  readonly place: ModelPlace;
  /** Its file. */
  readonly checkpoint: Checkpoint;
  /** Kind of model: causal LM, encoder or encoder-decoder (seq2seq). */
  readonly kind: Model["kind"];
  /** Config, as far as every architecture has it. */
  readonly config: BaseConfig;
  /** Head, if it is an encoder. */
  readonly head?: EncoderHead;
  /** Loads it onto a device, with its adapters. Disposing of the result leaves the files open. */
  load(
    device: Device,
    options?: Pick<LoadOptions, "compute" | "onProgress">,
  ): Promise<LoadedModel>;
}

/** A loaded model. Disposing of it frees all. */
export interface LoadedModel extends AsyncDisposable {
  /** Where it was found. */
  readonly place: ModelPlace;
  /** Its file. */
  readonly checkpoint: Checkpoint;
  /** The model. */
  readonly model: Model;
  /** Arithmetic of its products: `int8` where any of its weights is multiplied so. */
  readonly compute: Compute;
  /** Adapters on the model, all enabled at first; the model's own is called `default`. */
  readonly adapters: readonly string[];
  /** Enables these adapters and no others. */
  enable(names: readonly string[]): void;
}

/**
 * Loads the model at `path`, a folder that loqa wrote or a checkpoint, with its adapters.
 *
 * @throws {TypeError} If an adapter does not fit the model; the error lists every module.
 * @throws {RangeError} If an adapter belongs to other quantised weights.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openDevice } from "@loqa/loqa";
 * import { loadModel } from "@loqa/loqa/models";
 *
 * using device = await openDevice("wasm");
 * await using loaded = await loadModel(device, "examples/model");
 * assert.equal(loaded.model.kind, "causal");
 * ```
 */
export async function loadModel(
  device: Device,
  path: string,
  options: LoadOptions = {},
): Promise<LoadedModel> {
  await using stack = new AsyncDisposableStack();
  const opened = stack.use(await openModel(path, options));
  const loaded = stack.use(await opened.load(device, options));
  const owned = stack.move();
  return { ...loaded, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/**
 * Opens the files of the model at `path` and of its adapters, and reads no weights yet.
 *
 * @throws {TypeError} If the architecture is not known here.
 * @throws {RangeError} If an adapter belongs to other quantised weights.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openDevice } from "@loqa/loqa";
 * import { openModel } from "@loqa/loqa/models";
 *
 * await using opened = await openModel("examples/model"); // no weight is read yet
 * assert.equal(opened.kind, "causal");
 * using device = await openDevice("wasm");
 * await using loaded = await opened.load(device);
 * assert.deepEqual(loaded.adapters, []);
 * ```
 */
export async function openModel(
  path: string,
  { adapters = {}, own = true, model, checkpoint: step }:
    & PlaceOptions
    & Pick<LoadOptions, "adapters" | "own"> = {},
): Promise<OpenedModel> {
  await using stack = new AsyncDisposableStack();
  const place = await findModel(path, { model, checkpoint: step });
  const folders = {
    ...(own && place.adapter && { default: place.adapter }),
    ...adapters,
  };
  const { checkpoint, adapters: parts } = stack.use(
    await openTuned(place, folders),
  );
  const family = familyOf(checkpoint);
  const owned = stack.move();
  return {
    ...{ place, checkpoint },
    kind: family.kind,
    config: family.config(checkpoint),
    ...(family.encoder &&
      { head: headOf(checkpoint, family.encoder(checkpoint).classifier) }),
    load: (device, { compute, onProgress } = {}) =>
      attached({ place, checkpoint, family, device }, parts, {
        compute: compute ?? (place.report?.merged ? "int8" : "f32"),
        onProgress,
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** `int8` where a layer takes it, else f32. */
function computeOf({ linears }: Model, asked: Compute): Compute {
  return asked === "int8" && linears.values().some(({ weight }) => weight.int8)
    ? "int8"
    : "f32";
}

/**
 * A line for who asked for integer arithmetic of a model that has no use for it; else undefined.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { computeUnused } from "@loqa/loqa/models";
 *
 * assert.equal(computeUnused("f32", "f32"), undefined);
 * assert.match(computeUnused("int8", "f32")!, /has no effect/);
 * ```
 */
export function computeUnused(
  asked: Compute | undefined,
  used: Compute,
): string | undefined {
  return asked === "int8" && used !== "int8"
    ? "compute int8 has no effect: no layer of the model is in groups of int5 … int2"
    : undefined;
}

async function attached(
  { place, checkpoint, family, device }:
    & Pick<OpenedModel, "place" | "checkpoint">
    & { device: Device; family: Family },
  parts: ReadonlyMap<string, readonly AdapterModuleFactors[]>,
  { compute, onProgress }: {
    compute: Compute;
    onProgress: LoadOptions["onProgress"];
  },
): Promise<LoadedModel> {
  await using stack = new AsyncDisposableStack();
  const model = stack.use(
    await family.load(device, checkpoint, {
      compute,
      eightBitHead: compute === "int8",
      onProgress,
    }),
  );
  const { linears, embeddings } = model;
  for (const [name, factors] of parts) {
    stack.use(attachAdapter(device, linears, { name, factors, embeddings }));
  }
  const names = [...parts.keys()];
  const enable = (wanted: readonly string[]): void => {
    const unknown = wanted.find((name) => !names.includes(name));
    if (unknown !== undefined) {
      throw new ValueError(
        `Cannot enable the adapter "${unknown}": the model has ${
          names.join(", ") || "none"
        }`,
      );
    }
    for (const layer of linears.values()) layer.enable(wanted);
    for (const table of embeddings?.values() ?? []) table.enable(wanted);
  };
  enable(names);
  const owned = stack.move();
  return {
    ...{ place, checkpoint, model },
    compute: computeOf(model, compute),
    adapters: names,
    enable,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/**
 * As {@linkcode loadModel}, a causal LM.
 *
 * @throws {TypeError} If it is none.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openDevice } from "@loqa/loqa";
 * import { loadCausal } from "@loqa/loqa/models";
 *
 * using device = await openDevice("wasm");
 * await using loaded = await loadCausal(device, "examples/model");
 * assert.ok(loaded.model.config.vocabSize > 0);
 * ```
 */
export async function loadCausal(
  device: Device,
  path: string,
  options: LoadOptions = {},
): Promise<LoadedModel & { readonly model: CausalModel }> {
  await using stack = new AsyncDisposableStack();
  const loaded = stack.use(await loadModel(device, path, options));
  const model = ofKind(loaded.model, "causal", `run ${path}`);
  const owned = stack.move();
  return {
    ...loaded,
    model,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
