/**
 * Tests of Jinja2: `value is name(args)`.
 *
 * @module
 */

import { bind } from "../args.ts";
import { isLower, isUpper } from "./methods.ts";
import { binary, compares } from "../operators.ts";
import type { Test } from "./signatures.ts";
import { str } from "./text.ts";
import {
  Dict,
  equals,
  fault,
  Fn,
  isFloat,
  isInt,
  isList,
  Markup,
  Namespace,
  Range,
  real,
  textOf,
  Tuple,
  Undefined,
  type Value,
} from "../values.ts";

function alone(test: (value: Value) => boolean): Test {
  return (value, args) => {
    bind(args);
    return test(value);
  };
}

function against(test: (value: Value, other: Value) => boolean): Test {
  return (value, args) => {
    const [other] = bind(args, "other");
    if (other === undefined) throw fault("a test lacks what to test against");
    return test(value, other);
  };
}

/** The name that a value is, or none. @throws {TypeError} If it can be no key. */
function nameOf(value: Value): string {
  new Dict().has(value);
  return textOf(value) ?? "";
}

const order = (op: string): Test => against((a, b) => compares(op, a, b));
const remainder = (value: Value, by: Value) => binary("%", value, by);
const [eq, ne, gt, ge, lt, le] = ["==", "!=", ">", ">=", "<", "<="].map(order);

/** Tests by name. */
export const TESTS: Readonly<Record<string, Test>> = {
  defined: alone((value) => !(value instanceof Undefined)),
  undefined: alone((value) => value instanceof Undefined),
  none: alone((value) => value === null),
  boolean: alone((value) => typeof value === "boolean"),
  true: alone((value) => value === true),
  false: alone((value) => value === false),
  integer: alone(isInt),
  float: alone(isFloat),
  number: alone((value) => real(value) !== undefined),
  string: alone((value) => textOf(value) !== undefined),
  mapping: alone((value) => value instanceof Dict),
  sequence: alone((value) =>
    isList(value) || textOf(value) !== undefined || value instanceof Tuple ||
    value instanceof Dict || value instanceof Range ||
    value instanceof Undefined
  ),
  iterable: alone((value) =>
    value !== null && real(value) === undefined &&
    !(value instanceof Fn || value instanceof Namespace)
  ),
  callable: alone((value) => value instanceof Fn || value instanceof Undefined),
  escaped: alone((value) => value instanceof Markup),
  lower: alone((value) => isLower(str(value))),
  upper: alone((value) => isUpper(str(value))),
  odd: alone((value) => equals(remainder(value, 2), 1)),
  even: alone((value) => equals(remainder(value, 2), 0)),
  divisibleby: against((value, by) => equals(remainder(value, by), 0)),
  in: against((value, whole) => compares("in", value, whole)),
  sameas: against((a, b) => a === b),
  filter: (value, args, library) => {
    bind(args);
    return library.isFilter(nameOf(value));
  },
  test: (value, args, library) => {
    bind(args);
    return library.isTest(nameOf(value));
  },
  eq,
  equalto: eq,
  "==": eq,
  ne,
  "!=": ne,
  gt,
  greaterthan: gt,
  ">": gt,
  ge,
  ">=": ge,
  lt,
  lessthan: lt,
  "<": lt,
  le,
  "<=": le,
};
