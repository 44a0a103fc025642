/**
 * KV cache rows on a device.
 *
 * @module
 */

import type { Device } from "../../device/device.ts";
import { type Mat, mat } from "../../device/buffer.ts";

/** Rows of a batch's sequences in a KV cache. */
export interface CachePlace {
  /** Batch size: number of sequences. */
  readonly batch: number;
  /** Tokens of each that are new. */
  readonly time: number;
  /** Tokens of each that are there already. */
  readonly past: number;
  /** Rows of the cache from one sequence to the next. */
  readonly capacity: number;
}

/** Copies each sequence's new rows to their places in a cache; rows of both lie one right after the other. */
export function storeRows(
  { ops }: Device,
  { from, to }: { from: Mat; to: Mat },
  { batch, time, past, capacity }: CachePlace,
): void {
  // A sequence's new rows lie one after the other: they are one row here.
  const { cols } = from;
  const width = time * cols;
  ops.combine({
    x: mat(from.buffer, batch, width, from.offset),
    out: mat(to.buffer, batch, width, to.offset + past * cols, capacity * cols),
  });
}
