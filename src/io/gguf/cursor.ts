/**
 * Walking over the tables of a GGUF file, of which only a first part may be in memory.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";

/** An array in the metadata: numbers packed as in the file (booleans as bytes), the rest as lists. */
export type GgufArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array
  | readonly string[]
  | readonly GgufArray[];

/** A metadata value; 64-bit whole numbers are numbers where those are exact. */
export type GgufValue = number | bigint | boolean | string | GgufArray;

/** Thrown when the bytes in memory end; the message names the part being read. */
export class EndOfBytes extends Error {}

/** Value types of the format, by number. */
const STRING = 8;
const ARRAY = 9;

/** Bytes of each scalar type, by number. */
const WIDTHS: readonly (number | undefined)[] = [
  1,
  1,
  2,
  2,
  4,
  4,
  4,
  1,
  undefined,
  undefined,
  8,
  8,
  8,
];

/** Arrays in arrays at most, and how many of them a file may have; llama.cpp itself knows none. */
const MAX_DEPTH = 4;
const MAX_NESTED = 1 << 16;

/** A position in the first bytes of a file. */
export class Cursor {
  /** Offset of the next byte. */
  at = 0;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #size: number;
  readonly #name: string;
  #nested = 0;
  // A vocabulary can hold U+FEFF as a token; it is no mark of byte order here.
  readonly #text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  /**
   * Begins at byte 0.
   *
   * @param bytes The first bytes of the file.
   * @param size Size of the whole file, which bounds every count.
   * @param name What errors call it.
   */
  constructor(bytes: Uint8Array<ArrayBuffer>, size: number, name: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#size = size;
    this.#name = name;
  }

  #bad(reason: string): SyntaxError {
    return new FormatError(
      `Cannot read ${quoted(this.#name)} as GGUF: ${reason}`,
    );
  }

  /** Steps over `length` bytes and gives the offset of the first. */
  #take(length: number, what: string): number {
    const start = this.at;
    if (start + length > this.#bytes.byteLength) throw new EndOfBytes(what);
    this.at += length;
    return start;
  }

  /** The next u32. */
  u32(what: string): number {
    return this.#view.getUint32(this.#take(4, what), true);
  }

  /** The next u64. @throws {SyntaxError} If a number cannot hold it. */
  u64(what: string): number {
    const value = this.#view.getBigUint64(this.#take(8, what), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw this.#bad(`${what} is ${value}`);
    }
    return Number(value);
  }

  /** The next u64 as a count of things that take at least `each` bytes. @throws {SyntaxError} If the file has no room for them. */
  count(each: number, what: string): number {
    const n = this.u64(what);
    if (n * each > this.#size - this.at) {
      throw this.#bad(
        `${what} claims ${n} items, the file holds ${this.#size} bytes`,
      );
    }
    return n;
  }

  /** The next string. @throws {SyntaxError} If it is longer than the file or no UTF-8. */
  string(what: string): string {
    const length = this.count(1, what);
    const start = this.#take(length, what);
    const end = start + length;
    // Most of the hundred thousand strings of a vocabulary are short ASCII; a TextDecoder call for each is slow.
    if (length <= 24) {
      let text = "";
      let i = start;
      for (; i < end; i++) {
        const byte = this.#bytes[i];
        if (byte >= 0x80) break;
        text += String.fromCharCode(byte);
      }
      if (i === end) return text;
    }
    try {
      return this.#text.decode(this.#bytes.subarray(start, end));
    } catch {
      throw this.#bad(`${what} is not UTF-8`);
    }
  }

  /** The next typed metadata value. */
  value(what: string): GgufValue {
    const type = this.u32(what);
    if (type === STRING) return this.string(what);
    if (type === ARRAY) return this.#array(what, 1);
    const width = WIDTHS[type];
    if (width === undefined) {
      throw this.#bad(`${what} has the unknown type ${type}`);
    }
    const at = this.#take(width, what);
    const view = this.#view;
    switch (type) {
      case 0:
        return view.getUint8(at);
      case 1:
        return view.getInt8(at);
      case 2:
        return view.getUint16(at, true);
      case 3:
        return view.getInt16(at, true);
      case 4:
        return view.getUint32(at, true);
      case 5:
        return view.getInt32(at, true);
      case 6:
        return view.getFloat32(at, true);
      case 7:
        return view.getUint8(at) !== 0;
      case 10:
        return narrow(view.getBigUint64(at, true));
      case 11:
        return narrow(view.getBigInt64(at, true));
      default:
        return view.getFloat64(at, true);
    }
  }

  #array(what: string, depth: number): GgufArray {
    const type = this.u32(what);
    if (type === STRING) {
      const n = this.count(8, what);
      const out: string[] = [];
      for (let i = 0; i < n; i++) out.push(this.string(what));
      return out;
    }
    if (type === ARRAY) {
      if (depth === MAX_DEPTH) throw this.#bad(`${what} is nested too deeply`);
      const n = this.count(12, what);
      this.#nested += n;
      if (this.#nested > MAX_NESTED) {
        throw this.#bad(`${what} holds more than ${MAX_NESTED} arrays`);
      }
      const out: GgufArray[] = [];
      for (let i = 0; i < n; i++) out.push(this.#array(what, depth + 1));
      return out;
    }
    const width = WIDTHS[type];
    if (width === undefined) {
      throw this.#bad(`${what} has items of the unknown type ${type}`);
    }
    const n = this.count(width, what);
    const start = this.#take(n * width, what);
    // A copy of its own, both aligned and free of the rest of the file.
    const { buffer } = this.#bytes.slice(start, start + n * width);
    switch (type) {
      case 1:
        return new Int8Array(buffer);
      case 2:
        return new Uint16Array(buffer);
      case 3:
        return new Int16Array(buffer);
      case 4:
        return new Uint32Array(buffer);
      case 5:
        return new Int32Array(buffer);
      case 6:
        return new Float32Array(buffer);
      case 10:
        return new BigUint64Array(buffer);
      case 11:
        return new BigInt64Array(buffer);
      case 12:
        return new Float64Array(buffer);
      default:
        return new Uint8Array(buffer);
    }
  }
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
