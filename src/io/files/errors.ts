/**
 * Errors of files and networks, and lists of a file's faults.
 *
 * @module
 */

import { FormatError, markMeant } from "../../errors.ts";

/** A file or resource that could not be reached, read or written; a malformed one is a `SyntaxError`. */
export class IoError extends Error {
  /** `IoError`. */
  override readonly name = "IoError";
  /** Path or URL. */
  readonly target: string;

  /** One line that names `target`; `cause` is the system's error. */
  constructor(message: string, target: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.target = target;
  }
}

markMeant(IoError);

/** Mismatches listed by one error at most; the rest is counted. */
const SHOWN = 20;

/** Collects the faults of a file, so that one error can list all of them. */
export class Problems {
  readonly #what: string;
  readonly #list: string[] = [];
  #count = 0;

  /**
   * Begins an empty list.
   *
   * @param what Action and object that fail: `read "model.safetensors"`.
   */
  constructor(what: string) {
    this.#what = what;
  }

  /** True if nothing was found. */
  get none(): boolean {
    return this.#count === 0;
  }

  /** Notes one problem. */
  add(problem: string): void {
    this.#count++;
    if (this.#list.length < SHOWN) this.#list.push(problem);
  }

  /** The error that lists the problems. */
  error(): SyntaxError {
    const more = this.#count - this.#list.length;
    return new FormatError(
      `Cannot ${this.#what}: ${this.#list.join("; ")}${
        more > 0 ? `; and ${more} more` : ""
      }`,
    );
  }

  /**
   * Ends in an error if anything was found.
   *
   * @throws {SyntaxError} That lists the problems.
   */
  throwIfAny(): void {
    if (!this.none) throw this.error();
  }
}

/** `text` as an error shows it: quoted, and short whatever a hostile file holds. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 117)}...` : text);
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
