/**
 * Lines of a text file, read in chunks: a file may be larger than memory, a line may not.
 *
 * @module
 */

import { FormatError, ValueError } from "../../errors.ts";
import type { ByteSource } from "../../io/files/bytes.ts";
import { quoted } from "../../io/files/errors.ts";

/** A line without its end. */
export interface Line {
  /** Its text, without `\n` or `\r\n`, and without a byte order mark at the start of the file. */
  readonly text: string;
  /** Its number, from 1. */
  readonly line: number;
}

/** Options of {@linkcode readLines}. */
export interface LineOptions {
  /** Bytes read at a time (1 MiB). */
  readonly chunk?: number;
  /** Called with the error of each record that cannot be read, which is skipped; thrown without it. */
  readonly onBad?: (error: SyntaxError) => void;
}

/** Bytes of one line at most: V8's texts end at half a gigabyte. */
export const MAX_TEXT_BYTES: number = 2 ** 28;

const NEWLINE = 0x0a;
const RETURN = 0x0d;

/** The bytes of a source in order, `chunk` at a time. */
export async function* readChunks(
  source: ByteSource,
  { chunk = 2 ** 20 }: LineOptions = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < source.size; at += chunk) {
    yield await source.read(at, Math.min(chunk, source.size - at));
  }
}

/**
 * The lines of a source in order. The text after the last `\n` is a line if it is not empty.
 *
 * @throws {SyntaxError} If a line is no UTF-8.
 * @throws {RangeError} If a line is longer than {@linkcode MAX_TEXT_BYTES}.
 */
export async function* readLines(
  source: ByteSource,
  options: LineOptions = {},
): AsyncGenerator<Line> {
  const pending = new ByteJoiner(source.name);
  let line = 1;
  for await (const bytes of readChunks(source, options)) {
    let from = 0;
    for (;;) {
      const to = bytes.indexOf(NEWLINE, from);
      if (to < 0) break;
      pending.add(bytes.subarray(from, to), line);
      yield { text: pending.takeLine(line), line };
      line++;
      from = to + 1;
    }
    pending.add(bytes.subarray(from), line);
  }
  if (pending.size > 0) yield { text: pending.takeLine(line), line };
}

/** Joins the pieces of a text that chunks cut apart, and decodes them. */
export class ByteJoiner {
  readonly #name: string;
  readonly #decoder = new TextDecoder("utf-8", {
    fatal: true,
    ignoreBOM: true,
  });
  #parts: Uint8Array[] = [];
  #size = 0;

  /** Begins with nothing. @param name Name of the file in errors. */
  constructor(name: string) {
    this.#name = name;
  }

  /** Bytes so far. */
  get size(): number {
    return this.#size;
  }

  /** Adds a piece of the text that begins on `line`. @throws {RangeError} If it gets too long. */
  add(bytes: Uint8Array, line: number): void {
    if (bytes.length === 0) return;
    this.#parts.push(bytes);
    this.#size += bytes.length;
    if (this.#size > MAX_TEXT_BYTES) {
      throw new ValueError(
        `Cannot read ${
          quoted(this.#name)
        }, line ${line}: wanted at most ${MAX_TEXT_BYTES} bytes, got more`,
      );
    }
  }

  /** The text, and nothing is left. @throws {SyntaxError} If it is no UTF-8. */
  take(line: number): string {
    return this.#decode(this.#bytes(), line);
  }

  /** As {@linkcode take}, without a line's `\r` and the first line's byte order mark. */
  takeLine(line: number): string {
    let bytes = this.#bytes();
    if (bytes.at(-1) === RETURN) bytes = bytes.subarray(0, -1);
    const text = this.#decode(bytes, line);
    return line === 1 && text.startsWith("\ufeff") ? text.slice(1) : text;
  }

  #bytes(): Uint8Array {
    let bytes = this.#parts.length === 1 ? this.#parts[0] : new Uint8Array(0);
    if (this.#parts.length > 1) {
      bytes = new Uint8Array(this.#size);
      let at = 0;
      for (const part of this.#parts) {
        bytes.set(part, at);
        at += part.length;
      }
    }
    this.#parts = [];
    this.#size = 0;
    return bytes;
  }

  #decode(bytes: Uint8Array, line: number): string {
    try {
      return this.#decoder.decode(bytes);
    } catch {
      throw new FormatError(
        `Cannot read ${quoted(this.#name)}, line ${line}: it is not UTF-8 text`,
      );
    }
  }
}
