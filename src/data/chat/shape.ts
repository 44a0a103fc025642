/**
 * Places of a conversation's answers in a chat template's text: the template's own text apart from the messages'.
 *
 * A conversation is written a second time with a mark in the place of each message's text. The parts between the marks
 * are the template's; the begin and the end of an answer are found by comparison with the text before an answer (the
 * generation prompt) and at the end of a conversation. The result is cached by the form of the conversation.
 *
 * @module
 */

import type { ChatTemplate } from "../../io/chat/template.ts";
import { isObject } from "../../io/files/json.ts";
import {
  align,
  formOf,
  Forms,
  type Marked,
  type MarkedChat,
  markedOf,
  type MarkLevel,
  markOf,
  type Skeleton,
  skeletonOf,
  visible,
} from "./marks.ts";

/** An answer among the marks of a text. */
export interface AnswerShape {
  /** It begins so many characters into the text before this mark. */
  readonly first: number;
  readonly from: number;
  /** It ends so many characters into the text behind this mark. */
  readonly last: number;
  readonly to: number;
  /** True if the template writes an end of the turn. */
  readonly ended: boolean;
}

/** An answer that is not found in the text of the whole conversation. */
export interface Untold {
  /** True if the template does not write it. */
  readonly unwritten: boolean;
  readonly reason: string;
  /** True if its calls' arguments may find it: their names are not written. */
  readonly nameless?: boolean;
}

/** A range of characters that is an answer with its end. */
export interface AnswerRange {
  readonly from: number;
  readonly to: number;
  /** True if the end of the turn is written. */
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
  readonly #shapes = new Forms<Shape>();
  readonly #probes = new Map<string, Probe>();

  /** @param eos The token that ends a text, as it is written out. */
  constructor(template: ChatTemplate, eos: string | undefined) {
    this.#template = template;
    this.#eos = eos;
  }

  /**
   * Ranges of the answers `wanted` (numbers of messages) in `text`, the template's output for the conversation.
   */
  find(
    chat: Marked,
    text: string,
    wanted: readonly number[],
  ): (AnswerRange | Untold)[] {
    const found = this.#found(chat, text, wanted, "all") ??
      this.#found(chat, text, wanted, "own");
    if (found?.some((answer) => isUntold(answer) && answer.nameless)) {
      return this.#found(chat, text, wanted, "arguments") ?? found;
    }
    const listed = isListed(chat, text);
    return found ?? wanted.map(() => ({
      unwritten: listed,
      reason: listed
        ? "the chat template writes a content in parts as the list that it is; make it one text"
        : "the chat template writes more than the messages and its own text",
    }));
  }

