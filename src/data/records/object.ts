/**
 * Data files that are one JSON object as a whole: SQuAD, dictionaries.
 *
 * @module
 */

import type { ByteSource } from "../../io/files/bytes.ts";
import { decodeText, parseJsonObject } from "../../io/files/json.ts";
import type { JsonObject } from "../../io/files/json.ts";
import { MAX_TEXT_BYTES } from "./lines.ts";

/**
 * The object that a file is as a whole; undefined if it is an array, several objects, no JSON or beyond all measure:
 * readers of records take it, or name the fault.
 *
 * @throws {SyntaxError} If it is no UTF-8, or an object in it has a key twice.
 */
export async function wholeObject(
  source: ByteSource,
): Promise<JsonObject | undefined> {
  if (source.size > MAX_TEXT_BYTES) return undefined;
  const text = decodeText(await source.read(0, source.size), source.name);
  if (!/^\s*\{/.test(text)) return undefined;
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  return parseJsonObject(text, source.name, { most: MAX_TEXT_BYTES });
}
