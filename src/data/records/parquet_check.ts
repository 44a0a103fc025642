/**
 * Checks of a Parquet file's parts before they are decoded. Counts in them say how often a value repeats and how long
 * lists are, in a few bytes: a decoder that believes them runs for hours or dies of memory.
 *
 * @module
 */

import { FormatError, ValueError } from "../../errors.ts";

/** Reads bytes in order. */
export class Cursor {
  readonly #bytes: Uint8Array;
  /** Position in the bytes. */
  at: number;

  /** Begins at `at`. */
  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** Bytes left. */
  get left(): number {
    return this.#bytes.length - this.at;
  }

  /** One byte. @throws {SyntaxError} At the end. */
  byte(): number {
    if (this.left < 1) throw new FormatError("it ends early");
    return this.#bytes[this.at++];
  }

  /** Passes over `count` bytes. @throws {SyntaxError} If there are not so many. */
  skip(count: number): void {
    if (!(count >= 0 && count <= this.left)) {
      throw new FormatError("it ends early");
    }
    this.at += count;
  }

  /** A number of 7 bits a byte, at most `most` bytes of it, exact below 2^53. @throws {SyntaxError} If it is longer. */
  varint(most = 10): number {
    let value = 0;
    for (let i = 0; i < most; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) return value;
    }
    throw new FormatError(`a number of more than ${most} bytes`);
  }
}

/** Structures in each other at most. */
const MOST_DEPTH = 32;

/**
 * Passes over a structure of Thrift's compact protocol.
 *
 * @throws {SyntaxError} If a length in it is more than the bytes that follow, or it is nested too deeply.
 */
export function checkThrift(cursor: Cursor, depth = 0): void {
  if (depth > MOST_DEPTH) throw new FormatError("its header is nested deeply");
  for (;;) {
    const byte = cursor.byte();
    if ((byte & 0x0f) === 0) return;
    if (byte >> 4 === 0) cursor.varint(5);
    checkElement(cursor, byte & 0x0f, depth);
  }
}

function checkElement(cursor: Cursor, type: number, depth: number): void {
  switch (type) {
    case 1:
    case 2:
      return;
    case 3:
      return cursor.skip(1);
    case 4:
    case 5:
      return void cursor.varint(5);
    case 6:
      return void cursor.varint();
    case 7:
      return cursor.skip(8);
    case 8:
      return cursor.skip(cursor.varint(5));
    case 9: {
      const head = cursor.byte();
      const size = head >> 4 === 15 ? cursor.varint(5) : head >> 4;
      if (size > cursor.left) {
        throw new FormatError(
          `a list of ${size} in its header, which has ${cursor.left} more bytes`,
        );
      }
      // A list's booleans take a byte each.
      const item = head & 0x0f;
      for (let i = 0; i < size; i++) {
        checkElement(cursor, item === 1 || item === 2 ? 3 : item, depth + 1);
      }
      return;
    }
    case 12:
      return checkThrift(cursor, depth + 1);
    default:
      throw new FormatError(`a field of unknown type ${type} in its header`);
  }
}

/**
 * Checks `count` values in runs, each of one value over and over or of values packed into `width` bits.
 *
 * @throws {SyntaxError} If a run is longer than the values or the bytes that are left.
 */
export function checkRuns(
  cursor: Cursor,
  { width, count }: { width: number; count: number },
): void {
  if (width > 32) throw new FormatError(`values of ${width} bits`);
  for (let seen = 0; seen < count;) {
    const head = cursor.varint(5);
    if (head % 2 === 0) {
      const run = head / 2;
      if (run > count - seen) {
        throw new FormatError(
          `a run of ${run} values where ${count - seen} are left`,
        );
      }
      cursor.skip((width + 7) >> 3);
      seen += run;
    } else {
      const groups = (head - 1) / 2;
      const needed = Math.min(groups, Math.ceil((count - seen) / 8));
      const bytes = groups * width;
      // Some writers leave out the zeros that fill the last group.
      if (
        groups > needed && (width === 0 || bytes > cursor.left)
      ) {
        throw new FormatError(
          `a run of ${8 * groups} values where ${count - seen} are left`,
        );
      }
      cursor.skip(Math.min(bytes, cursor.left));
      seen += 8 * groups;
    }
  }
}

/**
 * Checks `count` numbers that are stored as differences, and passes over them.
 *
 * @throws {SyntaxError} If the blocks that they are in make no sense, or end early.
 */
export function checkDeltas(cursor: Cursor, count: number): void {
  if (count === 0 && cursor.left === 0) return;
  const block = cursor.varint(5);
  const parts = cursor.varint(5);
  cursor.varint(5);
  cursor.varint();
  const size = block / parts;
  if (!Number.isInteger(size) || size < 1 || size % 8 !== 0) {
    throw new FormatError(`blocks of ${block} numbers in ${parts} parts`);
  }
  for (let seen = 1; seen < count;) {
    cursor.varint();
    const widths = Array.from({ length: fits(parts, cursor) }, () => {
      return cursor.byte();
    });
    for (const width of widths) {
      if (seen >= count) break;
      if (width > 64) throw new FormatError(`differences of ${width} bits`);
      // The last part may end with its last number.
      const bytes = size * width / 8;
      if (count - seen < size) {
        cursor.skip(Math.min(bytes, cursor.left));
      } else cursor.skip(bytes);
      seen += size;
    }
  }
}

function fits(count: number, cursor: Cursor): number {
  if (count > cursor.left) throw new FormatError("it ends early");
  return count;
}

/** Memory of the decoded pages that are held at a time. */
export class Budget {
  #values = 0;
  #bytes = 0;
  #packed = 0;

  /**
   * Takes a page of `values` values, `packed` bytes in the file and `bytes` unpacked.
   *
   * @throws {RangeError} If that is more than a page or all together may be.
   */
  take({ values, bytes, packed }: PageSize): void {
    if (!(bytes >= 0)) throw new FormatError(`a page of ${bytes} bytes`);
    if (bytes > FREE_BYTES && bytes > MOST_RATIO * packed) {
      throw new ValueError(
        `a page of ${packed} bytes claims to unpack to ${bytes}`,
      );
    }
    this.#values += values;
    this.#bytes += bytes;
    this.#packed += packed;
    if (this.#values > MOST_VALUES) {
      throw new ValueError(
        `its columns have pages of more than ${MOST_VALUES} values together; write it anew with smaller row groups`,
      );
    }
    if (this.#bytes > FREE_HELD && this.#bytes > MOST_HELD * this.#packed) {
      throw new ValueError(
        `pages of ${this.#packed} bytes claim to unpack to ${this.#bytes}`,
      );
    }
  }

  /** Gives a page back. */
  give({ values, bytes, packed }: PageSize): void {
    this.#values -= values;
    this.#bytes -= bytes;
    this.#packed -= packed;
  }
}

/** Size of a page. */
export interface PageSize {
  /** Values, absent ones as well. */
  readonly values: number;
  /** Bytes when it is unpacked. */
  readonly bytes: number;
  /** Bytes in the file. */
  readonly packed: number;
}

/** Bytes that a page may unpack to for each that it holds, and what any page may: gzip's best, and zstd's usual. */
const MOST_RATIO = 1100;
const FREE_BYTES = 2 ** 26;

/** The same for all pages that are held at a time. */
const MOST_HELD = 100;
const FREE_HELD = 2 ** 28;

/** Values in memory at most: pages of absent ones take no bytes in the file. */
const MOST_VALUES = 2 ** 25;
