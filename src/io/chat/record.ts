/**
 * From a record to a chat template's variables, as transformers prepares them.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import { Dict, float, int, isList, type Value } from "../jinja/values.ts";
import { JsonNumber } from "../files/json_exact.ts";

/** Greatest nesting depth of a record's values. */
const MOST_DEPTH = 500;

/** Converts JSON to a template's values, and counts them. */
export class Converter {
  /** Values and a share of their characters so far. */
  size = 0;

  /** @throws {TypeError} If it is no JSON; it names `what`. */
  value(json: unknown, what: string, depth = 0): Value {
    this.size++;
    if (typeof json === "string") {
      this.size += json.length / 4;
      return json;
    }
    if (
      json === null || typeof json === "boolean" || typeof json === "bigint"
    ) {
      return typeof json === "bigint" ? int(json) : json;
    }
    if (typeof json === "number") return json === 0 ? 0 : json;
    if (json instanceof JsonNumber) {
      return json.isFloat ? float(Number(json.text)) : int(BigInt(json.text));
    }
    if (depth > MOST_DEPTH) {
      throw new KindError(
        `${what} has values more than ${MOST_DEPTH} deep in each other`,
      );
    }
    if (Array.isArray(json)) {
      return json.map((item) => this.value(item, what, depth + 1));
    }
    return this.dict(json, what, depth);
  }

  /** An object as a dict. @throws {TypeError} If it is none; it names `what`. */
  dict(json: unknown, what: string, depth = 0): Dict {
    const entries = json instanceof Map
      ? json
      : typeof json === "object" && json !== null && isPlain(json)
      ? Object.entries(json)
      : undefined;
    if (!entries) {
      throw new KindError(
        `${what}: wanted ${depth === 0 ? "an object" : "JSON"}, got ${
          quoted(String(json))
        }`,
      );
    }
    const dict = new Dict();
    for (const [key, item] of entries) {
      if (item === undefined) continue;
      dict.set(String(key), this.value(item, what, depth + 1));
    }
    return dict;
  }
}

function isPlain(json: object): boolean {
  const prototype = Object.getPrototypeOf(json);
  return prototype === null || prototype === Object.prototype;
}

/** Names of a message's reasoning, the first of which templates read most. */
const REASONING = ["reasoning_content", "thinking", "reasoning"];

/**
 * A message without its null fields, and with its reasoning under each name that templates read, as transformers 5.24
 * has it.
 */
export function preparedMessage(message: Dict): Dict {
  const kept = new Dict();
  const reasoning = REASONING.map((name) => message.get(name))
    .find((value) => value !== undefined && value !== null);
  if (reasoning !== undefined) kept.set("thinking", reasoning);
  for (const [key, value] of message.entries()) {
    if (value !== null) kept.set(key, value);
  }
  if (reasoning !== undefined) kept.set("reasoning_content", reasoning);
  return kept;
}

/** Mark at the end of a message that is to be continued. */
const TAG = "CONTINUE_FINAL_MESSAGE_TAG ";

/** A conversation whose last message has a tag behind its content; and that content. @throws {TypeError} If it has none. */
export function withOpenEnd(
  messages: readonly Dict[],
): { messages: Dict[]; content: string } {
  const last = messages.at(-1)!;
  const value = last.get("content");
  const copy = new Dict(last.entries());
  if (typeof value === "string") copy.set("content", value + TAG);
  else {
    const parts = value !== undefined && isList(value) ? [...value] : [];
    const at = parts.findLastIndex((part) =>
      part instanceof Dict && typeof part.get("text") === "string"
    );
    if (at < 0) {
      throw new KindError(
        "the last message has no content that could be continued",
      );
    }
    const part = parts[at] as Dict;
    const text = part.get("text") as string;
    parts[at] = new Dict([...part.entries(), ["text", text + TAG]]);
    copy.set("content", parts);
    return { messages: [...messages.slice(0, -1), copy], content: text };
  }
  return { messages: [...messages.slice(0, -1), copy], content: value };
}

/** A text up to the tag of {@linkcode withOpenEnd}. @throws {TypeError} If the template does not write the content. */
export function upToTag(text: string, content: string): string {
  const at = text.lastIndexOf(TAG.trim());
  if (at < 0 || !text.includes(content.trim())) {
    throw new KindError(
      "it does not write the last message as it is, so it cannot be continued",
    );
  }
  const before = text.slice(0, at);
  return text.startsWith(TAG, at) ? before : before.trimEnd();
}
