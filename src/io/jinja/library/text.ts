/**
 * Values as text: `str`, `repr` and JSON, as Python writes them.
 *
 * @module
 */

import { paid, spend } from "../budget.ts";
import {
  compare,
  Dict,
  digitsOf,
  fault,
  type Float,
  isFloat,
  isInt,
  isList,
  iterate,
  lack,
  Markup,
  Namespace,
  Range,
  real,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "../values.ts";

/** Greatest nesting depth: more than records have. */
const MOST_DEPTH = 1000;

/** A value as text: `str(value)`. @throws {TypeError} If Python would write an address. */
export function str(value: Value): string {
  if (typeof value === "string") return value;
  if (value instanceof Undefined) return "";
  if (value instanceof Markup) return value.text;
  return repr(value);
}

/** A value as Python shows it: `repr(value)`. */
export function repr(value: Value, depth = 0): string {
  spend(1);
  if (depth > MOST_DEPTH) throw fault("maximum recursion depth exceeded");
  const all = (items: Iterable<Value>) =>
    Array.from(items, (item) => repr(item, depth + 1)).join(", ");
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return paid(quote(value));
  if (isInt(value)) return digitsOf(value);
  if (isFloat(value)) return floatText(real(value)!);
  if (isList(value)) return paid(`[${all(value)}]`);
  if (value instanceof Tuple) {
    if (value.names.length > 0) throw lack("a group of groupby as a text");
    const { items } = value;
    return paid(`(${all(items)}${items.length === 1 ? "," : ""})`);
  }
  if (value instanceof Dict) {
    const parts = Array.from(
      value.entries(),
      ([key, item]) => `${repr(key, depth + 1)}: ${repr(item, depth + 1)}`,
    );
    return paid(`{${parts.join(", ")}}`);
  }
  if (value instanceof View) return `dict_${value.kind}([${all(value)}])`;
  if (value instanceof Range) return value.text;
  if (value instanceof Markup) return `Markup(${quote(value.text)})`;
  if (value instanceof Namespace && !value.lookup) {
    return `<${value.type} ${repr(new Dict(value.attributes), depth + 1)}>`;
  }
  if (value instanceof Undefined) return "Undefined";
  throw lack(`a ${typeName(value)} as a text`);
}

/** Characters that `repr` escapes by number: controls, marks of direction, unassigned ones, and all spaces but one. */
const HIDDEN = /[\\\p{C}\p{Zl}\p{Zp}\p{Zs}]/gu;

function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const named: Record<string, string> = {
    " ": " ",
    "\\": "\\\\",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
  };
  const inner = text.replace(HIDDEN, (c) => {
    if (named[c]) return named[c];
    const code = c.codePointAt(0)!;
    const hex = (digits: number) => code.toString(16).padStart(digits, "0");
    return code < 0x100
      ? `\\x${hex(2)}`
      : code < 0x10000
      ? `\\u${hex(4)}`
      : `\\U${hex(8)}`;
  });
  return mark + (mark === "'" ? inner.replaceAll("'", "\\'") : inner) + mark;
}

/** A float as Python writes it: the shortest digits, with an exponent from 1e16 and below 1e-4. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  const size = Math.abs(value);
  if (size === Infinity) return value > 0 ? "inf" : "-inf";
  if (value !== 0 && (size >= 1e16 || size < 1e-4)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** Layout of JSON. */
export interface JsonLayout {
  /** Writes other characters than those of ASCII as escapes. */
  readonly ascii: boolean;
  /** Indentation for each level; null for one line. */
  readonly indent: string | null;
  /** Separator of items. */
  readonly comma: string;
  /** Separator of a key and its value. */
  readonly colon: string;
  /** Sorts the keys. */
  readonly sorted: boolean;
}

/** A value as JSON: `json.dumps`. @throws {TypeError} If it is none of JSON's. */
export function jsonText(value: Value, layout: JsonLayout): string {
  const { ascii, indent, comma, colon } = layout;
  const text = (part: string) => {
    const json = paid(JSON.stringify(part));
    return ascii ? json.replace(/[\x7f-\uffff]/g, escaped) : json;
  };
  const number = (part: number | Float) =>
    floatText(real(part)!).replace("nan", "NaN").replace("inf", "Infinity");
  const key = (part: Value): string => {
    if (typeof part === "string") return text(part);
    if (isInt(part)) return `"${digitsOf(part)}"`;
    if (part === null || typeof part === "boolean") return `"${part}"`;
    if (isFloat(part)) return `"${number(part)}"`;
    throw fault(
      `keys must be str, int, float, bool or None, not ${typeName(part)}`,
    );
  };
  const block = (open: string, parts: string[], close: string, depth: number) =>
    parts.length === 0
      ? open + close
      : indent === null
      ? open + parts.join(comma) + close
      : `${open}\n${indent.repeat(depth + 1)}${
        parts.join(`${comma}\n${indent.repeat(depth + 1)}`)
      }\n${indent.repeat(depth)}${close}`;
  const write = (part: Value, depth: number): string => {
    spend(1);
    if (depth > MOST_DEPTH) throw fault("maximum recursion depth exceeded");
    if (isInt(part)) return digitsOf(part);
    if (part === null || typeof part === "boolean") return String(part);
    if (typeof part === "string") return text(part);
    if (part instanceof Markup) return text(part.text);
    if (isFloat(part)) return number(part);
    if (isList(part) || part instanceof Tuple) {
      const items = Array.from(
        iterate(part),
        (item) => write(item, depth + 1),
      );
      return paid(block("[", items, "]", depth));
    }
    if (part instanceof Dict) {
      const entries = Array.from(part.entries());
      if (layout.sorted) entries.sort(([a], [b]) => compare(a, b));
      const parts = entries.map(([name, item]) =>
        key(name) + colon + write(item, depth + 1)
      );
      return paid(block("{", parts, "}", depth));
    }
    throw fault(`Object of type ${typeName(part)} is not JSON serializable`);
  };
  return write(value, 0);
}

function escaped(unit: string): string {
  return unit === "\x7f"
    ? unit
    : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
