/**
 * Options as a table of typed rows: parsing, the type of the result, `--help` and the pages of `docs` derive from it.
 *
 * @module
 */

import { markMeant } from "../errors.ts";
import { quoted } from "../io/files/errors.ts";
import { nearest } from "./text/suggest.ts";

/** A command line that cannot be understood: exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

markMeant(UsageError);

/** When an option has an effect: where each of these others is given (true), or has one of these values. */
export type When = Readonly<Record<string, true | readonly string[]>>;

/** Facts that a row of any kind may have. */
export interface OptionRow {
  /** Name of the value in the help (`N`, `DIR`); by the kind without it. */
  readonly value?: string;
  /** One letter for it. */
  readonly short?: string;
  /** Aliases: other names that it is taken by. */
  readonly also?: readonly string[];
  /** Default in words, where that depends on something. */
  readonly otherwise?: string;
  /** True if its value is a file of which a shell may make several: bare arguments behind it are more of them. */
  readonly files?: boolean;
  /** Condition of its effect; given otherwise, it is refused. Always by default. */
  readonly when?: When;
  /** Purpose, a line for the help. */
  readonly help: string;
}

/** Range of a number. */
export interface NumberRange {
  /** Least value. */
  readonly least?: number;
  /** Greatest value. */
  readonly most?: number;
  /** Exclusive lower bound. */
  readonly above?: number;
}

/** An option of a verb, whose value is a `T`. */
export interface Option<T = unknown> extends OptionRow, NumberRange {
  /** Kind of its value. */
  readonly kind:
    | "flag"
    | "text"
    | "integer"
    | "number"
    | "choice"
    | "list"
    | "numbers";
  /** True if it may be given more than once. */
  readonly multiple?: boolean;
  /** True if it has to be given. */
  readonly needed?: boolean;
  /** Its value where it is not given. */
  readonly default?: T;
  /** The values that it takes, of a choice. */
  readonly choices?: readonly string[];
  /** Meanings of some of them. */
  readonly notes?: Readonly<Record<string, string | undefined>>;
  /** The value of its words on the command line, of which there is one at least. @throws {UsageError} If they make none. */
  read(words: readonly string[], name: string): T;
}

/** Options by name, in the order of the help. */
export type Options = Readonly<Record<string, Option>>;

type Camel<S extends string> = S extends `${infer A}-${infer B}`
  ? `${A}${Capitalize<Camel<B>>}`
  : S;

/** Values of options, by their names in camel case: `seqLen` of `--seq-len`. */
export type Values<O extends Options> = {
  readonly [K in keyof O & string as Camel<K>]: O[K] extends Option<infer T> ? T
    : never;
};

/** The key in {@linkcode Values} of the option `name`. */
export function camel(name: string): string {
  return name.replaceAll(/-(\w)/g, (_, letter) => letter.toUpperCase());
}

/** A row without which there is always a value. */
type Given<T> = { readonly default: T } | { readonly needed: true };

/** Makes options of values `T` from rows `R`; without a default, and where it need not be given, there may be none. */
interface Maker<T, R> {
  (row: R & Given<T>): Option<T>;
  (row: R): Option<T | undefined>;
}

/** A switch: on where it is given. */
export function flag(row: Omit<OptionRow, "value">): Option<boolean> {
  return { kind: "flag", multiple: true, ...row, read: () => true };
}

/** Any text, which may be empty. */
export const text: Maker<string, OptionRow & { readonly value: string }> = (
  row: OptionRow,
): Option<string> => ({ kind: "text", ...row, read: ([word]) => word });

/** A path, or another text that is not empty. */
export const path: Maker<string, OptionRow & { readonly value: string }> = (
  row: OptionRow,
): Option<string> => ({
  ...{ kind: "text", ...row },
  read: (words, name) => some(words, name, row)[0],
});

/** A whole number in its range. */
export const integer: Maker<number, OptionRow & NumberRange> = (
  row: OptionRow & NumberRange,
): Option<number> => ({
  ...{ kind: "integer", value: "N", ...row },
  read: ([word], name) => numberOf(name, word, { ...row, whole: true }),
});

/** A number in its range. */
export const number: Maker<number, OptionRow & NumberRange> = (
  row: OptionRow & NumberRange,
): Option<number> => ({
  ...{ kind: "number", value: "X", ...row },
  read: ([word], name) => numberOf(name, word, row),
});

/** Texts, given one by one or with commas between them. */
export const list: Maker<
  readonly string[],
  OptionRow & { readonly value: string }
> = (row: OptionRow): Option<readonly string[]> => ({
  ...{ kind: "list", multiple: true, ...row },
  read: (words, name) => some(items(words), name, row),
});

/** Numbers > 0 by name, each `NAME=NUMBER`. */
export const numbers: Maker<
  Readonly<Record<string, number>>,
  OptionRow & { readonly value: string }
