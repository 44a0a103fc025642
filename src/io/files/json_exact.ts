/**
 * JSON with its numbers and order of keys as they are written: to a chat template, 2 and 2.0 are not the same, and a
 * tool's arguments are written in their order.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";

/** A number that a double does not hold, or that is written as a float but has no fraction: `2.0`, `1e3`. */
export class JsonNumber {
  /** As it is written. */
  readonly text: string;

  /** Keeps a number as it is written. */
  constructor(text: string) {
    this.text = text;
  }

  /** True if it is a float to Python: it has a point or an exponent. */
  get isFloat(): boolean {
    return /[.eE]/.test(this.text);
  }

  /** The nearest double. */
  valueOf(): number {
    return Number(this.text);
  }

  /** For `JSON.stringify`: the text where the runtime can write it, else the nearest double. */
  toJSON(): unknown {
    const { rawJSON } = JSON as { rawJSON?: (text: string) => unknown };
    return rawJSON?.(this.text) ?? this.valueOf();
  }
}

/** Texts that `JSON.parse` may change: long numbers, floats, keys that look like indices (a text's digits do too). */
const MAY_DIFFER = /\d{16}|\d[.eE]|"\d+"/;

/** A number, a word, a mark or the start of a string of a valid document. */
const TOKEN = /-?\d[\d.eE+-]*|[a-z]+|["[\]{}:,]/g;

/** Greatest nesting depth of values. */
const MOST_DEPTH = 500;

/**
 * A JSON text, as `JSON.parse` reads it, but for two things: a number that would not come back as it is written is a
 * {@linkcode JsonNumber}, and an object with a key like `"10"`, which an object of JavaScript puts first, is a `Map`.
 * Of equal keys the last counts.
 *
 * @throws {SyntaxError} As `JSON.parse`.
 */
export function parseJsonExact(text: string): unknown {
  const plain: unknown = JSON.parse(text);
  return MAY_DIFFER.test(text) ? read(text) : plain;
}

/**
 * End of the string that begins with a quotation mark at `from`: behind its other mark, or -1. A regular expression runs
 * out of stack on long ones.
 */
export function stringEnd(text: string, from: number): number {
  const mark = text[from];
  let at = from + 1;
  for (;;) {
    const end = text.indexOf(mark, at);
    if (end < 0) return -1;
    let slashes = 0;
    while (text[end - 1 - slashes] === "\\") slashes++;
    at = end + 1;
    if (slashes % 2 === 0) return at;
  }
}

/** The value of a valid document. */
function read(text: string): unknown {
  let at = 0;
  const next = (): string => {
    TOKEN.lastIndex = at;
    const { index, 0: token } = TOKEN.exec(text)!;
    at = token === '"' ? stringEnd(text, index) : index + token.length;
    return text.slice(index, at);
  };
  const value = (token: string, depth: number): unknown => {
    if (depth > MOST_DEPTH) {
      throw new FormatError(
        `Cannot read JSON: its values lie more than ${MOST_DEPTH} deep in each other`,
      );
    }
    if (token === "[") {
      const list: unknown[] = [];
      for (let part = next(); part !== "]"; part = next()) {
        if (part !== ",") list.push(value(part, depth + 1));
      }
      return list;
    }
    if (token === "{") {
      const entries = new Map<string, unknown>();
      for (let part = next(); part !== "}"; part = next()) {
        if (part === ",") continue;
        next();
        entries.set(JSON.parse(part), value(next(), depth + 1));
      }
      for (const key of entries.keys()) {
        if (/^\d+$/.test(key)) return entries;
      }
      return Object.fromEntries(entries);
    }
    return /^[-\d]/.test(token) ? number(token) : JSON.parse(token);
  };
  return value(next(), 0);
}

function number(text: string): number | JsonNumber {
  const value = Number(text);
  const kept = /[.eE]/.test(text)
    ? Number.isFinite(value) && !Number.isInteger(value)
    : Number.isSafeInteger(value) && text !== "-0";
  return kept ? value : new JsonNumber(text);
}
