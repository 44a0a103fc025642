/**
 * Records of CSV and TSV files.
 *
 * CSV is RFC 4180's: quotes around a field that holds a comma, a quote or a line break. TSV has no quoting, as its
 * registration (text/tab-separated-values) and the files of GLUE have it: a quote there is a letter.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { ByteSource } from "../../io/files/bytes.ts";
import { messageOf, quoted } from "../../io/files/errors.ts";
import { readLines } from "./lines.ts";
import type { LineOptions } from "./lines.ts";
import type { DataRecord } from "./record.ts";
import { loadPackage } from "../../io/files/package.ts";

/** Options of {@linkcode readCsv}. */
export interface CsvOptions extends LineOptions {
  /** True if tabs part the fields, and nothing is quoted (false). */
  readonly tabs?: boolean;
  /** True if the first record names the fields (true); without it they are called "0", "1" and so on. */
  readonly header?: boolean;
  /** Called with the line of each record with fewer fields than the first, which is skipped; an error without it. */
  readonly onShort?: (line: number) => void;
}

/** Lines handed to the parser at a time. */
const LINES = 256;

/** Length of a record at most: an unclosed quote would otherwise swallow the file before anybody says so. */
const MAX_RECORD_CHARACTERS = 2 ** 24;

interface Parsed {
  readonly record: string[];
  readonly info: { readonly lines: number };
}

/** Checked lines as bytes again, for the parser. */
async function* linesOf(
  source: ByteSource,
  options: LineOptions,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let lines: string[] = [];
  for await (const { text } of readLines(source, options)) {
    lines.push(text, "\n");
    if (lines.length < 2 * LINES) continue;
    yield encoder.encode(lines.join(""));
    lines = [];
  }
  if (lines.length > 0) yield encoder.encode(lines.join(""));
}

/**
 * The records of a CSV or TSV file, every field a text; empty lines are passed over.
 *
 * @throws {SyntaxError} If a record has more or fewer fields than the first, a name occurs twice, or a quote is
 * misplaced or never closed; it names file and line.
 */
export async function* readCsv(
  source: ByteSource,
  { tabs = false, header = true, onShort, ...options }: CsvOptions = {},
): AsyncGenerator<DataRecord> {
  const { parse } = await loadPackage(
    "csv-parse",
    () => import("npm:csv-parse@7.0.3/stream"),
  );
  const file = source.name;
  const fail = (line: number, reason: string) =>
    new FormatError(`Cannot read ${quoted(file)}, line ${line}: ${reason}`);
  const parser = parse({
    delimiter: tabs ? "\t" : ",",
    quote: tabs ? null : '"',
    escape: tabs ? null : '"',
    record_delimiter: "\n",
    info: true,
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: MAX_RECORD_CHARACTERS,
  });
  let names: readonly string[] | undefined;
  let row = 0;
  const texts = ReadableStream.from(linesOf(source, options));
  try {
    for await (const parsed of texts.pipeThrough(parser)) {
      const { record, info } = parsed as unknown as Parsed;
      // The parser counts the line that it has come to; a quoted field may span several.
      const breaks = record.reduce((n, s) => n + s.split("\n").length - 1, 0);
      const line = info.lines - breaks;
      if (names === undefined) {
        names = header ? record : record.map((_, i) => `${i}`);
        const twice = names.find((name, i) => names!.indexOf(name) !== i);
        if (twice !== undefined) {
          throw fail(line, `the field ${quoted(twice)} occurs twice`);
        }
        if (header) continue;
      }
      if (onShort && record.length < names.length) {
        onShort(line);
        continue;
      }
      if (record.length !== names.length) {
        throw fail(
          line,
          `wanted ${names.length} fields, got ${record.length}`,
        );
      }
      const fields = Object.fromEntries(
        names.map((name, i) => [name, record[i]]),
      );
      yield { fields, file, row: ++row, line };
    }
  } catch (cause) {
    const { code, lines } = cause as { code?: string; lines?: number };
    if (code === undefined || lines === undefined) throw cause;
    const reason = code === "CSV_QUOTE_NOT_CLOSED"
      ? "a quote before it is never closed"
      : code === "CSV_MAX_RECORD_SIZE"
      ? `a record holds more than ${MAX_RECORD_CHARACTERS} characters; is a quote not closed?`
      : messageOf(cause);
    throw new FormatError(fail(lines, reason).message, { cause });
  }
}
