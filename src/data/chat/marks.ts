/**
 * Conversations with marks in the place of the messages' texts, and places of the parts between the marks in a text.
 *
 * @module
 */

import type { ChatRecord } from "../../io/chat/template.ts";
import { isObject, type JsonObject } from "../../io/files/json.ts";
import { REASONING } from "./conversation.ts";

/** Brackets around the number of a mark: private-use characters, found in no text. */
const OPEN = "\uf8f0";
const CLOSE = "\uf8f1";
const MARK = /\uf8f0(\d+)\uf8f1/g;

/** Reasoning that is written out in a content (`<think>`), and the content after it. */
const THOUGHTS = /^(\s*(?:<think>)?\s*)([^]*?)(\s*<\/think>\s*)([^]*)$/;

/** Substrings that a template may look for in messages of a user, a tool or the system. */
const LOOKED_FOR =
  /(<[^<>\n]{1,80}>|\[\/?[A-Z_]+\]|\/(?:no_)?think\b|```[a-z]*)/;

/** A text of a message. */
export interface Said {
  /** Number of its message. */
  readonly message: number;
  /** `thought` may be left out by a template, and of a call all but one mark. */
  readonly kind: "content" | "thought" | "call";
  /** The text. */
  readonly text: string;
  /** Of a call, its number in the message. */
  readonly call?: number;
}

/** A conversation of which some texts may be marks. */
export interface Marked extends ChatRecord {
  readonly messages: readonly JsonObject[];
}

/** A conversation with marks, and the texts that they replace. */
export interface MarkedChat {
  readonly marked: Marked;
  /** The replaced texts, by the numbers of the marks. */
  readonly said: readonly Said[];
  /** By messages of others than the assistant: the part of a content before its first mark. */
  readonly leads: ReadonlyMap<number, string>;
}

/** A text as marks and the parts between them: one part more than marks. */
export interface Skeleton {
  readonly between: readonly string[];
  /** The number at each mark: an index into `said`. */
  readonly marks: readonly number[];
}

/**
 * The marked texts: `all` of the messages, but for substrings that templates may look for; also the `arguments` and ids
 * of tool calls, of which only the names are marked otherwise; or the assistant's `own` texts.
 */
export type MarkLevel = "all" | "arguments" | "own";

/** A mark. */
export function markOf(number: number): string {
  return `${OPEN}${number}${CLOSE}`;
}

/** True if a text has a character other than white space. */
export function visible(text: string): boolean {
  return text.trim() !== "";
}

/** The marks of a text, and the parts between them. */
export function skeletonOf(text: string): Skeleton {
  const parts = text.split(MARK);
  return {
    between: parts.filter((_, i) => i % 2 === 0),
    marks: parts.filter((_, i) => i % 2 === 1).map(Number),
  };
}

/** Numbers of the marks in a text, each with where it stands. */
export function marksIn(text: string): { number: number; at: number }[] {
  return Array.from(
    text.matchAll(MARK),
    ({ 1: number, index }) => ({ number: Number(number), at: index }),
  );
}

/** Puts marks in the place of the messages' texts. */
export function markedOf(chat: Marked, level: MarkLevel): MarkedChat {
  const said: Said[] = [];
  const leads = new Map<number, string>();
  const put = (text: unknown, rest: Omit<Said, "text">): unknown => {
    if (typeof text !== "string" || !visible(text)) return text;
    said.push({ ...rest, text });
    return markOf(said.length - 1);
  };
  const ownText = (text: unknown, message: number): unknown => {
    if (typeof text !== "string") return text;
    const thought = THOUGHTS.exec(text);
    if (!thought) return put(text, { message, kind: "content" });
    const [, open, inner, close, rest] = thought;
    return `${open}${put(inner, { message, kind: "thought" })}${close}${
      put(rest, { message, kind: "content" })
    }`;
  };
  const otherText = (text: unknown, message: number): unknown => {
    if (typeof text !== "string") return text;
    const made = level === "own"
      ? text
      : text.split(LOOKED_FOR).map((part, i) =>
        i % 2 === 1 ? part : put(part, { message, kind: "content" })
      ).join("");
    if (!leads.has(message)) leads.set(message, made.split(OPEN)[0]);
    return made;
  };
  const callOf = (call: unknown, message: number, number: number): unknown => {
    if (!isObject(call)) return call;
    const rest = { message, kind: "call", call: number } as const;
    const made = isObject(call.function) ? call.function : call;
    const name = put(made.name, rest);
    const marked = level !== "arguments" || made.arguments === undefined
      ? { ...made, name }
      : { ...made, name, arguments: argumentsOf(made.arguments, rest) };
    const id = level === "arguments" && call.id !== undefined
      ? { id: put(call.id, rest) }
      : {};
    return made === call
      ? { ...marked, ...id }
      : { ...call, ...id, function: marked };
  };
  /** A text, or an object's first key. */
  const argumentsOf = (given: unknown, rest: Omit<Said, "text">): unknown => {
    const entries = given instanceof Map
      ? [...given]
      : isObject(given)
      ? Object.entries(given)
      : undefined;
    if (!entries) return put(given, rest);
    return new Map(
      entries.map(([key, value], i) => [i === 0 ? put(key, rest) : key, value]),
    );
  };
  const messages = chat.messages.map((message, i): JsonObject => {
    const { content, tool_calls: calls } = message;
    const own = message.role === "assistant";
    const made: JsonObject = { ...message };
    for (const name of own ? REASONING : []) {
      if (!Object.hasOwn(message, name)) continue;
      made[name] = put(message[name], { message: i, kind: "thought" });
    }
    const text = own ? ownText : otherText;
    if (Array.isArray(content)) {
      made.content = content.map((part) =>
        isObject(part) && typeof part.text === "string"
          ? { ...part, text: text(part.text, i) }
          : part
      );
    } else if (content !== undefined) made.content = text(content, i);
    if (own && Array.isArray(calls)) {
      made.tool_calls = calls.map((call, number) => callOf(call, i, number));
    }
    return made;
  });
  return { marked: { ...chat, messages }, said, leads };
}

/** A text that is another one for another form. */
export function formOf(form: unknown): string {
  return JSON.stringify(
    form,
    (_, value) =>
      value instanceof Map
        ? ["map", ...value]
        : typeof value === "bigint"
        ? ["int", `${value}`]
        : value,
  );
}

/** Forms of conversations that are remembered. */
const MOST_FORMS = 512;

/** A cache of values by the form of a conversation. */
export class Forms<T> {
  readonly #known = new Map<string, T>();

  /** The cached value, else a new one; undefined is not cached. */
  get(form: string, make: () => T | undefined): T | undefined {
    const known = this.#known.get(form);
    if (known !== undefined) return known;
    const made = make();
    if (made === undefined) return undefined;
    if (this.#known.size >= MOST_FORMS) this.#known.clear();
    this.#known.set(form, made);
    return made;
  }
}

/** Places of the parts between the marks in the text without marks; undefined if one is not found. */
export function align(
  { between, marks }: Skeleton,
  text: string,
  said: readonly Said[],
): number[] | undefined {
  if (!text.startsWith(between[0])) return undefined;
  const places = [0];
  let at = between[0].length;
  for (const [i, mark] of marks.entries()) {
    const next = between[i + 1];
    const isLast = i === marks.length - 1;
    const fits = (end: number) =>
      text.startsWith(next, end) &&
      (!isLast || end + next.length === text.length);
    const whole = said[mark].text;
    let end = -1;
    for (const form of FORMS) {
      const written = form(whole);
      if (text.startsWith(written, at) && fits(at + written.length)) {
        end = at + written.length;
        break;
      }
    }
    if (end < 0) {
      // Written in other words; then only the part after it gives its end.
      if (!visible(next)) return undefined;
      end = isLast ? text.length - next.length : text.indexOf(next, at);
      if (end < at || !fits(end)) return undefined;
    }
    places.push(end);
    at = end + next.length;
  }
  return marks.length === 0 && text !== between[0] ? undefined : places;
}

/** Forms in which templates write a message's text: as it is, or trimmed. */
const FORMS: readonly ((text: string) => string)[] = [
  (text) => text,
  (text) => text.trim(),
  (text) => text.trimEnd(),
  (text) => text.trimStart(),
  (text) => text.replace(/^\n+/, ""),
  (text) => text.replace(/\n+$/, ""),
  (text) => text.replace(/^\n+|\n+$/g, ""),
  (text) => text.replaceAll("\n\n", "\n").trim(),
];
