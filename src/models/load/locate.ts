/**
 * Locates a model by a user's path: a folder that loqa wrote, a run or a checkpoint in it, an adapter, a checkpoint of
 * others, a hub id.
 *
 * @module
 */

import { FormatError, isMeant, ValueError } from "../../errors.ts";
import {
  absolutePath,
  exists,
  joinPath,
  kindOf,
  listFolder,
  readTextFile,
} from "../../io/files/deno.ts";
import { quoted } from "../../io/files/errors.ts";
import {
  isObject,
  type JsonObject,
  parseJsonObject,
} from "../../io/files/json.ts";
import {
  isAbsolute,
  isInside,
  normalPath,
  splitPath,
} from "../../io/files/paths.ts";
import { type Adapter, openAdapter } from "../../io/open.ts";
import { fileMarks, markDifference, readMarks } from "../../io/output/marks.ts";
import { settledPath } from "../../io/output/output.ts";
import { standingFolder } from "../../io/output/replace.ts";
import type { AdapterModuleFactors } from "../../nn/adapter.ts";
import { readAdapterFactors } from "./factors.ts";
import {
  checkpointLine,
  findCheckpoint,
  findUnfinished,
  homeOf,
  isRun,
  readReport,
  REPORT_FILE,
  shownRun,
  type Unfinished,
  unfinishedLine,
} from "./runs.ts";
export type { Unfinished } from "./runs.ts";

/** Paths of a model and its adapter. */
export interface ModelPlace {
  /** Path of the model's weights. */
  readonly model: string;
  /** Folder of the adapter that belongs to them, where there is one. */
  readonly adapter?: string;
  /** Contents of loqa.json, where loqa wrote the folder. */
  readonly report?: JsonObject;
  /** An unfinished training run, whose result is not the one here. */
  readonly unfinished?: Unfinished;
  /** Notes for the user. */
  readonly notes?: readonly string[];
  /** Choices that the user did not make by name: the checkpoint, the weights outside of the folder. */
  readonly taken?: readonly string[];
}

/** Hands over the lines about a place: its checkpoint and weights outside of it as notes, what may be wrong as warnings. */
export function tellPlace(
  { notes = [], taken = [] }: Pick<ModelPlace, "notes" | "taken">,
  { onNote, onWarning }: {
    readonly onNote?: (line: string) => void;
    readonly onWarning?: (line: string) => void;
  },
): void {
  for (const line of taken) onNote?.(line);
  for (const line of notes) onWarning?.(line);
}

/** Choice among the contents of a folder. */
export interface PlaceOptions {
  /** The model's weights, in place of those that the folder names. */
  readonly model?: string;
  /** A checkpoint of its trainings: `last`, a number of steps, or a path. */
  readonly checkpoint?: string;
}

const ADAPTER_CONFIG = "adapter_config.json";

/** Names of files of which at least one is in the folder of a model, or is one. */
const MODEL_FILE =
  /(^|[\\/])config\.json$|\.(safetensors|gguf|bin|pt|pth)(\.index\.json)?$/;

/**
 * Finds the weights and the adapter of a path. In a folder with `loqa.json` they are `backbone` (or, where none was
 * written, the model that the run was made from) and `adapter`. A run in it, a checkpoint of a run, and the folder of an
 * adapter stand for the model with that adapter; anything else is a model without one.
 *
 * @throws {SyntaxError} If `loqa.json` is malformed.
 * @throws {RangeError} If the weights that the folder names are not there or are others than they were, or no checkpoint
 * has the name that is wanted.
 */
export async function findModel(
  given: string,
  { model, checkpoint }: PlaceOptions = {},
): Promise<ModelPlace> {
  const path = await settledPath(given);
  if (checkpoint !== undefined) {
    const step = await findCheckpoint(path, checkpoint);
    const place = await findModel(step, { model });
    const line = await checkpointLine(step);
    return { ...place, taken: [...line, ...place.taken ?? []] };
  }
  const only = (why: string): ModelPlace => {
    if (model === undefined) return { model: path };
    throw new ValueError(`Cannot use the model ${model} for ${path}: ${why}`);
  };
  if (path.startsWith("hf:") || await kindOf(path) !== "folder") {
    return only("it is a model itself");
  }
  const report = await readReport(path);
  if (report) return await folderPlace(path, report, { model });
  const names = (await listFolder(path)).map(({ name }) => name);
  const weights = names.some((name) => /^(model|pytorch_model)\./.test(name));
  if (names.includes(ADAPTER_CONFIG) && !weights) {
    return await adapterPlace(path, model);
  }
  const unfinished = await findUnfinished(path, undefined);
  if (unfinished) {
    throw new ValueError(
      `Cannot open ${path}: ${
        unfinishedLine(path, unfinished, "it has no result yet")
      }`,
    );
  }
  return only("it is no folder of loqa's, and no adapter");
}

