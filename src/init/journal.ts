/**
 * The journal of an unfinished run: what was asked for and which layers are safely on the disk, so that a later run
 * goes on from there and ends with the same bytes.
 *
 * @module
 */

import type { Checkpoint } from "../io/checkpoint.ts";
import { exists, readTextFile, writeFileAtomic } from "../io/deno.ts";
import type { LayerReport } from "./report.ts";

/** A finished layer. */
export interface JournalLayer {
  readonly report: LayerReport;
  /** SHA-256 of the quantised weight. */
  readonly digest: string;
  /** Bytes, in base64, of tensors that the file takes only at its end. */
  readonly late: Readonly<Record<string, string>>;
}

/** State of an unfinished run at its last safe point. */
export interface JournalState {
  /** Hash of everything that decides the bytes of the result. */
  readonly key: string;
  /** Bytes of the backbone and adapter files that are whole. */
  readonly backboneBytes: number;
  readonly adapterBytes: number;
  readonly layers: readonly JournalLayer[];
}

/**
 * A hash that tells a checkpoint from others of its architecture without reading all of it: config, names, shapes,
 * and the first row of every tensor.
 */
export async function fingerprint(checkpoint: Checkpoint): Promise<string> {
  const { config, tensors } = checkpoint;
  const parts: (string | Uint8Array)[] = [
    JSON.stringify([config, [...tensors.values()]]),
  ];
  for (const { name, shape } of tensors.values()) {
    parts.push(await checkpoint.readRaw(name, 0, Math.min(1, shape[0] ?? 1)));
  }
  return await digest(...parts);
}

/** Reads the journal at `path`; undefined where there is none or a crash left it unreadable. */
export async function readJournal(
  path: string,
): Promise<JournalState | undefined> {
  if (!await exists(path)) return undefined;
  try {
    return JSON.parse(await readTextFile(path));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Replaces the journal at `path`. */
export async function writeJournal(
  path: string,
  state: JournalState,
): Promise<void> {
  await writeFileAtomic(path, JSON.stringify(state));
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
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole)).toHex();
}
