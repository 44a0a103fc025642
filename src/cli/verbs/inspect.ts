/**
 * `loqa inspect`.
 *
 * @module
 */

import type { InitReport } from "../../init/report.ts";
import type { Checkpoint, TensorInfo } from "../../io/checkpoint/checkpoint.ts";
import { exists, joinPath, kindOf } from "../../io/files/deno.ts";
import { openAdapter, openCheckpoint } from "../../io/open.ts";
import { settledPath } from "../../io/output/output.ts";
import type { Adapter } from "../../io/peft/adapter.ts";
import { standingFolder } from "../../io/output/replace.ts";
import { listRuns, readReport } from "../../models/load/runs.ts";
import { PLAIN } from "../common.ts";
import { flag } from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { bytes, columnsWithin, initTable } from "../text/tables.ts";
import { print, printFitted } from "../output.ts";
import { terminalWidth } from "../text/wrap.ts";
import { trainingReports, trainingsText } from "../text/trainings.ts";

/** `loqa inspect`. */
export const verb: Verb = defineVerb({
  name: "inspect",
  takes: "PATH",
  about: `
PATH is a folder that loqa wrote, a model folder, a .safetensors or .gguf file, a PEFT adapter, or hf:owner/name.
Files that no other verb takes (a part of a split model, weights quantised by a method that is not decoded) are described too,
with the reason.
`,
  examples: ["loqa inspect smol-nf4", "loqa inspect model.gguf --tensors"],
  options: {
    tensors: flag({ help: "list every tensor, not only a summary" }),
    ...PLAIN,
  },
  run: ({ positionals: [path], values }) => inspect(path, values),
});

interface TensorRow {
  readonly name: string;
  readonly shape: readonly number[];
  readonly encoding: string;
  readonly bytes: number;
  readonly bitsPerWeight: number;
}

interface ModelReport {
  readonly format: string;
  /** Why it cannot be used as a model, where that is so. */
  readonly notes?: readonly string[];
  readonly modelType: string | null;
  readonly parameters: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly encodings: Readonly<Record<string, Counted>>;
  readonly tensors: readonly TensorRow[];
}

interface Counted {
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
}

interface AdapterReport {
  readonly modules: number;
  readonly ranks: readonly number[];
  readonly scalings: readonly number[];
  readonly parameters: number;
  /** Inputs that QA-LoRA sums. */
  readonly group?: number;
  /** Fingerprint of the quantised weights that it belongs to. */
  readonly base?: string;
  readonly targetModules: unknown;
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

function modelText(
  report: ModelReport,
  every: boolean,
  width: number | undefined,
): string {
  const { format, modelType, parameters, encodings, tensors } = report;
  const rows = every
    ? [
      ["tensor", "shape", "stored as", "bits", "bytes"],
      ...tensors.map((t) => [
        t.name,
        t.shape.join(" x "),
        t.encoding,
        t.bitsPerWeight.toFixed(2),
        bytes(t.bytes),
      ]),
    ]
    : [
      ["stored as", "tensors", "parameters", "bits", "bytes"],
      ...Object.entries(encodings).map(([name, c]) => [
        name,
        `${c.tensors}`,
        c.parameters.toLocaleString("en"),
        ((8 * c.bytes) / Math.max(c.parameters, 1)).toFixed(2),
        bytes(c.bytes),
      ]),
    ];
  const notes = (report.notes ?? []).map((note) =>
    `not a model to use: ${note}\n`
  );
  return `${notes.join("")}${modelType ?? "tensors"} (${format}): ${
    parameters.toLocaleString("en")
  } parameters, ${bytes(report.bytes)}, ${
    report.bitsPerWeight.toFixed(2)
  } bits a parameter

${columnsWithin(rows, every ? [3, 4] : [1, 2, 3, 4], width)}`;
}

function adapterText(report: AdapterReport): string {
  const targets = report.targetModules;
  const kind = report.group === undefined
    ? "LoRA adapter"
    : `QA-LoRA adapter on sums of ${report.group} inputs`;
  return `${kind}: ${report.modules} modules, rank ${
    report.ranks.join(", ")
  }, scaling ${report.scalings.map((s) => +s.toPrecision(6)).join(", ")}, ${
    report.parameters.toLocaleString("en")
  } parameters
for ${
    Array.isArray(targets) ? targets.join(", ") : JSON.stringify(targets)
  } of ${report.baseModel}`;
}

async function inspect(
  named: string,
  { json, tensors: every }: { json: boolean; tensors: boolean },
): Promise<number> {
  const path = await settledPath(named);
  const width = terminalWidth(Deno.stdout);
  const inside = (name: string) => exists(joinPath(path, name));
  const folder = !path.startsWith("hf:") && await kindOf(path) === "folder";
  const parts: string[] = [];
  let found: Record<string, unknown>;
  if (folder && await inside("loqa.json")) {
    const report = await readReport(path) as unknown as InitReport;
    const trainings = await trainingReports(path, { ...report });
    // A folder that only train wrote tells nothing of a quantisation.
    if (report.layers && report.summary && report.options) {
      parts.push(
        trainings.some(({ shown }) => shown)
          ? `Before any training, as init left it:\n\n${
            initTable(report, width)
          }`
          : initTable(report, width),
      );
    }
    found = { kind: "loqa", init: report };
    if (trainings.length > 0) {
      found.trainings = trainings;
      parts.push(trainingsText(trainings, width));
    }
    const backbone = await standingFolder(joinPath(path, "backbone"));
    if (backbone !== undefined) {
      await using model = await openCheckpoint(backbone, { describe: true });
      found.model = modelReport(model);
      parts.push(modelText(found.model as ModelReport, every, width));
    }
    const standing = await standingFolder(joinPath(path, "adapter"));
    if (standing !== undefined) {
      await using adapter = await openAdapter(standing);
      found.adapter = adapterReport(adapter);
      parts.push(adapterText(found.adapter as AdapterReport));
    }
  } else if (folder && (await listRuns(path)).length > 0) {
    // Nothing has ended here yet.
    const trainings = await trainingReports(path, {});
    found = { kind: "loqa", trainings };
    parts.push(trainingsText(trainings, width));
  } else if (folder && await inside("adapter_config.json")) {
    await using adapter = await openAdapter(path);
    const report = adapterReport(adapter);
    found = { kind: "adapter", adapter: report };
    parts.push(adapterText(report));
  } else {
    await using model = await openCheckpoint(path, { describe: true });
    const report = modelReport(model);
    found = { kind: "model", model: report };
    parts.push(modelText(report, every, width));
  }
  if (json) print(JSON.stringify({ verb: "inspect", path, ...found }, null, 2));
  else printFitted(parts.join("\n\n"));
  return 0;
}
