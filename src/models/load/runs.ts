/**
 * The trainings of a folder: `DIR/runs/1`, `DIR/runs/2`, …, each with its options, checkpoints and result.
 *
 * ```
 * DIR/loqa.json, adapter/ (or backbone/)   the newest run that has ended, or the result of init
 * DIR/runs/0/adapter                       the adapter of init, moved here when the first run begins
 * DIR/runs/N/loqa.json                     options and model of the run; when it has ended, its figures
 * DIR/runs/N/metrics.jsonl, checkpoints/   as it goes
 * DIR/runs/N/adapter (or backbone/)        its result
 * ```
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import {
  absolutePath,
  exists,
  joinPath,
  kindOf,
  listFolder,
  readTextFile,
} from "../../io/files/deno.ts";
import {
  isObject,
  type JsonObject,
  parseJsonObject,
} from "../../io/files/json.ts";
import { checkShape, type JsonShape } from "../../io/files/json_shape.ts";
import { splitPath } from "../../io/files/paths.ts";

/** The file that marks a folder as loqa's own. */
export const REPORT_FILE = "loqa.json";

const DATA: JsonShape = {
  "files": ["text"],
  "examples": "number",
  "digest": "text",
};

/** Fields that are read in a loqa.json, whoever wrote it. */
const REPORT: JsonShape = {
  "verb?": "text",
  "version?": "text",
  "out?": "text",
  "base?": "text",
  "options?": {},
  "layers?": [{
    "name": "text",
    "format": "text",
    "plainError": "number",
    "error": "number",
    "plainOutputError?": "number",
    "outputError?": "number",
  }],
  "summary?": {
    "bitsPerWeight": "number",
    "seconds": "number",
    "peakBytes": "number",
  },
  "run?": "number",
  "steps?": "number",
  "train?": { "steps?": "number", "run?": "number", "warnings?": ["text"] },
  "data?": DATA,
  "evaluation?": DATA,
};

/** Further fields in the loqa.json of a run. */
const RUN: JsonShape = { "options": {}, "steps": "number", "data": DATA };

/** Number of the run that stands for a folder's content before its first training. */
export const START_RUN = 0;

/** A checkpoint of a training. */
export interface SavedStep {
  readonly step: number;
  /** Its folder. */
  readonly path: string;
}

/** A training that a folder holds. */
export interface FoundRun {
  readonly number: number;
  /** Its folder. */
  readonly path: string;
  /** Contents of its loqa.json. */
  readonly report: JsonObject;
  /** Steps in all, by its options. */
  readonly steps: number;
  /** Steps of its result; undefined until it has ended. */
  readonly ended?: number;
  /** Whole checkpoints, the oldest first. */
  readonly checkpoints: readonly SavedStep[];
}

/** Folder of run `number` of `folder`. */
export function runFolder(folder: string, number: number): string {
  return joinPath(joinPath(folder, "runs"), `${number}`);
}

/** Folder of the checkpoints of a run. */
export function checkpointsFolder(run: string): string {
  return joinPath(run, "checkpoints");
}

/** Reads the loqa.json of a folder; undefined where there is none. @throws {SyntaxError} If it is malformed; it names the file and the place. */
export async function readReport(
  folder: string,
): Promise<JsonObject | undefined> {
  const file = joinPath(folder, REPORT_FILE);
  if (await kindOf(folder) !== "folder" || !await exists(file)) {
    return undefined;
  }
  const report = parseJsonObject(await readTextFile(file), file);
  checkShape(report, REPORT, file);
  return report;
}

/** Whole checkpoints of the run in a folder, the oldest first. */
export async function listCheckpoints(run: string): Promise<SavedStep[]> {
  const folder = checkpointsFolder(run);
  if (await kindOf(folder) !== "folder") return [];
  const found = (await listFolder(folder)).flatMap(({ name }) => {
    const match = /^step-(\d{6,})$/.exec(name);
    return match
      ? [{ step: Number(match[1]), path: joinPath(folder, name) }]
      : [];
  });
  return found.sort((a, b) => a.step - b.step);
}

/** The trainings of a folder in their order, without `runs/0`. */
export async function listRuns(folder: string): Promise<FoundRun[]> {
  const home = joinPath(folder, "runs");
  if (await kindOf(home) !== "folder") return [];
  const runs: FoundRun[] = [];
  for (const { name, isFolder } of await listFolder(home)) {
    if (!isFolder || !/^[1-9]\d*$/.test(name)) continue;
    const path = joinPath(home, name);
    const report = await readReport(path);
    if (!report) continue;
    checkShape(report, RUN, joinPath(path, REPORT_FILE));
    const { train, steps } = report;
    runs.push({
      number: Number(name),
      path,
      report,
      steps: Number(steps),
      ...(isObject(train) && { ended: Number(train.steps) }),
      checkpoints: await listCheckpoints(path),
    });
  }
  return runs.sort((a, b) => a.number - b.number);
}

/** True if a run has not done all of its steps. */
export function isUnfinished({ steps, ended }: FoundRun): boolean {
  return ended === undefined || ended < steps;
}

/** Runs in the order of resuming and of `--checkpoint last`: unfinished ones first, then the newest. */
export function resumeOrder(runs: readonly FoundRun[]): FoundRun[] {
  const newest = runs.toReversed();
  return [
    ...newest.filter(isUnfinished),
    ...newest.filter((run) => !isUnfinished(run)),
  ];
}

