/**
 * Data files by their extension, as records.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { ByteSource } from "../../io/files/bytes.ts";
import { quoted } from "../../io/files/errors.ts";
import { decodeText } from "../../io/files/json.ts";
import { readCsv } from "./csv.ts";
import { readJson } from "./json.ts";
import { MAX_TEXT_BYTES, readLines } from "./lines.ts";
import type { LineOptions } from "./lines.ts";
import { type DataRecord, someOf } from "./record.ts";

/** A format of data files. */
export type DataFormat = "jsonl" | "json" | "csv" | "tsv" | "text" | "parquet";

/** Unit of a plain text that is one record: the file, lines between empty ones, or a line that is not empty. */
export type TextUnit = "file" | "paragraph" | "line";

/** Every {@linkcode TextUnit}. */
export const TEXT_UNITS: readonly TextUnit[] = ["file", "paragraph", "line"];

/** Options of {@linkcode readRecords}. */
export interface ReadOptions extends LineOptions {
  /** Format, where the extension does not say it. */
  readonly format?: DataFormat;
  /** Unit of a plain text that is one record ("line"). */
  readonly unit?: TextUnit;
  /** True if the first record of CSV and TSV names the fields (true). */
  readonly header?: boolean;
  /** Called with the line of each CSV or TSV record with fewer fields than the first, which is skipped. */
  readonly onShort?: (line: number) => void;
}

const EXTENSIONS: Readonly<Record<string, DataFormat>> = {
  jsonl: "jsonl",
  ndjson: "jsonl",
  json: "json",
  csv: "csv",
  tsv: "tsv",
  txt: "text",
  text: "text",
  md: "text",
  raw: "text",
  parquet: "parquet",
};

/** The format of a data file by its extension. @throws {RangeError} If there is none that is known. */
export function formatOfFile(name: string): DataFormat {
  const extension = /\.([^./\\]+)$/.exec(name)?.[1].toLowerCase() ?? "";
  if (Object.hasOwn(EXTENSIONS, extension)) return EXTENSIONS[extension];
  throw new ValueError(
    `Cannot read ${quoted(name)} as data: wanted one of .${
      Object.keys(EXTENSIONS).join(", .")
    }, got ${extension === "" ? "no extension" : quoted(`.${extension}`)}`,
  );
}

/**
 * The records of a data file, streamed. A plain text's are `{ text }`.
 *
 * @throws {SyntaxError} At the first record that cannot be read; it names file and line. If there is none in the file.
 * @throws {RangeError} If the format is not known, or a line is beyond all measure.
 */
export function readRecords(
  source: ByteSource,
  options: ReadOptions = {},
): AsyncGenerator<DataRecord> {
  let bad = false;
  const { onBad } = options;
  const records = recordsOf(source, {
    ...options,
    ...(onBad && {
      onBad: (error: SyntaxError) => {
        bad = true;
        onBad(error);
      },
    }),
  });
  return someOf(records, source.name, () => bad);
}

function recordsOf(
  source: ByteSource,
  { format = formatOfFile(source.name), unit = "line", ...options }:
    ReadOptions,
): AsyncGenerator<DataRecord> {
  switch (format) {
    case "jsonl":
    case "json":
      return readJson(source, options);
    case "csv":
      return readCsv(source, options);
    case "tsv":
      return readCsv(source, { ...options, tabs: true });
    case "parquet":
      return readTable(source);
    case "text":
      return unit === "file"
        ? readWhole(source)
        : readText(source, { ...options, unit });
  }
}

/** The records of several files, one file after the other. */
export async function* readAll(
  sources: Iterable<ByteSource>,
  options: ReadOptions = {},
): AsyncGenerator<DataRecord> {
  for (const source of sources) yield* readRecords(source, options);
}

async function* readWhole(source: ByteSource): AsyncGenerator<DataRecord> {
  if (source.size > MAX_TEXT_BYTES) {
    throw new ValueError(
      `Cannot read ${
        quoted(source.name)
      } as one text: wanted at most ${MAX_TEXT_BYTES} bytes, got ${source.size}; read it by paragraph or by line`,
    );
  }
  const bytes = await source.read(0, source.size);
  const text = decodeText(bytes, source.name);
  if (text.trim() === "") return;
  yield { fields: { text }, file: source.name, row: 1, line: 1 };
}

async function* readText(
  source: ByteSource,
  { unit, ...options }: LineOptions & { unit: "line" | "paragraph" },
): AsyncGenerator<DataRecord> {
  const file = source.name;
  let row = 0;
  let paragraph: string[] = [];
  let start = 1;
  const take = (line: number, lines: readonly string[]): DataRecord => ({
    fields: { text: lines.join("\n") },
    file,
    row: ++row,
    line,
  });
  for await (const { text, line } of readLines(source, options)) {
    const empty = text.trim() === "";
    if (unit === "line") {
      if (!empty) yield take(line, [text]);
    } else if (!empty) {
      if (paragraph.length === 0) start = line;
      paragraph.push(text);
    } else if (paragraph.length > 0) {
      yield take(start, paragraph);
      paragraph = [];
    }
  }
  if (paragraph.length > 0) yield take(start, paragraph);
}

/** Records of a Parquet file; its reader is loaded when there is one. */
async function* readTable(source: ByteSource): AsyncGenerator<DataRecord> {
  const { readParquet } = await import("./parquet.ts");
  yield* readParquet(source);
}
