/**
 * The folder that an initialisation writes.
 *
 * @module
 */

import type { CheckpointFile } from "../io/checkpoint/checkpoint.ts";
import type { SideFile } from "../io/files/files.ts";
import { writeSideFiles } from "../io/safetensors/copy.ts";
import {
  exists,
  joinPath,
  kindOf,
  lastChanged,
  listFolder,
  readTextFile,
  writeFileAtomic,
} from "../io/files/deno.ts";
import {
  namesIn,
  openOutput,
  type Output,
  placeOf,
  taken,
} from "../io/output/output.ts";
import { isObject } from "../io/files/json.ts";
import type { InitReport } from "./report.ts";

/** The file that marks a folder as loqa's own. */
export const REPORT_FILE = "loqa.json";

/** Files that `init` itself writes into a folder. */
const OWN = ["adapter", "backbone", REPORT_FILE];

/** Names that an error lists at the most. */
const SHOWN = 8;

/** Options of {@linkcode openInitOutput}. */
export interface InitOutputOptions {
  /** Goes on with an interrupted run. */
  readonly resume?: boolean;
  /** Replaces a folder that loqa wrote. */
  readonly force?: boolean;
  /** Paths that the run reads. */
  readonly reads?: readonly string[];
  /** Called with warnings, a sentence each: files that will be replaced. */
  readonly onWarning?: (text: string) => void;
}

/**
 * Takes the folder `out` for an initialisation; `run.ts` does it where nobody did before.
 *
 * @throws {RangeError} If there is something at `out`, which the message names, and `force` does not ask to replace it; with
 * `force`, if loqa did not write that. With `resume` what is there may be the whole result of the same run. If an interrupted
 * run left work beside it, and neither is asked for.
 * @throws {IoError} If another run writes there.
 */
export async function openInitOutput(
  out: string,
  { resume = false, force = false, reads, onWarning }: InitOutputOptions,
): Promise<Output> {
  const holds = await describe(await placeOf(out));
  if (holds && !holds.ours && (force || !resume)) {
    throw taken(
      out,
      `it is there already and no loqa output: it holds ${holds.text}; wanted a new folder`,
    );
  }
  if (holds && !force && !resume) throw occupied(out, holds.text);
  const output = await openOutput(out, {
    verb: "init",
    kind: "folder",
    resumable: true,
    occupied: force ? "replace" : resume ? "tell" : "refuse",
    unfinished: force || resume ? "take" : "refuse",
    reads,
  });
  if (force && holds) {
    onWarning?.(`replaces ${out} when it is done: ${holds.text} will be gone`);
  }
  if (output.unfinished && !resume) {
    onWarning?.(
      `starts anew: ${output.work}, of an interrupted run, will be gone`,
    );
  }
  return output;
}

function occupied(out: string, text: string): RangeError {
  return taken(
    out,
    `it is there already: it holds ${text}; write to another folder, or say --force to replace it`,
  );
}

/**
 * The report of a run whose result is whole at its place: of the same hash as this one's, and later than all its files.
 *
 * @throws {RangeError} If it is another run's.
 */
export async function wholeResult(
  { place }: Output,
  { key, out, files }: {
    key: string;
    out: string;
    files: readonly CheckpointFile[];
  },
): Promise<InitReport> {
  const report = await readReport(place);
  const written = await lastChanged(joinPath(place, REPORT_FILE)) ?? 0;
  if (
    isObject(report) && report.key === key &&
    files.every(({ modified }) => modified <= written)
  ) return report as unknown as InitReport;
  throw occupied(out, (await describe(place))!.text);
}

async function readReport(folder: string): Promise<unknown> {
  const path = joinPath(folder, REPORT_FILE);
  if (!await exists(path)) return undefined;
  try {
    return JSON.parse(await readTextFile(path));
  } catch {
    return undefined;
  }
}

/** Description of the folder at `path`, and true if loqa wrote it; undefined where there is nothing, or an empty folder. */
async function describe(
  path: string,
): Promise<{ text: string; ours: boolean } | undefined> {
  const kind = await kindOf(path);
  if (kind === undefined) return undefined;
  if (kind !== "folder") return { text: "a file", ours: false };
  const names = await namesIn(path);
  if (names.length === 0) return undefined;
  const report = await readReport(path);
  const trained = isObject(report) && report.train !== undefined;
  const ours = names.includes(REPORT_FILE);
  const found: string[] = [];
  if (ours) {
    found.push(trained ? "a trained model" : "an initialised model");
  }
  for (const name of names) {
    if (ours && OWN.includes(name)) continue;
    const inside = await kindOf(joinPath(path, name)) === "folder"
      ? (await listFolder(joinPath(path, name))).length
      : undefined;
    found.push(inside === undefined ? name : `${name}/ (${inside} in it)`);
  }
  const more = found.length - SHOWN;
  return {
    text: found.slice(0, SHOWN).join(", ") +
      (more > 0 ? ` and ${more} more` : ""),
    ours,
  };
}

/** Inputs of {@linkcode finish}, which writes the files beside the tensors. */
export interface Finish {
  readonly report: InitReport;
  /** The files beside the model's weights. */
  readonly side: readonly SideFile[];
  /** config.json of the backbone; none where no backbone is written. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly adapterConfig: Readonly<Record<string, unknown>>;
}

/** Writes the small files and puts the folder in its place. */
export async function finish(
  output: Output,
  { report, side, config, adapterConfig }: Finish,
): Promise<void> {
  const { result } = output;
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  if (config) {
    await writeSideFiles(side, joinPath(result, "backbone"), config);
  }
  await writeFileAtomic(
    joinPath(result, "adapter/adapter_config.json"),
    json(adapterConfig),
  );
  await writeFileAtomic(joinPath(result, REPORT_FILE), json(report));
  await output.settle();
}
