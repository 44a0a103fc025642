/**
 * The journal of an unfinished run: its options and the layers that are safely on the disk, so that a later run continues
 * from there and ends with the same bytes.
 *
 * @module
 */

import { FormatError } from "../errors.ts";
import {
  exists,
  fileSource,
  readBytes,
  writeFileAtomic,
} from "../io/files/deno.ts";
import { quoted } from "../io/files/errors.ts";
import { digest } from "../io/files/digest.ts";
import {
  isObject,
  type JsonObject,
  MOST_TABLE,
  parseJsonObject,
} from "../io/files/json.ts";
import type { LayerReport } from "./report.ts";

/** A finished layer. */
export interface JournalLayer {
  readonly report: LayerReport;
  /** SHA-256 of the quantised weight. */
  readonly digest: string;
  /** Bytes, in base64, of tensors that the file takes only at its end. */
  readonly late: Readonly<Record<string, string>>;
}

/** Bytes of a file at a safe point, and their hash. */
export interface JournalPart {
  readonly file: "backbone" | "adapter";
  readonly from: number;
  readonly to: number;
  /** SHA-256 of the bytes. */
  readonly digest: string;
}

/** State of an unfinished run at its last safe point. */
export interface JournalState {
  /** Hash of everything that decides the bytes of the result. */
  readonly key: string;
  /** Bytes of the backbone and adapter files that are whole. */
  readonly backboneBytes: number;
  readonly adapterBytes: number;
  /** The parts of those bytes, in order. */
  readonly parts: readonly JournalPart[];
  readonly layers: readonly JournalLayer[];
}

/** Bytes of a part at the most, which are read at once. */
const PART = 2 ** 26;

/**
 * Reads the journal at `path`; undefined where there is none or it is not as it was written.
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
      } is no journal of a run; run with --force, without --resume, to start anew`,
    );
  }
  const { check, ...written } = state;
  return check === await digest(JSON.stringify(written))
    ? written as unknown as JournalState
    : undefined;
}

function isState(state: unknown): boolean {
  const bytes = (n: unknown) => Number.isSafeInteger(n) && Number(n) >= 0;
  return isObject(state) && typeof state.key === "string" &&
    bytes(state.backboneBytes) && bytes(state.adapterBytes) &&
    Array.isArray(state.parts) && Array.isArray(state.layers) &&
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
  const check = await digest(JSON.stringify(state));
  await writeFileAtomic(path, JSON.stringify({ ...state, check }));
}

/** The parts of the file at `path` from byte `from` up to `to`. */
export async function partsOf(
  file: JournalPart["file"],
  path: string,
  { from, to }: { from: number; to: number },
): Promise<JournalPart[]> {
  const parts: JournalPart[] = [];
  if (from >= to) return parts;
  await using source = await fileSource(path);
  for (let at = from; at < to; at += PART) {
    const end = Math.min(to, at + PART);
    const mark = await digest(await source.read(at, end - at));
    parts.push({ file, from: at, to: end, digest: mark });
  }
  return parts;
}

/** True if the files at these paths are still those of the journal. */
export async function areSame(
  parts: readonly JournalPart[],
  paths: Readonly<Record<JournalPart["file"], string>>,
): Promise<boolean> {
  for (const part of parts) {
    const [found] = await partsOf(part.file, paths[part.file], part);
    if (found?.digest !== part.digest) return false;
  }
  return true;
}
