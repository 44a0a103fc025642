/**
 * The architectures that can be run, by the model types of their configs.
 *
 * @module
 */

import { KindError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { Bart } from "./seq2seq/model.ts";
import {
  bartNames,
  bartTensors,
  FINAL_BIAS,
  readBartConfig,
} from "../families/bart.ts";
import { Bert } from "./encoder/bert.ts";
import {
  bertClassifier,
  bertPrefix,
  bertTensors,
  readBertConfig,
} from "../families/bert.ts";
import { Deberta } from "./encoder/deberta.ts";
import {
  debertaClassifier,
  debertaPrefix,
  debertaTensors,
  readDebertaConfig,
} from "../families/deberta.ts";
import { type ClassifierShape, headOf } from "../families/encoder.ts";
import { Llama } from "./decoder/model.ts";
import { readDecoderConfig } from "../families/decoder.ts";
import { type Architecture, ARCHITECTURES } from "../families/families.ts";
import { decoderTensors } from "../families/decoder_block.ts";
import type { BaseConfig, WantedTensor } from "../families/tensors.ts";
import type {
  CausalModel,
  EncoderModel,
  Model,
  ModelOptions,
  Seq2SeqModel,
} from "./model.ts";

/** Options of {@linkcode Family.load}. */
export interface FamilyOptions extends ModelOptions {
  /** Computes the head of a causal LM in 8 bits for few rows, in decode steps (false). */
  readonly eightBitHead?: boolean;
}

/** An architecture: its config, tensors and loader. */
export interface Family extends Architecture {
  /** Config of a checkpoint, as far as every model has it. */
  config(checkpoint: Checkpoint): BaseConfig;
  /** Every tensor that the model of a checkpoint has, by name. */
  tensors(checkpoint: Checkpoint): WantedTensor[];
  /** Tensors that its models read, where a checkpoint has them, and that no training changes. */
  readonly constants?: readonly string[];
  /** Puts a checkpoint on a device. */
  load(
    device: Device,
    checkpoint: Checkpoint,
    options: FamilyOptions,
  ): Promise<Model>;
  /** Prefix of an encoder's names beside a head, where it has one, and its classification head. */
  readonly encoder?: (checkpoint: Checkpoint) => EncoderNames;
}

/** Names of an encoder with a head. */
export interface EncoderNames {
  /** Prefix of the base model: `bert.`. */
  readonly prefix: string;
  /** Classification head, with that prefix. */
  readonly classifier: ClassifierShape;
  /** Hidden size: features of a token. */
  readonly hiddenSize: number;
}

/** Every architecture. */
export const FAMILIES: readonly Family[] = [
  {
    ...ARCHITECTURES.decoder,
    config: ({ config, name }) => readDecoderConfig(config, name),
    tensors: ({ config, name }) =>
      decoderTensors(readDecoderConfig(config, name)),
    load: (device, checkpoint, options) =>
      Llama.load(device, checkpoint, options),
  },
  {
    ...ARCHITECTURES.bert,
    config: ({ config, name }) => readBertConfig(config, name),
    tensors(checkpoint) {
      const config = readBertConfig(checkpoint.config, checkpoint.name);
      const prefix = bertPrefix(config, checkpoint);
      const head = headOf(checkpoint, bertClassifier(config, prefix));
      return bertTensors(config, { prefix, head });
    },
    load: (device, checkpoint, options) =>
      Bert.load(device, checkpoint, options),
    encoder({ config: json, name }) {
      const config = readBertConfig(json, name);
      const prefix = `${config.modelType}.`;
      const { hiddenSize } = config;
      return { prefix, hiddenSize, classifier: bertClassifier(config, prefix) };
    },
  },
  {
    ...ARCHITECTURES.deberta,
    config: ({ config, name }) => readDebertaConfig(config, name),
    tensors(checkpoint) {
      const config = readDebertaConfig(checkpoint.config, checkpoint.name);
      const prefix = debertaPrefix(checkpoint);
      const head = headOf(checkpoint, debertaClassifier(config));
      return debertaTensors(config, { prefix, head });
    },
    load: (device, checkpoint, options) =>
      Deberta.load(device, checkpoint, options),
    encoder({ config: json, name }) {
      const config = readDebertaConfig(json, name);
      const { hiddenSize } = config;
      const classifier = debertaClassifier(config);
      return { prefix: "deberta.", hiddenSize, classifier };
    },
  },
  {
    ...ARCHITECTURES.bart,
    config: ({ config, name }) => readBartConfig(config, name),
    tensors(checkpoint) {
      const config = readBartConfig(checkpoint.config, checkpoint.name);
      return bartTensors(config, bartNames(config, checkpoint));
    },
    constants: [FINAL_BIAS],
    load: (device, checkpoint, options) =>
      Bart.load(device, checkpoint, options),
  },
];

/** The architecture of a checkpoint, where it is one that can be run. */
export function findFamily({ config }: Checkpoint): Family | undefined {
  const type = config.model_type;
  return FAMILIES.find(({ types }) => types.includes(type as string));
}

/**
 * The architecture of a checkpoint.
 *
 * @throws {TypeError} If it is none that can be run.
 */
export function familyOf(checkpoint: Checkpoint): Family {
  const { config, name } = checkpoint;
  const type = config.model_type;
  const found = findFamily(checkpoint);
  if (found) return found;
  throw new KindError(
    `Cannot run the model ${name}: wanted a model_type of ${
      FAMILIES.flatMap(({ types }) => types).join(", ")
    }, got ${JSON.stringify(type) ?? "none"}`,
  );
}

const KINDS: Readonly<Record<Model["kind"], string>> = {
  causal: "a causal LM",
  encoder: "an encoder",
  seq2seq: "an encoder-decoder",
};

/**
 * Checks that a model is of a kind, loaded or not.
 *
 * @param what Purpose, for errors: `run the task "ppl"`.
 * @throws {TypeError} If it is of another kind.
 */
export function checkKind(
  { kind, config }: { kind: Model["kind"]; config: BaseConfig },
  wanted: Model["kind"],
  what: string,
): void {
  if (kind === wanted) return;
  throw new KindError(
    `Cannot ${what}: wanted ${KINDS[wanted]}, got ${
      KINDS[kind]
    } (${config.modelType})`,
  );
}

/**
 * Why a checkpoint cannot be run: another architecture, or settings of it that are not known here; undefined if it can.
 *
 * @throws {SyntaxError} If its config is malformed.
 */
export function whyNotRun(checkpoint: Checkpoint): string | undefined {
  try {
    familyOf(checkpoint).config(checkpoint);
  } catch (error) {
    if (error instanceof KindError) return error.message;
    throw error;
  }
}

/**
 * A model as one of a kind.
 *
 * @param what Purpose, for errors: `run the task "ppl"`.
 * @throws {TypeError} If it is of another kind.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openDevice } from "@loqa/loqa";
 * import { loadModel, ofKind } from "@loqa/loqa/models";
 *
 * using device = await openDevice("wasm");
 * await using loaded = await loadModel(device, "examples/model");
 * const causal = ofKind(loaded.model, "causal", "generate");
 * assert.ok(causal.config.maxLength > 0);
 * ```
 */
export function ofKind<K extends Model["kind"]>(
  model: Model,
  kind: K,
  what: string,
): Extract<CausalModel | EncoderModel | Seq2SeqModel, { kind: K }> {
  checkKind(model, kind, what);
  return model as Extract<Model, { kind: K }>;
}
