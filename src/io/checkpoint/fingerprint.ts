/**
 * Hashes that tell files and checkpoints apart.
 *
 * @module
 */

import { release } from "../../tensor/release.ts";
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

/** SHA-256 of `parts` one after the other, in hexadecimal. */
export async function digest(
  ...parts: readonly (string | ArrayBufferView | undefined)[]
): Promise<string> {
  const bytes = parts.filter((p) => p !== undefined).map((part) =>
    typeof part === "string"
      ? new TextEncoder().encode(part)
      : new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
  );
  const whole = new Uint8Array(
    bytes.reduce((sum, b) => sum + b.byteLength, 0),
  );
  let at = 0;
  for (const b of bytes) {
    whole.set(b, at);
    at += b.byteLength;
  }
  const hash = await crypto.subtle.digest("SHA-256", whole);
  release(whole);
  return new Uint8Array(hash).toHex();
}
