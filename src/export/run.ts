/**
 * Exporting a model to the format of another runtime.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { checkSideFiles } from "../io/safetensors/copy.ts";
import { fileSize, joinPath, kindOf, listFolder } from "../io/files/deno.ts";
import { openCheckpoint } from "../io/open.ts";
import { openOutput } from "../io/output/output.ts";
import {
  findModel,
  type ModelPlace,
  type PlaceOptions,
  resolveStored,
} from "../models/load/locate.ts";
import { readReport } from "../models/load/runs.ts";
import type { Exporter, ExporterOptions, ExportReport } from "./exporter.ts";

export type {
  ExportDType,
  ExportedLayer,
  Exporter,
  ExporterOptions,
  ExportReport,
} from "./exporter.ts";
export type { RoundingLoss } from "./rounding.ts";
export type { AffineBlockType } from "../io/ggml/types.ts";
export type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
export type { FormatName } from "../quant/formats.ts";

/** A row of the table of targets. */
export interface ExportTarget {
  /** Kind of the output: one file or a folder. */
  readonly kind: "file" | "folder";
  /** One line for a person. */
  readonly summary: string;
  /** Loads its code. */
  load(): Promise<Exporter>;
}

/** Targets of an export. */
export const TARGETS: Readonly<Record<string, ExportTarget>> = {
  gguf: {
    kind: "file",
    summary: "one file for llama.cpp and all that builds on it",
    load: async () => (await import("./gguf/export.ts")).exportGguf,
  },
  onnx: {
    kind: "folder",
    summary: "a graph for ONNX Runtime and transformers.js",
    load: async () => (await import("./onnx/export.ts")).exportOnnx,
  },
  mlx: {
    kind: "folder",
    summary: "a folder for mlx and mlx_lm",
    load: async () => (await import("./affine/mlx.ts")).exportMlx,
  },
  hqq: {
    kind: "folder",
    summary: "a folder of HQQ's layers, axis=1",
    load: async () => (await import("./affine/hqq.ts")).exportHqq,
  },
  gptq: {
    kind: "folder",
    summary: "a folder for GPTQModel; approximate, its zeros are whole",
    load: async () => (await import("./affine/gptq.ts")).exportGptq,
  },
};

/** Options of {@linkcode exportModel}. */
export interface ExportOptions extends ExporterOptions, PlaceOptions {
  /** Key of {@linkcode TARGETS}. */
  readonly to: string;
  /** Folder of an adapter in the place of the model's own; one that is not merged is refused. */
  readonly adapter?: string;
  /** True if the model's own adapter counts (true); without it, its weights alone are written. */
  readonly own?: boolean;
  /** Takes a line that a person should see. */
  readonly onNote?: (line: string) => void;
}

/** Result of an export. */
export interface ExportResult extends ExportReport {
  /** True if every quantised value is the same to the bit; false where nothing is quantised. */
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
 * Writes the model at `path`, a folder that loqa wrote or a checkpoint, in the format of another runtime. The output
 * appears whole at `out` or not at all.
 *
 * @throws {RangeError} If the target is unknown, `out` is there already, or the model's adapter is not merged.
 * @throws {TypeError} If the target cannot hold the model.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { exportModel } from "@loqa/loqa/export";
 *
 * const out = `${await Deno.makeTempDir()}/model.gguf`;
 * const { bytes } = await exportModel("examples/model", { to: "gguf", out });
 * assert.equal((await Deno.stat(out)).size, bytes);
 * ```
 */
export async function exportModel(
  path: string,
  { to, out, original, ...rest }: ExportOptions,
): Promise<ExportResult> {
  if (!Object.hasOwn(TARGETS, to)) {
    throw new ValueError(
      `Cannot export to "${to}": wanted one of ${
        Object.keys(TARGETS).join(", ")
      }`,
    );
  }
  const { adapter: given, own = true, onNote, ...options } = rest;
  const found = await findModel(path, rest);
  for (const line of found.notes ?? []) onNote?.(line);
  const { model } = found;
  const adapter = given ?? (own ? found.adapter : undefined);
  if (adapter !== undefined) {
    const how = rest.checkpoint === undefined
      ? ""
      : ` --checkpoint ${rest.checkpoint}`;
    throw new ValueError(
      `Cannot export ${path}: ${
        given === undefined ? "its" : "the"
      } adapter ${adapter} is not merged; run "loqa merge ${path}${how}${
        given === undefined ? "" : ` --adapter ${given}`
      } -o MERGED" first and export that`,
    );
  }
  for (const line of found.taken ?? []) onNote?.(line);
  const { kind, load } = TARGETS[to];
  await using output = await openOutput(out, { verb: "export", kind });
  const run = await load();
  await using checkpoint = await openCheckpoint(model);
  checkSideFiles(checkpoint);
  await output.begin();
  const done = await run(checkpoint, {
    ...options,
    out: output.result,
    original: original ?? await originOf(path, { found, to, onNote }),
  });
  const bytes = await sizeOf(output.result);
  options.signal?.throwIfAborted();
  await output.settle();
  return { ...done, ...summary(done), bytes };
}

/**
 * The original of a model, through loqa's own outputs. Where a GGUF file is wanted and the original is gone, a note says
 * so.
 */
async function originOf(
  path: string,
  { found, to, onNote }: {
    found: ModelPlace;
    to: string;
    onNote?: (line: string) => void;
  },
): Promise<string | undefined> {
  let folder = path;
  let named = found.report?.model;
  const seen = new Set<string>();
  while (typeof named === "string" && !seen.has(`${folder} ${named}`)) {
    seen.add(`${folder} ${named}`);
    const model = await resolveStored(folder, named);
    if (model === undefined) {
      if (to === "gguf" && named.endsWith(".gguf")) {
        onNote?.(
          `${named}, which ${folder} was made from, is not there: metadata, tokenizer and plain tensors are not copied from it but made from the model's config`,
        );
      }
      return undefined;
    }
    const above = model.replace(/[\\/]+(backbone[\\/]*)?$/, "");
    const report = await readReport(above);
    if (!report) return model;
    [folder, named] = [above, report.model];
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
