/**
 * The head for a training, and the meaning of its labels.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { fileSource } from "../io/files/deno.ts";
import { familyOf } from "../models/families.ts";
import {
  type HeadInfo,
  headInfo,
  labelNames,
} from "../models/encoder/head_config.ts";
import type { ModelPlace } from "../models/load/locate.ts";
import { labelsOf } from "../data/tasks/classify.ts";
import { readLabelledSet } from "../data/tasks/glue.ts";
import { type LabelledText, readLabelled } from "../data/tasks/labelled.ts";
import type { LabelReader } from "../data/tasks/labels.ts";
import type { TrainOptions } from "./options.ts";

/** A head, and the reader of the labels that it learns. */
export interface WantedHead {
  readonly info: HeadInfo;
  /** For classification and regression. */
  readonly labels?: LabelReader;
}

/** The labelled texts of files, of a known data set or as their columns have them. */
export async function* labelledTexts(
  files: readonly string[],
  { dataSet }: Pick<TrainOptions, "dataSet">,
): AsyncGenerator<LabelledText> {
  for (const file of files) {
    await using source = await fileSource(file);
    // QQP's own file has lines that end early, which everybody leaves out.
    yield* dataSet
      ? readLabelledSet(dataSet, source, { onShort: () => {} })
      : readLabelled(source);
  }
}

/** Names of the classes of the head that a model has already. */
function ownLabels(
  checkpoint: Checkpoint,
  { report }: ModelPlace,
): readonly string[] | undefined {
  const told = headInfo(report);
  if (told?.kind === "classify") return told.labels;
  const out = familyOf(checkpoint).encoder?.(checkpoint).classifier.out;
  const rows = checkpoint.tensors.get(`${out}.weight`)?.shape[0];
  return rows === undefined ? undefined : labelNames(checkpoint.config, rows);
}

/**
 * The head that a task wants; undefined for those that need none.
 *
 * @throws {RangeError} If the model has another number of classes than the data.
 * @throws {TypeError} If the model names its classes otherwise.
 * @throws {SyntaxError} If a file's columns are not known; it names file and line.
 */
export async function wantedHead(
  checkpoint: Checkpoint,
  place: ModelPlace,
  { options, data }: { options: TrainOptions; data: readonly string[] },
): Promise<WantedHead | undefined> {
  const { task, dataSet } = options;
  if (task === "qa") return { info: { kind: "span", labels: [] } };
  if (task !== "classify") return undefined;
  const texts: LabelledText[] = [];
  for await (const text of labelledTexts(data, options)) texts.push(text);
  const own = ownLabels(checkpoint, place);
  if (own && options.labels && own.length !== options.labels.length) {
    throw new ValueError(
      `Cannot train ${checkpoint.name}: ${options.labels.length} labels are wanted (${
        options.labels.slice(0, 20).join(", ")
      }), its head has ${own.length} (${own.slice(0, 20).join(", ")})`,
    );
  }
  const labels = labelsOf(texts, {
    set: dataSet,
    model: own ?? options.labels,
  });
  return {
    info: {
      kind: "classify",
      labels: labels.regression ? ["value"] : labels.names,
    },
    labels,
  };
}
