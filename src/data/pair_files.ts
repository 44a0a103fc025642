/**
 * Files of source/target pairs.
 *
 * @module
 */

import { fileSource } from "../io/files/deno.ts";
import { readPairs, readParallel, type TextPair } from "./tasks/pairs.ts";

/** Pairs of texts of a file, or of two files beside each other. */
export async function* pairsIn(path: string): AsyncGenerator<TextPair> {
  const end = ".source";
  await using source = await fileSource(path);
  if (!path.endsWith(end)) {
    yield* readPairs(source);
    return;
  }
  await using target = await fileSource(
    `${path.slice(0, -end.length)}.target`,
  );
  yield* readParallel(source, target);
}
