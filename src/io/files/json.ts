/**
 * JSON from files nobody vouches for.
 *
 * `JSON.parse` takes the last of two equal keys in silence; a header in which a tensor is declared twice is a lie,
 * so the keys are checked here.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { messageOf, quoted } from "./errors.ts";

/** A JSON object. */
export type JsonObject = Record<string, unknown>;

/** True if `value` is a JSON object (no array, no null). */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * A whole number that `JSON.stringify` writes with a decimal point (`6.0`): transformers refuses an int where it
 * wants a float. Where the runtime has no `JSON.rawJSON` it is the plain number.
 */
export function floatJson(value: number): unknown {
  const { rawJSON } = JSON as { rawJSON?: (text: string) => unknown };
  return rawJSON?.(value.toFixed(1)) ?? value;
}

/**
 * `value` as indented JSON in which a whole number is written as a float (`0.0`) where `like`, the JSON that it was
 * read from, writes a number of the same key as one: to transformers, 0 and 0.0 are not the same.
 */
export function stringifyLike(value: unknown, like: string): string {
  const floats = floatsOf(like);
  const asFloat = (part: unknown) =>
    typeof part === "number" && Number.isInteger(part) && Math.abs(part) < 1e21
      ? floatJson(part)
      : part;
  const replace = (key: string, part: unknown) => {
    const places = floats.get(key);
    if (!places) return part;
    if (!Array.isArray(part)) return places.has(-1) ? asFloat(part) : part;
    return part.map((item, i) => places.has(i) ? asFloat(item) : item);
  };
  return JSON.stringify(value, replace, 2);
}

/** Places of a JSON text's floats: by key, -1 for its value, else indices in the list that is its value. */
function floatsOf(text: string): Map<string, Set<number>> {
  const found = new Map<string, Set<number>>();
  const isFloat = Symbol();
  const note = (key: string, place: number) =>
    found.set(key, (found.get(key) ?? new Set()).add(place));
  const revive = (_: string, value: unknown, context?: { source?: string }) =>
    typeof value === "number" && /[.eE]/.test(context?.source ?? "")
      ? isFloat
      : value;
  const walk = (value: unknown) => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, part] of Object.entries(value)) {
      if (part === isFloat) note(key, -1);
      else if (Array.isArray(part)) {
        part.forEach((item, i) => item === isFloat && note(key, i));
        part.forEach(walk);
      } else walk(part);
    }
  };
  if (text) walk(JSON.parse(text, revive));
  return found;
}

/** UTF-8 `bytes` as text. @throws {SyntaxError} If they are no UTF-8; it names `name`. */
export function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new FormatError(`Cannot read ${quoted(name)}: it is not UTF-8 text`);
  }
}

/** Bytes of a config or other small file at most. */
export const MOST_CONFIG: number = 2 ** 24;

/** Bytes at most of a file that has an entry for each token or tensor. */
export const MOST_TABLE: number = 2 ** 27;

/** Limits of a document's values and of their nesting: their memory is far more than their text. */
const MOST_VALUES = 2 ** 23;
const MOST_DEPTH = 500;

/** True if a document has more than {@linkcode MOST_VALUES} values, going by its marks. */
function isCrowded(document: Uint8Array | string): boolean {
  if (document.length < MOST_VALUES) return false;
  const at = typeof document === "string"
    ? (i: number) => document.charCodeAt(i)
    : (i: number) => document[i];
  let values = 0;
  for (let i = 0; i < document.length; i++) {
    const c = at(i);
    if (c === 0x2c || c === 0x5b || c === 0x7b) values++;
  }
  return values > MOST_VALUES;
}

/**
 * The JSON object in UTF-8 `bytes` (or in a text).
 *
 * @param name Its name in errors.
 * @param most Bytes (or characters) at most ({@linkcode MOST_CONFIG}).
 * @throws {SyntaxError} If it is no JSON, no object at the top, an object in it has a key twice, or it is far larger
 *   than such a file ever is.
 */
export function parseJsonObject(
  bytes: Uint8Array | string,
  name: string,
  { most = MOST_CONFIG }: { most?: number } = {},
): JsonObject {
  if (bytes.length > most) {
    throw new FormatError(
      `Cannot read ${
        quoted(name)
      }: wanted at most ${most} bytes of JSON, got ${bytes.length}`,
    );
  }
  if (isCrowded(bytes)) {
    throw new FormatError(
      `Cannot read ${
        quoted(name)
      }: wanted at most ${MOST_VALUES} values of JSON, got more`,
    );
  }
  const text = typeof bytes === "string" ? bytes : decodeText(bytes, name);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(
      `Cannot read ${quoted(name)}: it is not JSON: ${messageOf(cause)}`,
      { cause },
    );
  }
  if (!isObject(value)) {
    throw new FormatError(
      `Cannot read ${quoted(name)}: wanted a JSON object, got ${
        Array.isArray(value) ? "an array" : quoted(String(value))
      }`,
    );
  }
  const twice = duplicateKey(text, name);
  if (twice !== undefined) {
    throw new FormatError(
      `Cannot read ${quoted(name)}: the key ${quoted(twice)} occurs twice`,
    );
  }
  return value;
}

/** The first key that some object of the valid JSON `text` has twice. @throws {SyntaxError} If it is nested too deeply. */
function duplicateKey(text: string, name: string): string | undefined {
  const open: (Set<string> | null)[] = [];
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "{") open.push(new Set());
    else if (c === "[") open.push(null);
    else if (c === "}" || c === "]") open.pop();
    if (open.length > MOST_DEPTH) {
      throw new FormatError(
        `Cannot read ${
          quoted(name)
        }: its values lie more than ${MOST_DEPTH} deep in each other`,
      );
    }
    if (c !== '"') continue;
    const start = i++;
    while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
    let next = i + 1;
    while (/\s/.test(text[next] ?? "")) next++;
    if (text[next] !== ":") continue;
    const key: string = JSON.parse(text.slice(start, i + 1));
    const keys = open.at(-1)!;
    if (keys.has(key)) return key;
    keys.add(key);
  }
  return undefined;
}
