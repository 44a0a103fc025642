/**
 * Hashes that identify files and checkpoints.
 *
 * @module
 */

import { digest } from "../files/digest.ts";
import type { Checkpoint } from "./checkpoint.ts";

/** Two hashes that identify a checkpoint among those of its architecture. */
export interface Fingerprints {
  /** Of config, names, shapes and the first row of every tensor. */
  readonly content: string;
  /** Of size and time of the last change of its files as well. */
  readonly files: string;
}

/** The hashes of a checkpoint, without reading all of it. */
export async function fingerprints(
  checkpoint: Checkpoint,
): Promise<Fingerprints> {
  const { config, tensors, files } = checkpoint;
  // The quantised form follows from the encoding; hashes from before it had a field are to stay.
  const infos = [...tensors.values()].map(({ quantized: _, ...info }) => info);
  const rows: Uint8Array[] = [];
  for (const { name, shape } of infos) {
    rows.push(await checkpoint.readRaw(name, 0, Math.min(1, shape[0] ?? 1)));
  }
  const of = (files: Checkpoint["files"]) =>
    digest(JSON.stringify([config, infos, files]), ...rows);
  return { content: await of(undefined), files: await of(files) };
}

/** The hash of a checkpoint and of its files. */
export async function fingerprint(checkpoint: Checkpoint): Promise<string> {
  return (await fingerprints(checkpoint)).files;
}
