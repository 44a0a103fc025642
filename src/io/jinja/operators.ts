/**
 * Operators, attributes and keys, as Python (in Jinja2's sandbox) has them.
 *
 * @module
 */

import { paid, spend } from "./budget.ts";
import { percentFormat } from "./library/format.ts";
import { methodOf } from "./library/methods.ts";
import { str } from "./library/text.ts";
import {
  compare,
  Dict,
  equals,
  fault,
  Float,
  float,
  Fn,
  int,
  isFloat,
  isInt,
  isList,
  isWide,
  iterate,
  lack,
  Markup,
  missing,
  Namespace,
  Range,
  real,
  refuseUndefined,
  textLength,
  textOf,
  Tuple,
  typeName,
  type Value,
  View,
} from "./values.ts";

/** `a op b`. @throws {TypeError} If Python has no such operation. */
export function binary(op: string, a: Value, b: Value): Value {
  if (typeof a === "string" && typeof b === "string" && op === "+") {
    return paid(a + b);
  }
  const [x, y] = [real(a), real(b)];
  if (x !== undefined && y !== undefined) {
    return op === "**"
      ? power(a as Real, b as Real)
      : isFloat(a) || isFloat(b)
      ? float(floats(op, x, y))
      : op === "/"
      ? float(quotient(a as Integral, b as Integral))
      : ints(op, a as Integral, b as Integral);
  }
  if (op === "%" && typeof a === "string") return percentFormat(a, b);
  refuseUndefined(a, b);
  if (op === "+") {
    const sum = add(a, b);
    if (sum !== undefined) return sum;
  }
  if (op === "*") {
    const made = isInt(a) || typeof a === "boolean"
      ? times(b, Number(a))
      : isInt(b) || typeof b === "boolean"
      ? times(a, Number(b))
      : undefined;
    if (made !== undefined) return made;
  }
  if (a instanceof Markup || b instanceof Markup) {
    throw lack(`${op} of text that is marked as safe`);
  }
  if (typeof a === "string" && op === "+") {
    throw fault(
      `can only concatenate str (not "${typeName(b)}") to str`,
    );
  }
  throw fault(
    `unsupported operand type(s) for ${op}: '${typeName(a)}' and '${
      typeName(b)
    }'`,
  );
}

function add(a: Value, b: Value): Value | undefined {
  if (isList(a) && isList(b)) {
    spend(a.length + b.length);
    return [...a, ...b];
  }
  if (a instanceof Tuple && b instanceof Tuple) {
    spend(a.items.length + b.items.length);
    return new Tuple([...a.items, ...b.items]);
  }
  const [s, t] = [textOf(a), textOf(b)];
  if (s === undefined || t === undefined) return undefined;
  return new Markup(
    paid(
      (a instanceof Markup ? s : escapeHtml(s)) +
        (b instanceof Markup ? t : escapeHtml(t)),
    ),
  );
}

/** A text for HTML, as markupsafe escapes it. */
export function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll(">", "&gt;")
    .replaceAll("<", "&lt;").replaceAll("'", "&#39;").replaceAll('"', "&#34;");
}

function times(value: Value, count: number): Value | undefined {
  const n = Math.max(0, count);
  if (typeof value === "string") {
    spend(value.length * n / 16);
    return value.repeat(n);
  }
  if (isList(value)) {
    spend(value.length * n);
    return Array.from({ length: n }, () => value).flat();
  }
  if (value instanceof Tuple) {
    return new Tuple(times(value.items, n) as Value[]);
  }
  return undefined;
}

function floats(op: string, x: number, y: number): number {
  if (y === 0 && (op === "/" || op === "//" || op === "%")) {
    throw fault("division by zero");
  }
  switch (op) {
    case "+":
      return x + y;
    case "-":
      return x - y;
    case "*":
      return x * y;
    case "/":
      return x / y;
    case "%":
      return remainder(x, y);
  }
  // Of the parts without a rest, as x / y may be rounded up to the next whole number.
  const whole = (x - remainder(x, y)) / y;
  if (whole === 0) return x / y < 0 || Object.is(x / y, -0) ? -0 : 0;
  return Math.round(whole);
}

/** Python's remainder of `x` by `y`, with the sign of `y`. */
function remainder(x: number, y: number): number {
  const rest = x % y;
  if (rest === 0) return y < 0 ? -0 : 0;
  return rest < 0 !== y < 0 ? rest + y : rest;
}

