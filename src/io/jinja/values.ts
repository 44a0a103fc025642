/**
 * Values of a template: those of Python, as far as templates meet them.
 *
 * None, True and texts are JavaScript's own. An int is an integral `number`, or a `bigint` beyond 2^53; a float is a
 * `number` with a fraction (or NaN, infinite), or a {@linkcode Float} without one. A list is an array.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import { spend } from "./budget.ts";

/** Anything a template can hold. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Value[]
  | Float
  | Markup
  | Tuple
  | Dict
  | View
  | Range
  | Iter
  | Namespace
  | Fn
  | Undefined;

/** Arguments of a call. */
export interface Args {
  /** By position. */
  readonly list: readonly Value[];
  /** By name. */
  readonly named: ReadonlyMap<string, Value>;
}

/** An error of Python's: transformers refuses the same. */
export function fault(message: string): KindError {
  return new KindError(
    `${message} (transformers refuses it, too; mend the record or the template)`,
  );
}

/** Something that Jinja2 has and loqa has not. */
export function lack(what: string): KindError {
  return new KindError(
    `loqa's Jinja lacks ${what}, which Jinja2 has; write this line of the template without it`,
  );
}

/** A float without a fraction. */
export class Float {
  /** It. */
  readonly value: number;
  /** Wraps `value`. */
  constructor(value: number) {
    this.value = value;
  }
}

/** A text marked as safe (`| safe`, `| escape`): texts added to it are escaped. */
export class Markup {
  /** Its text. */
  readonly text: string;
  /** Marks `text`. */
  constructor(text: string) {
    this.text = text;
  }
}

/** A tuple; of `groupby`, with names for its two items. */
export class Tuple {
  /** Items in order. */
  readonly items: readonly Value[];
  /** Names of the items, if they have any. */
  readonly names: readonly string[];
  /** Makes a tuple. */
  constructor(items: readonly Value[], names: readonly string[] = []) {
    this.items = items;
    this.names = names;
  }
}

/** A dict. Keys that are equal in Python (1, 1.0 and True) are one. */
export class Dict {
  readonly #entries = new Map<Value | string, [Value, Value]>();
  /** Makes one of pairs. */
  constructor(pairs: Iterable<readonly [Value, Value]> = []) {
    for (const [key, value] of pairs) this.set(key, value);
  }
  /** Number of keys. */
  get size(): number {
    return this.#entries.size;
  }
  /** The value at `key`; undefined if there is none. */
  get(key: Value): Value | undefined {
    return this.#entries.get(hashOf(key))?.[1];
  }
  /** True if there is `key`. */
  has(key: Value): boolean {
    return this.#entries.has(hashOf(key));
  }
  /** Sets a value; only while it is being made. */
  set(key: Value, value: Value): void {
    const hash = hashOf(key);
    const old = this.#entries.get(hash);
    if (old) old[1] = value;
    else this.#entries.set(hash, [key, value]);
  }
  /** Keys in order. */
  *keys(): Iterable<Value> {
    for (const [key] of this.#entries.values()) yield key;
  }
  /** Pairs in order. */
  entries(): Iterable<readonly [Value, Value]> {
    return this.#entries.values();
  }
}

function hashOf(key: Value): Value | string {
  if (typeof key === "string" || typeof key === "number" || key === null) {
    return key;
  }
  if (typeof key === "boolean") return Number(key);
  if (typeof key === "bigint") return key;
  if (key instanceof Float) return key.value;
  if (key instanceof Markup) return key.text;
  // All undefined values are one.
  if (key instanceof Undefined) return "\0undefined";
  if (key instanceof Tuple) {
    const hashes = key.items.map(hashOf).map((h) => `${typeof h} ${String(h)}`);
    return `\0(${hashes.join("\0,")}\0)`;
  }
  if (
    typeof key === "object" && !isList(key) && !(key instanceof Dict) &&
    !(key instanceof View && key.kind !== "values")
  ) {
    return key;
  }
  throw fault(`unhashable type: '${typeName(key)}'`);
}

/** Result of a dict's `keys()`, `values()` and `items()`. */
export class View {
  /** Kind of view. */
  readonly kind: "keys" | "values" | "items";
  /** Its dict. */
  readonly dict: Dict;
  /** Makes a view. */
  constructor(kind: View["kind"], dict: Dict) {
    this.kind = kind;
    this.dict = dict;
  }
  /** Its items. */
  *[Symbol.iterator](): Iterator<Value> {
    for (const [key, value] of this.dict.entries()) {
      yield this.kind === "keys"
        ? key
        : this.kind === "values"
        ? value
        : new Tuple([key, value]);
    }
  }
}

/** Result of `range()`. */
export class Range {
  /** The numbers. */
  readonly items: readonly number[];
  /** As Python writes it. */
  readonly text: string;
  /** Makes one of its numbers. */
  constructor(items: readonly number[], text: string) {
    this.items = items;
    this.text = text;
  }
}

/** A generator: it can be gone through once. */
export class Iter implements Iterable<Value> {
  readonly #items: Iterator<Value>;
  /** Makes one of an iterable. */
  constructor(items: Iterable<Value>) {
    this.#items = items[Symbol.iterator]();
  }
  /** The rest of it, which stays open when a loop over it ends. */
  [Symbol.iterator](): Iterator<Value> {
    return { next: () => this.#items.next() };
  }
}

/** Result of `namespace()`: attributes that can be set; and other objects with attributes alone. */
export class Namespace {
  /** Its attributes. */
  readonly attributes: Map<string, Value>;
  /** Name of its type in Python. */
  readonly type: string;
  /** Computes an attribute that is not among them. */
  readonly lookup: ((name: string) => Value | undefined) | undefined;
  /** Its function, if it can be called. */
  call: Fn | undefined;
  /** Makes one. */
  constructor(
    attributes: Map<string, Value>,
    type = "Namespace",
    lookup?: (name: string) => Value | undefined,
  ) {
    this.attributes = attributes;
    this.type = type;
    this.lookup = lookup;
  }
  /** An attribute; undefined if there is none. */
  get(name: string): Value | undefined {
    const value = this.attributes.get(name);
    return value === undefined ? this.lookup?.(name) : value;
  }
}

/** Something that can be called. */
export class Fn {
  /** Its name. */
  readonly name: string;
  /** Calls it. */
  readonly call: (args: Args) => Value;
  /** Makes one. */
  constructor(name: string, call: (args: Args) => Value) {
    this.name = name;
    this.call = call;
  }
}

/** Jinja2's undefined value. It is false, empty, and no text; any other use is an error, which says `why`. */
export class Undefined {
  /** The error's words. */
  readonly why: string;
  /** Makes one. */
  constructor(why: string) {
    this.why = why;
  }
}

/** Python's name of a value's type. */
export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "string") return "str";
  if (isInt(value)) return "int";
  if (isFloat(value)) return "float";
  if (isList(value)) return "list";
  if (value instanceof Markup) return "Markup";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Dict) return "dict";
  if (value instanceof View) return `dict_${value.kind}`;
  if (value instanceof Range) return "range";
  if (value instanceof Iter) return "generator";
  if (value instanceof Namespace) return value.type;
  return value instanceof Fn ? "function" : "Undefined";
}

