/**
 * Shapes of the JSON files that loqa writes, checked before their values are used: anybody may have edited them.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quoted } from "./errors.ts";
import { isObject } from "./json.ts";

/** Shape of a value. A list's items are like its one; an object's keys that end in `?` may be left out. */
export type JsonShape =
  | "text"
  | "number"
  | "flag"
  | "any"
  | readonly [JsonShape]
  | { readonly [key: string]: JsonShape };

const NAMES = { text: "a text", number: "a number", flag: "true or false" };
const HOLDS = {
  text: (value: unknown) => typeof value === "string",
  number: (value: unknown) => typeof value === "number",
  flag: (value: unknown) => typeof value === "boolean",
};

/**
 * Checks a value against a shape.
 *
 * @param name Name of the file in errors.
 * @throws {SyntaxError} That names the file and the first value that is none of its kind.
 */
export function checkShape(
  value: unknown,
  shape: JsonShape,
  name: string,
  at = "",
): void {
  const fail = (wanted: string): never => {
    const got = value === undefined
      ? "none"
      : quoted(JSON.stringify(value)).slice(1, -1).replaceAll('\\"', '"');
    throw new FormatError(
      `Cannot read ${quoted(name)}: ${
        at || "it"
      }: wanted ${wanted}, got ${got}`,
    );
  };
  if (shape === "any") return;
  if (typeof shape === "string") {
    if (!HOLDS[shape](value)) fail(NAMES[shape]);
  } else if (isList(shape)) {
    if (!Array.isArray(value)) return fail("a list");
    value.forEach((item, i) => checkShape(item, shape[0], name, `${at}[${i}]`));
  } else {
    if (!isObject(value)) return fail("an object");
    for (const [key, part] of Object.entries(shape)) {
      const bare = key.replace(/\?$/, "");
      const found = Object.hasOwn(value, bare) ? value[bare] : undefined;
      if (found === undefined && bare !== key) continue;
      checkShape(found, part, name, at === "" ? bare : `${at}.${bare}`);
    }
  }
}

function isList(shape: JsonShape): shape is readonly [JsonShape] {
  return Array.isArray(shape);
}
