/**
 * Chat templates: the Jinja programs that turn a conversation into a model's text.
 *
 * A template comes with the model, from nobody trusted. It runs in an interpreter of its own that reaches nothing
 * outside, with a budget of steps.
 *
 * @module
 */

import { FormatError, isMeant, KindError, ValueError } from "../../errors.ts";
import { Converter, preparedMessage, upToTag, withOpenEnd } from "./record.ts";
import { messageOf, quoted } from "../files/errors.ts";
import { withBudget } from "../jinja/budget.ts";
import {
  compile,
  lineOf,
  type Output,
  type Runnable,
} from "../jinja/compile.ts";
import { GLOBALS } from "../jinja/library/globals.ts";
import type { Value } from "../jinja/values.ts";
import {
  DEFAULT,
  type NamedTemplate,
  type NamedTemplates,
  TEMPLATE_FILE,
  templateFor,
} from "../files/named_templates.ts";

/** One turn of a conversation; templates may read more keys than these. */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, or another role of the template. */
  readonly role: string;
  /** Text of the message. */
  readonly content: string;
  /** Further keys, such as `tool_calls`. */
  readonly [key: string]: unknown;
}

/** Options of writing a conversation as text. */
export interface ChatOptions {
  /** Ends the text with the generation prompt: the header of an answer (false). */
  readonly addGenerationPrompt?: boolean;
  /** Leaves the last message open: the text ends with its content (false). */
  readonly continueFinalMessage?: boolean;
}

/** A conversation, and a template's other variables. */
export interface ChatRecord {
  /** Messages in order, as the file has them: numbers may be `JsonNumber`, objects may be `Map`. */
  readonly messages: readonly object[];
  /** Tools, as JSON schemas. */
  readonly tools?: readonly unknown[] | null;
  /** Documents with `title` and `text`. */
  readonly documents?: readonly unknown[] | null;
  /** Further variables of the template, such as `enable_thinking`. */
  readonly kwargs?: Readonly<Record<string, unknown>>;
}

/** A conversation as text. */
export interface RenderedChat {
  /** The text; its special tokens are written out. */
  readonly text: string;
  /**
   * Ranges of characters, from and to (exclusive), inside `{% generation %}` and `{% endgeneration %}`; undefined where
   * the template has no such marks.
   */
  readonly marked?: readonly (readonly [number, number])[];
}

/** A compiled template. */
export interface ChatTemplate {
  /** True if the template marks answers: `{% generation %}`. */
  readonly marksAnswers: boolean;
  /**
   * A conversation as `apply_chat_template` of transformers writes it.
   *
   * @throws {TypeError} If the template refuses it, or needs what loqa's Jinja lacks.
   * @throws {RangeError} If it exceeds its budget of steps or memory.
   */
  render(record: ChatRecord, options?: ChatOptions): RenderedChat;
}

/** Steps that a template may take: for itself, for each message, and for each value or some characters of a record. */
const STEPS = { own: 1_000_000, message: 1_500, size: 20 };

/** Names that a record's variables cannot have. */
const RESERVED = [
  "messages",
  "tools",
  "documents",
  "add_generation_prompt",
  "continue_final_message",
];

/** Options of compiling a template. */
export interface TemplateOptions {
  /** Variables besides those of a record: special tokens by role (`bos_token`). */
  readonly given: Readonly<Record<string, string>>;
  /** Name of its file in errors. */
  readonly name: string;
}

/**
 * Compiles a chat template.
 *
 * @throws {SyntaxError} If it is no template; it names the line.
 */
export function compileChatTemplate(
  source: string,
  { given, name }: TemplateOptions,
): ChatTemplate {
  const template = { text: source, file: name };
  return compileChatTemplates(new Map([[DEFAULT, template]]), given);
}

/**
 * Compiles those of a model's templates that are taken by themselves: `tool_use` for records with tools, else `default`.
 *
 * @throws {SyntaxError} If one is no template; it names file and line.
 */
