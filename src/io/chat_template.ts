/**
 * Chat templates: the Jinja programs that turn a conversation into a model's text.
 *
 * A template comes with the model, from nobody trusted. It runs in an interpreter of its own that reaches nothing
 * outside, with a budget of steps.
 *
 * @module
 */

import { FormatError, KindError, ValueError } from "../errors.ts";
import { messageOf, quoted } from "./errors.ts";
import { loadPackage } from "./package.ts";

/** One turn of a conversation; templates may read more keys than these. */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, or what else the template knows. */
  readonly role: string;
  /** What was said. */
  readonly content: string;
  /** Further keys, such as `tool_calls`. */
  readonly [key: string]: unknown;
}

/** How a conversation is laid out. */
export interface ChatOptions {
  /** Ends the text with what begins an answer (false). */
  readonly addGenerationPrompt?: boolean;
  /** Leaves the last message open: nothing stands behind its content (false). */
  readonly continueFinalMessage?: boolean;
}

/** A conversation, and what else a template may read. */
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
  /** Whether the template marks answers: `{% generation %}`. */
  readonly marksAnswers: boolean;
  /**
   * A conversation as `apply_chat_template` of transformers writes it.
   *
   * @throws {TypeError} If the template refuses it, or does what loqa's Jinja cannot.
   * @throws {RangeError} If it does too much.
   */
  render(record: ChatRecord, options?: ChatOptions): RenderedChat;
}

/** What a template may cost: some seconds; a long conversation takes a thousandth. */
const BUDGET = 1_000_000;

/** Numbers that one `range` gives at most. */
const MOST_NUMBERS = 100_000;

/**
 * Compiles a chat template.
 *
 * @param source The template.
 * @param given Variables besides the messages: special tokens by role (`bos_token`).
 * @param name What errors call its file.
 * @throws {SyntaxError} If it is no template. What it returns throws an `Error` where the template does
 *   (`raise_exception`), and a `RangeError` when its budget is spent.
 */
export async function compileChatTemplate(
  source: string,
  { given, name }: {
    given: Readonly<Record<string, string>>;
    name: string;
  },
): Promise<ChatTemplate> {
  const { Environment, Interpreter, Template } = await loadPackage(
    "@huggingface/jinja",
    () => import("npm:@huggingface/jinja@0.5.11"),
  );
  let program: InstanceType<typeof Template>["parsed"];
  try {
    program = new Template(source).parsed;
  } catch (cause) {
    throw new FormatError(
      `Cannot read the chat template of ${quoted(name)}: ${messageOf(cause)}`,
      { cause },
    );
  }
  const render: ChatTemplate["render"] = (
    { messages, tools = null, documents = null, kwargs = {} },
    { addGenerationPrompt = false } = {},
  ) => {
    const environment = new Environment();
    const variables = {
      ...globals,
      ...given,
      ...kwargs,
      messages,
      tools,
      documents,
      "add_generation_prompt": addGenerationPrompt,
    };
    for (const [key, value] of Object.entries(variables)) {
      environment.set(key, value);
    }
    const interpreter = new Interpreter(environment);
    limit(interpreter as unknown as Evaluator);
    try {
      return { text: String(interpreter.run(program).value) };
    } catch (cause) {
      const Kind = cause instanceof RangeError ? ValueError : KindError;
      throw new Kind(
        `Cannot apply the chat template of ${quoted(name)}: ${
          messageOf(cause)
        }`,
        { cause },
      );
    }
  };
  return { marksAnswers: false, render };
}

/** What the library's interpreter calls for each node, and for each turn of a loop; the latter it declares private. */
interface Evaluator {
  evaluate(node: { type: string }, ...rest: unknown[]): { value?: unknown };
  evaluateBlock(...block: unknown[]): unknown;
}

/** Makes an interpreter throw a `RangeError` once it has done too much: steps, and lengths of what they give. */
function limit(interpreter: Evaluator): void {
  const evaluate = interpreter.evaluate.bind(interpreter);
  const evaluateBlock = interpreter.evaluateBlock.bind(interpreter);
  let left = BUDGET;
  const spend = (cost: number) => {
    left -= cost;
    if (left < 0) throw new ValueError(`it does more than ${BUDGET} steps`);
  };
  interpreter.evaluate = (node, ...rest) => {
    const made = evaluate(node, ...rest);
    const { value } = made;
    // A list is made by every node but a name.
    spend(
      1 +
        (Array.isArray(value)
          ? value.length / (node.type === "Identifier" ? 64 : 1)
          : typeof value === "string"
          ? value.length / 16
          : 0),
    );
    return made;
  };
  interpreter.evaluateBlock = (...block) => {
    spend(1);
    return evaluateBlock(...block);
  };
}

const globals = {
  false: false,
  true: true,
  none: null,
  False: false,
  True: true,
  None: null,
  "raise_exception": (message: unknown): never => {
    throw new Error(String(message));
  },
  range,
  "strftime_now": (format: unknown): string =>
    strftime(String(format), new Date()),
};

function range(from: number, to?: number, step = 1): number[] {
  const [start, stop] = to === undefined ? [0, from] : [from, to];
  const count = Math.max(0, Math.ceil((stop - start) / step));
  // NaN, from a step of 0 or from no numbers, is refused too.
  if (!(count <= MOST_NUMBERS)) {
    throw new ValueError(`range(${start}, ${stop}, ${step}) is too long`);
  }
  return Array.from({ length: count }, (_, i) => start + i * step);
}

/** Python's `strftime` in English, for the directives that templates use. */
function strftime(format: string, date: Date): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const name = (options: Intl.DateTimeFormatOptions) =>
    date.toLocaleDateString("en-US", options);
  const values: Record<string, () => string> = {
    Y: () => String(date.getFullYear()),
    y: () => two(date.getFullYear() % 100),
    m: () => two(date.getMonth() + 1),
    d: () => two(date.getDate()),
    e: () => String(date.getDate()).padStart(2, " "),
    B: () => name({ month: "long" }),
    b: () => name({ month: "short" }),
    A: () => name({ weekday: "long" }),
    a: () => name({ weekday: "short" }),
    H: () => two(date.getHours()),
    I: () => two((date.getHours() + 11) % 12 + 1),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    p: () => date.getHours() < 12 ? "AM" : "PM",
    "%": () => "%",
  };
  return format.replace(/%(-?)(.)/gs, (whole, minus, letter) => {
    const text = Object.hasOwn(values, letter) ? values[letter]() : whole;
    return minus && text !== whole ? text.replace(/^0+(?=.)/, "") : text;
  });
}