> = (row: OptionRow): Option<Readonly<Record<string, number>>> => ({
  ...{ kind: "numbers", multiple: true, ...row },
  read: (words, name) =>
    Object.fromEntries(
      items(words).map((word) => {
        const at = word.lastIndexOf("=");
        const value = Number(word.slice(at + 1));
        if (at > 0 && value > 0) return [word.slice(0, at), value];
        throw new UsageError(`--${name} must be NAME=NUMBER, got "${word}"`);
      }),
    ),
});

/** A row of a choice: `notes` explain its values. */
type ChoiceRow<T extends string> = OptionRow & {
  readonly notes?: Readonly<Partial<Record<T, string>>>;
};

/** One of `choices`; the help lists them. */
export function choice<T extends string>(
  choices: readonly T[],
  row: ChoiceRow<T> & Given<NoInfer<T>>,
): Option<T>;
/** One of `choices`, or nothing. */
export function choice<T extends string>(
  choices: readonly T[],
  row: ChoiceRow<T>,
): Option<T | undefined>;
export function choice<T extends string>(
  choices: readonly T[],
  row: ChoiceRow<T>,
): Option<T | undefined> {
  return {
    ...{ kind: "choice", value: "NAME", choices, ...row },
    read: ([word], name) => oneOf(name, word, choices),
  };
}

/** A word as one of `choices`. @throws {UsageError} If it is none of them. */
export function oneOf<T extends string>(
  name: string,
  word: string,
  choices: readonly T[],
): T {
  const found = choices.find((choice) => choice === word);
  if (found !== undefined) return found;
  const meant = nearest(word, choices);
  throw new UsageError(
    `--${name} must be one of ${choices.join(", ")}, got ${quoted(word)}${
      meant === undefined ? "" : `; did you mean ${meant}?`
    }`,
  );
}

/** Words of which one at least is not empty. */
function some<W extends readonly string[]>(
  words: W,
  name: string,
  { value }: OptionRow,
): W {
  if (words.some((word) => word !== "")) return words;
  throw new UsageError(`--${name} needs a value: ${value}`);
}

function items(words: readonly string[]): string[] {
  return words.flatMap((word) => word.split(",")).map((item) => item.trim())
    .filter((item) => item !== "");
}

function numberOf(
  name: string,
  word: string,
  { least = -Infinity, most = Infinity, above = -Infinity, whole }:
    & NumberRange
    & { whole?: boolean },
): number {
  const n = word.trim() === "" ? NaN : Number(word);
  if (
    n >= least && n <= most && n > above &&
    (whole ? Number.isSafeInteger(n) : Number.isFinite(n))
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
      whole ? "a whole number" : "a number"
    }${range}, got "${word}"`,
  );
}

/** An option as it is written: `-o, --out DIR`. */
export function optionName(name: string, { short, value }: Option): string {
  return `${short ? `-${short}, ` : ""}--${name}${value ? ` ${value}` : ""}`;
}

/** A default as the help shows it. */
function shown(value: unknown): unknown {
  const small = typeof value === "number" && value !== 0 && value < 1e-3;
  return small ? value.toExponential() : value;
}

/** Purpose of an option: its help and choices, and in brackets `facts` of it. */
export function optionText(
  option: Option,
  facts: readonly string[] = optionFacts(option),
): string {
  const { help, choices = [], notes = {} } = option;
  const listed = choices.map((name) =>
    notes[name] === undefined ? name : `${name} (${notes[name]})`
  ).join(", ");
  return `${help}${listed ? `: ${listed}` : ""}${
    facts.length > 0 ? ` (${facts.join("; ")})` : ""
  }`;
}

/** Default of an option for a reader; undefined where there is none. */
export function optionDefault(option: Option): string | undefined {
  const value = option.otherwise ?? shown(option.default);
  return value === undefined ? undefined : `${value}`;
}

/** An option's range, default, aliases, and when it has an effect. */
export function optionFacts(option: Option): string[] {
  const { needed, least, most, when = {}, also } = option;
  const fallback = optionDefault(option);
  return [
    ...needed ? ["needed"] : [],
    ...most === undefined ? [] : [`from ${least} to ${most}`],
    ...fallback === undefined ? [] : [`default: ${fallback}`],
    ...Object.entries(when).map(([other, values]) =>
      `with --${other}${values === true ? "" : ` ${values.join(", ")}`}`
    ),
    ...also ? [`alias: --${also.join(", --")}`] : [],
  ];
}

/** The help lines of `options`. */
export function optionHelp(options: Options): string {
  const rows = Object.entries(options).map(([name, option]) =>
    [
      `${option.short ? "" : "    "}${optionName(name, option)}`,
      optionText(option),
    ] as const
  );
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join(
    "\n",
  );
}
