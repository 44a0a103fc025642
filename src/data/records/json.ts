/**
 * Records of JSON files: one object a line, or an array of objects, neither held in memory as a whole.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { ByteSource } from "../../io/files/bytes.ts";
import { messageOf, quoted } from "../../io/files/errors.ts";
import { parseJsonObject } from "../../io/files/json.ts";
import { parseJsonExact } from "../../io/files/json_exact.ts";
import { ByteJoiner, MAX_TEXT_BYTES, readChunks, readLines } from "./lines.ts";
import type { LineOptions } from "./lines.ts";
import type { DataRecord } from "./record.ts";

/** An escape of half a character, whose other half may follow. */
const HALF_ESCAPE = /\\u[dD][89a-fA-F]/;
/** A lone surrogate. */
const HALF = /(?<!\\)(?:\\\\)*(\\ud[89a-f][\da-f]{2})/;

/** A record from the text of its JSON object. @throws {SyntaxError} That names file and line. */
function recordOf(
  text: string,
  { file, row, line }: { file: string; row: number; line: number },
): DataRecord {
  try {
    const fields = parseJsonObject(text, file, { most: MAX_TEXT_BYTES });
    // Written again, whole characters are no escapes.
    const half = HALF_ESCAPE.test(text)
      ? HALF.exec(JSON.stringify(fields))?.[1]
      : undefined;
    if (half !== undefined) {
      throw new FormatError(`a text has half of a character, ${half}`);
    }
    return {
      fields,
      exact() {
        const fields = parseJsonExact(text);
        return fields instanceof Map
          ? Object.fromEntries(fields)
          : fields as Record<string, unknown>;
      },
      file,
      row,
      line,
    };
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    // The reader of headers names the file; a record wants its line as well.
    const reason = messageOf(cause).replace(/^Cannot read ".*?": (?=\w)/, "");
    throw new FormatError(
      `Cannot read ${quoted(file)}, line ${line}: ${reason}`,
      { cause },
    );
  }
}

/** As {@linkcode recordOf}; nothing where it cannot be read and `onBad` was called. */
function* recordsIn(
  text: string,
  place: { file: string; row: number; line: number },
  { onBad }: LineOptions,
): Generator<DataRecord> {
  let record: DataRecord;
  try {
    record = recordOf(text, place);
  } catch (error) {
    if (!onBad || !(error instanceof SyntaxError)) throw error;
    onBad(error);
    return;
  }
  yield record;
}

/**
 * The objects of a file with one a line; empty lines are skipped.
 *
 * @throws {SyntaxError} At the first line that is no JSON object; it names file and line.
 */
async function* readJsonLines(
  source: ByteSource,
  options: LineOptions = {},
): AsyncGenerator<DataRecord> {
  let row = 0;
  for await (const { text, line } of readLines(source, options)) {
    if (text.trim() === "") continue;
    const place = { file: source.name, row: ++row, line };
    if (row === 1 && text.trim() === "{") {
      throw new FormatError(
        `Cannot read ${
          quoted(source.name)
        }, line ${line}: wanted one object a line, or an array of objects, got an object over several lines`,
      );
    }
    yield* recordsIn(text, place, options);
  }
}

const NEWLINE = 0x0a;
const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** JSON's white space: tab, line feed, carriage return, space. */
function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === NEWLINE || byte === 0x0d || byte === 0x09;
}

/** State of the reader of an array. */
type State = "start" | "before" | "inside" | "after" | "end";

/** Byte order mark in UTF-8, which JSON files of some systems begin with. */
const MARK = [0xef, 0xbb, 0xbf];

/**
 * The objects of a JSON file: of an array where its first character is `[`, else one a line, whichever it is called.
 *
 * @throws {SyntaxError} If it is no array of objects, or ends early; it names file and line.
 */
export async function* readJson(
  source: ByteSource,
  options: LineOptions = {},
): AsyncGenerator<DataRecord> {
  const file = source.name;
  const element = new ByteJoiner(file);
  let line = 1;
  let row = 0;
  let start = 1;
  let depth = 0;
  let position = 0;
  let inText = false;
  let escaped = false;
  let state = "start" as State;
  let wantsElement = false;
  const fail = (reason: string) =>
    new FormatError(`Cannot read ${quoted(file)}, line ${line}: ${reason}`);
  for await (const bytes of readChunks(source, options)) {
    let from = 0;
    for (let i = 0; i < bytes.length; i++, position++) {
      const c = bytes[i];
      if (c === NEWLINE) line++;
      if (state === "inside") {
        if (escaped) escaped = false;
        else if (inText) {
          if (c === BACKSLASH) escaped = true;
          else if (c === QUOTE) inText = false;
        } else if (c === QUOTE) inText = true;
        else if (c === OPEN_OBJECT || c === OPEN) depth++;
        else if (c === CLOSE_OBJECT || c === CLOSE) {
          if (--depth > 0) continue;
          element.add(bytes.subarray(from, i + 1), start);
          const place = { file, row: ++row, line: start };
          yield* recordsIn(element.take(start), place, options);
          state = "after";
        }
        continue;
      }
      if (isSpace(c) || (position < 3 && c === MARK[position])) continue;
      if (state === "start") {
        if (c !== OPEN) {
          yield* readJsonLines(source, options);
          return;
        }
        state = "before";
      } else if (state === "before" && c === OPEN_OBJECT) {
        state = "inside";
        depth = 1;
        from = i;
        start = line;
      } else if (state === "before" && c === CLOSE && !wantsElement) {
        state = "end";
      } else if (state === "before") {
        throw fail("wanted an object in the array, got something else");
      } else if (state === "after" && c === COMMA) {
        state = "before";
        wantsElement = true;
      } else if (state === "after" && c === CLOSE) {
        state = "end";
      } else if (state === "after") {
        throw fail("wanted , or ] after an object of the array");
      } else {
        throw fail("wanted nothing after the array");
      }
    }
    if (state === "inside") element.add(bytes.subarray(from), start);
  }
  if (state !== "end" && state !== "start") {
    throw fail("the array does not end");
  }
}