/** True if it is a list. */
export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

/** True if it is an int; a bool is none here. */
export function isInt(value: Value): value is number | bigint {
  return typeof value === "number"
    ? Number.isInteger(value)
    : typeof value === "bigint";
}

/** True if it is a float. */
export function isFloat(value: Value): value is number | Float {
  return typeof value === "number"
    ? !Number.isInteger(value)
    : value instanceof Float;
}

/** A double as a float. */
export function float(value: number): number | Float {
  return Number.isInteger(value) ? new Float(value) : value;
}

/** Digits of an int that Python writes, or reads, at the most. */
export const MOST_DIGITS = 4300;

/** An int in digits. @throws {TypeError} If it has more than Python writes. */
export function digitsOf(value: number | bigint): string {
  if (Number.isSafeInteger(value)) return String(value);
  const text = String(BigInt(value));
  if (text.length > MOST_DIGITS && text.replace("-", "").length > MOST_DIGITS) {
    throw fault(
      `Exceeds the limit (${MOST_DIGITS} digits) for integer string conversion`,
    );
  }
  return text;
}

/** An int as a number where that holds it. */
export function int(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** A number or a bool as a double; undefined for anything else. */
export function real(value: Value): number | undefined {
  return typeof value === "number"
    ? value
    : typeof value === "boolean" || typeof value === "bigint"
    ? Number(value)
    : value instanceof Float
    ? value.value
    : undefined;
}

/** A text, marked or not; undefined for anything else. */
export function textOf(value: Value): string | undefined {
  return typeof value === "string"
    ? value
    : value instanceof Markup
    ? value.text
    : undefined;
}

/** Truth of a value, as in Python. */
export function truth(value: Value): boolean {
  if (value === null || typeof value !== "object") return Boolean(value);
  if (value instanceof Undefined) return false;
  if (value instanceof Float) return value.value !== 0;
  return lengthOf(value) !== 0;
}

/** Python's `len`, characters for a text; undefined where there is none. */
export function lengthOf(value: Value): number | undefined {
  if (typeof value === "string") return textLength(value);
  if (isList(value)) return value.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof Tuple || value instanceof Range) {
    return value.items.length;
  }
  if (value instanceof View) return value.dict.size;
  if (value instanceof Markup) return textLength(value.text);
  return value instanceof Undefined ? 0 : undefined;
}

