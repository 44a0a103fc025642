/**
 * Conversations in the layouts that data files have them in: OpenAI's `messages`, ShareGPT's `conversations`, TRL's
 * `prompt` and `completion` as lists of messages.
 *
 * @module
 */

import type { ChatRecord } from "../../io/chat/template.ts";
import { JsonNumber, parseJsonExact } from "../../io/files/json_exact.ts";
import { quoted } from "../../io/files/errors.ts";
import { isObject, type JsonObject } from "../../io/files/json.ts";
import {
  type DataRecord,
  exactFields,
  kindOf,
  recordError,
} from "../records/record.ts";

/** A conversation, and which of its messages are to be learnt. */
export interface Conversation extends ChatRecord {
  /** Messages in order; values as the file has them. */
  readonly messages: readonly JsonObject[];
  /** Further variables of the template. */
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** For each message, true for an answer that the data do not exclude (`weight: 0`, `train: false`). */
  readonly learns: readonly boolean[];
}

/** Roles of ShareGPT by the names that `messages` have them by. */
const SHARED_ROLES: Readonly<Record<string, string>> = {
  human: "user",
  user: "user",
  gpt: "assistant",
  chatgpt: "assistant",
  bard: "assistant",
  model: "assistant",
  assistant: "assistant",
  system: "system",
  tool: "tool",
  observation: "tool",
  "function_response": "tool",
};

/** Fields in which reasoning stands; templates know one or the other. */
export const REASONING = [
  "reasoning_content",
  "reasoning",
  "thinking",
] as const;

/** Fields of a record of messages that are used besides them. */
export const CHAT_FIELDS = [
  "tools",
  "documents",
  "chat_template_kwargs",
  "enable_thinking",
] as const;

/** True if a record is a conversation, by its fields. */
export function isConversation({ fields }: DataRecord): boolean {
  return Object.hasOwn(fields, "messages") ||
    Object.hasOwn(fields, "conversations") ||
    (Array.isArray(fields.prompt) && Object.hasOwn(fields, "completion"));
}

/**
 * The conversation that a record holds.
 *
 * @throws {SyntaxError} If it is none; it names file and line.
 */
export function conversationOf(record: DataRecord): Conversation {
  const fields = exactFields(record);
  const { messages, learns } = messagesOf(record, fields);
  const kwargs: Record<string, unknown> = {
    ...objectOf(record, fields, "chat_template_kwargs"),
  };
  const thinking = fields.enable_thinking;
  if (typeof thinking === "boolean") kwargs.enable_thinking = thinking;
  else if (thinking !== undefined && thinking !== null) {
    throw recordError(
      record,
      `field "enable_thinking": wanted true or false, got ${kindOf(thinking)}`,
    );
  }
  return {
    messages,
    learns,
    kwargs,
    tools: listOf(record, fields, "tools"),
    documents: listOf(record, fields, "documents"),
  };
}

function messagesOf(
  record: DataRecord,
  fields: Readonly<Record<string, unknown>>,
): Pick<Conversation, "messages" | "learns"> {
  const { messages, conversations, prompt, completion } = fields;
  if (messages !== undefined) {
    return checked(record, messageList(record, messages, "messages"));
  }
  if (conversations !== undefined) {
    const list = messageList(record, conversations, "conversations")
      .map((message, i) => shared(record, message, i));
    const { system } = fields;
    return checked(
      record,
      typeof system === "string" && system !== "" && list[0]?.role !== "system"
        ? [{ role: "system", content: system }, ...list]
        : list,
    );
  }
  const asked = messageList(record, prompt, "prompt");
  const answers = messageList(record, completion, "completion");
  const whole = checked(record, [...asked, ...answers]);
  // Messages of the prompt are not learnt, whatever their role.
  return {
    ...whole,
    learns: whole.learns.map((learns, i) => learns && i >= asked.length),
  };
}

function messageList(
  record: DataRecord,
  value: unknown,
  name: string,
): JsonObject[] {
  if (!Array.isArray(value)) {
    throw recordError(
      record,
      `field ${quoted(name)}: wanted a list of messages, got ${kindOf(value)}`,
    );
  }
  return value.map((message: unknown, i) => {
    if (message instanceof Map) return Object.fromEntries(message);
    if (isObject(message)) return message;
    throw recordError(
      record,
      `message ${i + 1}: wanted an object with a role and a content, got ${
        kindOf(message)
      }`,
    );
  });
}

