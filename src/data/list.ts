/**
 * Lists of examples, with counts of those that were too long.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { placeOf, recordError } from "./records/record.ts";
import type { DataRecord } from "./records/record.ts";
import type { AnyExample, ExampleSet } from "./example.ts";

/** Treatment of an example longer than the context: cut at its end, left out, or an error. */
export type Overflow = "truncate" | "drop" | "error";

/** Each of them. */
export const OVERFLOWS: readonly Overflow[] = ["truncate", "drop", "error"];

/** Examples in memory, with counts of the records that were cut or left out. */
export interface ListedSet<E extends AnyExample> extends ExampleSet<E> {
  /** Examples that lost tokens. */
  readonly truncated: number;
  /** Records left out because they were too long. */
  readonly dropped: number;
  /** The first of either, as a warning can show it: file and line. */
  readonly firstLonger?: string;
  /** Further notes on the records, a sentence each. */
  readonly notes?: readonly string[];
  /** Tokens of the longest example; of a pair, of its longer side. */
  readonly longest: number;
}

/** A record's length and its limit. */
export interface LengthCheck {
  /** Tokens that it has. */
  readonly length: number;
  /** Tokens that it may have. */
  readonly most: number;
  /** Name of the part that has them ("the source"); by default the example. */
  readonly what?: string;
}

/** Gathers examples of one kind. */
export class ExampleList<E extends AnyExample> {
  readonly #overflow: Overflow;
  readonly #examples: E[] = [];
  #truncated = 0;
  #dropped = 0;
  #longest = 0;
  #firstLonger?: string;

  /** Begins with nothing. */
  constructor(overflow: Overflow) {
    this.#overflow = overflow;
  }

  /**
   * True if an example of these lengths is taken, cut where it has to be.
   *
   * @throws {SyntaxError} If it is too long and that is an error; it names file and line.
   */
  takes(record: DataRecord, ...checks: readonly LengthCheck[]): boolean {
    const over = checks.find(({ length, most }) => length > most);
    if (!over) return true;
    if (this.#overflow === "error") {
      const what = over.what === undefined ? "" : `${over.what}: `;
      throw recordError(
        record,
        `${what}wanted at most ${over.most} tokens, got ${over.length}`,
      );
    }
    this.#firstLonger ??= placeOf(record);
    if (this.#overflow === "drop") {
      this.#dropped++;
      return false;
    }
    this.#truncated++;
    return true;
  }

  /** Leaves out a record of which nothing would be learnt after it has been cut. */
  drop(record: DataRecord): void {
    this.#truncated--;
    this.#dropped++;
    this.#firstLonger ??= placeOf(record);
  }

  /** Adds an example. */
  add(example: E): void {
    const length = example.kind === "pair"
      ? Math.max(example.source.length, example.target.length)
      : example.tokens.length;
    this.#longest = Math.max(this.#longest, length);
    this.#examples.push(example);
  }

  /**
   * The examples. Where all of them have one limit, it is `most`.
   *
   * @throws {RangeError} If there is none.
   */
  set(most?: number): ListedSet<E> {
    const examples = this.#examples;
    if (examples.length === 0) {
      const why = most === undefined
        ? `: ${this.#dropped} were too long`
        : `: ${this.#dropped} of more than ${most} tokens were dropped, the first in ${this.#firstLonger}`;
      throw new ValueError(
        `Cannot read examples: wanted at least one, got none${
          this.#dropped > 0 ? why : ""
        }`,
      );
    }
    return {
      size: examples.length,
      example(index) {
        const example = examples[index];
        if (example) return example;
        throw new ValueError(
          `Cannot take example ${index}: wanted one of 0 to ${
            examples.length - 1
          }`,
        );
      },
      truncated: this.#truncated,
      dropped: this.#dropped,
      firstLonger: this.#firstLonger,
      longest: this.#longest,
    };
  }
}