/** True if a text has characters of two units. */
export function isWide(text: string): boolean {
  return /[\ud800-\udbff]/.test(text);
}

/** Characters of a text, as Python counts them. */
export function textLength(text: string): number {
  return isWide(text) ? Array.from(text).length : text.length;
}

/** Items of an iterable value. @throws {TypeError} If it is none in Python. */
export function iterate(value: Value): Iterable<Value> {
  const text = textOf(value);
  if (text !== undefined) return text;
  if (isList(value) || value instanceof View || value instanceof Iter) {
    return value;
  }
  if (value instanceof Dict) return value.keys();
  if (value instanceof Tuple || value instanceof Range) return value.items;
  if (value instanceof Undefined) return [];
  throw fault(`'${typeName(value)}' object is not iterable`);
}

/** Items of an iterable value as a list, charged to the budget. */
export function listOf(value: Value): Value[] {
  const list = Array.from(iterate(value));
  spend(list.length);
  return list;
}

/** True if two values are equal in Python. */
export function equals(a: Value, b: Value): boolean {
  if (a === b) return a === a;
  if (typeof a === "string" && typeof b === "string") return false;
  const [x, y] = [real(a), real(b)];
  if (x !== undefined && y !== undefined) {
    return typeof a === "bigint" || typeof b === "bigint"
      // deno-lint-ignore eqeqeq -- an int and a float of any size compare exactly.
      ? (typeof a === "bigint" ? a : x) == (typeof b === "bigint" ? b : y)
      : x === y;
  }
  const [s, t] = [textOf(a), textOf(b)];
  if (s !== undefined || t !== undefined) return s === t;
  spend(1);
  if (isList(a) && isList(b)) return sameItems(a, b);
  if (a instanceof Tuple && b instanceof Tuple) {
    return sameItems(a.items, b.items);
  }
  if (a instanceof Range && b instanceof Range) {
    return sameItems(a.items, b.items);
  }
  if (a instanceof Dict && b instanceof Dict) {
    if (a.size !== b.size) return false;
    for (const [key, value] of a.entries()) {
      const other = b.get(key);
      if (other === undefined || !equals(value, other)) return false;
    }
    return true;
  }
  return a instanceof Undefined && b instanceof Undefined;
}

function sameItems(a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && a.every((item, i) => equals(item, b[i]));
}

/** Less than 0, 0 or more as `a` is less than, equal to or more than `b`. @throws {TypeError} If Python cannot order. */
export function compare(a: Value, b: Value): number {
  const [x, y] = [real(a), real(b)];
  if (x !== undefined && y !== undefined) {
    const p = typeof a === "bigint" ? a : x;
    const q = typeof b === "bigint" ? b : y;
    return p < q ? -1 : p > q ? 1 : p == q ? 0 : NaN;
  }
  const [s, t] = [textOf(a), textOf(b)];
  if (s !== undefined && t !== undefined) return compareTexts(s, t);
  const [p, q] = isList(a) && isList(b)
    ? [a, b]
    : a instanceof Tuple && b instanceof Tuple
    ? [a.items, b.items]
    : [];
  if (!p || !q) {
    refuseUndefined(a, b);
    throw fault(
      `'<' not supported between instances of '${typeName(a)}' and '${
        typeName(b)
      }'`,
    );
  }
  for (let i = 0; i < p.length && i < q.length; i++) {
    spend(1);
    if (!equals(p[i], q[i])) return compare(p[i], q[i]);
  }
  return p.length - q.length;
}

function compareTexts(a: string, b: string): number {
  if (!isWide(a) && !isWide(b)) return a < b ? -1 : a > b ? 1 : 0;
  const [p, q] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < p.length && i < q.length; i++) {
    const d = p[i].codePointAt(0)! - q[i].codePointAt(0)!;
    if (d !== 0) return d;
  }
  return p.length - q.length;
}

/** @throws {TypeError} If one of them is not there. */
export function refuseUndefined(...values: Value[]): void {
  for (const value of values) {
    if (value instanceof Undefined) throw fault(value.why);
  }
}

/** Undefined value for the missing `key` (name or number) of `value`. */
export function missing(value: Value, key: Value): Undefined {
  const of = value === null ? "None" : `'${typeName(value)} object'`;
  return new Undefined(
    typeof key === "string"
      ? `${of} has no attribute ${quoted(key)}`
      : `${of} has no element of this key`,
  );
}
