/**
 * Keys and values of tokens before, on a device.
 *
 * @module
 */

import { rowsOf } from "../autograd/loss.ts";
import type { Device, Mat } from "../device/device.ts";

/** Where rows of a batch's sequences lie in a cache. */
export interface CachePlace {
  /** Sequences. */
  readonly batch: number;
  /** Tokens of each that are new. */
  readonly time: number;
  /** Tokens of each that are there already. */
  readonly past: number;
  /** Rows of the cache from one sequence to the next. */
  readonly capacity: number;
}

/** Copies each sequence's new rows to their places in a cache. */
export function storeRows(
  { ops }: Device,
  { from, to }: { from: Mat; to: Mat },
  { batch, time, past, capacity }: CachePlace,
): void {
  for (let b = 0; b < batch; b++) {
    ops.combine({
      x: rowsOf(from, b * time, time),
      out: rowsOf(to, b * capacity + past, time),
    });
  }
}
