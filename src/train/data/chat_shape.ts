/**
 * Where a chat template puts the answers of a conversation: its own text apart from what is said.
 *
 * A conversation is written a second time with a mark in the place of everything that is said. What stands between the
 * marks is the template's text; which of it begins an answer and which ends one is told by what the template writes
 * before an answer (the generation prompt) and where a conversation ends with one. Conversations of the same form share
 * this, so that it is found once.
 *
 * @module
 */

import type { ChatRecord, ChatTemplate } from "../../io/chat_template.ts";
import { isObject, type JsonObject } from "../../io/json.ts";
import { REASONING } from "./conversation.ts";

/** What encloses the number of a mark: characters of no text. */
const OPEN = "\uf8f0";
const CLOSE = "\uf8f1";
const MARK = /\uf8f0(\d+)\uf8f1/g;

/** Thoughts that are written out in a content, and what is said behind them. */
const THOUGHTS = /^(\s*(?:<think>)?\s*)([^]*?)(\s*<\/think>\s*)([^]*)$/;

/** What a template may look for in what a user, a tool or the system says. */
const LOOKED_FOR = /[<>[\]{}`]|\/(?:no_)?think/;

/** Forms of conversations that are remembered. */
const MOST_SHAPES = 512;

/** Something that is said. */
interface Said {
  /** Number of its message. */
  readonly message: number;
  /** `thought` may be left out by a template. */
  readonly kind: "content" | "thought" | "call";
  /** What is said. */
  readonly text: string;
}

/** A conversation with marks. */
interface Marked extends ChatRecord {
  readonly messages: readonly JsonObject[];
}

/** A text of marks and what stands between them: one more of the latter. */
interface Skeleton {
  readonly between: readonly string[];
  /** Number of what is said at each mark. */
  readonly marks: readonly number[];
}

/** An answer among the marks of a text. */
export interface AnswerShape {
  /** It begins so many characters into the text before this mark. */
  readonly first: number;
  readonly from: number;
  /** It ends so many characters into the text behind this mark. */
  readonly last: number;
  readonly to: number;
  /** Whether the template writes an end of the turn. */
  readonly ended: boolean;
}

/** An answer that cannot be told in the whole conversation. */
export interface Untold {
  /** Whether the template does not write it. */
  readonly unwritten: boolean;
  readonly reason: string;
}

/** A range of characters that is an answer with its end. */
export interface AnswerRange {
  readonly from: number;
  readonly to: number;
  /** Whether the end of the turn is written. */
  readonly ended: boolean;
}

interface Shape extends Skeleton {
  readonly answers: Map<number, AnswerShape | Untold>;
}

function isUntold(found: object): found is Untold {
  return "reason" in found;
}

/** Finds answers in the texts of one chat template. */
export class AnswerFinder {
  readonly #template: ChatTemplate;
  readonly #eos: string | undefined;
  readonly #shapes = new Map<string, Shape>();
  readonly #probes = new Map<string, Probe>();

  /** @param eos The token that ends a text, as it is written out. */
  constructor(template: ChatTemplate, eos: string | undefined) {
    this.#template = template;
    this.#eos = eos;
  }

  /**
   * The ranges of the answers `wanted` (numbers of messages) in `text`, which the template has made of the
   * conversation.
   */
  find(
    chat: Marked,
    text: string,
    wanted: readonly number[],
  ): (AnswerRange | Untold)[] {
    for (const all of [true, false]) {
      const { marked, said } = markedOf(chat, all);
      const shape = this.#shape(marked, said, wanted);
      const places = shape && align(shape, text, said);
      if (!places) continue;
      return wanted.map((message) => {
        const answer = shape.answers.get(message)!;
        return isUntold(answer) ? answer : {
          from: places[answer.first] + answer.from,
          to: places[answer.last + 1] + answer.to,
          ended: answer.ended,
        };
      });
    }
    return wanted.map(() => ({
      unwritten: false,
      reason:
        "the chat template writes more than what is said and its own text",
    }));
  }

  #shape(
    marked: Marked,
    said: readonly Said[],
    wanted: readonly number[],
  ): Shape | undefined {
    const key = JSON.stringify(
      [marked, wanted],
      (_, value) => value instanceof Map ? [...value] : value,
    );
    const known = this.#shapes.get(key);
    if (known) return known;
    const text = this.#text(marked);
    if (text === undefined) return undefined;
    const shape: Shape = { ...skeletonOf(text), answers: new Map() };
    const search = new Search({
      ...{ marked, said, shape, text, eos: this.#eos },
      write: (record, prompt) => this.#text(record, prompt),
      probe: () => this.#probe(marked),
    });
    for (const message of wanted) {
      shape.answers.set(message, search.answer(message));
    }
    if (this.#shapes.size >= MOST_SHAPES) this.#shapes.clear();
    this.#shapes.set(key, shape);
    return shape;
  }

  /** What the template writes; undefined where it refuses. */
  #text(record: Marked, addGenerationPrompt = false): string | undefined {
    try {
      return this.#template.render(record, { addGenerationPrompt }).text;
    } catch {
      return undefined;
    }
  }

  /** What the template writes around a question alone. */
  #probe({ kwargs }: Marked): Probe {
    const key = JSON.stringify(kwargs ?? {});
    let known = this.#probes.get(key);
    if (!known) {
      const messages = [{ role: "user", content: `${OPEN}0${CLOSE}` }];
      const plain = this.#text({ messages, kwargs });
      const asked = this.#text({ messages, kwargs }, true);
      known = {
        before: plain === undefined ? "" : skeletonOf(plain).between[0],
        prompt: plain !== undefined && asked?.startsWith(plain)
          ? asked.slice(plain.length)
          : "",
      };
      this.#probes.set(key, known);
    }
    return known;
  }
}

/** What a template writes before a first question, and before an answer. */
interface Probe {
  readonly before: string;
  readonly prompt: string;
}

interface SearchParts {
  readonly marked: Marked;
  readonly said: readonly Said[];
  readonly shape: Shape;
  /** The text with marks. */
  readonly text: string;
  readonly eos: string | undefined;
  readonly write: (record: Marked, prompt?: boolean) => string | undefined;
  readonly probe: () => Probe;
}

/** Finds the answers of one form. */
class Search {
  readonly #parts: SearchParts;
  /** Marks of each message, in order. */
  readonly #own = new Map<number, number[]>();
  /** What was found of answers with the same text around them, so that long conversations take no time of their square. */
  readonly #known = new Map<
    string,
    Omit<AnswerShape, "first" | "last"> & { count: number }
  >();

  constructor(parts: SearchParts) {
    this.#parts = parts;
    for (const [at, mark] of parts.shape.marks.entries()) {
      const { message } = parts.said[mark];
      const own = this.#own.get(message);
      if (own) own.push(at);
      else this.#own.set(message, [at]);
    }
  }

  answer(message: number): AnswerShape | Untold {
    const { said, shape, marked } = this.#parts;
    const own = this.#own.get(message) ?? [];
    const lacks = this.#unwritten(message, own);
    if (lacks) {
      if (own.length > 0 || !this.#writesCalls(message)) {
        return { unwritten: true, reason: lacks };
      }
      return {
        unwritten: false,
        reason: "the chat template writes its calls without their names",
      };
    }
    const [first] = own;
    const roles = [-1, 0, 1].map((d) => marked.messages[message + d]?.role);
    // Marks that follow on each other are the answer's; a later one may be quoted by a tool's message.
    let run = 1;
    while (run < own.length && own[run] === first + run) run++;
    const key = JSON.stringify([
      roles,
      first === 0,
      message === marked.messages.length - 1,
      shape.between.slice(first, first + run + 1),
      shape.marks.slice(first, first + run).map((mark) => said[mark].kind),
    ]);
    let known = this.#known.get(key);
    if (!known) {
      const found = this.#find(message, first, own);
      if (isUntold(found)) return found;
      this.#known.set(key, known = found);
    }
    const { count, ...rest } = known;
    return { first, last: own[count - 1], ...rest };
  }

  /** Why an answer is not there, if it is not. */
  #unwritten(message: number, own: readonly number[]): string | undefined {
    const { said, shape } = this.#parts;
    const written = new Set(own.map((at) => shape.marks[at]));
    const wanted = [...said.entries()].filter(([, each]) =>
      each.message === message && each.kind !== "thought"
    );
    const lost = wanted.find(([mark, { kind }]) =>
      !written.has(mark) && !(kind === "call" && this.#writesCalls(message))
    );
    if (lost) {
      return lost[1].kind === "call"
        ? "the chat template does not write its tool calls"
        : "the chat template does not write it";
    }
    return own.length === 0 ? "the chat template does not write it" : undefined;
  }

  /** Whether a message's calls change the text: a template may write what they are called with, and no names. */
  #writesCalls(message: number): boolean {
    const { marked, text, write } = this.#parts;
    const messages = marked.messages.map((each, i) =>
      i === message ? { ...each, tool_calls: undefined } : each
    );
    return write({ ...marked, messages }) !== text;
  }

  #find(message: number, first: number, own: readonly number[]) {
    const { marked, shape, text, write } = this.#parts;
    const { messages } = marked;
    const upTo = (count: number): Marked => ({
      ...marked,
      messages: messages.slice(0, count),
    });
    const asked = write(upTo(message), true);
    const plain = write(upTo(message));
    const from = this.#start(first, asked, asked === plain);
    const isLast = message === messages.length - 1;
    const ending = isLast ? text : write(upTo(message + 1));
    if (ending === undefined) {
      return untold("the chat template does not end a conversation with it");
    }
    const end = skeletonOf(ending);
    const mine =
      end.marks.filter((mark) => this.#parts.said[mark].message === message)
        .length;
    const count = isLast ? own.length : Math.min(mine, own.length);
    if (
      count === 0 ||
      end.marks.at(-1) !== shape.marks[own[count - 1]]
    ) {
      return untold(
        "the chat template writes something said before behind it",
      );
    }
    const behind = shape.between[own[count - 1] + 1];
    let tail = end.between.at(-1)!;
    // A template that begins an answer without being told to does so behind every conversation.
    if (
      (asked === plain || asked === undefined) &&
      ending === (isLast ? write(marked, true) : write(upTo(message + 1), true))
    ) {
      tail = this.#beforeHeader(upTo(message + 1), tail, end.marks.at(-1)!);
    }
    const to = this.#end(behind, tail, isLast);
    return {
      ...{ count, from, to },
      ended: this.#ended(behind.slice(0, to), message),
    };
  }

  /** Where behind the text before its first mark an answer begins: behind its header. */
  #start(
    first: number,
    asked: string | undefined,
    unchanged: boolean,
  ): number {
    const { shape, probe } = this.#parts;
    const before = shape.between[first];
    const prompt = asked === undefined ? undefined : skeletonOf(asked);
    const same = prompt !== undefined &&
      prompt.marks.at(-1) === shape.marks[first - 1];
    const header = same ? prompt.between.at(-1)! : probe().prompt;
    const shared = sharedStart(before, header);
    if (same && !unchanged) {
      if (shared === header.length) return shared;
      const at = boundary(before, shared);
      // Nothing in common: the history is written otherwise there.
      if (visible(header.slice(0, at)) || header === "") return at;
    }
    // No header is written where one is asked for: it stands behind what is, or there is none.
    const known = same && !unchanged ? header : probe().prompt;
    const at = known === "" ? -1 : before.lastIndexOf(known);
    return at < 0 ? before.length : at + known.length;
  }

  /** `tail`, what stands behind a last answer with this mark, without the header of the next. */
  #beforeHeader(chat: Marked, tail: string, mark: number): string {
    const { write, said } = this.#parts;
    const next = `${OPEN}${said.length}${CLOSE}`;
    const longer = write({
      ...chat,
      messages: [...chat.messages, { role: "user", content: next }],
    });
    if (longer === undefined) return tail;
    const { marks, between } = skeletonOf(longer);
    if (!marks.includes(mark)) return tail;
    const other = between[marks.lastIndexOf(mark) + 1];
    const shared = sharedStart(tail, other);
    return shared === tail.length
      ? tail
      : tail.slice(0, boundary(tail, shared));
  }

  /** How much of what stands behind an answer is its end. */
  #end(behind: string, tail: string, isLast: boolean): number {
    if (isLast) return tail.length;
    const { eos, probe } = this.#parts;
    if (visible(tail)) {
      const shared = sharedStart(behind, tail);
      if (shared === tail.length) return shared;
      const at = boundary(behind, shared);
      if (visible(behind.slice(0, at))) return at;
    }
    // The end is written before the next turn only.
    const at = eos === undefined ? -1 : behind.indexOf(eos);
    if (at >= 0) return at + eos!.length;
    const { before } = probe();
    let shared = 0;
    while (
      shared < before.length && shared < behind.length &&
      before.at(-1 - shared) === behind.at(-1 - shared)
    ) shared++;
    return startBoundary(behind, behind.length - shared);
  }

  #ended(tail: string, message: number): boolean {
    const { tool_calls: calls } = this.#parts.marked.messages[message];
    if (!Array.isArray(calls) || calls.length === 0) return visible(tail);
    // What stands behind a call is the rest of it.
    return TOKENS_AT_END.test(tail) && !CALL_AT_END.test(tail);
  }
}

/** A token of its own at the end, by its look; and one that ends a call, but no turn. */
const TOKENS_AT_END =
  /(?:<\|[^<>|]+\|>|<[^<>\s]+>|\[[A-Z_/]+\]|<｜[^<>]+｜>)\s*$/;
const CALL_AT_END = /<\/[\w-]+>\s*$(?<!<\/s>\s*)/;

function untold(reason: string): Untold {
  return { unwritten: false, reason };
}

function visible(text: string): boolean {
  return text.trim() !== "";
}

function sharedStart(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  return at;
}

/** Tokens of their own, by their look, and ends of lines: where a template's text has joints. */
const JOINTS = /<[^<>\s]+>|\[[A-Z_/]+\]|\n/g;

/** The last joint of `text` up to `at`. */
function boundary(text: string, at: number): number {
  let best = 0;
  for (const { index, 0: { length } } of text.matchAll(JOINTS)) {
    if (index + length <= at) best = index + length;
    else if (index < at) return index;
  }
  return best;
}

/** The first joint of `text` from `at` on. */
function startBoundary(text: string, at: number): number {
  if (at === 0) return 0;
  for (const { index, 0: { length } } of text.matchAll(JOINTS)) {
    if (index >= at) return index;
    if (index + length > at) return index + length;
    if (index + length === at) return at;
  }
  return text.length;
}

function skeletonOf(text: string): Skeleton {
  const parts = text.split(MARK);
  return {
    between: parts.filter((_, i) => i % 2 === 0),
    marks: parts.filter((_, i) => i % 2 === 1).map(Number),
  };
}

/**
 * Marks in the place of what is said. Users, tools and the system keep words that a template may look for, and with
 * `all` false all of theirs.
 */
function markedOf(
  chat: Marked,
  all: boolean,
): { marked: Marked; said: readonly Said[] } {
  const said: Said[] = [];
  const mark = (
    message: number,
    text: unknown,
    kind: Said["kind"] = "content",
  ): unknown => {
    if (typeof text !== "string" || text.trim() === "") return text;
    said.push({ message, kind, text });
    return `${OPEN}${said.length - 1}${CLOSE}`;
  };
  const messages = chat.messages.map((message, i): JsonObject => {
    const { role, content } = message;
    const own = role === "assistant";
    const put = (text: unknown): unknown => {
      if (typeof text !== "string") return text;
      if (!own) return all && !LOOKED_FOR.test(text) ? mark(i, text) : text;
      const thought = THOUGHTS.exec(text);
      if (!thought) return mark(i, text);
      const [, open, inner, close, rest] = thought;
      return `${open}${mark(i, inner, "thought")}${close}${mark(i, rest)}`;
    };
    const made: JsonObject = { ...message };
    for (const name of own ? REASONING : []) {
      if (Object.hasOwn(message, name)) {
        made[name] = mark(i, message[name], "thought");
      }
    }
    if (Array.isArray(content)) {
      made.content = content.map((part) =>
        isObject(part) && typeof part.text === "string"
          ? { ...part, text: put(part.text) }
          : part
      );
    } else if (content !== undefined) made.content = put(content);
    if (own && Array.isArray(message.tool_calls)) {
      made.tool_calls = message.tool_calls.map((call: unknown) => {
        if (!isObject(call)) return call;
        if (!isObject(call.function)) {
          return { ...call, name: mark(i, call.name, "call") };
        }
        const { name } = call.function;
        return {
          ...call,
          function: { ...call.function, name: mark(i, name, "call") },
        };
      });
    }
    return made;
  });
  return { marked: { ...chat, messages }, said };
}

/** Where the parts between the marks stand in the text with what is said; undefined where they do not. */
function align(
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
      // Written in other words; then only what follows tells where it ends.
      if (!visible(next)) return undefined;
      end = isLast ? text.length - next.length : text.indexOf(next, at);
      if (end < at || !fits(end)) return undefined;
    }
    places.push(end);
    at = end + next.length;
  }
  return marks.length === 0 && text !== between[0] ? undefined : places;
}

/** What templates make of what is said. */
const FORMS: readonly ((text: string) => string)[] = [
  (text) => text,
  (text) => text.trim(),
  (text) => text.trimEnd(),
  (text) => text.trimStart(),
  (text) => text.replace(/^\n+/, ""),
  (text) => text.replace(/\n+$/, ""),
  (text) => text.replace(/^\n+|\n+$/g, ""),
];
