/**
 * Output of a verb on stdout, all of it or an error: a result that did not arrive is none.
 *
 * @module
 */

import { IoError, messageOf } from "../io/files/errors.ts";
import { fitted, terminalWidth } from "./text/wrap.ts";

/** Whoever read stdout has gone (`loqa … | head`): no reason for a word, and none to go on. */
export class ReaderGone extends Error {
  /** For those who cannot ask for the class. */
  override readonly name: string = "ReaderGone";
}

/**
 * Writes `text` to stdout as it is.
 *
 * @throws {ReaderGone} If nobody reads it any more.
 * @throws {IoError} If it cannot be written.
 */
export function printPart(text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) {
      at += Deno.stdout.writeSync(bytes.subarray(at));
    }
  } catch (cause) {
    if (cause instanceof Deno.errors.BrokenPipe) throw new ReaderGone();
    const full = /os error 28\b/.test(messageOf(cause));
    throw new IoError(
      `Cannot write to stdout: ${full ? "the disk is full" : messageOf(cause)}`,
      "stdout",
      cause,
    );
  }
}

/** Writes what a person reads, in the width of the terminal. @throws What {@linkcode printPart} does. */
export function printFitted(text: string): void {
  print(fitted(text, terminalWidth(Deno.stdout)));
}

/** Writes `text` and the end of a line to stdout. @throws What {@linkcode printPart} does. */
export function print(text: string): void {
  printPart(`${text}\n`);
}
