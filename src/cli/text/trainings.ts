/**
 * Training runs of a folder, as `loqa inspect` lists them.
 *
 * @module
 */

import type { TrainingReport } from "../../inspect/run.ts";
import { splitPath } from "../../io/files/paths.ts";
import { columnsWithin } from "./tables.ts";

/** Trainings as a table, in so many columns of the screen, and what was wrong with them. */
export function trainingsText(
  reports: readonly TrainingReport[],
  width?: number,
): string {
  const arrow = (values: { before?: unknown; after?: unknown } | undefined) =>
    values
      ? `${Number(values.before).toFixed(4)} -> ${
        Number(values.after).toFixed(4)
      }`
      : "";
  const rows = reports.map((training) => [
    training.run === undefined ? "" : `${training.run}`,
    training.ended
      ? `${training.steps}`
      : `${training.done} of ${training.steps}, unfinished`,
    training.from === undefined
      ? ""
      : training.from.replace(/^\.\.\//, "run ").replace(
        /^run 0$/,
        "initial",
      ),
    training.data.map((file) => splitPath(file).name).join(", "),
    arrow(training.loss),
    arrow(training.evaluation),
    training.shown ? "current result" : "",
  ]);
  const head = ["run", "steps", "from", "data", "loss", "evaluation", ""];
  const used = head.map((_, i) => rows.some((row) => row[i] !== ""));
  const lines = [head, ...rows].map((row) => row.filter((_, i) => used[i]));
  return [
    columnsWithin(lines, [], width),
    ...reports.flatMap(({ run, warnings }) =>
      warnings.map((line) => `run ${run}: ${line}`)
    ),
  ].join("\n");
}