/** True if a loqa.json is that of a run in the folder of its trainings. */
export function isRun(report: JsonObject): boolean {
  return Number.isInteger(report.run) && report.run !== START_RUN;
}

/** Number of the run whose result a folder has, by its loqa.json; undefined where that is its start. */
export function shownRun(report: JsonObject | undefined): number | undefined {
  const train = report?.train;
  return isObject(train) && Number.isInteger(train.run)
    ? train.run as number
    : undefined;
}

/** The folder of trainings that `path`, a run or a part of one, is in; undefined for all else. */
export function homeOf(path: string): string | undefined {
  if (path.startsWith("hf:")) return undefined;
  const match =
    /^(.*)[\\/]runs[\\/]\d+([\\/](adapter|backbone|checkpoints[\\/]step-\d+))?$/
      .exec(absolutePath(path));
  return match?.[1];
}

/** An unfinished training run in a folder that shows another result. */
export interface Unfinished {
  /** Number of the run; undefined in a folder of before runs had numbers. */
  readonly run?: number;
  /** Step that was saved last. */
  readonly step: number;
  /** Steps in all, by its options. */
  readonly steps?: number;
  /** Its last checkpoint. */
  readonly checkpoint: string;
}

/** The newest training of a folder, if it has checkpoints and no result. */
export async function findUnfinished(
  folder: string,
  report: JsonObject | undefined,
): Promise<Unfinished | undefined> {
  const newest = (await listRuns(folder)).at(-1);
  const last = newest?.checkpoints.at(-1);
  if (newest) {
    return last && isUnfinished(newest)
      ? {
        ...{ run: newest.number, step: last.step, steps: newest.steps },
        checkpoint: last.path,
      }
      : undefined;
  }
  const old = (await listCheckpoints(folder)).at(-1);
  const train = report?.train;
  return old && (!isObject(train) || train.steps !== old.step)
    ? { step: old.step, checkpoint: old.path }
    : undefined;
}

/** Note about it for the user: run, step and way out. */
export function unfinishedLine(
  path: string,
  { run, step, steps }: Unfinished,
  shown: string,
): string {
  return `the training of ${path} is unfinished: ${
    run === undefined ? "it" : `run ${run}`
  } was last saved at step ${step}${
    steps === undefined ? "" : ` of ${steps}`
  }; ${shown}; --checkpoint last takes that step, loqa train with --resume continues the run`;
}

/**
 * The checkpoint that `wanted` names in `path`, a folder or a run: `last`, a number of steps, or a path. `last` is that of
 * the run that `--resume` would continue, of whatever options; a step is looked for in the newest run first.
 *
 * @throws {RangeError} If there is none of that name; the error lists those that are there.
 */
export async function findCheckpoint(
  path: string,
  wanted: string,
): Promise<string> {
  const step = /^\d+$/.test(wanted) ? Number(wanted) : undefined;
  if (wanted !== "last" && step === undefined) {
    for (const place of [wanted, joinPath(path, wanted)]) {
      if (await kindOf(place) === "folder") return place;
    }
  }
  const runs = await listRuns(path);
  // A run itself, or a folder of before runs had numbers.
  const own = await listCheckpoints(path);
  const ordered = wanted === "last" ? resumeOrder(runs) : runs.toReversed();
  const found = [...ordered.map(({ checkpoints }) => checkpoints), own]
    .flatMap((list) =>
      step === undefined
        ? wanted === "last" ? list.slice(-1) : []
        : list.filter((saved) => saved.step === step)
    );
  if (found.length > 0) return found[0].path;
  const all = [own, ...runs.map(({ checkpoints }) => checkpoints)].flat()
    .map(({ path: place }) => place.slice(path.length).replace(/^[\\/]+/, ""));
  throw new ValueError(
    `Cannot take the checkpoint "${wanted}" of ${path}: wanted last, a step or a path, there ${
      all.length === 0 ? "is none" : `are ${all.slice(-20).join(", ")}`
    }`,
  );
}

/** Note of a checkpoint's run, and of its end; none for a checkpoint of no run. */
export async function checkpointLine(path: string): Promise<string[]> {
  const match = /^(.*)[\\/]runs[\\/](\d+)[\\/]checkpoints[\\/]step-0*(\d+)$/
    .exec(absolutePath(path));
  if (!match) return [];
  const [, home, number, step] = match;
  const run = (await listRuns(home)).find((run) => run.number === +number);
  const going = run && isUnfinished(run) ? ", which has not ended" : "";
  return [`using step ${step} of run ${number} of ${home}${going}`];
}

/** The folder of the run that `wanted` names: its number in `folder`, or a path. */
export async function findRun(folder: string, wanted: string): Promise<string> {
  if (/^\d+$/.test(wanted)) {
    const path = runFolder(folder, Number(wanted));
    if (await kindOf(path) === "folder") return path;
  }
  for (const path of [wanted, joinPath(folder, wanted)]) {
    if (await kindOf(path) === "folder") return path;
  }
  const names = (await listRuns(folder)).map(({ path }) =>
    splitPath(path).name
  );
  throw new ValueError(
    `Cannot train from "${wanted}": wanted a run of ${folder} (${
      names.length === 0 ? "it has none" : names.join(", ")
    }), or the path of a run, a checkpoint or an adapter`,
  );
}
