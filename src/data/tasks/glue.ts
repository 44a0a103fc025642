/**
 * The data sets of GLUE, and ANLI: columns of their files and numbers of their labels.
 *
 * @module
 */

import type { ByteSource } from "../../io/files/bytes.ts";
import { readLabelled } from "./labelled.ts";
import type { LabelledText } from "./labelled.ts";
import type { ClassLabels, NumberLabels } from "./labels.ts";

/** A data set of GLUE, or ANLI. */
export type LabelledSetName =
  | "cola"
  | "sst2"
  | "mrpc"
  | "stsb"
  | "qqp"
  | "mnli"
  | "qnli"
  | "rte"
  | "anli";

/** A data set: number of texts, labels. */
export interface LabelledSetInfo {
  /** Texts of a record. */
  readonly texts: 1 | 2;
  /** Its labels, in the order of GLUE's (and ANLI's) numbers. */
  readonly labels: ClassLabels | NumberLabels;
}

const INFERENCE = ["entailment", "neutral", "contradiction"];
const HALF_INFERENCE = ["entailment", "not_entailment"];

/** Every data set. */
export const LABELLED_SETS: Readonly<Record<LabelledSetName, LabelledSetInfo>> =
  {
    cola: { texts: 1, labels: { names: ["unacceptable", "acceptable"] } },
    sst2: { texts: 1, labels: { names: ["negative", "positive"] } },
    mrpc: { texts: 2, labels: { names: ["not_equivalent", "equivalent"] } },
    stsb: { texts: 2, labels: { range: [0, 5] } },
    qqp: { texts: 2, labels: { names: ["not_duplicate", "duplicate"] } },
    mnli: { texts: 2, labels: { names: INFERENCE } },
    qnli: { texts: 2, labels: { names: HALF_INFERENCE } },
    rte: { texts: 2, labels: { names: HALF_INFERENCE } },
    anli: {
      texts: 2,
      labels: {
        names: INFERENCE,
        aliases: { e: "entailment", n: "neutral", c: "contradiction" },
      },
    },
  };

/** True if `name` is one of {@linkcode LABELLED_SETS}. */
export function isLabelledSet(name: string): name is LabelledSetName {
  return Object.hasOwn(LABELLED_SETS, name);
}

/**
 * The records of a file of a data set, in its authors' layout or another that is in use.
 *
 * @param options `onShort`: called with the line of each record of QQP that ends early. Its published file has such,
 * which Hugging Face's loader leaves out too; an error without it.
 * @throws {SyntaxError} As `readLabelled`.
 */
export async function* readLabelledSet(
  name: LabelledSetName,
  source: ByteSource,
  { onShort }: { onShort?: (line: number) => void } = {},
): AsyncGenerator<LabelledText> {
  yield* readLabelled(source, {
    texts: LABELLED_SETS[name].texts,
    onShort: name === "qqp" ? onShort : undefined,
  });
}