  /** Undefined where the parts between the marks do not stand in the text. */
  #found(
    chat: Marked,
    text: string,
    wanted: readonly number[],
    level: MarkLevel,
  ): (AnswerRange | Untold)[] | undefined {
    const made = markedOf(chat, level);
    const shape = this.#shape(made, wanted);
    const places = shape && align(shape, text, made.said);
    return places && wanted.map((message) => {
      const answer = shape.answers.get(message)!;
      return isUntold(answer) ? answer : {
        from: places[answer.first] + answer.from,
        to: places[answer.last + 1] + answer.to,
        ended: answer.ended,
      };
    });
  }

  #shape(made: MarkedChat, wanted: readonly number[]): Shape | undefined {
    const { marked } = made;
    return this.#shapes.get(formOf([marked, wanted]), () => {
      const text = this.#text(marked);
      if (text === undefined) return undefined;
      const shape: Shape = { ...skeletonOf(text), answers: new Map() };
      const search = new Search({
        ...{ ...made, shape, text, eos: this.#eos },
        write: (record, prompt) => this.#text(record, prompt),
        probe: () => this.#probe(marked),
      });
      for (const message of wanted) {
        shape.answers.set(message, search.answer(message));
      }
      return shape;
    });
  }

  /** The template's output; undefined where it refuses. */
  #text(record: Marked, addGenerationPrompt = false): string | undefined {
    try {
      return this.#template.render(record, { addGenerationPrompt }).text;
    } catch {
      return undefined;
    }
  }

  /** The template's text around a question alone. */
  #probe({ kwargs }: Marked): Probe {
    const key = formOf(kwargs ?? {});
    let known = this.#probes.get(key);
    if (!known) {
      const messages = [{ role: "user", content: markOf(0) }];
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

/** The template's text before a first question, and before an answer. */
interface Probe {
  readonly before: string;
  readonly prompt: string;
}

interface SearchParts extends MarkedChat {
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
  /** Results for answers with the same text around them, so that long conversations take no time of their square. */
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
    if (lacks) return lacks;
    const [first] = own;
    const roles = [-1, 0, 1].map((d) => marked.messages[message + d]?.role);
    // Marks that follow on each other are the answer's; a later one may be quoted by a tool's message.
    let run = 1;
    while (run < own.length && own[run] === first + run) run++;
    const key = JSON.stringify([
      roles,
      first === 0,
      message === marked.messages.length - 1,
      this.#parts.leads.get(message + 1),
      shape.between.slice(first, first + run + 1),
      shape.marks.slice(first, first + run).map((mark) => said[mark].kind),
    ]);
    let known = this.#known.get(key);
    if (!known) {
      const found = this.#find(message, { first, run, own });
      if (isUntold(found)) return found;
      this.#known.set(key, known = found);
    }
    const { count, ...rest } = known;
    return { first, last: own[count - 1], ...rest };
  }

  /** The reason for which an answer is not there, if it is not. */
  #unwritten(message: number, own: readonly number[]): Untold | undefined {
    const { said, shape } = this.#parts;
    const written = new Set(own.map((at) => shape.marks[at]));
    const mine = [...said.entries()].filter(([, each]) =>
      each.message === message && each.kind !== "thought"
    );
    const calls = new Set(
      mine.filter(([mark]) => written.has(mark)).flatMap(([, { call }]) =>
        call ?? []
      ),
    );
    const lost = mine.find(([mark, { call }]) =>
      call === undefined ? !written.has(mark) : !calls.has(call)
    );
    if (lost?.[1].call !== undefined) {
      const nameless = calls.size === 0 && this.#writesCalls(message);
      return {
        ...{ unwritten: !nameless, nameless },
        reason: nameless
          ? "the chat template writes its calls without their names"
          : "the chat template does not write its tool calls",
      };
    }
    return lost || own.length === 0
      ? { unwritten: true, reason: "the chat template does not write it" }
      : undefined;
  }

  /** True if a message's calls change the text: a template may write what they are called with, and no names. */
  #writesCalls(message: number): boolean {
    const { marked, text, write } = this.#parts;
    const messages = marked.messages.map((each, i) =>
      i === message ? { ...each, tool_calls: undefined } : each
    );
    return write({ ...marked, messages }) !== text;
  }

  #find(
    message: number,
    { first, run, own }: { first: number; run: number; own: readonly number[] },
  ) {
    const { marked, shape, text, write } = this.#parts;
    const { messages } = marked;
    const upTo = (count: number): Marked => ({
      ...marked,
      messages: messages.slice(0, count),
    });
    const asked = write(upTo(message), true);
    const plain = write(upTo(message));
    const usual = once(() => this.#usual(message));
    const from = this.#start(first, { asked, plain, usual });
    const isLast = message === messages.length - 1;
    const ending = isLast ? text : write(upTo(message + 1));
    // A template may refuse to end there; then the text that follows decides alone.
    const end = ending === undefined
      ? { between: [""], marks: shape.marks.slice(0, first + run) }
      : skeletonOf(ending);
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
    // A template that begins an answer without `add_generation_prompt` does so behind every conversation.
    if (
      (asked === plain || asked === undefined) && ending !== undefined &&
      ending === (isLast ? write(marked, true) : write(upTo(message + 1), true))
    ) {
      tail = this.#beforeHeader(upTo(message + 1), tail, end.marks.at(-1)!);
    }
    tail = tail.slice(0, this.#turnEnd(tail));
    const to = isLast ? tail.length : this.#end(behind, tail, message);
    const inner = shape.between.slice(first, own[count - 1] + 1).join("")
      .slice(from);
    return {
      ...{ count, from, to },
      ended: this.#ended(behind.slice(0, to), message, { inner, usual }),
    };
  }

  /** The text around a plain answer in the place of a message. */
  #usual(message: number): Around | undefined {
    const { marked, said, write } = this.#parts;
    const mark = markOf(said.length);
    const { content } = marked.messages[message];
    const text = write({
      ...marked,
      messages: [...marked.messages.slice(0, message), {
        role: "assistant",
        content: Array.isArray(content) ? [{ type: "text", text: mark }] : mark,
      }],
    });
    const { marks, between } = skeletonOf(text ?? "");
    const at = marks.lastIndexOf(said.length);
    return at < 0 ? undefined : {
      mark: marks[at - 1],
      before: between[at],
      behind: between[at + 1],
    };
  }

  /** Begin of an answer in the text before its first mark: behind its header. */
  #start(
    first: number,
    { asked, plain, usual }: {
      asked: string | undefined;
      plain: string | undefined;
      usual: () => Around | undefined;
    },
  ): number {
    const unchanged = asked === plain;
    const { shape, probe } = this.#parts;
    const before = shape.between[first];
    // A template may take it for a request to leave the last answer open.
    const opens = asked !== undefined && plain !== asked &&
      plain?.startsWith(asked);
    const prompt = asked === undefined || opens ? undefined : skeletonOf(asked);
    const same = prompt !== undefined &&
      prompt.marks.at(-1) === shape.marks[first - 1];
    const header = same ? prompt.between.at(-1)! : probe().prompt;
    const shared = sharedStart(before, header);
    if (same && !unchanged) {
      if (shared === header.length || shared === before.length) return shared;
      const at = boundary(before, shared);
      // Their common prefix may be the end of the turn before.
      const added = plain !== undefined && asked!.startsWith(plain)
        ? asked!.slice(plain.length)
        : "";
      const own = added.trim();
      const again = own === "" ? -1 : before.indexOf(own, at);
      if (again >= 0) {
        return again + own.length + sharedStart(
          before.slice(again + own.length),
          asked!.slice(asked!.trimEnd().length),
        );
      }
      // A prompt without a common prefix says nothing of the header.
      const told = own === "" || at > header.length - added.length;
      if ((told && visible(header.slice(0, at))) || header === "") return at;
    }
    // No header is written with the generation prompt: it stands behind the text written, or there is none.
    const known = same && !unchanged ? header : probe().prompt;
    const at = known === "" ? -1 : before.lastIndexOf(known);
    if (at >= 0) return at + known.length;
    // The text before a plain answer is none of this one: it may begin with a call.
    const other = usual();
    if (!other || other.mark !== shape.marks[first - 1]) return before.length;
    const least = sharedStart(before, other.before);
    const behind = unchanged && same ? prompt!.between.at(-1)! : "";
    return Math.max(
      least === other.before.length ? least : boundary(before, least),
      before.startsWith(behind) ? behind.length : 0,
    );
  }

  /** `tail`, the text behind a last answer with this mark, without the header of the next. */
  #beforeHeader(chat: Marked, tail: string, mark: number): string {
    const { write, said } = this.#parts;
    const next = markOf(said.length);
    const longer = write({
      ...chat,
      messages: [...chat.messages, { role: "user", content: next }],
    });
    if (longer === undefined) return tail;
    const { marks, between } = skeletonOf(longer);
    if (!marks.includes(mark)) return tail;
    const other = between[marks.lastIndexOf(mark) + 1];
    const shared = sharedStart(tail, other);
    if (shared === tail.length) return tail;
    const end = this.#eosEnd(tail);
    if (end > 0) return tail.slice(0, end);
    // The text that begins a conversation begins a turn.
    const begins = /^\s*(<[^<>\s]+>)?\s*(<[^<>\s]+>)?/
      .exec(this.#parts.probe().before)!.slice(1);
    const cuts = [
      boundary(tail, shared),
      this.#beforeTurn(other, "user"),
      ...begins.map((token) => token === undefined ? 0 : tail.indexOf(token)),
    ];
    return tail.slice(
      0,
      Math.min(...cuts.filter((cut, i) => i === 0 || cut > 0)),
    );
  }

  /** Length of an answer's end in the text between it and the next message. */
  #end(behind: string, tail: string, message: number): number {
    if (visible(tail)) {
      const shared = sharedStart(behind, tail);
      if (shared === tail.length) return shared;
      const at = boundary(behind, shared);
      if (visible(behind.slice(0, at))) return at;
    }
    // The end is written before the next turn only.
    const { marked, leads } = this.#parts;
    const lead = leads.get(message + 1)?.trim() ?? "";
    const until = lead === "" ? -1 : behind.indexOf(lead);
    const own = until < 0 ? behind : behind.slice(0, until);
    const end = this.#eosEnd(own);
    return end > 0
      ? end
      : this.#beforeTurn(own, marked.messages[message + 1].role);
  }

  /** End of the turn in the text behind the last mark: the template may begin another, empty one. */
  #turnEnd(tail: string): number {
    const end = this.#eosEnd(tail);
    const header = this.#parts.probe().prompt.trim();
    const [opening = header] = /^<[^<>\s]+>/.exec(header) ?? [];
    return end > 0 && opening !== "" && tail.includes(opening, end)
      ? end
      : tail.length;
  }

  /** End of the first EOS token; 0 without one. */
  #eosEnd(text: string): number {
    const { eos } = this.#parts;
    const at = eos ? text.indexOf(eos) : -1;
    return at < 0 ? 0 : at + eos!.length;
  }

  /** Begin of a message's header in the text before it; 0 if unknown. */
  #beforeTurn(text: string, role: unknown): number {
    const { before, prompt } = this.#parts.probe();
    const header = role === "user"
      ? before
      : role === "assistant"
      ? prompt
      : "";
    let shared = 0;
    while (
      shared < header.length && shared < text.length &&
      header.at(-1 - shared) === text.at(-1 - shared)
    ) shared++;
    const at = outsideJoint(text, text.length - shared);
    const cuts = /[\p{L}\p{N}]{2}/u.test(
      text.slice(Math.max(0, at - 1), at + 1),
    );
    return visible(text.slice(at)) && !cuts ? at : 0;
  }

  #ended(
    tail: string,
    message: number,
    { inner, usual }: { inner: string; usual: () => Around | undefined },
  ): boolean {
    const { tool_calls: calls } = this.#parts.marked.messages[message];
    if (!Array.isArray(calls) || calls.length === 0) return visible(tail);
    const end = usual()?.behind.trim();
    const { eos } = this.#parts;
    if ([end, eos].some((end) => end && tail.trimEnd().endsWith(end))) {
      return true;
    }
    // The text behind a call is the rest of it.
    const token = TOKEN_AT_END.exec(tail)?.[0].trim();
    if (token === undefined || CALL_AT_END.test(tail)) return false;
    if (inner.includes(token)) return false;
    return !["begin", "start"].some((word) =>
      [word, word.toUpperCase()].some((as) => {
        const opening = token.replace(/end/i, as);
        return opening !== token && (inner + tail).includes(opening);
      })
    );
  }
}

/** The text around an answer: up to the mark before it, and behind it. */
interface Around {
  readonly mark: number | undefined;
  readonly before: string;
  readonly behind: string;
}

/** A token of its own at the end, by its look; and one that ends a call, but no turn. */
const TOKEN_AT_END =
  /(?:<\|[^<>|]+\|>|<[^<>\s]+>|\[[A-Z_/]+\]|<｜[^<>]+｜>)\s*$/;
const CALL_AT_END = /<\/[\w-]+>\s*$(?<!<\/s>\s*)/;

function untold(reason: string): Untold {
  return { unwritten: false, reason };
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

/** `at`, or the end of the joint that it is inside of. */
function outsideJoint(text: string, at: number): number {
  for (const { index, 0: { length } } of text.matchAll(JOINTS)) {
    if (index < at && at < index + length) return index + length;
  }
  return at;
}

/** A function that is called once at most. */
function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** True if a content in parts may be written as the list that it is. */
function isListed({ messages }: Marked, text: string): boolean {
  return /'type': ?'text'/.test(text) &&
    messages.some(({ content }) =>
      Array.isArray(content) && content.some((part) => isObject(part))
    );
}
