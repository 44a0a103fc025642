/**
 * A model ready to run: weights on a device, adapters on the weights.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Compute } from "../autograd/linear_weight.ts";
import type { Device } from "../device/device.ts";
import type { Checkpoint } from "../io/checkpoint.ts";
import { attachAdapter } from "../nn/adapter.ts";
import { familyOf, ofKind } from "./families.ts";
import type { CausalModel, Model } from "./model.ts";
import { findModel, type ModelPlace } from "./open.ts";
import { openTuned } from "./tuned.ts";

export { Llama } from "./llama.ts";
export { ofKind } from "./families.ts";
export {
  write,
  WRITE_DEFAULTS,
  type WriteOptions,
  writeOptions,
} from "./write.ts";
export type { ForwardOptions, KeyValueCache, LlamaOptions } from "./llama.ts";
export type {
  BaseConfig,
  BaseModel,
  CausalModel,
  DecoderCache,
  EncoderHead,
  EncoderModel,
  Model,
  ModelOptions,
  PassOptions,
  Seq2SeqModel,
  TokenBatch,
  TokenCache,
} from "./model.ts";
export { generate, type GenerateOptions } from "./generate.ts";
export type { BeamOptions } from "./beam.ts";
export type { ConfigJson } from "./config_reader.ts";
export type { SamplingOptions } from "./sampling.ts";
export type { ModelPlace } from "./open.ts";
export type { LlamaConfig } from "./llama_config.ts";
export type { Block } from "./block.ts";
export type { BlockContext, LayerCache, LlamaBlock } from "./llama_block.ts";
export type { Linear } from "../nn/linear.ts";
export type { Embedding, EmbeddingFactors } from "../nn/embedding.ts";
export type { RopeScaling } from "../nn/rope.ts";
export { Tape, type Tensor } from "../autograd/tape.ts";
export type { LinearLayer } from "../autograd/linear.ts";
export type {
  Compute,
  LinearWeight,
  WeightGroups,
} from "../autograd/linear_weight.ts";
export type { LoraFactors } from "../autograd/lora.ts";
export type { RopeTables } from "../autograd/elementwise.ts";
export type {
  Parameter,
  ParameterArena,
  ParameterSet,
} from "../autograd/parameter.ts";

/** Options of {@linkcode loadModel}. */
export interface LoadOptions {
  /** Folders of adapters by the name they are enabled by; besides the one that belongs to the model. */
  readonly adapters?: Readonly<Record<string, string>>;
  /** Whether the adapter that belongs to the model is put on it (true). */
  readonly own?: boolean;
  /** How products with quantised weights are computed; `int8` for a model that an adapter was merged into exactly, else `f32`. */
  readonly compute?: Compute;
  /** Told the share that is loaded, from 0 to 1. */
  readonly onProgress?: (done: number) => void;
}

/** A loaded model. Disposing of it frees all. */
export interface LoadedModel extends AsyncDisposable {
  /** Where it was found. */
  readonly place: ModelPlace;
  /** Its file. */
  readonly checkpoint: Checkpoint;
  /** The model. */
  readonly model: Model;
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
 */
export async function loadModel(
  device: Device,
  path: string,
  { adapters = {}, own = true, compute, onProgress }: LoadOptions = {},
): Promise<LoadedModel> {
  await using stack = new AsyncDisposableStack();
  const place = await findModel(path);
  const folders = {
    ...(own && place.adapter && { default: place.adapter }),
    ...adapters,
  };
  const { checkpoint, adapters: parts } = stack.use(
    await openTuned(place, folders),
  );
  const how = compute ?? (place.report?.merged ? "int8" : "f32");
  const model = stack.use(
    await familyOf(checkpoint).load(device, checkpoint, {
      compute: how,
      eightBitHead: how === "int8",
      onProgress,
    }),
  );
  const { linears, embeddings } = model;
  for (const [name, factors] of parts) {
    stack.use(attachAdapter(device, linears, { name, factors, embeddings }));
  }
  const names = Object.keys(folders);
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
    place,
    checkpoint,
    model,
    adapters: names,
    enable,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** As {@linkcode loadModel}, a model that goes on from a text. @throws {TypeError} If it is none. */
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
