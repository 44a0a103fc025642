/**
 * `loqa inspect`.
 *
 * @module
 */

import type { InitReport } from "../../init/report.ts";
import {
  type AdapterReport,
  inspect,
  type InspectReport,
  type ModelReport,
} from "../../inspect/run.ts";
import { PLAIN } from "../common.ts";
import { flag } from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { bytes, columnsWithin, initTable } from "../text/tables.ts";
import { print, printFitted } from "../output.ts";
import { terminalWidth } from "../text/wrap.ts";
import { trainingsText } from "../text/trainings.ts";

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
  async run({ positionals: [path], values }) {
    const report = await inspect(path);
    if (values.json) print(JSON.stringify(report, null, 2));
    else {
      const width = terminalWidth(Deno.stdout);
      printFitted(inspectText(report, { every: values.tensors, width }));
    }
    return 0;
  },
});

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

/** A report for a person, in so many columns of the screen. */
function inspectText(
  { init = {}, trainings = [], model, adapter }: InspectReport,
  { every, width }: { every: boolean; width: number | undefined },
): string {
  const { layers, summary, options } = init;
  // A folder that only train wrote tells nothing of a quantisation.
  const table = layers && summary && options
    ? initTable(init as InitReport, width)
    : undefined;
  const before = trainings.some(({ shown }) => shown)
    ? "Before any training, as init left it:\n\n"
    : "";
  return [
    ...table === undefined ? [] : [`${before}${table}`],
    ...trainings.length > 0 ? [trainingsText(trainings, width)] : [],
    ...model ? [modelText(model, every, width)] : [],
    ...adapter ? [adapterText(adapter)] : [],
  ].join("\n\n");
}
