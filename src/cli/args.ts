/**
 * Command line arguments: one table of options, from which parsing, checking and `--help` derive.
 *
 * @module
 */

import { markMeant } from "../errors.ts";
import { quoted } from "../io/files/errors.ts";
import { nearest, suggestOption } from "./text/suggest.ts";
import { parseArgs } from "node:util";

/** A command line that cannot be understood: exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

markMeant(UsageError);

/** When an option has an effect: where each of these others is given (true), or has one of these values. */
export type When = Readonly<Record<string, true | readonly string[]>>;

/** An option of a verb. */
export interface Option {
  /** Name of its value in the help (`N`, `DIR`); a switch without it. */
  readonly value?: string;
  /** One letter for it. */
  readonly short?: string;
  /** Aliases: other names that it is taken by. */
  readonly also?: readonly string[];
  /** Default as the help shows it. */
  readonly default?: string;
  /** Whether it may be given more than once. */
  readonly multiple?: boolean;
  /** Whether its value is a file of which a shell may make several: bare arguments behind it are more of them. */
  readonly files?: boolean;
  /** When it has an effect; given otherwise, it is refused. Always unless told. */
  readonly when?: When;
  readonly help: string;
}

/** Options by name, in the order of the help. */
export type Options = Readonly<Record<string, Option>>;

/** Arguments of a verb. */
export interface Parsed {
  readonly positionals: readonly string[];
  /** The one bare argument of a verb. @throws {UsageError} If there is none, or more; it calls the argument `what`. */
  one(verb: string, what: string): string;
  /** Whether switch `name` is on. */
  on(name: string): boolean;
  /** The value of `name`, undefined if it was not given. */
  text(name: string): string | undefined;
  /** All values of `name`, commas split. */
  list(name: string): string[] | undefined;
  /** The value of `name` as one of `allowed`. */
  choice<T extends string>(name: string, allowed: readonly T[]): T | undefined;
  /** The value of `name` as a number within `least` and `most`; whole unless `fraction`. */
  number(name: string, range?: NumberRange): number | undefined;
  /**
   * Tells the value that `name` has where it was not given, and the command line did not say; only then can what depends on
   * it be checked.
   *
   * @throws {UsageError} If an option that was given has no effect with it.
   */
  settle(name: string, value: string): void;
}

/** Range of a number. */
export interface NumberRange {
  readonly least?: number;
  readonly most?: number;
  /** Exclusive lower bound. */
  readonly above?: number;
  readonly fraction?: boolean;
}

/** Options that every verb takes. */
export const COMMON: Options = {
  device: {
    value: "NAME",
    default: "auto",
    help: "device: auto, wasm, webgpu or reference",
  },
  threads: { value: "N", default: "all cores", help: "number of threads" },
  json: {
    help: "print one JSON document on stdout, everything else on stderr",
  },
  verbose: { short: "v", help: "print the chosen device, and why" },
  quiet: { short: "q", help: "no progress, only the result and errors" },
  help: { short: "h", help: "this page" },
};

/** How products with quantised weights may be computed. */
export const COMPUTES = ["f32", "int8"] as const;

/** The option of verbs that only run a model. */
export const COMPUTE: Options[string] = {
  value: "NAME",
  default: "int8 for a model merged by qalora, else f32",
  help: "arithmetic of products with int5 … int2: f32 or int8",
};

/** A token of `parseArgs`. */
interface Token {
  readonly kind: string;
  readonly name?: string;
  readonly rawName?: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

/** Arguments sorted: bare ones, and the values of options by name. */
interface Sorted {
  readonly positionals: readonly string[];
  readonly values: ReadonlyMap<string, readonly string[]>;
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
        const { value, short } = options[name];
        return [known, {
          type: value ? "string" as const : "boolean" as const,
          ...(known === name && short && { short }),
        }];
      }),
    ),
  }) as { tokens: readonly Token[] };
  const positionals: string[] = [];
  const values = new Map<string, string[]>();
  /** Values of the option before, as long as bare arguments are more of them. */
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
    const found = values.get(name) ?? [];
    if (found.length > 0 && option.value && !option.multiple) {
      throw new UsageError(
        `${token.rawName} is given twice, ${quoted(found[0])} and ${
          quoted(token.value ?? "")
        }; it takes one value`,
      );
    }
    found.push(valueOf(token, option));
    values.set(name, found);
    more = option.files ? found : undefined;
  }
  return { positionals, values };
}