export function compileChatTemplates(
  templates: NamedTemplates,
  given: TemplateOptions["given"],
): ChatTemplate {
  const read = ({ text, file }: NamedTemplate): Runnable => {
    try {
      return compile(text);
    } catch (cause) {
      if (!isMeant(cause) && !(cause instanceof RangeError)) throw cause;
      throw new FormatError(
        `Cannot read the chat template of ${quoted(file)}: ${reasonOf(cause)}`,
        { cause },
      );
    }
  };
  const taken = [false, true].map((tools) => templateFor(templates, tools));
  const compiled = new Map(
    taken.filter((found) => found !== undefined)
      .map((found) => [found, read(found)]),
  );
  return {
    marksAnswers: [...compiled.values()].some(({ marks }) => marks),
    render(record, options) {
      const found = taken[Number((record.tools ?? null) !== null)];
      if (!found) {
        const [{ file }] = templates.values();
        throw new KindError(
          `Cannot choose among the chat templates of ${
            quoted(file)
          }: wanted one called ${DEFAULT} (${TEMPLATE_FILE}), got ${
            [...templates.keys()].sort().map(quoted).join(", ")
          }`,
        );
      }
      const template = compiled.get(found)!;
      try {
        if (
          options?.continueFinalMessage && !found.text.includes("content")
        ) {
          throw new KindError("it reads no content that could be continued");
        }
        const { text, marks } = render(template, { record, options, given });
        return template.marks
          ? { text, marked: ranges(text, marks) }
          : { text };
      } catch (cause) {
        // Else it is a fault of this interpreter, whose trace is wanted.
        if (!isMeant(cause) && !(cause instanceof RangeError)) throw cause;
        const Kind = cause instanceof RangeError ? ValueError : KindError;
        const line = lineOf(cause);
        throw new Kind(
          `Cannot apply the chat template of ${quoted(found.file)}${
            line === undefined ? "" : `, line ${line}`
          }: ${reasonOf(cause)}`,
          { cause },
        );
      }
    },
  };
}

/** Reason for which a template cannot be read or applied; the runtime itself refuses what is too long or too deep. */
function reasonOf(cause: unknown): string {
  return isMeant(cause)
    ? messageOf(cause)
    : `it wants more memory or stack than there is (${messageOf(cause)})`;
}

/** Result of {@linkcode render}. */
function render(
  template: Runnable,
  { record, options = {}, given }: {
    record: ChatRecord;
    options?: ChatOptions;
    given: TemplateOptions["given"];
  },
): Output {
  const { messages, tools, documents, kwargs = {} } = record;
  const { addGenerationPrompt = false, continueFinalMessage = false } = options;
  if (messages.length === 0) {
    throw new KindError("wanted a message or more, got none");
  }
  if (addGenerationPrompt && continueFinalMessage) {
    throw new ValueError(
      "a conversation either continues its last message or begins an answer",
    );
  }
  const converter = new Converter();
  const list = messages.map((message, i) =>
    preparedMessage(converter.dict(message, `message ${i + 1}`))
  );
  const open = continueFinalMessage ? withOpenEnd(list) : undefined;
  const objects = (
    items: readonly unknown[] | null | undefined,
    what: string,
  ) =>
    (items ?? null) === null
      ? null
      : items!.map((item, i) => converter.dict(item, `${what} ${i + 1}`));
  const variables = new Map<string, Value>(GLOBALS);
  for (const [role, token] of Object.entries(given)) variables.set(role, token);
  for (const [key, value] of Object.entries(kwargs)) {
    if (RESERVED.includes(key)) {
      throw new KindError(
        `a variable of a record cannot be called ${
          quoted(key)
        }: that is the record's own`,
      );
    }
    if (value !== undefined) {
      variables.set(key, converter.value(value, `the variable ${quoted(key)}`));
    }
  }
  variables.set("messages", open?.messages ?? list);
  variables.set("tools", objects(tools, "tool"));
  variables.set("documents", objects(documents, "document"));
  variables.set("add_generation_prompt", addGenerationPrompt);
  const steps = Math.round(
    STEPS.own + STEPS.message * messages.length + STEPS.size * converter.size,
  );
  const output = withBudget(steps, () => template.run(variables));
  return open
    ? { text: upToTag(output.text, open.content), marks: [] }
    : output;
}

/** Character ranges of marked texts; undefined if one is not at the place where it was written. */
function ranges(
  text: string,
  marks: Output["marks"],
): [number, number][] | undefined {
  return marks.every((mark) => text.startsWith(mark.text, mark.at))
    ? marks.map((mark) => [mark.at, mark.at + mark.text.length])
    : undefined;
}
