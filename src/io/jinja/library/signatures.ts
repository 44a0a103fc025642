/**
 * Arguments of Jinja2's filters and tests.
 *
 * @module
 */

import type { Args, Value } from "../values.ts";

/** Filters and tests by name, for those that call others: `select("odd")`, `is filter`. */
export interface Library {
  /** True if Jinja2 has a filter of this name. */
  isFilter(name: string): boolean;
  /** True if Jinja2 has a test of this name. */
  isTest(name: string): boolean;
  /** `value | name(args)`. @throws {TypeError} If there is no such filter, or it refuses them. */
  runFilter(name: string, value: Value, args: Args): Value;
  /** `value is name(args)`. @throws {TypeError} If there is no such test, or it refuses them. */
  runTest(name: string, value: Value, args: Args): boolean;
}

/** `value | filter(args)`. */
export type Filter = (value: Value, args: Args, library: Library) => Value;

/** `value is test(args)`. */
export type Test = (value: Value, args: Args, library: Library) => boolean;
