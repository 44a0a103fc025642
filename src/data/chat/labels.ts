/**
 * Conversations as texts with a loss on the assistant's answers only.
 *
 * Answers are found, first, by the template's own marks (`{% generation %}`); else by their places in the text of the
 * whole conversation; and where a template writes an answer, or the end of its turn, only while it is the last one, by
 * a text for each answer, with the conversation before it as it is written then.
 *
 * @module
 */

import type { ChatTemplate } from "../../io/chat/template.ts";
import { KindError } from "../../errors.ts";
import { messageOf } from "../../io/files/errors.ts";
import { isObject, type JsonObject } from "../../io/files/json.ts";
import { type DataRecord, recordError } from "../records/record.ts";
import {
  formOf,
  Forms,
  type Marked,
  markedOf,
  marksIn,
  type Said,
} from "./marks.ts";
import { AnswerFinder, type AnswerRange } from "./shape.ts";
import type { TextCodec } from "../codec.ts";
import {
  type Conversation,
  conversationOf,
  REASONING,
} from "./conversation.ts";
import type { Filled, Segment } from "../tasks/templates.ts";

/** The answers of a conversation that are learnt. */
export type Learn = "all" | "last";

/** Ways out where a template hides its answers, for errors. */
const WAY_OUT =
  "; add {% generation %} marks to the template, or use records of prompt and completion";

/** Writes conversations as text, with the character ranges of the answers. */
export class ChatLabeller {
  readonly #template: ChatTemplate;
  readonly #finder: AnswerFinder;
  readonly #ends: boolean;
  readonly #owners = new Forms<readonly number[]>();

  /** @throws {TypeError} If the tokenizer has no chat template. */
  constructor(codec: TextCodec) {
    const { chatTemplate, eosId } = codec;
    if (!chatTemplate) {
      throw new KindError(
        "Cannot use messages: wanted a tokenizer with a chat template, got one without",
      );
    }
    this.#template = chatTemplate;
    this.#ends = eosId !== undefined;
    this.#finder = new AnswerFinder(
      chatTemplate,
      eosId === undefined ? undefined : codec.decode([eosId]),
    );
  }

  /**
   * The texts of a conversation: one, or one for each answer.
   *
   * @throws {SyntaxError} If it is no conversation, has nothing to be learnt, or the template refuses it, leaves an
   *   answer out or hides it; it names file and line.
   */
  *label(record: DataRecord, learn: Learn = "all"): Generator<Filled> {
    const chat = conversationOf(record);
    const wanted = wantedOf(record, chat, learn);
    const { text, marked } = this.#render(record, chat);
    if (this.#template.marksAnswers && marked) {
      yield* this.#marked(record, chat, { text, marked, wanted });
      return;
    }
    const found = this.#finder.find(chat, text, wanted);
    const last = chat.messages.length - 1;
    const ranges: AnswerRange[] = [];
    for (const [i, answer] of found.entries()) {
      if ("reason" in answer) break;
      if (!answer.ended && wanted[i] !== last) break;
      ranges.push(answer);
    }
    if (ranges.length === wanted.length) {
      yield this.#filled(record, text, ranges);
      return;
    }
    for (const message of wanted) {
      const part = { ...chat, messages: chat.messages.slice(0, message + 1) };
      const { text } = this.#render(record, part);
      const [answer] = this.#finder.find(part, text, [message]);
      if ("reason" in answer) {
        throw recordError(
          record,
          `message ${message + 1}: ${answer.reason}${
            answer.unwritten ? "" : WAY_OUT
          }`,
        );
      }
      yield this.#filled(record, text, [answer]);
    }
  }

  #filled(
    record: DataRecord,
    text: string,
    ranges: readonly AnswerRange[],
  ): Filled {
    const addEnd = !ranges.at(-1)!.ended;
    if (addEnd && !this.#ends) {
      throw recordError(
        record,
        "the chat template writes no end behind its last answer, and the tokenizer has no token that ends a text: the model would never stop",
      );
    }
    const learnt = ranges.map(({ from, to }) => [from, to] as const);
    const [from, to] = learnt.pop()!;
    const rest = addEnd ? text.slice(to).trim() : "";
    // The header of a next answer may stand behind the last one, which the end that is added would else follow.
    const whole = rest === "" ? text : text.slice(0, to);
    learnt.push([from, addEnd ? whole.length : to]);
    return { segments: segmentsOf(whole, learnt), complete: true, addEnd };
  }

  #render(record: DataRecord, chat: Conversation) {
    try {
      return this.#template.render(chat);
    } catch (cause) {
      throw recordError(record, `the chat template: ${messageOf(cause)}`);
    }
  }

  /**
   * By the template's own marks: the whole text, or a text for each answer where the whole lacks one.
   *
   * @throws {SyntaxError} If an answer is not marked.
   */
  *#marked(
    record: DataRecord,
    chat: Conversation,
    { text, marked, wanted }: MarkedText & { wanted: readonly number[] },
  ): Generator<Filled> {
    const whole = this.#ownMarks(chat, { text, marked }, wanted);
    if (typeof whole !== "string") {
      yield { segments: segmentsOf(text, whole), complete: true };
      return;
    }
    if (wanted.length === 1 && wanted[0] === chat.messages.length - 1) {
      throw recordError(record, whole);
    }
    for (const message of wanted) {
      const part = { ...chat, messages: chat.messages.slice(0, message + 1) };
      const { text, marked = [] } = this.#render(record, part);
      const own = this.#ownMarks(part, { text, marked }, [message]);
      if (typeof own === "string") throw recordError(record, own);
      yield { segments: segmentsOf(text, own), complete: true };
    }
  }

  /** The marks of the wanted answers; or an error's text. */
  #ownMarks(
    chat: Conversation,
    { text, marked }: MarkedText,
    wanted: readonly number[],
  ): (readonly [number, number])[] | string {
    const count = chat.messages.filter(({ role }) => role === "assistant");
    const owners = wanted.length === count.length
      ? undefined
      : this.#ownersOf(chat, marked.length);
    if (wanted.length < count.length && !owners) {
      return `message ${
        wanted[0] + 1
      }: cannot match the chat template's {% generation %} marks to messages`;
    }
    const own = marked.filter(([from, to], i) =>
      to > from && (!owners || wanted.includes(owners[i]))
    );
    const learnt = own.map(([from, to]) => text.slice(from, to)).join("\n");
    if (learnt.trim() === "") {
      return "the chat template marks nothing of its answers";
    }
    const unsaid = wanted.find((message) =>
      textsOf(chat.messages[message]).some((text) => {
        const word = /[\p{L}\p{N}]+/u.exec(text.split("</think>").at(-1)!);
        return word !== null && !learnt.includes(word[0]);
      })
    );
    if (unsaid !== undefined) {
      return `message ${unsaid + 1}: the chat template does not write it`;
    }
    const lost = wanted.find((message) =>
      callsOf(chat.messages[message]).some((name) => !learnt.includes(name))
    );
    return lost === undefined
      ? own
      : `message ${lost + 1}: the chat template does not write its tool calls`;
  }

  /** The message of each of the template's marks, by the texts inside them, or before. */
  #ownersOf(chat: Conversation, count: number): readonly number[] | undefined {
    for (const level of ["all", "own"] as const) {
      const { marked, said } = markedOf(chat, level);
      const owners = this.#owners.get(
        formOf(marked),
        () => this.#findOwners(marked, said),
      );
      if (owners?.length === count) return owners;
    }
    return undefined;
  }

  #findOwners(chat: Marked, said: readonly Said[]): number[] | undefined {
    let made;
    try {
      made = this.#template.render(chat);
    } catch {
      return undefined;
    }
    const places = marksIn(made.text).map(({ number, at }) => ({
      ...{ at, message: said[number].message },
    }));
    const isAnswer = (message: number | undefined) =>
      message !== undefined && chat.messages[message].role === "assistant";
    return made.marked?.map(([from, to]) => {
      const inside = places.find(({ at }) => at >= from && at < to);
      const before = places.findLast(({ at }) => at < from)?.message;
      const after = places.find(({ at }) => at >= to)?.message;
      return inside?.message ?? (isAnswer(before) ? before! : after ?? -1);
    });
  }
}

