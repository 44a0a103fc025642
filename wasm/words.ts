/**
 * Arguments that jobs share, and the checks of what lies in buffers.
 *
 * Row numbers, positions and labels are data, but here they can be looked at: one that is out of range is an error, not
 * a read of other memory.
 *
 * @module
 */

import type { DeviceBuffer, Mat } from "../src/device/buffer.ts";
import { ValueError } from "../src/errors.ts";
import type { WasmMemory } from "./buffers.ts";
import type { Place } from "./generated/jobs.ts";

/** Values that one thread adds, multiplies or copies in about 30 µs. */
export const GRAIN = 32768;

/** The same with an exponential or a hash in each. */
export const SLOW_GRAIN = 8192;

/** Columns of a piece where matrices without gaps are worked as one long row. */
const SPAN = 4096;

/** Where a matrix is; zeros for none. */
export function place(memory: WasmMemory, x: Mat | undefined): Place {
  return x
    ? { origin: memory.origin(x), stride: x.stride * 4 }
    : { origin: 0, stride: 0 };
}

/** True if a matrix has no values. */
export function isEmpty(x: Mat): boolean {
  return x.rows === 0 || x.cols === 0;
}

/** Cut of matrices for an elementwise job; see `wasm/assembly/elementwise/rows.ts`. */
export function pieces(
  mats: readonly (Mat | undefined)[],
): { units: number; cols: number; span: number } {
  const { rows, cols } = mats[0]!;
  const dense = mats.every((x) => !x || x.stride === cols || rows === 1);
  return dense
    ? {
      units: Math.ceil(rows * cols / SPAN),
      cols: rows * cols,
      span: SPAN,
    }
    : { units: rows, cols, span: cols };
}

/** Checks `count` row numbers below `limit`; negative ones too unless they are allowed. */
export function wantIds(
  memory: WasmMemory,
  what: string,
  ids: { at: DeviceBuffer; count: number; limit: number; negative?: boolean },
): void {
  const { at, count, limit, negative = false } = ids;
  const start = memory.address(at) / 4;
  const words = memory.kernels.u32.subarray(start, start + count);
  const bad = words.findIndex((id) =>
    id >= limit && !(negative && id >= 0x8000_0000)
  );
  if (bad < 0) return;
  throw new ValueError(
    `Cannot run ${what} must be below ${limit}, got ${
      negative ? words[bad] | 0 : words[bad]
    } at ${bad}`,
  );
}
