/**
 * Config entries of an encoder's head.
 *
 * @module
 */

import { isObject, type JsonObject } from "../../io/files/json.ts";

/** A head that fine-tuning put on an encoder, as `loqa.json` has it. */
export interface HeadInfo {
  /** Kind of head. */
  readonly kind: "classify" | "span";
  /** Names of its classes; one for a regression head; none for spans. */
  readonly labels: readonly string[];
}

/** Names of transformers' model classes by model type. */
const CLASSES: Readonly<Record<string, string>> = {
  bert: "Bert",
  roberta: "Roberta",
  "deberta-v2": "DebertaV2",
};

/** Entries of `config.json` that say that a model has this head. */
export function headConfig(
  modelType: unknown,
  { kind, labels }: HeadInfo,
): JsonObject {
  const name = CLASSES[String(modelType)] ?? "";
  if (kind === "span") {
    return { architectures: [`${name}ForQuestionAnswering`] };
  }
  return {
    architectures: [`${name}ForSequenceClassification`],
    id2label: Object.fromEntries(labels.map((label, i) => [`${i}`, label])),
    label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
    "problem_type": labels.length === 1
      ? "regression"
      : "single_label_classification",
  };
}

/** Names of the classes of a head with so many, in its order: those of `id2label`, or transformers' own, `LABEL_0`, …. */
export function labelNames(
  { id2label: names }: JsonObject,
  count: number,
): string[] {
  const own = isObject(names) ? names : {};
  return Array.from({ length: count }, (_, i) => {
    const name = own[`${i}`];
    return typeof name === "string" && Object.keys(own).length === count
      ? name
      : `LABEL_${i}`;
  });
}

/** The head recorded in a `loqa.json`. */
export function headInfo(report: JsonObject | undefined): HeadInfo | undefined {
  const head = report?.head;
  if (!isObject(head)) return undefined;
  const { kind, labels } = head;
  if (kind !== "classify" && kind !== "span") return undefined;
  return {
    kind,
    labels: Array.isArray(labels)
      ? labels.filter((label) => typeof label === "string")
      : [],
  };
}
