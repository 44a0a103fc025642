/**
 * Numeric assertions.
 *
 * @module
 */

import assert from "node:assert/strict";

/** Tolerances of {@linkcode assertAllClose}. */
export interface Tolerance {
  /** Relative to the magnitude of the expected value (0). */
  readonly rtol?: number;
  /** Absolute, for all values or for each one (0). */
  readonly atol?: number | ((index: number) => number);
  /** Name of the compared values. */
  readonly what?: string;
}

/** Asserts `|actual - expected| <= atol + rtol |expected|` for each value; NaN equals NaN only. */
export function assertAllClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { rtol = 0, atol = 0, what = "values" }: Tolerance = {},
): void {
  assert.equal(actual.length, expected.length, `${what}: lengths`);
  let wrong = 0;
  let first = "";
  for (let i = 0; i < expected.length; i++) {
    const limit = (typeof atol === "number" ? atol : atol(i)) +
      rtol * Math.abs(expected[i]);
    const close = Math.abs(actual[i] - expected[i]) <= limit ||
      actual[i] === expected[i] ||
      (Number.isNaN(actual[i]) && Number.isNaN(expected[i]));
    if (close) continue;
    wrong++;
    first ||= `first at ${i}: ${actual[i]} against ${
      expected[i]
    }, tolerance ${limit}`;
  }
  assert.equal(
    wrong,
    0,
    `${what}: ${wrong} of ${expected.length} differ; ${first}`,
  );
}

/** Asserts that two byte arrays are equal, and says where they first differ. */
export function assertBytes(
  actual: Uint8Array,
  expected: Uint8Array,
  what = "bytes",
): void {
  assert.equal(actual.length, expected.length, `${what}: lengths`);
  const at = actual.findIndex((x, i) => x !== expected[i]);
  assert.equal(
    at,
    -1,
    `${what}: first difference at ${at}: ${actual[at]} against ${expected[at]}`,
  );
}
