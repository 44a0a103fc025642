/**
 * A causal LM in one object: opened from a folder, files or blobs, generating, trained in memory.
 *
 * Nothing that is loaded with this module touches a file system, a process or third-party code; the tokenizers library
 * comes with the first model, the file system with the first path.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import type { Compute } from "../autograd/linear_weight.ts";
import { openDevice } from "../backend/open.ts";
import type { RecordsSource } from "../data/tasks/sft.ts";
import type { Device, DeviceName } from "../device/device.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { sourceFiles } from "../io/files/files.ts";
import { checkpointTokenizer } from "../io/open_tokenizer.ts";
import { openAdapterFrom } from "../io/peft/adapter.ts";
import { openCheckpointFrom } from "../io/recognise.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { checkKind, familyOf, ofKind } from "../models/families.ts";
import { stopTokens } from "../models/generate/stop.ts";
import { readAdapterFactors } from "../models/load/factors.ts";
import { fittedFactors } from "../models/load/with_head.ts";
import type { CausalModel } from "../models/model.ts";
import type { AdapterModuleFactors } from "../nn/adapter.ts";
import { newFactors } from "../train/new_factors.ts";
import { LmAdapter } from "./adapter.ts";
import { type ModelFiles, sourcesOf } from "./files.ts";
import {
  generateText,
  type GenerateTextOptions,
  type Prompt,
} from "./generate.ts";
import { type LmTrainOptions, type TrainEvent, trainLm } from "./train.ts";

export type { FileContents, ModelFiles } from "./files.ts";
export type { ChatPrompt, GenerateTextOptions, Prompt } from "./generate.ts";
export type { LmTrainOptions, TrainEvent } from "./train.ts";
export type { NewAdapter } from "./adapter.ts";
export type { StepReport } from "../train/step/trainer.ts";

/** Options of {@linkcode openLm}. */
export interface OpenLmOptions {
  /** LoRA adapter in PEFT's layout: its folder, or its files. Of a folder that loqa wrote, its own without it. */
  readonly adapter?: string | ModelFiles;
  /** A device, which stays the caller's, or the name of one (`auto`). */
  readonly device?: Device | DeviceName | "auto";
  /** Threads of a device that is opened here (as many as the machine has cores). */
  readonly threads?: number;
  /** Arithmetic of products with quantised weights (`f32`). */
  readonly compute?: Compute;
  /** Called with the share of the weights that is loaded, from 0 to 1. */
  readonly onProgress?: (done: number) => void;
}

/** A causal LM on a device, with its tokenizer and at most one LoRA adapter. Disposing of it frees all. */
export interface LanguageModel extends AsyncDisposable {
  /** `model_type` of its config. */
  readonly modelType: string;
  /** Longest sequence in tokens. */
  readonly maxLength: number;
  /** Its tokenizer. */
  readonly tokenizer: Tokenizer;
  /** Its device. */
  readonly device: Device;
  /** True if there is an adapter on it. */
  readonly hasAdapter: boolean;
  /**
   * Continues a prompt, or answers a conversation, in pieces of text as they come. Ends at an end-of-text token of the
   * model's files, at `maxNewTokens`, or when the caller stops iterating.
   *
   * @throws {RangeError} If the prompt is empty or leaves no room in the context.
   * @throws {TypeError} If a conversation is given and there is no chat template.
   */
  generate(
    prompt: Prompt,
    options?: GenerateTextOptions,
  ): AsyncGenerator<string, void, void>;
  /**
   * Trains a LoRA adapter on records (conversations, prompt and completion, Alpaca: all that `loqa train` reads), the one
   * that is there or a new one, an event a step. Ends early when the caller stops iterating; what was trained stays.
   *
   * @throws {SyntaxError} If a record is in no known layout.
   * @throws {RangeError} If an option is out of its range, no record gives an example, or a loss is not finite.
   */
  train(
    records: RecordsSource,
    options: LmTrainOptions,
  ): AsyncGenerator<TrainEvent, void, void>;
  /**
   * The adapter as PEFT's files: `adapter_config.json` and `adapter_model.safetensors` by name.
   *
   * @throws {TypeError} If there is none, or it is more than plain LoRA on linear layers.
   */
  adapterFiles(): Promise<Map<string, Uint8Array<ArrayBuffer>>>;
}

/**
 * Opens a causal LM: a path (a folder that loqa wrote, a run or a checkpoint in it, an adapter, a model, a `.gguf` file;
 * wants a file system), or the files themselves.
 *
 * @example
 * ```ts
 * import { openLm } from "@loqa/loqa/lm";
 *
 * await using lm = await openLm("examples/model");
 * for await (const text of lm.generate("Once upon a time")) console.log(text);
 *
 * const records = [{ prompt: "What is LoRA?", completion: "Low-rank adaptation." }];
 * for await (const { step, loss } of lm.train(records, { steps: 20 })) {
 *   console.log(step, loss);
 * }
 * const files = await lm.adapterFiles(); // adapter_config.json, adapter_model.safetensors
 * ```
 *
 * @throws {TypeError} If it is no causal LM that loqa runs, or the adapter does not fit it.
 * @throws {SyntaxError} If a file is malformed.
 */