/** Model, adapter and report of a folder with a `loqa.json`. */
async function folderPlace(
  path: string,
  report: JsonObject,
  { model, adapter: given }: { model?: string; adapter?: string },
): Promise<ModelPlace> {
  const backbone = await standingFolder(joinPath(path, "backbone"));
  const own = given ?? await standingFolder(joinPath(path, "adapter"));
  const unfinished = given === undefined
    ? await findUnfinished(path, report)
    : undefined;
  if (own === undefined && isRun(report) && backbone === undefined) {
    throw new ValueError(
      unfinished
        ? `Cannot open ${path}: ${
          unfinishedLine(path, unfinished, "it has no result yet")
        }`
        : `Cannot open ${path}: it is a run without a result and without a checkpoint`,
    );
  }
  const found: NamedModel = model === undefined && backbone !== undefined
    ? { model: backbone, notes: [] }
    : await namedModel(path, report, model);
  return {
    model: found.model,
    ...(own !== undefined && { adapter: own }),
    report,
    ...(unfinished && { unfinished }),
    ...(found.taken && { taken: found.taken }),
    notes: [
      ...found.notes,
      ...unfinished
        ? [unfinishedLine(path, unfinished, shownLine(report, own))]
        : [],
    ],
  };
}

function shownLine(report: JsonObject, adapter: string | undefined): string {
  const run = shownRun(report);
  const { train } = report;
  if (run !== undefined && isObject(train)) {
    return `using run ${run}, ${String(train.steps)} steps`;
  }
  if (isObject(train)) return "using the training before it";
  return adapter === undefined
    ? "using the model without an adapter"
    : "using the adapter of init";
}

/** Weights that a file names, and notes about them. */
type NamedModel =
  & { readonly model: string; readonly notes: readonly string[] }
  & Pick<ModelPlace, "taken">;

/** Path of the weights that a `loqa.json` names, unless another is given. */
async function namedModel(
  path: string,
  report: JsonObject,
  given: string | undefined,
): Promise<NamedModel> {
  const named = report.model;
  if (given === undefined && typeof named !== "string") {
    throw new FormatError(
      `Cannot open ${path}: it has no backbone, and loqa.json names no model`,
    );
  }
  const model = given ?? await resolveStored(path, named as string);
  if (model === undefined) {
    throw new ValueError(
      `Cannot open ${path}: the model ${
        quoted(named as string)
      } that its loqa.json names is not there; say where it is by --model PATH`,
    );
  }
  const taken = given === undefined
    ? await takenModel(model, { from: path, by: joinPath(path, REPORT_FILE) })
    : [];
  const marks = readMarks(report.weights);
  const changed = marks.length === 0 || model.startsWith("hf:")
    ? undefined
    : markDifference(marks, await fileMarks(model));
  if (changed === undefined) return { model, notes: [], taken };
  const what = `the model ${
    quoted(model)
  } is not what ${path} was made with (${changed})`;
  if (given !== undefined) return { model, notes: [what] };
  throw new ValueError(
    `Cannot open ${path}: ${what}; say where that one is by --model PATH, or take this one in spite of it by --model ${model}`,
  );
}

/**
 * Note about weights that a file in the folder `from` names: their path, if that is outside of the user's. Whoever made
 * the folder chose them.
 *
 * @throws {RangeError} If they are no model.
 */
async function takenModel(
  model: string,
  { from, by }: { from: string; by: string },
): Promise<string[]> {
  if (!model.startsWith("hf:")) {
    const names = await kindOf(model) === "folder"
      ? (await listFolder(model)).map(({ name }) => name)
      : [model];
    if (!names.some((name) => MODEL_FILE.test(name))) {
      throw new ValueError(
        `Cannot open ${from}: ${
          quoted(model)
        }, which ${by} names, is no model; say where the model is by --model PATH`,
      );
    }
    const home = absolutePath(homeOf(from) ?? from);
    if (isInside(absolutePath(model), home)) return [];
  }
  return [`base model: ${model} (named by ${by})`];
}

