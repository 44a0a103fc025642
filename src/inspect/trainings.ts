/**
 * Training runs of a folder, from what they left there.
 *
 * @module
 */

import { exists, joinPath, readTextFile } from "../io/files/deno.ts";
import { isObject, type JsonObject } from "../io/files/json.ts";
import {
  type FoundRun,
  isRun,
  isUnfinished,
  listCheckpoints,
  listRuns,
  shownRun,
} from "../models/load/runs.ts";
import { METRICS_FILE } from "../train/output.ts";

/** A training as `inspect` tells it. */
export interface TrainingReport {
  /** Its number; undefined for one of before runs had numbers. */
  readonly run?: number;
  /** Steps that it was asked for. */
  readonly steps: number;
  /** Steps that it has taken, as far as they are saved. */
  readonly done: number;
  /** True if it has come to its end. */
  readonly ended: boolean;
  /** True if its result is what the folder shows. */
  readonly shown: boolean;
  /** Starting point: a run, or the initial adapter. */
  readonly from?: string;
  /** Files that it learnt from. */
  readonly data: readonly string[];
  /** Loss of the first step and, of the last tenth in the mean or else of the last step, after it. */
  readonly loss?: { readonly before: number; readonly after: number };
  /** Loss on the evaluation's files. */
  readonly evaluation?: JsonObject;
  /** Warnings about it. */
  readonly warnings: readonly string[];
  /** Steps of its checkpoints. */
  readonly checkpoints: readonly number[];
}

/** Losses of the first and the last step that a run's figures tell of. */
async function losses(folder: string): Promise<[number, number] | undefined> {
  const file = joinPath(folder, METRICS_FILE);
  if (!await exists(file)) return undefined;
  const found = (await readTextFile(file)).split("\n").flatMap((line) => {
    try {
      const { loss } = JSON.parse(line);
      return typeof loss === "number" ? [loss] : [];
    } catch {
      // The last line of a run that is at work.
      return [];
    }
  });
  return found.length > 0 ? [found[0], found.at(-1)!] : undefined;
}

async function trainingReport(
  { number, path, report, steps, checkpoints, ...run }: FoundRun,
  shown: number | undefined,
): Promise<TrainingReport> {
  const { train, data, from } = report;
  const ended = !isUnfinished({
    number,
    path,
    report,
    steps,
    checkpoints,
    ...run,
  });
  const figures = ended && isObject(train) ? train : {};
  const both = await losses(path);
  return {
    run: number,
    steps,
    done: ended ? steps : checkpoints.at(-1)?.step ?? 0,
    ended,
    shown: number === shown,
    ...(typeof from === "string" && { from }),
    data: isObject(data) && Array.isArray(data.files)
      ? data.files.map(String)
      : [],
    ...(both && {
      loss: {
        before: both[0],
        after: typeof figures.loss === "number" ? figures.loss : both[1],
      },
    }),
    ...(isObject(figures.evaluation) && { evaluation: figures.evaluation }),
    warnings: Array.isArray(figures.warnings)
      ? figures.warnings.map(String)
      : [],
    checkpoints: checkpoints.map(({ step }) => step),
  };
}

/** The trainings of the folder at `path` with this loqa.json, or the run that it is. */
export async function trainingReports(
  path: string,
  report: JsonObject,
): Promise<TrainingReport[]> {
  const checkpoints = await listCheckpoints(path);
  const { train } = report;
  if (isRun(report)) {
    const number = report.run as number;
    return [
      await trainingReport({
        ...{ number, path, report, checkpoints },
        steps: Number(report.steps),
        ...(isObject(train) && { ended: Number(train.steps) }),
      }, undefined),
    ];
  }
  const shown = shownRun(report);
  const runs: TrainingReport[] = [];
  for (const run of await listRuns(path)) {
    runs.push(await trainingReport(run, shown));
  }
  if (runs.length > 0 || !isObject(train)) return runs;
  // Of before runs had numbers.
  const both = await losses(path);
  const steps = Number(train.steps);
  return [{
    ...{ steps, done: steps, ended: true, shown: true },
    data: [],
    ...(both && { loss: { before: both[0], after: Number(train.loss) } }),
    ...(isObject(train.evaluation) && { evaluation: train.evaluation }),
    warnings: [],
    checkpoints: checkpoints.map(({ step }) => step),
  }];
}
