/**
 * Describing a path, from headers and reports, no weight read: `loqa inspect` for programs.
 *
 * @module
 */

import type { InitReport } from "../init/report.ts";
import type { Checkpoint, TensorInfo } from "../io/checkpoint/checkpoint.ts";
import { exists, joinPath, kindOf } from "../io/files/deno.ts";
import { openAdapter, openCheckpoint } from "../io/open.ts";
import { settledPath } from "../io/output/output.ts";
import { standingFolder } from "../io/output/replace.ts";
import type { Adapter } from "../io/peft/adapter.ts";
import { listRuns, readReport } from "../models/load/runs.ts";
import { type TrainingReport, trainingReports } from "./trainings.ts";

export type { TrainingReport } from "./trainings.ts";

/** Contents of a path: the document of `--json`. */
export interface InspectReport {
  /** Always `inspect`. */
  readonly verb: "inspect";
  /** The path, without a temporary name that it may have had. */
  readonly path: string;
  /** A folder that loqa wrote, an adapter, or a checkpoint. */
  readonly kind: "loqa" | "adapter" | "model";
  /** Contents of `loqa.json`, of which a folder that only `train` wrote has few entries. */
  readonly init?: Partial<InitReport>;
  /** Training runs, where there are some. */
  readonly trainings?: readonly TrainingReport[];
  /** The checkpoint, or the backbone. */
  readonly model?: ModelReport;
  /** The adapter. */
  readonly adapter?: AdapterReport;
}

/** A tensor of a file. */
export interface TensorRow {
  /** Its name. */
  readonly name: string;
  /** Its shape. */
  readonly shape: readonly number[];
  /** Element type, or type of its blocks, as the file has it. */
  readonly encoding: string;
  /** Bytes in the file. */
  readonly bytes: number;
  /** Stored bits of a value. */
  readonly bitsPerWeight: number;
}

/** A checkpoint. */
export interface ModelReport {
  /** Format of its files. */
  readonly format: string;
  /** Why it cannot be used as a model, where that is so. */
  readonly notes?: readonly string[];
  /** `model_type` of its config. */
  readonly modelType: string | null;
  /** Number of values in its tensors. */
  readonly parameters: number;
  /** Bytes of its tensors. */
  readonly bytes: number;
  /** Stored bits of a value. */
  readonly bitsPerWeight: number;
  /** Sums by encoding. */
  readonly encodings: Readonly<Record<string, Counted>>;
  /** Every tensor. */
  readonly tensors: readonly TensorRow[];
}

/** Sums over tensors. */
export interface Counted {
  /** Number of tensors. */
  readonly tensors: number;
  /** Number of their values. */
  readonly parameters: number;
  /** Their bytes. */
  readonly bytes: number;
}

/** A LoRA or QA-LoRA adapter. */
export interface AdapterReport {
  /** Number of modules. */
  readonly modules: number;
  /** LoRA ranks that occur. */
  readonly ranks: readonly number[];
  /** Scalings, alpha / rank, that occur. */
  readonly scalings: readonly number[];
  /** Number of parameters. */
  readonly parameters: number;
  /** Inputs that QA-LoRA sums. */
  readonly group?: number;
  /** Fingerprint of the quantised weights that it belongs to. */
  readonly base?: string;
  /** `target_modules` of its config. */
  readonly targetModules: unknown;
  /** Base model that its config names. */
  readonly baseModel: unknown;
}

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

function modelReport(
  { format, notes, config, tensors }: Checkpoint,
): ModelReport {
  const rows = [...tensors.values()].map((
    { name, shape, encoding, bytes }: TensorInfo,
  ) => ({
    name,
    shape,
    encoding,
    bytes,
    bitsPerWeight: (8 * bytes) / Math.max(sizeOf(shape), 1),
  }));
  const count = (list: readonly TensorRow[]): Counted => ({
    tensors: list.length,
    parameters: list.reduce((sum, t) => sum + sizeOf(t.shape), 0),
    bytes: list.reduce((sum, t) => sum + t.bytes, 0),
  });
  const all = count(rows);
  return {
    format,
    ...(notes && { notes }),
    modelType: typeof config.model_type === "string" ? config.model_type : null,
    parameters: all.parameters,
    bytes: all.bytes,
    bitsPerWeight: (8 * all.bytes) / Math.max(all.parameters, 1),
    encodings: Object.fromEntries(
      [...Map.groupBy(rows, (t) => t.encoding)].map((
        [key, list],
      ) => [key, count(list)]),
    ),
    tensors: rows,
  };
}

function adapterReport(
  { modules, config, settings }: Adapter,
): AdapterReport {
  const list = [...modules.values()];
  const distinct = (values: readonly number[]) => [...new Set(values)];
  return {
    modules: list.length,
    ranks: distinct(list.map((m) => m.rank)),
    scalings: distinct(list.map((m) => m.scaling)),
    parameters: list.reduce(
      (sum, m) => sum + m.rank * (m.inputs + m.outputs),
      0,
    ),
    ...(settings.qalora && { group: settings.qalora.group }),
    ...(settings.base !== undefined && { base: settings.base }),
    targetModules: config.target_modules ?? null,
    baseModel: config.base_model_name_or_path ?? null,
  };
}

/**
 * Describes a folder that loqa wrote, a model folder, a `.safetensors` or `.gguf` file, a PEFT adapter, or `hf:owner/name`;
 * also files that nothing else takes, with the reason in `notes`.
 *
 * @throws {IoError} If there is nothing at the path.
 * @throws {SyntaxError} If a file is malformed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { inspect } from "@loqa/loqa/inspect";
 *
 * const { kind, model } = await inspect("examples/model");
 * assert.deepEqual([kind, model?.modelType], ["model", "llama"]);
 * assert.deepEqual([model?.parameters, model?.bitsPerWeight], [787_584, 16]);
 * ```
 */
export async function inspect(given: string): Promise<InspectReport> {
  const path = await settledPath(given);
  const inside = (name: string) => exists(joinPath(path, name));
  const folder = !path.startsWith("hf:") && await kindOf(path) === "folder";
  const found = { verb: "inspect", path } as const;
  if (folder && await inside("loqa.json")) {
    const init = await readReport(path) as Partial<InitReport>;
    const trainings = await trainingReports(path, { ...init });
    const backbone = await standingFolder(joinPath(path, "backbone"));
    const adapter = await standingFolder(joinPath(path, "adapter"));
    return {
      ...{ ...found, kind: "loqa", init },
      ...(trainings.length > 0 && { trainings }),
      ...(backbone !== undefined && { model: await modelAt(backbone) }),
      ...(adapter !== undefined && { adapter: await adapterAt(adapter) }),
    };
  }
  if (folder && (await listRuns(path)).length > 0) {
    // Nothing has ended here yet.
    const trainings = await trainingReports(path, {});
    return { ...found, kind: "loqa", trainings };
  }
  return folder && await inside("adapter_config.json")
    ? { ...found, kind: "adapter", adapter: await adapterAt(path) }
    : { ...found, kind: "model", model: await modelAt(path) };
}

async function modelAt(path: string): Promise<ModelReport> {
  await using model = await openCheckpoint(path, { describe: true });
  return modelReport(model);
}

async function adapterAt(path: string): Promise<AdapterReport> {
  await using adapter = await openAdapter(path);
  return adapterReport(adapter);
}
