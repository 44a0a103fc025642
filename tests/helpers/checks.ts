/**
 * Shapes without a device, and the refusals of their checks.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { DeviceBuffer, Mat } from "../../src/device/buffer.ts";

/** A buffer of `count` words. */
export function words(count: number): DeviceBuffer {
  return { bytes: 4 * count, [Symbol.dispose]() {} };
}

/** A matrix without gaps. */
export function m(rows: number, cols: number): Mat {
  return { buffer: words(rows * cols), offset: 0, rows, cols, stride: cols };
}

/** Asserts that `good` passes, and that each change of it is refused with a message that matches. */
export function refuses<A>(
  check: (args: A) => void,
  good: A,
  bad: readonly [Partial<A>, "TypeError" | "RangeError", RegExp][],
): void {
  check(good);
  for (const [change, name, message] of bad) {
    assert.throws(() => check({ ...good, ...change }), { name, message });
  }
}
