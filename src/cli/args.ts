/**
 * Command line arguments: one table of options, from which parsing, checking and `--help` derive.
 *
 * @module
 */

import { markMeant } from "../errors.ts";
import { parseArgs } from "node:util";

/** A command line that cannot be understood: exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

markMeant(UsageError);

/** An option of a verb. */
export interface Option {
  /** Name of its value in the help (`N`, `DIR`); a switch without it. */
  readonly value?: string;
  /** One letter for it. */
  readonly short?: string;
  /** Default as the help shows it. */
  readonly default?: string;
  /** Whether it may be given more than once. */
  readonly multiple?: boolean;
  readonly help: string;
}

/** Options by name, in the order of the help. */
export type Options = Readonly<Record<string, Option>>;

/** What a verb is called with. */
export interface Parsed {
  readonly positionals: readonly string[];
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
}

/** What a number must be. */
export interface NumberRange {
  readonly least?: number;
  readonly most?: number;
  readonly fraction?: boolean;
}

/** Options that every verb takes. */
export const COMMON: Options = {
  device: {
    value: "NAME",
    default: "auto",
    help: "auto, wasm, webgpu or reference",
  },
  threads: { value: "N", default: "all cores", help: "threads to work with" },
  json: {
    help: "print one JSON document on stdout, everything else on stderr",
  },
  verbose: { short: "v", help: "say which device was chosen, and why" },
  quiet: { short: "q", help: "no progress, only the result and errors" },
  help: { short: "h", help: "this page" },
};

/** How products with quantised weights may be computed. */
export const COMPUTES = ["f32", "int8"] as const;

/** The option of verbs that only run a model. */
export const COMPUTE: Options[string] = {
  value: "NAME",
  default: "int8 for a model merged by qalora, else f32",
  help: "how products with int5 … int2 are computed: f32 or int8",
};

/**
 * Parses the arguments after the verb.
 *
 * @throws {UsageError} If an option is unknown, lacks its value, or is not what it must be.
 */
export function parse(args: readonly string[], options: Options): Parsed {
  let result;
  try {
    result = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: Object.fromEntries(
        Object.entries(options).map(([name, { value, short, multiple }]) => [
          name,
          {
            type: value ? "string" as const : "boolean" as const,
            ...(short && { short }),
            ...(multiple && { multiple }),
          },
        ]),
      ),
    });
  } catch (error) {
    const [line] = (error as Error).message.split(/(?:\.\s)|\n/);
    throw new UsageError(line);
  }
  const values = result.values as Record<
    string,
    string | boolean | string[] | undefined
  >;
  const text = (name: string) => values[name] as string | undefined;
  return {
    positionals: result.positionals,
    on: (name) => values[name] === true,
    text,
    list(name) {
      const value = values[name];
      if (value === undefined) return undefined;
      return [value].flat().flatMap((v) => String(v).split(","))
        .map((v) => v.trim()).filter((v) => v !== "");
    },
    choice(name, allowed) {
      const value = text(name);
      const found = allowed.find((a) => a === value);
      if (value !== undefined && found === undefined) {
        throw new UsageError(
          `--${name} must be one of ${allowed.join(", ")}, got "${value}"`,
        );
      }
      return found;
    },
    number(name, { least = -Infinity, most = Infinity, fraction } = {}) {
      const value = text(name);
      if (value === undefined) return undefined;
      const n = value.trim() === "" ? NaN : Number(value);
      if (
        !(n >= least && n <= most) ||
        !(fraction ? Number.isFinite(n) : Number.isSafeInteger(n))
      ) {
        const kind = fraction ? "a number" : "a whole number";
        const range = most === Infinity
          ? least === -Infinity ? "" : ` >= ${least}`
          : ` from ${least} to ${most}`;
        throw new UsageError(
          `--${name} must be ${kind}${range}, got "${value}"`,
        );
      }
      return n;
    },
  };
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

/** The values of option `name`, each `NAME=TEXT`. @throws {UsageError} If one is not. */
export function textsByName(
  args: Parsed,
  name: string,
): Record<string, string> | undefined {
  const entries = args.list(name)?.map((text) => {
    const at = text.indexOf("=");
    if (at <= 0 || at === text.length - 1) {
      throw new UsageError(`--${name} must be NAME=TEXT, got "${text}"`);
    }
    return [text.slice(0, at), text.slice(at + 1)] as const;
  });
  return entries && Object.fromEntries(entries);
}

/** The help lines of `options`. */
export function optionHelp(options: Options): string {
  const rows = Object.entries(options).map(([name, option]) => {
    const { value, short, help } = option;
    const left = `${short ? `-${short}, ` : "    "}--${name}${
      value ? ` ${value}` : ""
    }`;
    return [
      left,
      option.default ? `${help} (default: ${option.default})` : help,
    ];
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join(
    "\n",
  );
}