/** `a / b`, the nearest double. */
function quotient(a: Integral, b: Integral): number {
  const [x, y] = [Number(a), Number(b)];
  if (y === 0) throw fault("division by zero");
  if (Number.isSafeInteger(x) && Number.isSafeInteger(y)) return x / y;
  const [p, q] = [BigInt(a), BigInt(b)];
  if (p === 0n) return q < 0n ? -0 : 0;
  const bits = (n: bigint) => (n < 0n ? -n : n).toString(2).length;
  // So many bits that the last one, set if there is a rest (sticky), cannot move the rounding.
  const shift = 66 - bits(p) + bits(q);
  spend((bits(p) + bits(q)) / 64);
  const [top, low] = shift > 0
    ? [p << BigInt(shift), q]
    : [p, q << BigInt(-shift)];
  const whole = top / low;
  const sticky = top % low === 0n ? 0n : 1n;
  const half = Math.trunc(shift / 2);
  const near = Number(
    (whole < 0n ? -1n : 1n) * ((whole < 0n ? -whole : whole) | sticky),
  );
  const made = near * 2 ** -half * 2 ** (half - shift);
  if (!Number.isFinite(made)) {
    throw fault("integer division result too large for a float");
  }
  return made;
}

/** `a ** b`. */
function power(a: Real, b: Real): Value {
  if (!isFloat(a) && !isFloat(b) && Number(b) >= 0) return ints("**", a, b);
  const [x, y] = [Number(real(a)), Number(real(b))];
  if (x === 0 && y < 0) {
    throw fault("0.0 cannot be raised to a negative power");
  }
  if (
    x < 0 && Number.isFinite(x) && Number.isFinite(y) && !Number.isInteger(y)
  ) {
    throw lack("complex numbers");
  }
  // To Python 1 to any power is 1, and so is -1 to an infinite one.
  if (x === 1 || (x === -1 && Math.abs(y) === Infinity)) return float(1);
  const made = x ** y;
  if (Math.abs(made) === Infinity && Number.isFinite(x) && Number.isFinite(y)) {
    throw fault("Numerical result out of range");
  }
  return float(made);
}

type Integral = number | bigint | boolean;
type Real = Integral | Float;

function ints(op: string, a: Integral, b: Integral): Value {
  const fast = op === "+"
    ? Number(a) + Number(b)
    : op === "-"
    ? Number(a) - Number(b)
    : op === "*"
    ? Number(a) * Number(b)
    : NaN;
  if (Number.isSafeInteger(fast)) return fast === 0 ? 0 : fast;
  const [p, q] = [BigInt(a), BigInt(b)];
  switch (op) {
    case "+":
      return int(p + q);
    case "-":
      return int(p - q);
    case "*":
      spend((String(p).length + String(q).length) / 4);
      return int(p * q);
    case "**":
      if (p * p > 1n) spend(p.toString(2).length * Number(q));
      else if (p !== -1n) return q === 0n ? 1 : Number(p);
      else return q % 2n === 0n ? 1 : -1;
      return int(p ** q);
  }
  if (q === 0n) throw fault("integer division or modulo by zero");
  const rest = p % q;
  const wraps = rest !== 0n && rest < 0n !== q < 0n;
  return int(op === "%" ? (wraps ? rest + q : rest) : p / q - BigInt(wraps));
}

/** `-value` or `+value`. */
export function sign(value: Value, minus: boolean): Value {
  const x = real(value);
  refuseUndefined(value);
  if (x === undefined) {
    throw fault(
      `bad operand type for unary ${minus ? "-" : "+"}: '${typeName(value)}'`,
    );
  }
  if (!minus) return typeof value === "boolean" ? x : value;
  if (value instanceof Float) return new Float(-x);
  return typeof value === "bigint" ? int(-value) : x === 0 ? 0 : -x;
}

/** `a op b` for a comparison. */
export function compares(op: string, a: Value, b: Value): boolean {
  switch (op) {
    case "==":
      return equals(a, b);
    case "!=":
      return !equals(a, b);
    case "<":
      return compare(a, b) < 0;
    case "<=":
      return compare(a, b) <= 0;
    case ">":
      return compare(a, b) > 0;
    case ">=":
      return compare(a, b) >= 0;
    case "in":
      return contains(b, a);
  }
  return !contains(b, a);
}

/** `item in whole`. */
export function contains(whole: Value, item: Value): boolean {
  const text = textOf(whole);
  if (text !== undefined) {
    const part = textOf(item);
    if (part === undefined) {
      throw fault(
        `'in <string>' requires string as left operand, not ${typeName(item)}`,
      );
    }
    spend(text.length / 64);
    return text.includes(part);
  }
  if (whole instanceof Dict) return whole.has(item);
  if (whole instanceof View && whole.kind === "keys") {
    return whole.dict.has(item);
  }
  if (
    whole === null || real(whole) !== undefined || whole instanceof Namespace ||
    whole instanceof Fn
  ) throw fault(`argument of type '${typeName(whole)}' is not iterable`);
  for (const part of iterate(whole)) {
    spend(1);
    if (equals(part, item)) return true;
  }
  return false;
}

