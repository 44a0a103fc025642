/**
 * Merging the adapter of a model into its weights, from a folder to a folder: `loqa merge` for programs.
 *
 * @module
 */

import { OptionError, ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { joinPath, writeFileAtomic } from "../io/files/deno.ts";
import { openOutput } from "../io/output/output.ts";
import { checkSideFiles } from "../io/safetensors/copy.ts";
import { familyOf, whyNotRun } from "../models/families.ts";
import {
  findModel,
  type ModelPlace,
  type PlaceOptions,
  tellPlace,
} from "../models/load/locate.ts";
import { openTuned } from "../models/load/with_adapters.ts";
import { checkTensors } from "../models/parts/tensor_check.ts";
import type { AdapterModuleFactors } from "../nn/adapter.ts";
import { VERSION } from "../version.ts";
import { compareModels, type ForwardDifference } from "./compare.ts";
import { type MergedDType, mergeDense, type MergedLayer } from "./dense.ts";
import { type ExactLayer, mergeExact, mergesExactly } from "./exact.ts";

export type { ForwardDifference } from "./compare.ts";
export type { MergedDType, MergedLayer } from "./dense.ts";
export type { ExactLayer } from "./exact.ts";

/** Options of {@linkcode merge}. */
export interface MergeOptions extends PlaceOptions {
  /** Device to work on. */
  readonly device: Device;
  /** Output folder, new or empty; it appears when it is whole and was compared, or not at all. */
  readonly out: string;
  /** Folder of the adapter to merge, in place of the model's own. */
  readonly adapter?: string;
  /** Element type that merged weights are rounded to (`bf16`); an exact merge takes none. */
  readonly dtype?: MergedDType;
  /** Text to compare the logits on; without it one that the model generates, or random tokens. */
  readonly text?: string;
  /** Stops the merge; nothing is left of it. */
  readonly signal?: AbortSignal;
  /** Called with the share done, from 0 to 1, and the present stage. */
  readonly onProgress?: (done: number, text: string) => void;
  /** Called with a choice that was not made by name: the checkpoint, the weights outside of the folder. */
  readonly onNote?: (line: string) => void;
  /** Called with warnings about the model: a training that has not ended, weights that changed. */
  readonly onWarning?: (line: string) => void;
}

/** A merge into dense weights, `W + scaling * B A`, each rounded. */
export interface DenseReport {
  /** Element type of the merged weights. */
  readonly dtype: MergedDType;
  /** False: the weights were rounded. */
  readonly exact: false;
  /** Rounding errors by layer. */
  readonly layers: readonly MergedLayer[];
}

/** A merge of QA-LoRA into the biases of affine groups: codes and scales are as they were. */
export interface ExactReport {
  /** True: nothing was rounded. */
  readonly exact: true;
  /** SHA-256 over the quantised weights, as in `loqa.json`. */
  readonly base: string;
  /** Changes of the biases by layer. */
  readonly layers: readonly ExactLayer[];
}

/** Report of a merge: the document of `--json`. */
export type MergeReport = (DenseReport | ExactReport) & {
  /** Always `merge`. */
  readonly verb: "merge";
  /** Version of loqa. */
  readonly version: string;
  /** Output folder. */
  readonly out: string;
  /** Largest difference of a logit before and after. */
  readonly maxDifference?: number;
  /** Difference of the logits before and after. */
  readonly forward?: ForwardDifference;
  /** Why they were not compared, where they were not. */
  readonly notCompared?: string;
  /** Wall time in seconds. */
  readonly seconds: number;
};

/**
 * Merges an adapter into the weights of the model at `path` (a folder that loqa wrote, a run or a checkpoint in it, an
 * adapter, or a model with `adapter`), and compares the logits before and after. QA-LoRA's on a base in affine groups goes
 * into the groups' biases, which is exact, and `out` is a folder as `init` writes it, with a backbone and no adapter. Any
 * other goes into decoded weights, and `out` is a dense model in the Hugging Face layout.
 *
 * @throws {RangeError} If there is no adapter, an option has no effect on this model, or `out` is there already.
 * @throws {TypeError} If the adapter and the model do not fit.
 * @throws {IoError} If a file cannot be read or written.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openDevice } from "@loqa/loqa";
 * import { openCheckpoint } from "@loqa/loqa/files";
 * import { init } from "@loqa/loqa/init";
 * import { merge } from "@loqa/loqa/merge";
 *
 * using device = await openDevice("wasm");
 * await using checkpoint = await openCheckpoint("examples/model");
 * const folder = await Deno.makeTempDir();
 * await init(checkpoint, {
 *   method: "loftq",
 *   format: "nf4",
 *   rank: 4,
 *   alpha: 4,
 *   iterations: 1,
 *   seed: 0,
 * }, { device, out: `${folder}/nf4` });
 * const { exact, forward } = await merge(`${folder}/nf4`, {
 *   out: `${folder}/dense`,
 *   device,
 * });
 * assert.ok(!exact); // rounded to bf16
 * console.log(forward?.maxDifference);
 * ```
 */
export async function merge(
  path: string,
  { device, dtype, text, signal, ...options }: MergeOptions,
): Promise<MergeReport> {
  const began = performance.now();
  const out = options.out.replace(/[\\/]+$/, "");
  if (text?.trim() === "") {
    throw new ValueError("Cannot compare the models: the text is empty");
  }
  const place = await findModel(path, options);
  tellPlace(place, options);
  const adapter = options.adapter ?? place.adapter;
  if (!adapter) {
    throw new OptionError(
      `Cannot merge ${path}: it has no adapter, and the option adapter names none`,
    );
  }
  await using output = await openOutput(out, { verb: "merge", kind: "folder" });
  await using tuned = await openTuned(place, { default: adapter });
  const { checkpoint } = tuned;
  checkSideFiles(checkpoint);
  const whyNot = whyNotRun(checkpoint);
  if (text !== undefined && whyNot) {
    throw new OptionError(
      `Cannot compare by the option text, which is for models that loqa runs: ${whyNot}`,
    );
  }
  if (!whyNot) {
    checkTensors(checkpoint, familyOf(checkpoint).tensors(checkpoint), /^/);
  }
  const factors = tuned.adapters.get("default")!;
  const exact = mergesExactly(checkpoint, factors);
  if (exact && dtype) {
    throw new OptionError(
      `Cannot merge ${path}: the option dtype rounds, and it is merged exactly; leave it out`,
    );
  }
  await output.begin();
  const partial = output.result;
  const { onProgress } = options;
  const work: Work = { checkpoint, factors, signal, onProgress };
  const merged = exact
    ? await mergeGroups(work, { place, partial, out })
    : await mergeWeights(work, { device, partial, dtype: dtype ?? "bf16" });
  // A model that cannot be run again is no result, and leaves none.
  const forward = whyNot ? undefined : await compareModels(device, {
    ...{ before: path, after: partial, adapter, text },
    ...{ model: options.model, checkpoint: options.checkpoint },
  });
  signal?.throwIfAborted();
  await output.settle();
  return {
    verb: "merge",
    version: VERSION,
    out,
    maxDifference: forward?.maxDifference,
    forward,
    notCompared: whyNot,
    ...merged,
    seconds: (performance.now() - began) / 1000,
  };
}

/** Inputs of both ways of merging. */
interface Work {
  readonly checkpoint: Checkpoint;
  readonly factors: readonly AdapterModuleFactors[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, text: string) => void;
}

async function mergeGroups(
  { checkpoint, ...work }: Work,
  { place, partial, out }: { place: ModelPlace; partial: string; out: string },
): Promise<ExactReport> {
  const { layers, base } = await mergeExact(checkpoint, {
    ...work,
    out: joinPath(partial, "backbone"),
  });
  const report = place.report ?? { model: place.model };
  const merged = { version: VERSION, of: place.model };
  await writeFileAtomic(
    joinPath(partial, "loqa.json"),
    `${JSON.stringify({ ...report, out, base, merged }, null, 2)}\n`,
  );
  return { exact: true, base, layers };
}

async function mergeWeights(
  { checkpoint, ...work }: Work,
  { device, partial, dtype }: {
    device: Device;
    partial: string;
    dtype: MergedDType;
  },
): Promise<DenseReport> {
  const layers = await mergeDense(checkpoint, {
    ...{ ...work, device, dtype },
    out: partial,
  });
  return { dtype, exact: false, layers };
}
