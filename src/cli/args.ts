/**
 * Command line arguments, parsed by a table of options.
 *
 * @module
 */

import { quoted } from "../io/files/errors.ts";
import {
  camel,
  type Option,
  type Options,
  UsageError,
  type Values,
} from "./options.ts";
import { suggestOption } from "./text/suggest.ts";
import { parseArgs } from "node:util";

/** Arguments that a verb takes. */
export interface Taken<O extends Options = Options> {
  /** The verb, as errors call it. */
  readonly name: string;
  /** Its bare arguments: one (`DIR`), or one and more (`FILE…`); none without it. */
  readonly takes?: string;
  /** Its options. */
  readonly options: O;
}

/** Arguments of a verb. */
export interface Args<O extends Options = Options> {
  /** The bare arguments, as many as the verb takes. */
  readonly positionals: readonly string[];
  /** Values of the options, their defaults where they are not given. */
  readonly values: Values<O>;
  /** True if the option `name` is given. */
  given(name: keyof O & string): boolean;
  /**
   * Tells the value that `name` has where it was not given, and the command line did not say; only then can what depends on
   * it be checked.
   *
   * @throws {UsageError} If an option that was given has no effect with it.
   */
  settle(name: keyof O & string, value: string): void;
}

/** A token of `parseArgs`. */
interface Token {
  readonly kind: string;
  readonly name?: string;
  readonly rawName?: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

/** Arguments sorted: bare ones, and the words of options by name. */
interface Sorted {
  readonly positionals: readonly string[];
  readonly words: ReadonlyMap<string, readonly string[]>;
}

function sort(args: readonly string[], options: Options): Sorted {
  const names = new Map(
    Object.entries(options).flatMap(([name, { also = [] }]) =>
      [name, ...also].map((known) => [known, name] as const)
    ),
  );
  const { tokens } = parseArgs({
    args: [...args],
    allowPositionals: true,
    strict: false,
    tokens: true,
    options: Object.fromEntries(
      Array.from(names, ([known, name]) => {
        const { kind, short } = options[name];
        return [known, {
          type: kind === "flag" ? "boolean" as const : "string" as const,
          ...(known === name && short && { short }),
        }];
      }),
    ),
  }) as { tokens: readonly Token[] };
  const positionals: string[] = [];
  const words = new Map<string, string[]>();
  /** Words of the option before, as long as bare arguments are more of them. */
  let more: string[] | undefined;
  for (const token of tokens) {
    if (token.kind === "option-terminator") more = undefined;
    if (token.kind === "positional") {
      (positionals.length > 0 ? more ?? positionals : positionals)
        .push(token.value!);
    }
    if (token.kind !== "option") continue;
    const name = names.get(token.name!);
    if (name === undefined) {
      throw unknownOption(token.rawName!, names);
    }
    const option = options[name];
    const found = words.get(name) ?? [];
    if (found.length > 0 && !option.multiple) {
      throw new UsageError(
        `${token.rawName} is given twice, ${quoted(found[0])} and ${
          quoted(token.value ?? "")
        }; it takes one value`,
      );
    }
    found.push(wordOf(token, option));
    words.set(name, found);
    more = option.files ? found : undefined;
  }
  return { positionals, words };
}

function wordOf(
  { rawName, value, inlineValue }: Token,
  option: Option,
): string {
  if (option.kind === "flag") {
    if (value === undefined) return "";
    throw new UsageError(`${rawName} takes no value, got ${quoted(value)}`);
  }
  if (value === undefined) {
    throw new UsageError(`${rawName} needs a value: ${option.value}`);
  }
  // Else the value that was forgotten would be the next option.
  if (!inlineValue && /^-[^\d.\s][^\s]*$/.test(value)) {
    throw new UsageError(
      `${rawName} needs a value: ${option.value}, got the option ${value}; a value that begins so is given as ${rawName}=${value}`,
    );
  }
  return value;
}

function unknownOption(
  name: string,
  names: ReadonlyMap<string, string>,
): UsageError {
  const meant = suggestOption(name.replace(/^--?/, ""), names);
  return new UsageError(
    `there is no option ${name}${
      meant === undefined ? "" : `; did you mean --${meant}?`
    }`,
  );
}

/** Refuses options that are given and have no effect; conditions on options that `known` lacks are left open. */
function checkEffects(
  options: Options,
  given: ReadonlyMap<string, readonly string[]>,
  known: (name: string) => string | undefined,
): void {
  for (const name of given.keys()) {
    for (const [other, wanted] of Object.entries(options[name].when ?? {})) {
      if (wanted === true) {
        if (given.has(other)) continue;
        throw new UsageError(`--${name} has no effect without --${other}`);
      }
      const value = known(other);
      if (value === undefined || wanted.includes(value)) continue;
      throw new UsageError(
        `--${name} has no effect with --${other} ${value}, only with ${
          wanted.join(", ")
        }`,
      );
    }
  }
}

/** Refuses bare arguments other than a verb takes. */
function checkPositionals(
  { name, takes }: Taken,
  positionals: readonly string[],
): void {
  const { length } = positionals;
  const all = positionals.join(", ");
  if (takes === undefined) {
    if (length === 0) return;
    throw new UsageError(`${name} takes no argument, got ${all}`);
  }
  if (takes.endsWith("…")) {
    if (length > 0) return;
    throw new UsageError(`${name} needs a ${takes.slice(0, -1)}`);
  }
  if (length === 1) return;
  throw new UsageError(
    `${name} takes one ${takes}, got ${
      length === 0 ? "none" : `${length}: ${all}`
    }`,
  );
}

/** An option that has to be given, as it is asked for: `--data FILE`; `-o DIR`, which everyone knows. */
export function askedFor(name: string, { short, value = "" }: Option): string {
  const written = short === "o" ? "-o" : `--${name}`;
  return `${written} ${value.replace(/,…$/, "")}`;
}

/** Refuses a command line without an option that has to be given. */
function checkNeeded(
  { name: verb, options }: Taken,
  given: ReadonlyMap<string, readonly string[]>,
): void {
  for (const [name, option] of Object.entries(options)) {
    if (!option.needed || given.has(name)) continue;
    const { choices } = option;
    throw new UsageError(
      `${verb} needs ${
        choices
          ? `--${name}, one of ${choices.join(", ")}`
          : askedFor(name, option)
      }`,
    );
  }
}

/**
 * Parses the arguments after the verb.
 *
 * @throws {UsageError} If an option is unknown, lacks its value, is not what it must be, or has no effect, or if one that is
 * needed or a bare argument is missing or too many.
 */
export function parse<O extends Options>(
  args: readonly string[],
  taken: Taken<O>,
): Args<O> {
  const { options } = taken;
  const { positionals, words } = sort(args, options);
  checkPositionals(taken, positionals);
  // A default that depends on something is not known yet.
  checkEffects(options, words, (name) => {
    const { default: fallback } = options[name];
    return words.get(name)?.[0] ??
      (fallback === undefined ? undefined : String(fallback));
  });
  checkNeeded(taken, words);
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(options)) {
    const found = words.get(name);
    values[camel(name)] = found
      ? option.read(found, name)
      : option.kind === "flag"
      ? false
      : option.default;
  }
  return {
    positionals,
    values: values as Values<O>,
    given: (name) => words.has(name),
    settle: (name, value) =>
      checkEffects(
        options,
        words,
        (other) => other === name ? value : undefined,
      ),
  };
}
