/**
 * Arguments of functions, filters, tests and methods.
 *
 * @module
 */

import {
  type Args,
  fault,
  isInt,
  refuseUndefined,
  textOf,
  typeName,
  type Value,
} from "./values.ts";

/** No arguments. */
export const NONE: Args = { list: [], named: new Map() };

/**
 * Arguments by the names of their parameters; undefined where one is left out.
 *
 * @throws {TypeError} If there are more, or of other names.
 */
export function bind(
  { list, named }: Args,
  ...names: readonly string[]
): (Value | undefined)[] {
  if (list.length > names.length) {
    throw fault(
      `wanted at most ${names.length} arguments, got ${list.length}`,
    );
  }
  const bound: (Value | undefined)[] = names.map((_, i) => list[i]);
  for (const [name, value] of named) {
    const at = names.indexOf(name);
    if (at < 0) throw fault(`got an unexpected argument '${name}'`);
    if (bound[at] !== undefined) {
      throw fault(`got several values for the argument '${name}'`);
    }
    bound[at] = value;
  }
  return bound;
}

/** An argument as a str. @throws {TypeError} If it is none. */
export function textArg(value: Value | undefined): string {
  if (value === undefined) throw fault("an argument is missing");
  const text = textOf(value);
  if (text === undefined) {
    refuseUndefined(value);
    throw fault(`wanted a str, got a ${typeName(value)}`);
  }
  return text;
}

/** An argument as an int; `or` where it is left out. @throws {TypeError} If it is none. */
export function intArg(value: Value | undefined, or?: number): number {
  if (value === undefined && or !== undefined) return or;
  if (value === undefined) throw fault("an argument is missing");
  if (!isInt(value) && typeof value !== "boolean") {
    refuseUndefined(value);
    throw fault(
      `'${typeName(value)}' object cannot be interpreted as an integer`,
    );
  }
  if (Math.abs(Number(value)) >= 2 ** 63) {
    throw fault("Python int too large to convert to C ssize_t");
  }
  return Number(value);
}

/** True if an argument is there and not None. */
export function isGiven(value: Value | undefined): value is Value {
  return value !== undefined && value !== null;
}
