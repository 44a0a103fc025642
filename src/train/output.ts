/**
 * The folder that trainings write into: its start is retained as `runs/0`, every run has a folder of its own, and the
 * newest result stands where other verbs look for it.
 *
 * @module
 */

import { FormatError, ValueError } from "../errors.ts";
import {
  absolutePath,
  copyFolder,
  exists,
  joinPath,
  kindOf,
  listFolder,
  makeFolder,
  partPath,
  remove,
  rename,
  writeFileAtomic,
} from "../io/files/deno.ts";
import type { JsonObject } from "../io/files/json.ts";
import { fileMarks } from "../io/output/marks.ts";
import { LOCK_FILE } from "../io/output/lock.ts";
import { normalPath, storedPath } from "../io/files/paths.ts";
import { recoverFolder, replaceFolder } from "../io/output/replace.ts";
import {
  adapterHome,
  findModel,
  type ModelPlace,
  resolveStored,
} from "../models/load/locate.ts";
import {
  findRun,
  type FoundRun,
  readReport,
  REPORT_FILE,
  runFolder,
  shownRun,
  START_RUN,
} from "../models/load/runs.ts";
import { VERSION } from "../version.ts";
import type { TrainOptions, TrainRun } from "./options.ts";

/** File of the figures of each step, one JSON document a line. */
export const METRICS_FILE = "metrics.jsonl";

/** Folders that a training may leave as its result. */
const RESULTS = ["adapter", "backbone"] as const;

/** Folder name of this method's result. */
export function resultName(
  { method }: Pick<TrainOptions, "method">,
): typeof RESULTS[number] {
  return method === "full" ? "backbone" : "adapter";
}

/** Writes the loqa.json of a folder. */
export function writeReport(
  folder: string,
  report: JsonObject,
): Promise<void> {
  return writeFileAtomic(
    joinPath(folder, REPORT_FILE),
    `${JSON.stringify(report, null, 2)}\n`,
  );
}

/** Entries of the loqa.json in `at`, in the folder of trainings `home`, for the model of `place` and its fingerprint. */
export async function modelEntries(
  { model, report = {} }: ModelPlace,
  { at, home, weights = model }: {
    at: string;
    home: string;
    /** Path of the weights on this machine. */
    weights?: string;
  },
): Promise<JsonObject> {
  const { base, group, merged } = report;
  return {
    model: storedPath(absolutePath(model), {
      at: absolutePath(at),
      home: absolutePath(home),
    }),
    weights: await fileMarks(weights),
    ...(base !== undefined && { base }),
    ...(group !== undefined && { group }),
    ...(merged !== undefined && { merged }),
  };
}

function sameFolder(a: string, b: string): boolean {
  return absolutePath(a) === absolutePath(b);
}

/**
 * Path of a training's start: the one that it names, else the adapter of `init` in its folder, else that folder's newest
 * result. A resumed run has the start that it had.
 */
export async function startPath(
  run: TrainRun,
  chosen?: FoundRun,
): Promise<string> {
  const { path, out, from } = run;
  if (from !== undefined) return await findRun(path, from);
  if (chosen && sameFolder(path, out)) {
    const stored = String(chosen.report.from);
    const found = await resolveStored(chosen.path, stored);
    if (found !== undefined) return found;
    // The start of a first run is moved to runs/0 a moment after the run is made.
    if (normalPath(joinPath(chosen.path, stored)) !== runFolder(out, 0)) {
      throw new FormatError(
        `Cannot resume ${chosen.path}: ${stored}, which it started from, is not there`,
      );
    }
  }
  const start = runFolder(path, START_RUN);
  if (await exists(start)) return start;
  const shown = shownRun(await readReport(path));
  const last = shown === undefined ? undefined : runFolder(path, shown);
  return last !== undefined && await exists(last) ? last : path;
}

/** The model and adapter that training starts from. */
export async function startPlace(
  from: string,
  { path, model }: Pick<TrainRun, "path" | "model">,
): Promise<ModelPlace> {
  const alone = from !== path && model === undefined &&
    await exists(joinPath(from, "adapter_config.json")) &&
    !await adapterHome(from);
  return await findModel(from, {
    model: alone ? (await findModel(path)).model : model,
  });
}

/**
 * Makes the folder to write, unless it is one of loqa's. Resolves to whether it was made.
 *
 * @throws {RangeError} If it holds something that loqa did not write, or a model that the result would take the place of.
 */