/** Further attributes of a macro. */
const MACRO = new Set([
  "arguments",
  "caller",
  "catch_kwargs",
  "catch_varargs",
  "explicit_caller",
]);

/** `value.name`. @throws {TypeError} If there is no value. */
export function attribute(value: Value, name: string): Value {
  refuseUndefined(value);
  const found = value instanceof Namespace
    ? value.get(name)
    : methodOf(value, name);
  if (found !== undefined) return found;
  const kept = value instanceof Dict
    ? value.get(name)
    : value instanceof Tuple
    ? value.items[value.names.indexOf(name)]
    : value instanceof Fn && name === "name"
    ? value.name
    : undefined;
  if (value instanceof Fn && MACRO.has(name)) {
    throw lack(`the attribute "${name}" of a macro`);
  }
  return kept === undefined ? missing(value, name) : kept;
}

/** `value[key]`. @throws {TypeError} If there is no value. */
export function item(value: Value, key: Value): Value {
  refuseUndefined(value);
  if (value instanceof Dict) {
    if (isList(key) || key instanceof Dict) return missing(value, key);
    const kept = value.get(key);
    if (kept !== undefined) return kept;
    const found = typeof key === "string" ? methodOf(value, key) : undefined;
    return found === undefined ? missing(value, key) : found;
  }
  const name = textOf(key);
  if (name !== undefined) return attribute(value, name);
  const list = sequence(value);
  if (list === undefined || !(isInt(key) || typeof key === "boolean")) {
    return missing(value, key);
  }
  const places = typeof list === "string" && isWide(list)
    ? Array.from(list)
    : list;
  const found = places.at(Number(key));
  return found === undefined ? missing(value, key) : found;
}

/** A value as a sequence: a text, or items; undefined for others. */
function sequence(value: Value): string | readonly Value[] | undefined {
  return isList(value)
    ? value
    : value instanceof Tuple || value instanceof Range
    ? value.items
    : textOf(value);
}

/** `value[from:to:step]`. @throws {TypeError} If it has no places. */
export function slice(
  value: Value,
  bounds: readonly (Value | undefined)[],
): Value {
  refuseUndefined(value);
  const list = sequence(value);
  if (list === undefined) {
    throw fault(`'${typeName(value)}' object is not subscriptable`);
  }
  const [from, to, step = 1] = bounds.map((bound) => {
    if (bound === undefined || bound === null) return undefined;
    if (!isInt(bound) && typeof bound !== "boolean") {
      throw fault("slice indices must be integers or None");
    }
    return Number(bound);
  });
  if (step === 0) throw fault("slice step cannot be zero");
  const length = typeof list === "string" ? textLength(list) : list.length;
  const clip = (at: number, low: number, high: number) =>
    Math.min(high, Math.max(low, at < 0 ? at + length : at));
  const down = step < 0;
  const first = from === undefined
    ? (down ? length - 1 : 0)
    : clip(from, down ? -1 : 0, down ? length - 1 : length);
  const end = to === undefined
    ? (down ? -1 : length)
    : clip(to, down ? -1 : 0, down ? length - 1 : length);
  spend(length / 64);
  const whole = typeof list === "string" && (isWide(list) || step !== 1)
    ? Array.from(list)
    : list;
  if (step === 1) {
    const part = whole.slice(first, Math.max(first, end));
    return wrap(value, typeof part === "string" ? part : [...part]);
  }
  const picked: Value[] = [];
  for (let i = first; down ? i > end : i < end; i += step) {
    spend(1);
    picked.push(whole[i]);
  }
  return wrap(value, picked);
}

/** A part of `value`, in its own kind. */
function wrap(value: Value, part: string | Value[]): Value {
  if (textOf(value) !== undefined) {
    const joined = typeof part === "string" ? part : part.join("");
    return value instanceof Markup ? new Markup(joined) : joined;
  }
  const items = part as Value[];
  if (value instanceof Tuple) return new Tuple(items);
  if (!(value instanceof Range)) return items;
  throw lack("a part of a range");
}

/** `value(args)`: something that can be called. @throws {TypeError} If it cannot. */
export function callable(value: Value): Fn {
  if (value instanceof Fn) return value;
  if (value instanceof Namespace && value.call) return value.call;
  refuseUndefined(value);
  throw fault(`'${typeName(value)}' object is not callable`);
}

/** Texts of values in one: `a ~ b`. */
export function concat(values: readonly Value[]): string {
  return paid(values.map(str).join(""));
}