/**
 * The path that a file in `folder` holds, as it is from here: relative to that folder, or as older files have it to the
 * working folder. Undefined where there is nothing.
 */
export async function resolveStored(
  folder: string,
  stored: string,
): Promise<string | undefined> {
  if (stored.startsWith("hf:")) return stored;
  const places = isAbsolute(stored)
    ? [stored]
    : [normalPath(joinPath(folder, stored)), stored];
  for (const place of places) if (await exists(place)) return place;
  return undefined;
}

/** The folder of loqa's that an adapter is a part of: its own, or the run whose checkpoint it is. */
export async function adapterHome(
  path: string,
): Promise<{ folder: string; report: JsonObject } | undefined> {
  const { folder, name } = splitPath(absolutePath(path));
  const above = splitPath(folder);
  const home = name === "adapter"
    ? folder
    : above.name === "checkpoints"
    ? above.folder
    : undefined;
  const report = home === undefined ? undefined : await readReport(home);
  return report && { folder: home!, report };
}

/** The model that the adapter in the folder `path` belongs to, with it. */
async function adapterPlace(
  path: string,
  model: string | undefined,
): Promise<ModelPlace> {
  const home = await adapterHome(path);
  if (home) {
    return await folderPlace(home.folder, home.report, {
      model,
      adapter: path,
    });
  }
  if (model !== undefined) return { model, adapter: path };
  const file = joinPath(path, ADAPTER_CONFIG);
  const config = parseJsonObject(await readTextFile(file), file);
  const named = config.base_model_name_or_path;
  const found = typeof named === "string" && named !== ""
    ? await resolveStored(path, named)
    : undefined;
  if (found !== undefined) {
    const taken = await takenModel(found, { from: path, by: file });
    return { model: found, adapter: path, taken };
  }
  throw new ValueError(
    `Cannot open ${path}: it is an adapter of ${
      typeof named === "string" ? `the model ${quoted(named)}` : "some model"
    }, which is not there; say where it is by --model PATH`,
  );
}

/** The folder of an adapter by a user's path: itself, or a run or another folder that has one. */
export async function findAdapter(path: string): Promise<string> {
  if (await exists(joinPath(path, ADAPTER_CONFIG))) return path;
  const inside = joinPath(path, "adapter");
  return await exists(joinPath(inside, ADAPTER_CONFIG)) ? inside : path;
}

/** The options that a folder was made with, as far as they are in its loqa.json. */
export function reportOptions(place: ModelPlace): JsonObject {
  const options = place.report?.options;
  return isObject(options) ? options : {};
}

/**
 * Reads all factors of the adapter in a folder.
 *
 * @param place Place of their model: with it, an adapter of another base is refused.
 * @throws {RangeError} If the adapter belongs to other quantised weights than those of `place`.
 */
export async function readAdapterFolder(
  path: string,
  place?: ModelPlace,
): Promise<AdapterModuleFactors[]> {
  await using adapter = await openAdapter(path);
  if (place) await checkBase(adapter, place, path);
  return await readAdapterFactors(adapter);
}

/** The fingerprint of the quantised weights at `path`, if that is the backbone of a folder that `init` wrote. */
async function markOf(path: string): Promise<string | undefined> {
  const { folder, name } = splitPath(path);
  if (name !== "backbone" || !isAbsolute(path)) return undefined;
  try {
    const report = await readReport(folder);
    return typeof report?.base === "string" ? report.base : undefined;
  } catch (error) {
    // The folder may be gone or replaced: then nothing is known.
    if (isMeant(error)) return undefined;
    throw error;
  }
}

/**
 * Checks that an adapter is put on its own base, as far as that is known: the one whose fingerprint it has, or, if it is
 * not the adapter that stands beside that base, the one in the folder which it names.
 *
 * @throws {RangeError} If it belongs to another one.
 */
export async function checkBase(
  { name, settings }: Adapter,
  { model, report, adapter }: ModelPlace,
  folder: string | undefined = adapter,
): Promise<void> {
  const here = report?.base;
  if (here === undefined) return;
  // A copied folder's adapter names the original, which may have been made anew since.
  const named = folder === adapter ? "" : settings.baseModel ?? "";
  const { base = await markOf(named) } = settings;
  if (base === undefined || base === here) return;
  throw new ValueError(
    `Cannot use the adapter ${name}: it belongs to the quantised weights with the fingerprint ${base}, those of ${model} have ${here}`,
  );
}
