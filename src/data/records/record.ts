/**
 * Records of data files: fields by name, and the place of each record.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quoted } from "../../io/files/errors.ts";

/** One record of a data file. */
export interface DataRecord {
  /** Values by name: texts from CSV, anything that JSON or Parquet holds otherwise. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** The fields as the file has them: see {@linkcode exactFields}. */
  readonly exact?: () => Readonly<Record<string, unknown>>;
  /** File that it came from. */
  readonly file: string;
  /** Its number among the records of the file, from 1. */
  readonly row: number;
  /** Line of the file on which it begins, from 1; undefined in files without lines. */
  readonly line?: number;
}

/**
 * The fields of a record as its file has them: of JSON, numbers that would not come back as they are written are
 * `JsonNumber`, and objects whose keys would change places are `Map`.
 */
export function exactFields(
  record: DataRecord,
): Readonly<Record<string, unknown>> {
  return record.exact?.() ?? record.fields;
}

/** Place of a record, for errors: `"train.jsonl", line 3`, or `"train.parquet", row 3`. */
export function placeOf(
  { file, row, line }: Pick<DataRecord, "file" | "row" | "line">,
): string {
  return `${quoted(file)}, ${
    line === undefined ? `row ${row}` : `line ${line}`
  }`;
}

/** The error for a record that cannot be used. */
export function recordError(
  record: Pick<DataRecord, "file" | "row" | "line">,
  reason: string,
): SyntaxError {
  return new FormatError(`Cannot use ${placeOf(record)}: ${reason}`);
}

/**
 * The text in field `name` of a record.
 *
 * @throws {SyntaxError} If there is no such field or it holds no text; it names file and line.
 */
export function textField(record: DataRecord, name: string): string {
  const value = record.fields[name];
  if (typeof value === "string") return value;
  if (value === undefined) {
    const names = Object.keys(record.fields).slice(0, 20).map(quoted);
    throw recordError(
      record,
      `wanted a field ${quoted(name)}, got ${names.join(", ") || "none"}`,
    );
  }
  throw recordError(
    record,
    `field ${quoted(name)}: wanted a text, got ${kindOf(value)}`,
  );
}

/**
 * `items`, made of the records of a file, as they come; a file without any is a mistake, not a small one.
 *
 * @throws {SyntaxError} If there is none; it names the file.
 */
export async function* someOf<T>(
  items: AsyncIterable<T> | Iterable<T>,
  file: string,
  /** True if there were others, which are reported elsewhere. */
  others: () => boolean = () => false,
): AsyncGenerator<T> {
  let some = false;
  for await (const item of items) {
    some = true;
    yield item;
  }
  if (!some && !others()) {
    throw new FormatError(
      `Cannot use ${quoted(file)}: it is empty; wanted a record at the least`,
    );
  }
}

/** Kind of a value, in an error's words. */
export function kindOf(value: unknown): string {
  if (value === undefined) return "none";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
