/**
 * Hashes that tell files and checkpoints apart.
 *
 * @module
 */

import { digest } from "../files/digest.ts";
import type { Checkpoint } from "./checkpoint.ts";

/**
 * A hash that tells a checkpoint from others of its architecture without reading all of it: config, names, shapes,
 * the first row of every tensor, and size and time of the last change of its files.
 */
export async function fingerprint(
  checkpoint: Checkpoint,
  { times = true }: {
    /** Whether files are told apart by when they were changed (true). */
    times?: boolean;
  } = {},
): Promise<string> {
  const { config, tensors } = checkpoint;
  const files = times ? checkpoint.files : undefined;
  const parts: (string | Uint8Array)[] = [
    JSON.stringify([config, [...tensors.values()], files]),
  ];
  for (const { name, shape } of tensors.values()) {
    parts.push(await checkpoint.readRaw(name, 0, Math.min(1, shape[0] ?? 1)));
  }
  return await digest(...parts);
}