function valueOf(
  { rawName, value, inlineValue }: Token,
  option: Option,
): string {
  if (!option.value) {
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

/** Refuses options that are given and have no effect; what `known` does not tell of another option is left open. */
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

/**
 * Parses the arguments after the verb.
 *
 * @throws {UsageError} If an option is unknown, lacks its value, is not what it must be, or has no effect.
 */
export function parse(args: readonly string[], options: Options): Parsed {
  const { positionals, values } = sort(args, options);
  const text = (name: string) => values.get(name)?.[0];
  // A default of several words describes one that is not known yet.
  checkEffects(options, values, (name) => {
    const value = text(name) ?? options[name]?.default;
    return value === undefined || /\s/.test(value) ? undefined : value;
  });
  return {
    positionals,
    one(verb, what) {
      if (positionals.length === 1) return positionals[0];
      throw new UsageError(
        `${verb} takes one ${what}, got ${
          positionals.length === 0
            ? "none"
            : `${positionals.length}: ${positionals.join(", ")}`
        }`,
      );
    },
    on: (name) => !options[name]?.value && values.has(name),
    text,
    list: (name) =>
      values.get(name)?.flatMap((v) => v.split(","))
        .map((v) => v.trim()).filter((v) => v !== ""),
    choice(name, allowed) {
      const value = text(name);
      const found = allowed.find((a) => a === value);
      if (value !== undefined && found === undefined) {
        const meant = nearest(value, allowed);
        throw new UsageError(
          `--${name} must be one of ${allowed.join(", ")}, got "${value}"${
            meant === undefined ? "" : `; did you mean ${meant}?`
          }`,
        );
      }
      return found;
    },
    number(name, range = {}) {
      const value = text(name);
      return value === undefined ? undefined : numberOf(name, value, range);
    },
    settle: (name, value) =>
      checkEffects(
        options,
        values,
        (other) => other === name ? value : undefined,
      ),
  };
}

function numberOf(
  name: string,
  value: string,
  { least = -Infinity, most = Infinity, above = -Infinity, fraction }:
    NumberRange,
): number {
  const n = value.trim() === "" ? NaN : Number(value);
  if (
    n >= least && n <= most && n > above &&
    (fraction ? Number.isFinite(n) : Number.isSafeInteger(n))
  ) return n;
  const low = above > -Infinity
    ? ` > ${above}`
    : least > -Infinity
    ? ` >= ${least}`
    : "";
  const range = most === Infinity
    ? low
    : above > -Infinity
    ? `${low} and <= ${most}`
    : ` from ${least} to ${most}`;
  throw new UsageError(
    `--${name} must be ${
      fraction ? "a number" : "a whole number"
    }${range}, got "${value}"`,
  );
}

/** The values of option `name`, each `NAME=NUMBER` with a number > 0. @throws {UsageError} If one is not. */
export function numbersByName(
  args: Parsed,
  name: string,
): Record<string, number> | undefined {
  const entries = args.list(name)?.map((text) => {
    const at = text.lastIndexOf("=");
    const value = Number(text.slice(at + 1));
    if (at <= 0 || !(value > 0)) {
      throw new UsageError(`--${name} must be NAME=NUMBER, got "${text}"`);
    }
    return [text.slice(0, at), value] as const;
  });
  return entries && Object.fromEntries(entries);
}

/** The help lines of `options`. */
export function optionHelp(options: Options): string {
  const rows = Object.entries(options).map(([name, option]) => {
    const { value, short, help, also = [] } = option;
    const more = [
      ...option.default ? [`default: ${option.default}`] : [],
      ...also.length > 0
        ? [`alias: ${also.map((name) => `--${name}`).join(", ")}`]
        : [],
    ].join("; ");
    const left = `${short ? `-${short}, ` : "    "}--${name}${
      value ? ` ${value}` : ""
    }`;
    return [
      left,
      more ? `${help} (${more})` : help,
    ];
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join(
    "\n",
  );
}
