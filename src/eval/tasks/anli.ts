/**
 * ANLI: entailment of a hypothesis that was written so that a model fails, in three rounds (Nie et al.); in its authors'
 * layout (`R1/dev.jsonl`: context, hypothesis, label of e, n, c) or as flattened by Hugging Face.
 *
 * @module
 */

import type { ByteSource } from "../../io/files/bytes.ts";
import { labelledTask } from "./glue.ts";
import type { ClassifyTaskOptions, LabelledTask } from "./glue.ts";

/** The rounds. */
export const ANLI_ROUNDS = [1, 2, 3] as const;

/** Names of a round's test file in its folder `R1`, `R2` or `R3`, or beside it; the first that exists is read. */
export function anliFiles(
  round: number,
  split: "train" | "dev" | "test" = "dev",
): string[] {
  const flat = `${split}_r${round}`;
  return [
    `R${round}/${split}.jsonl`,
    `${flat}.parquet`,
    `${flat}-00000-of-00001.parquet`,
    `${flat}.jsonl`,
    `${flat}.json`,
  ];
}

/**
 * The task of one round: `accuracy`.
 *
 * @throws {SyntaxError} At the first record that cannot be used; it names file and line.
 * @throws {RangeError} If there is none, or the model has another number of classes than three.
 * @throws {TypeError} If the model calls its classes otherwise.
 */
export async function anliTask(
  round: number,
  options: ClassifyTaskOptions & { readonly sources: Iterable<ByteSource> },
): Promise<LabelledTask> {
  return await labelledTask("anli", { ...options, called: `anli-r${round}` });
}