/** A message of ShareGPT's as one of OpenAI's. */
function shared(
  record: DataRecord,
  message: JsonObject,
  i: number,
): JsonObject {
  if (typeof message.role === "string") return message;
  const { from, value, ...rest } = message;
  const role = Object.hasOwn(SHARED_ROLES, String(from))
    ? SHARED_ROLES[String(from)]
    : undefined;
  if (role === undefined) {
    throw recordError(
      record,
      `message ${i + 1}: wanted "from" as one of ${
        Object.keys(SHARED_ROLES).join(", ")
      }, got ${typeof from === "string" ? quoted(from) : kindOf(from)}`,
    );
  }
  return { role, content: value, ...rest };
}

function checked(
  record: DataRecord,
  messages: readonly JsonObject[],
): Pick<Conversation, "messages" | "learns"> {
  const learns = messages.map((message, i) => {
    const fail = (reason: string) =>
      recordError(record, `message ${i + 1}: ${reason}`);
    const { role, content } = message;
    if (typeof role !== "string") {
      throw fail(`wanted a role as a text, got ${kindOf(role)}`);
    }
    if (Array.isArray(content)) checkParts(content, fail);
    else if (content === undefined || content === null) {
      if (!saysElse(message)) {
        throw fail(`wanted a content, got ${kindOf(content)}`);
      }
    } else if (typeof content !== "string") {
      throw fail(
        `wanted a content as a text or in parts, got ${kindOf(content)}`,
      );
    }
    return role === "assistant" && isLearnt(message, fail);
  });
  return { messages, learns };
}

/** True if a message without content has reasoning or tool calls. */
function saysElse(message: JsonObject): boolean {
  const { tool_calls: calls } = message;
  return (Array.isArray(calls) && calls.length > 0) ||
    REASONING.some((name) => typeof message[name] === "string");
}

function checkParts(
  parts: readonly unknown[],
  fail: (reason: string) => Error,
): void {
  for (const part of parts) {
    const type = isObject(part) ? part.type : undefined;
    if (type === "text" && typeof (part as JsonObject).text === "string") {
      continue;
    }
    throw fail(
      `wanted parts of the content as texts ({"type": "text", "text": …}), got ${
        typeof type === "string" ? quoted(type) : kindOf(part)
      }`,
    );
  }
}

/** The loss mask of a message: OpenAI's `weight`, axolotl's `train`. */
function isLearnt(
  { weight, train }: JsonObject,
  fail: (reason: string) => Error,
): boolean {
  if (weight !== undefined && weight !== null) {
    const value = weight instanceof JsonNumber ? weight.valueOf() : weight;
    if (value !== 0 && value !== 1) {
      throw fail(`weight: wanted 0 or 1, got ${JSON.stringify(weight)}`);
    }
    if (value === 0) return false;
  }
  if (train !== undefined && train !== null && typeof train !== "boolean") {
    throw fail(`train: wanted true or false, got ${JSON.stringify(train)}`);
  }
  return train !== false;
}

/** A list of a record, which may be written as a text of JSON. */
function listOf(
  record: DataRecord,
  fields: Readonly<Record<string, unknown>>,
  name: string,
): readonly unknown[] | null {
  let value = fields[name];
  if (value === undefined || value === null || value === "") return null;
  if (typeof value === "string") {
    try {
      value = parseJsonExact(value);
    } catch {
      throw recordError(
        record,
        `field ${quoted(name)}: wanted a list, got a text that is no JSON`,
      );
    }
  }
  if (Array.isArray(value)) return value.length > 0 ? value : null;
  throw recordError(
    record,
    `field ${quoted(name)}: wanted a list, got ${kindOf(value)}`,
  );
}

function objectOf(
  record: DataRecord,
  fields: Readonly<Record<string, unknown>>,
  name: string,
): JsonObject {
  const value = fields[name];
  if (value === undefined || value === null) return {};
  if (value instanceof Map) return Object.fromEntries(value);
  if (isObject(value)) return value;
  throw recordError(
    record,
    `field ${quoted(name)}: wanted an object, got ${kindOf(value)}`,
  );
}
