/**
 * Record of a run, its options, model and data: `runs/N/loqa.json`, by which a later call decides whether to resume it.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { JsonObject } from "../io/files/json.ts";
import {
  type FileMark,
  markDifference,
  readMarks,
} from "../io/output/marks.ts";
import { digest } from "../io/files/digest.ts";
import { type FoundRun, listRuns, resumeOrder } from "../models/load/runs.ts";
import type { TrainOptions } from "./options.ts";

/** Files of examples as they were read. */
export interface DataRecord {
  /** Their paths. */
  readonly files: readonly string[];
  readonly examples: number;
  /** SHA-256 of all tokens and labels. */
  readonly digest: string;
}

/** Everything that decides the bytes of a step, and with the steps those of the result. */
export interface RunRecord {
  /** Version of loqa. */
  readonly version: string;
  readonly options: TrainOptions;
  readonly device: string;
  readonly threads: number;
  /** Fingerprint of the model, by its config and names. */
  readonly fingerprint: string;
  /** The files of its weights. */
  readonly weights: readonly FileMark[];
  readonly data: DataRecord;
  readonly evaluation?: DataRecord;
  /** Updates in all. */
  readonly steps: number;
}

/** Hash of all that decides the bytes of a step. */
export function recordKey(
  { version, options, device, threads, fingerprint, data, evaluation }:
    RunRecord,
): Promise<string> {
  return digest(JSON.stringify([
    version,
    { ...options, steps: undefined, epochs: undefined },
    device,
    threads,
    fingerprint,
    data.digest,
    evaluation?.digest,
  ]));
}

/** Names of options on the command line that are not those of the library in small letters. */
const FLAGS: Readonly<Record<string, string>> = {
  block: "seq-len",
  learningRate: "lr",
  biases: "train-biases",
  targets: "target",
};

/** Options that may change from one call to the next: the length of the run. */
const FREE: ReadonlySet<string> = new Set(["steps", "epochs"]);

function told(value: unknown): string {
  return value === undefined ? "not given" : JSON.stringify(value);
}

/** The options that differ, each with its name, old and new value. */
function optionDifferences(
  before: JsonObject,
  now: Readonly<Record<string, unknown>>,
): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(now)]);
  return [...names.difference(FREE)].flatMap((name) => {
    const [then, here] = [told(before[name]), told(now[name])];
    const flag = FLAGS[name] ??
      name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    return then === here ? [] : [`--${flag} was ${then}, is ${here}`];
  });
}

function dataDifference(
  what: string,
  before: DataRecord | undefined,
  now: DataRecord | undefined,
): string[] {
  if (before?.digest === now?.digest) return [];
  const list = (data: DataRecord | undefined) =>
    data
      ? `${data.examples} examples of ${data.files.join(", ")}`
      : "not given";
  return [`the ${what} differ: were ${list(before)}, are ${list(now)}`];
}

/** All differences between a run and a call that is to resume it, in words. */
export function differences(before: JsonObject, now: RunRecord): string[] {
  const { version, device, threads } = before;
  const files = markDifference(readMarks(before.weights), now.weights, {
    times: true,
  });
  return [
    ...version === now.version
      ? []
      : [`loqa was ${told(version)}, is ${told(now.version)}`],
    ...optionDifferences(before.options as JsonObject, { ...now.options }),
    ...device === now.device
      ? []
      : [`--device was ${told(device)}, is ${told(now.device)}`],
    ...device !== now.device || threads === now.threads
      ? []
      : [`--threads was ${told(threads)}, is ${told(now.threads)}`],
    ...files !== undefined
      ? [`the model changed: ${files}`]
      : before.fingerprint === now.fingerprint
      ? []
      : ["the model changed: its config or its tensors are others"],
    ...dataDifference("data", before.data as DataRecord, now.data),
    ...dataDifference(
      "evaluation's data",
      before.evaluation as DataRecord | undefined,
      now.evaluation,
    ),
  ];
}

/** Refuses to resume a run, with the reasons. */
export function refuseResume(path: string, reasons: readonly string[]): never {
  throw new ValueError(
    `Cannot resume ${path}: ${
      reasons.join("; ")
    }; run without --resume to start another run`,
  );
}

/**
 * The run that a call with these options resumes: the last that has not ended, else the last; undefined where there is
 * none at all.
 *
 * @throws {RangeError} If there are runs and none has these options; the error names the differences from the closest.
 */
export async function chooseRun(
  folder: string,
  options: TrainOptions,
): Promise<FoundRun | undefined> {
  const ordered = resumeOrder(await listRuns(folder));
  const differ = ({ report }: FoundRun) =>
    optionDifferences(report.options as JsonObject, { ...options });
  const found = ordered.find((run) => differ(run).length === 0);
  if (found || ordered.length === 0) return found;
  // Most likely the one with the fewest differences was meant.
  const nearest =
    ordered.toSorted((a, b) => differ(a).length - differ(b).length)[0];
  refuseResume(nearest.path, differ(nearest));
}

/**
 * Steps that a resumed run has in all.
 *
 * @throws {RangeError} If they are fewer than it was asked for.
 */
export function resumedSteps(
  { path, steps: before }: FoundRun,
  { steps, epochs }: TrainOptions,
  planned: number,
): number {
  if (steps === undefined && epochs === undefined) return before;
  if (planned < before) {
    refuseResume(path, [
      `it is of ${before} steps, and only more can be asked for, got ${planned}`,
    ]);
  }
  return planned;
}
