/**
 * Exporting a model to the format of another runtime.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import {
  exists,
  fileSize,
  joinPath,
  kindOf,
  listFolder,
  remove,
  rename,
} from "../io/deno.ts";
import { openCheckpoint } from "../io/open.ts";
import { findModel, type ModelPlace } from "../models/open.ts";
import type { Exporter, ExporterOptions, ExportReport } from "./exporter.ts";

export type {
  ExportDType,
  ExportedLayer,
  Exporter,
  ExporterOptions,
  ExportReport,
} from "./exporter.ts";
export type { RoundingLoss } from "./rounding.ts";
export type { AffineBlockType } from "../io/gguf_q41.ts";
export type { Checkpoint } from "../io/checkpoint.ts";
export type { FormatName } from "../quant/formats.ts";

/** A row of the table of targets. */
export interface ExportTarget {
  /** Whether it is written as one file or as a folder. */
  readonly kind: "file" | "folder";
  /** One line for a person. */
  readonly summary: string;
  /** Loads its code. */
  load(): Promise<Exporter>;
}

/** What a model can be exported to. */
export const TARGETS: Readonly<Record<string, ExportTarget>> = {
  gguf: {
    kind: "file",
    summary: "one file for llama.cpp and all that builds on it",
    load: async () => (await import("./gguf.ts")).exportGguf,
  },
  onnx: {
    kind: "folder",
    summary: "a graph for ONNX Runtime and transformers.js",
    load: async () => (await import("./onnx.ts")).exportOnnx,
  },
  mlx: {
    kind: "folder",
    summary: "a folder for mlx and mlx_lm",
    load: async () => (await import("./mlx.ts")).exportMlx,
  },
  hqq: {
    kind: "folder",
    summary: "a folder of HQQ's layers, axis=1",
    load: async () => (await import("./hqq.ts")).exportHqq,
  },
  gptq: {
    kind: "folder",
    summary: "a folder for GPTQModel; approximate, its zeros are whole",
    load: async () => (await import("./gptq.ts")).exportGptq,
  },
};

/** Options of {@linkcode exportModel}. */
export interface ExportOptions extends ExporterOptions {
  /** Key of {@linkcode TARGETS}. */
  readonly to: string;
}

/** What an export did. */
export interface ExportResult extends ExportReport {
  /** Whether every quantised value is the same to the bit; false where nothing is quantised. */
  readonly exact: boolean;
  /** Over all quantised weights, in steps of their groups. */
  readonly rounding: {
    /** Weights that were rounded, of all in `layers`. */
    readonly layers: number;
    /** Largest difference of a value. */
    readonly max: number;
    /** Mean over the weights of their means. */
    readonly mean: number;
  };
  /** Bytes written. */
  readonly bytes: number;
}

/**
 * Writes the model at `path`, a folder that loqa wrote or a checkpoint, in the format of another runtime. What is
 * written appears whole at `out` or not at all.
 *
 * @throws {RangeError} If the target is unknown, `out` is there already, or the model's adapter is not merged.
 * @throws {TypeError} If the target cannot hold the model.
 */
export async function exportModel(
  path: string,
  { to, out: place, original, ...options }: ExportOptions,
): Promise<ExportResult> {
  if (!Object.hasOwn(TARGETS, to)) {
    throw new ValueError(
      `Cannot export to "${to}": wanted one of ${
        Object.keys(TARGETS).join(", ")
      }`,
    );
  }
  const out = place.replace(/[\\/]+$/, "");
  const { model, adapter, report } = await findModel(path);
  if (adapter !== undefined) {
    throw new ValueError(
      `Cannot export ${path}: its adapter ${adapter} is not merged; run "loqa merge ${path} -o MERGED" first and export that`,
    );
  }
  if (await exists(out)) {
    throw new ValueError(
      `Cannot write to ${out}: it is there already; wanted a new ${
        TARGETS[to].kind
      }`,
    );
  }
  const run = await TARGETS[to].load();
  await using checkpoint = await openCheckpoint(model);
  const partial = `${out}.partial`;
  await remove(partial);
  try {
    const done = await run(checkpoint, {
      ...options,
      out: partial,
      original: original ?? await originOf(report),
    });
    const bytes = await sizeOf(partial);
    await rename(partial, out);
    return { ...done, ...summary(done), bytes };
  } catch (error) {
    await remove(partial);
    throw error;
  }
}

/** The model that one with `report` goes back to: what loqa made of another is followed to that, as far as it is there. */
async function originOf(
  report: ModelPlace["report"],
): Promise<string | undefined> {
  let model: unknown = report?.model;
  const seen = new Set<string>();
  while (typeof model === "string" && !seen.has(model)) {
    seen.add(model);
    const above = model.replace(/[\\/]+(backbone[\\/]*)?$/, "");
    if (!await exists(joinPath(above, "loqa.json"))) return model;
    model = (await findModel(above)).report?.model;
  }
  return undefined;
}

function summary(
  { layers }: ExportReport,
): Pick<ExportResult, "exact" | "rounding"> {
  const rounded = layers.filter(({ exact }) => !exact);
  return {
    exact: layers.length > 0 && rounded.length === 0,
    rounding: {
      layers: rounded.length,
      max: layers.reduce((most, l) => Math.max(most, l.maxError), 0),
      mean: layers.reduce((sum, l) => sum + l.meanError, 0) /
        Math.max(layers.length, 1),
    },
  };
}

/** Bytes of a file, or of all files in a folder. */
async function sizeOf(path: string): Promise<number> {
  if (await kindOf(path) === "file") return await fileSize(path) ?? 0;
  let sum = 0;
  for (const { name } of await listFolder(path)) {
    sum += await sizeOf(joinPath(path, name));
  }
  return sum;
}
