/**
 * Source/target pairs: summaries, pronunciations.
 *
 * @module
 */

import type { ByteSource } from "../../io/files/bytes.ts";
import { quoted } from "../../io/files/errors.ts";
import { isObject } from "../../io/files/json.ts";
import { readLines } from "../records/lines.ts";
import { wholeObject } from "../records/object.ts";
import { kindOf, recordError, someOf, textField } from "../records/record.ts";
import type { DataRecord } from "../records/record.ts";
import { formatOfFile, readRecords } from "../records/records.ts";

/** A source/target pair. */
export interface TextPair {
  /** The encoder's input. */
  readonly source: string;
  /** The text to generate. */
  readonly target: string;
  /** Its record, for errors. */
  readonly record: DataRecord;
}

/** Names of the two columns. */
export type PairColumns = readonly [source: string, target: string];

/** Names that the columns have: XSum's, CNN/DailyMail's, SAMSum's, and others in use. */
const COLUMNS: readonly PairColumns[] = [
  ["document", "summary"],
  ["article", "highlights"],
  ["dialogue", "summary"],
  ["text", "summary"],
  ["source", "target"],
];

/** Columns of a record at most, where a JSON object may be one or a dictionary. */
const MOST_COLUMNS = 64;

/** Options of {@linkcode readPairs}. */
export interface PairOptions {
  /** The columns; by default recognised. */
  readonly columns?: PairColumns;
}

/**
 * The pairs of a data file: records with two known columns, or a JSON dictionary of words and their pronunciations,
 * of which an object by part of speech counts with its `DEFAULT`.
 *
 * @throws {SyntaxError} If there are no such columns, or a text is missing or empty; it names file and line.
 */
export async function* readPairs(
  source: ByteSource,
  { columns }: PairOptions = {},
): AsyncGenerator<TextPair> {
  const known = columns ? [columns] : COLUMNS;
  const among = (fields: object) =>
    known.find((names) => names.every((name) => Object.hasOwn(fields, name)));
  const whole = formatOfFile(source.name) === "json"
    ? await wholeObject(source)
    : undefined;
  // A dictionary has the words "source" and "target" too, and more words than a record has columns.
  if (whole && !(among(whole) && Object.keys(whole).length <= MOST_COLUMNS)) {
    yield* someOf(readDictionary(whole, source.name), source.name);
    return;
  }
  let found: PairColumns | undefined;
  for await (const record of readRecords(source)) {
    found ??= among(record.fields);
    if (!found) {
      const wanted = known.map((names) => names.map(quoted).join(" and "));
      const got = Object.keys(record.fields).slice(0, 20).map(quoted);
      throw recordError(
        record,
        `wanted the columns ${wanted.join(", or ")}, got ${
          got.join(", ") || "none"
        }`,
      );
    }
    const [from, to] = found;
    yield pairOf(record, textField(record, from), textField(record, to));
  }
}

function pairOf(record: DataRecord, source: string, target: string): TextPair {
  if (source.trim() === "" || target.trim() === "") {
    throw recordError(
      record,
      `wanted a source and a target, got an empty ${
        source.trim() === "" ? "text" : "target"
      }`,
    );
  }
  return { source, target, record };
}

function* readDictionary(
  words: Readonly<Record<string, unknown>>,
  file: string,
): Generator<TextPair> {
  let row = 0;
  for (const [word, value] of Object.entries(words)) {
    const record = { fields: { [word]: value }, file, row: ++row };
    const spoken = isObject(value) ? value.DEFAULT : value;
    if (typeof spoken !== "string") {
      throw recordError(
        record,
        `wanted a pronunciation of ${quoted(word)}${
          isObject(value) ? " under DEFAULT" : ""
        }, got ${spoken === undefined ? "none" : kindOf(spoken)}`,
      );
    }
    yield pairOf(record, word, spoken);
  }
}

/**
 * The pairs of two files with a text on each line, as fairseq has CNN/DailyMail and XSum (`test.source`,
 * `test.target`).
 *
 * @throws {SyntaxError} If one has more lines than the other, or a line is empty; it names file and line.
 */
export function readParallel(
  source: ByteSource,
  target: ByteSource,
): AsyncGenerator<TextPair> {
  return someOf(parallelPairs(source, target), source.name);
}

async function* parallelPairs(
  source: ByteSource,
  target: ByteSource,
): AsyncGenerator<TextPair> {
  const targets = readLines(target);
  let last = 0;
  for await (const { text, line } of readLines(source)) {
    const other = await targets.next();
    const record = { fields: {}, file: source.name, row: line, line };
    if (other.done) {
      throw recordError(
        record,
        `wanted as many lines as ${quoted(target.name)}, which has ${last}`,
      );
    }
    last = line;
    yield pairOf(record, text, other.value.text);
  }
  const more = await targets.next();
  if (more.done) return;
  const { line } = more.value;
  throw recordError(
    { file: target.name, row: line, line },
    `wanted as many lines as ${quoted(source.name)}, which has ${last}`,
  );
}