/** A text with the template's own marks. */
interface MarkedText {
  readonly text: string;
  readonly marked: readonly (readonly [number, number])[];
}

/** Numbers of the messages that are to be learnt. */
function wantedOf(
  record: DataRecord,
  { messages, learns }: Conversation,
  learn: Learn,
): number[] {
  const all = [...learns.keys()].filter((i) => learns[i]);
  const wanted = learn === "last" ? all.slice(-1) : all;
  if (wanted.length === 0) {
    const some = messages.some(({ role }) => role === "assistant");
    throw recordError(
      record,
      some
        ? "wanted a message of the assistant that is to be learnt, got none: weight or train takes them out"
        : "wanted a message of the assistant, got none",
    );
  }
  for (const i of wanted) {
    if (saysSomething(messages[i])) continue;
    throw recordError(
      record,
      `message ${i + 1}: wanted an answer, got an empty one`,
    );
  }
  return wanted;
}

function saysSomething(message: JsonObject): boolean {
  return callsOf(message).length > 0 ||
    [...textsOf(message), ...REASONING.map((name) => message[name])].some(
      (text) => typeof text === "string" && text.trim() !== "",
    );
}

/** The texts of a content. */
function textsOf({ content }: JsonObject): string[] {
  const texts = Array.isArray(content)
    ? content.map((part) => isObject(part) ? part.text : undefined)
    : [content];
  return texts.filter((text) => typeof text === "string");
}

/** Names of the functions that a message calls. */
function callsOf({ tool_calls: calls }: JsonObject): string[] {
  return !Array.isArray(calls) ? [] : calls.map((call) => {
    const made = isObject(call) && isObject(call.function)
      ? call.function
      : call;
    return isObject(made) && typeof made.name === "string" ? made.name : "";
  });
}

/** A text in parts, of which `ranges` are learnt. */
function segmentsOf(
  text: string,
  ranges: readonly (readonly [number, number])[],
): Segment[] {
  const segments: Segment[] = [];
  let at = 0;
  for (const [from, to] of ranges) {
    if (from > at) segments.push({ text: text.slice(at, from), learnt: false });
    segments.push({ text: text.slice(Math.max(at, from), to), learnt: true });
    at = to;
  }
  if (at < text.length) segments.push({ text: text.slice(at), learnt: false });
  return segments;
}
