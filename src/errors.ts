/**
 * Errors that are meant: raised on purpose, about an argument, a file or a state that the caller can mend. Their
 * message is whole without a trace: found, wanted, where, and what to do.
 *
 * Each is a subclass of the engine's own class of that meaning, whose name it keeps, and carries a mark, by which the
 * command line tells it in one line. An engine's own `RangeError` ("Invalid array length") has no mark and keeps its trace.
 *
 * @module
 */

/** The mark; in the registry of symbols, so that two copies of this module know each other's errors. */
const MEANT = Symbol.for("loqa.meant");

/** Marks `Kind` and its subclasses as meant. */
export function markMeant(
  Kind: abstract new (...args: never[]) => Error,
): void {
  Object.defineProperty(Kind.prototype, MEANT, { value: true });
}

/** A value out of its range, or options that do not go together: a `RangeError` that is meant. */
export class ValueError extends RangeError {}

/**
 * An option that does not go with what was found, such as a type to round to where nothing is rounded: for the command line
 * wrong usage.
 */
export class OptionError extends ValueError {}

/** Something of a kind that is not supported here, or not what was wanted: a `TypeError` that is meant. */
export class KindError extends TypeError {}

/** Content that is malformed: a `SyntaxError` that is meant. */
export class FormatError extends SyntaxError {}

for (const Kind of [ValueError, KindError, FormatError]) markMeant(Kind);

/**
 * True if `error` was raised on purpose, so that its message says all; any other needs its trace.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { format, isMeant } from "@loqa/loqa";
 *
 * try {
 *   format("nf5");
 * } catch (error) {
 *   assert.ok(isMeant(error)); // told in one line; any other error is a fault of loqa
 * }
 * ```
 */
export function isMeant(error: unknown): error is Error {
  return error instanceof Error && MEANT in error;
}
