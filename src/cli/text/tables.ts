/**
 * Tables that the verbs print for a person.
 *
 * @module
 */

import { type InitReport, type LayerReport, mean } from "../../init/report.ts";
import { loadingLine } from "../loading.ts";
import { clock } from "./progress.ts";

/** Columns of text, numbers (`right`) aligned at their end. */
export function columns(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, cell.length));
  }
  return rows.map((row) =>
    row.map((cell, i) =>
      right.includes(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])
    ).join("  ").trimEnd()
  ).join("\n");
}

/** `1 step`, `2 steps`. */
export function counted(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

/**
 * As {@linkcode columns}, in at most `width` characters a line: what does not fit follows below, the first column again
 * before it.
 */
export function columnsWithin(
  rows: readonly (readonly string[])[],
  right: readonly number[],
  width = Infinity,
): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, cell.length));
  }
  const bands: number[][] = [];
  let used = Infinity;
  for (let i = 1; i < widths.length; i++) {
    if (used + 2 + widths[i] > width || bands.length === 0) {
      bands.push([0]);
      used = widths[0];
    }
    bands.at(-1)!.push(i);
    used += 2 + widths[i];
  }
  return bands.map((band) =>
    columns(
      rows.map((row) => band.map((i) => row[i] ?? "")),
      band.flatMap((i, at) => right.includes(i) ? [at] : []),
    )
  ).join("\n\n");
}

/** `1234567` as `1.2 MB`. */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${
    units[unit]
  }`;
}

/** The result of `loqa init`: a row for each kind of layer, in so many columns of the screen, and what was written. */
export function initTable(report: InitReport, width?: number): string {
  const { layers, summary, out } = report;
  const groups = Map.groupBy(
    layers,
    ({ name, format }) => `${name.slice(name.lastIndexOf(".") + 1)} ${format}`,
  );
  const gain = (plain: number, error: number) =>
    plain === 0 || error === plain
      ? ""
      : `${error > plain ? "+" : ""}${
        ((error / plain - 1) * 100).toFixed(1)
      } %`;
  const row = (
    label: string,
    format: string,
    list: readonly LayerReport[],
  ): string[] => {
    const plain = mean(list.map((l) => l.plainError));
    const error = mean(list.map((l) => l.error));
    return [
      label,
      format,
      `${list.length}`,
      plain.toFixed(5),
      error.toFixed(5),
      gain(plain, error),
    ];
  };
  const rows = [["layers", "format", "n", "plain", "with BA", ""]];
  for (const [key, list] of groups) {
    const [label, format] = key.split(" ");
    rows.push(row(label, format, list));
  }
  const formats = new Set(layers.map((l) => l.format));
  rows.push(row("all", formats.size === 1 ? [...formats][0] : "mixed", layers));
  const output = layers.some((l) => l.outputError !== undefined)
    ? `\nat the layers' outputs: ${
      mean(layers.map((l) => l.plainOutputError ?? 0)).toFixed(5)
    } plain, ${
      mean(layers.map((l) => l.outputError ?? 0)).toFixed(5)
    } with BA\n`
    : "";
  return `Relative error of the weights, quantised alone and with the adapter:

${columnsWithin(rows, [2, 3, 4, 5], width)}
${output}
${
    report.kept === undefined
      ? ""
      : `Nothing was quantised: codes and scales are those of ${report.kept}.\n`
  }${
    report.group === undefined
      ? ""
      : `QA-LoRA: the adapter sees sums of ${report.group} inputs and ${
        report.merged ? "is merged" : "merges"
      } into the biases exactly.\n`
  }${summary.bitsPerWeight.toFixed(2)} bits a weight, ${
    clock(summary.seconds)
  }, at most ${bytes(summary.peakBytes)} of memory.
Written to ${out}: ${
    report.options.backbone === "none"
      ? ""
      : `backbone/ (${report.options.backbone}), `
  }${
    report.merged
      ? ""
      : `adapter/ (${report.group === undefined ? "PEFT" : "QA-LoRA"}), `
  }loqa.json
${loadingLine(report) ?? ""}`.trimEnd();
}