export async function prepareOut(
  out: string,
  place: ModelPlace,
  options: TrainOptions,
): Promise<boolean> {
  const kind = await kindOf(out);
  if (kind === undefined) {
    await makeFolder(out);
    return true;
  }
  const report = await readReport(out);
  if (!report) {
    const names = kind === "folder"
      ? (await listFolder(out)).map(({ name }) => name)
      : [""];
    const ours = names.includes("checkpoints") || names.includes("runs") ||
      names.every((name) => name === METRICS_FILE || name === LOCK_FILE);
    if (ours) return false;
    throw new ValueError(
      `Cannot write to ${out}: it is there already and no loqa output; wanted a new folder or one with ${REPORT_FILE}`,
    );
  }
  if (report.verb === "train") return false;
  const backbone = joinPath(out, "backbone");
  const held = await exists(backbone)
    ? backbone
    : await resolveStored(out, String(report.model)) ?? String(report.model);
  if (options.method === "full" || !sameFolder(held, place.model)) {
    throw new ValueError(
      `Cannot write to ${out}: it holds an adapter initialised on ${held}, which ${
        options.method === "full"
          ? "a model trained in full"
          : `an adapter of ${place.model}`
      } would take the place of; wanted another folder (-o)`,
    );
  }
  return false;
}

/** Retains a folder's content before its first run, as `runs/0`. */
export async function keepStart(out: string): Promise<void> {
  for (const name of RESULTS) await recoverFolder(joinPath(out, name));
  const report = await readReport(out);
  const start = runFolder(out, START_RUN);
  if (!report || shownRun(report) !== undefined || await exists(start)) return;
  const trained = report.verb === "train";
  const names: string[] = [];
  for (const name of RESULTS) {
    // The model that init wrote stays where it is.
    if (name === "backbone" && !trained) continue;
    if (await exists(joinPath(out, name))) names.push(name);
  }
  if (names.length === 0) return;
  const place = await findModel(out);
  const partial = `${start}.partial`;
  await remove(partial);
  for (const name of names) {
    await copyFolder(joinPath(out, name), joinPath(partial, name));
  }
  await writeReport(partial, {
    verb: report.verb,
    version: report.version,
    run: START_RUN,
    ...(names.includes("backbone")
      ? { model: report.model }
      : await modelEntries(place, { at: start, home: out })),
    ...(report.head !== undefined && { head: report.head }),
    ...(report.train !== undefined && { train: report.train }),
  });
  await rename(partial, start);
}

/** Number of a new run of a folder. */
export async function nextRun(out: string): Promise<number> {
  const folder = joinPath(out, "runs");
  if (await kindOf(folder) !== "folder") return START_RUN + 1;
  const numbers: number[] = [];
  for (const { name } of await listFolder(folder)) {
    // One that was cut off before it was written down is begun again.
    if (!/^\d+$/.test(name)) continue;
    const path = joinPath(folder, name);
    const isEmpty = await kindOf(path) === "folder" &&
      (await listFolder(path))
        .every(({ name }) => name === partPath(REPORT_FILE));
    if (!isEmpty) numbers.push(Number(name));
  }
  return Math.max(START_RUN, ...numbers) + 1;
}

/**
 * Puts the result of a run in the place where a folder shows its newest one, and its figures into the folder's loqa.json.
 */
export async function publish(
  out: string,
  run: string,
  { place, head, train, options, weights }: {
    place: ModelPlace;
    head: JsonObject | undefined;
    /** The figures. */
    train: JsonObject;
    options: TrainOptions;
    /** Path on this machine of the weights that it started from. */
    weights: string;
  },
): Promise<void> {
  const old = await readReport(out);
  // Where init has written, its figures stay beside those of the training.
  const kept = old && old.verb !== "train" ? old : {
    verb: "train",
    version: VERSION,
    ...await modelEntries(place, { at: out, home: out, weights }),
    options,
  };
  const result = resultName(options);
  const partial = joinPath(out, `${result}.partial`);
  await remove(partial);
  await copyFolder(joinPath(run, result), partial);
  await replaceFolder(partial, joinPath(out, result));
  if (kept !== old) {
    // Another run's result under the other name is in that run's folder.
    for (const name of RESULTS) {
      if (name !== result) await remove(joinPath(out, name));
    }
  }
  const { head: _, ...rest } = kept as JsonObject;
  await writeReport(out, { ...rest, ...(head && { head }), train });
}

/** Entry of a run's loqa.json for its start. */
export function storedStart(from: string, run: string, out: string): string {
  return from.startsWith("hf:") ? from : storedPath(absolutePath(from), {
    at: absolutePath(run),
    home: absolutePath(out),
  });
}
