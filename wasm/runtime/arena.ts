/**
 * An allocator over a range of addresses: first fit, neighbours joined when freed.
 *
 * It only keeps books; it never touches the memory. Buffers are few and large, so a sorted list is fast enough
 * and wastes nothing.
 *
 * @module
 */

import { ValueError } from "../../src/errors.ts";

/** Every address and size is a multiple of this: a cache line, so that two buffers never share one. */
export const ALIGNMENT = 64;

interface Range {
  start: number;
  end: number;
}

/** Addresses `[start, end)`; the end moves up as the memory grows. */
export class Arena {
  /** Free ranges in ascending order, no two touching. */
  #free: Range[];
  #used = new Map<number, number>();
  #end: number;

  /**
   * An arena with nothing allocated.
   *
   * @param start First address, a multiple of {@linkcode ALIGNMENT}.
   * @param end First address past the range.
   */
  constructor(start: number, end: number) {
    this.#end = end;
    this.#free = end > start ? [{ start, end }] : [];
  }

  /** First address past the range. */
  get end(): number {
    return this.#end;
  }

  /** Bytes handed out, rounded up to the alignment. */
  get bytes(): number {
    let sum = 0;
    for (const size of this.#used.values()) sum += size;
    return sum;
  }

  /** Appends the addresses up to `end`. */
  grow(end: number): void {
    if (end > this.#end) this.#insert(this.#end, end);
    this.#end = Math.max(this.#end, end);
  }

  /** End of the range at which `bytes` more fit. */
  wanted(bytes: number): number {
    const last = this.#free.at(-1);
    return (last?.end === this.#end ? last.start : this.#end) + round(bytes);
  }

  /** Address of `bytes` free bytes, or undefined if there is no such gap. */
  alloc(bytes: number): number | undefined {
    const size = round(bytes);
    const i = this.#free.findIndex(({ start, end }) => end - start >= size);
    if (i < 0) return undefined;
    const range = this.#free[i];
    const address = range.start;
    range.start += size;
    if (range.start === range.end) this.#free.splice(i, 1);
    this.#used.set(address, size);
    return address;
  }

  /**
   * Frees an address of `alloc`.
   *
   * @throws {RangeError} If `address` is not in use: freed twice, or never handed out.
   */
  free(address: number): void {
    const size = this.#used.get(address);
    if (size === undefined) {
      throw new ValueError(
        `Cannot free address ${address}: nothing is allocated there`,
      );
    }
    this.#used.delete(address);
    this.#insert(address, address + size);
  }

  #insert(start: number, end: number): void {
    let i = this.#free.findIndex((range) => range.start > start);
    if (i < 0) i = this.#free.length;
    const before = this.#free[i - 1];
    const after = this.#free[i];
    const joinsBefore = before?.end === start;
    const joinsAfter = after?.start === end;
    if (joinsBefore && joinsAfter) {
      before.end = after.end;
      this.#free.splice(i, 1);
    } else if (joinsBefore) {
      before.end = end;
    } else if (joinsAfter) {
      after.start = start;
    } else {
      this.#free.splice(i, 0, { start, end });
    }
  }
}

/** `bytes` rounded up to the alignment; an empty buffer takes a line too, so that every address is its own. */
function round(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT;
}
