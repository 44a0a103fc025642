/**
 * The journal of an unfinished run: what was asked for and which layers are safely on the disk, so that a later run
 * goes on from there and ends with the same bytes.
 *
 * @module
 */

import { FormatError } from "../errors.ts";
import { exists, readBytes, writeFileAtomic } from "../io/deno.ts";
import { quoted } from "../io/errors.ts";
import {
  isObject,
  type JsonObject,
  MOST_TABLE,
  parseJsonObject,
} from "../io/json.ts";
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
 * Reads the journal at `path`; undefined where there is none or a crash left it unreadable.
 *
 * @throws {SyntaxError} If it is JSON but none of a run's: somebody else has changed it.
 */
export async function readJournal(
  path: string,
): Promise<JournalState | undefined> {
  if (!await exists(path)) return undefined;
  const bytes = await readBytes(path);
  let state: JsonObject;
  try {
    state = parseJsonObject(bytes, path, { most: MOST_TABLE });
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
  if (!isState(state)) {
    throw new FormatError(
      `Cannot resume: ${
        quoted(path)
      } is no journal of a run; run without --resume to start anew`,
    );
  }
  return state;
}

function isState(state: unknown): state is JournalState {
  const bytes = (n: unknown) => Number.isSafeInteger(n) && Number(n) >= 0;
  return isObject(state) && typeof state.key === "string" &&
    bytes(state.backboneBytes) && bytes(state.adapterBytes) &&
    Array.isArray(state.layers) &&
    state.layers.every((layer) =>
      isObject(layer) && isObject(layer.report) &&
      typeof layer.report.name === "string" &&
      typeof layer.digest === "string" && isObject(layer.late) &&
      Object.values(layer.late).every((text) => typeof text === "string")
    );
}

/** Replaces the journal at `path`. */
export async function writeJournal(
  path: string,
  state: JournalState,
): Promise<void> {
  await writeFileAtomic(path, JSON.stringify(state));
}
