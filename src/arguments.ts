/**
 * Arguments of the library's functions, checked before any work: programs without types pass anything.
 *
 * @module
 */

import { KindError, ValueError } from "./errors.ts";

/** Every option of `T` by name; true for those without a default. */
export type OptionTable<T> = Readonly<Record<keyof Required<T>, boolean>>;

/**
 * Checks that `given` has the options that `table` says are needed, and none that it does not know.
 *
 * @param what The action, for errors: `train`.
 * @throws {TypeError} That names the options that lack and those that are not known.
 */
export function checkOptions<T>(
  what: string,
  given: T,
  table: OptionTable<T>,
): void {
  checkGiven(what, given);
  const values = given as Record<string, unknown>;
  const unknown = Object.keys(values).filter((key) =>
    !Object.hasOwn(table, key)
  );
  if (unknown.length > 0) {
    throw new KindError(
      `Cannot ${what}: there is no option ${
        unknown.join(", ")
      }; wanted some of ${Object.keys(table).join(", ")}`,
    );
  }
  const lacking = Object.entries(table).flatMap(([key, needed]) =>
    needed && values[key] === undefined ? [key] : []
  );
  if (lacking.length > 0) {
    throw new KindError(
      `Cannot ${what}: the options lack ${lacking.join(", ")}`,
    );
  }
}

/** Checks that options are there at all. @throws {TypeError} If they are no object. */
export function checkGiven(what: string, given: unknown): void {
  if (typeof given === "object" && given !== null) return;
  throw new KindError(
    `Cannot ${what}: wanted an object of options, got ${describe(given)}`,
  );
}

/**
 * Checks that options that count something are whole numbers from 1 on.
 *
 * @throws {RangeError} That names the first that is none.
 */
export function checkCounts(
  what: string,
  counts: Readonly<Record<string, number | undefined>>,
): void {
  for (const [name, value] of Object.entries(counts)) {
    if (value === undefined || Number.isSafeInteger(value) && value >= 1) {
      continue;
    }
    throw new ValueError(
      `Cannot ${what}: ${name} must be a whole number >= 1, got ${value}`,
    );
  }
}

/** Checks that an option is one of `names`, or left out. @throws {RangeError} That names them. */
export function checkName(
  what: string,
  option: string,
  { given, names }: { given: unknown; names: readonly string[] },
): void {
  if (given === undefined || names.some((name) => name === given)) return;
  throw new ValueError(
    `Cannot ${what}: ${option} must be one of ${names.join(", ")}, got ${
      describe(given)
    }`,
  );
}

/** Kind of a value, in a word or two. */
export function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "string"
    ? JSON.stringify(value.slice(0, 60))
    : typeof value === "object"
    ? "an object"
    : `${typeof value} ${String(value).slice(0, 60)}`;
}