export async function openLm(
  model: string | ModelFiles,
  options: OpenLmOptions = {},
): Promise<LanguageModel> {
  await using stack = new AsyncDisposableStack();
  const { checkpoint, factors = [] } = stack.use(
    typeof model === "string"
      ? await openPath(model, options.adapter)
      : await openFiles(model, options.adapter),
  );
  const family = familyOf(checkpoint);
  const { kind } = family;
  const config = family.config(checkpoint);
  checkKind({ kind, config }, "causal", `open ${checkpoint.name}`);
  // Files are checked before the weights are read.
  const tokenizer = await checkpointTokenizer(checkpoint);
  const stop = await stopTokens(checkpoint, tokenizer);
  const { device: wanted = "auto", threads, compute, onProgress } = options;
  const device = typeof wanted === "string"
    ? stack.use(await openDevice(wanted, { threads, network: true }))
    : wanted;
  const loaded = stack.use(
    await family.load(device, checkpoint, { compute, onProgress }),
  );
  const causal = ofKind(loaded, "causal", `run ${checkpoint.name}`);
  const adapter = stack.use(
    new LmAdapter(causal, fittedFactors(checkpoint, factors)),
  );
  const owned = stack.move();
  return languageModel({ checkpoint, tokenizer, stop, causal, adapter }, owned);
}

interface Parts {
  readonly checkpoint: Checkpoint;
  readonly tokenizer: Tokenizer;
  readonly stop: readonly number[];
  readonly causal: CausalModel;
  readonly adapter: LmAdapter;
}

function languageModel(
  { checkpoint, tokenizer, stop, causal, adapter }: Parts,
  owned: AsyncDisposableStack,
): LanguageModel {
  let busy: string | undefined;
  /** One thing at a time: training changes the weights that generating reads. */
  async function* alone<T>(
    what: string,
    run: () => AsyncGenerator<T, void, void>,
  ): AsyncGenerator<T, void, void> {
    if (busy !== undefined) {
      throw new ValueError(`Cannot ${what}: the model is ${busy}`);
    }
    busy = what === "train" ? "being trained" : "generating";
    try {
      yield* run();
    } finally {
      busy = undefined;
    }
  }
  return {
    modelType: causal.config.modelType,
    maxLength: causal.config.maxLength,
    tokenizer,
    device: causal.device,
    get hasAdapter() {
      return adapter.exists;
    },
    generate: (prompt, options = {}) =>
      alone(
        "generate",
        () => generateText({ model: causal, tokenizer, stop }, prompt, options),
      ),
    train: (records, options) =>
      alone("train", () => {
        const tensors = familyOf(checkpoint).tensors(checkpoint);
        const { rank = 16, alpha = rank, targets, seed = 0 } = options;
        const start = () =>
          adapter.trained(options.dropout ?? 0, () =>
            newFactors(tensors, {
              ...{ rank, alpha, targets, seed },
              name: "the model",
            }));
        return trainLm({ model: causal, tokenizer, start }, records, options);
      }),
    adapterFiles: () => adapter.files(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Files of a model. */
interface Source extends AsyncDisposable {
  readonly checkpoint: Checkpoint;
  readonly factors?: readonly AdapterModuleFactors[];
}

async function openPath(
  path: string,
  adapter: OpenLmOptions["adapter"],
): Promise<Source> {
  const { openPath } = await import("./path.ts");
  if (adapter === undefined || typeof adapter === "string") {
    return await openPath(path, adapter);
  }
  await using stack = new AsyncDisposableStack();
  const { checkpoint } = stack.use(await openPath(path, null));
  const factors = await factorsOf(adapter);
  const owned = stack.move();
  return {
    checkpoint,
    factors,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function openFiles(
  files: ModelFiles,
  adapter: OpenLmOptions["adapter"],
): Promise<Source> {
  if (typeof adapter === "string") {
    throw new KindError(
      "Cannot open the adapter: the model is given as files, wanted the adapter as files too",
    );
  }
  const factors = adapter && await factorsOf(adapter);
  const checkpoint = await openCheckpointFrom(sourcesOf(files));
  return {
    ...{ checkpoint, factors },
    [Symbol.asyncDispose]: () => checkpoint[Symbol.asyncDispose](),
  };
}

/** The factors in an adapter's files. @throws {TypeError} If it holds more than factors. */
async function factorsOf(files: ModelFiles): Promise<AdapterModuleFactors[]> {
  await using adapter = await openAdapterFrom(
    sourceFiles(sourcesOf(files), "the adapter"),
  );
  const [other] = adapter.others.keys();
  if (other !== undefined) {
    throw new KindError(
      `Cannot put the adapter on the model: it holds ${other} besides LoRA factors; wanted factors alone, or its folder by path`,
    );
  }
  return await readAdapterFactors(adapter);
}
