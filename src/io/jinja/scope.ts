/**
 * Variables of a running template, and its output.
 *
 * @module
 */

import { Undefined, type Value } from "./values.ts";

/** End of a loop's items. */
export const END: unique symbol = Symbol("end");

/** Output of a template. */
export interface Output {
  /** The text. */
  readonly text: string;
  /**
   * The texts inside `{% generation %}`, with their offsets in the text that was being written then: their places, unless
   * a macro or a `{% set %}` block has written them.
   */
  readonly marks: readonly { readonly at: number; readonly text: string }[];
}

/** A template as it runs. */
export interface Run {
  /** Current output. */
  out: { text: string };
  /** Line of the current statement. */
  line: number;
  /** Calls that are under way. */
  calls: number;
  /** See {@linkcode Output}. */
  readonly marks: { at: number; text: string }[];
}

/** Variables of a block, inside those around it. */
export class Scope {
  /** The run it is of. */
  readonly run: Run;
  readonly #parent: Scope | undefined;
  readonly #values: Map<string, Value>;

  /** Makes one in `parent`. */
  constructor(
    run: Run,
    parent?: Scope,
    values: ReadonlyMap<string, Value> = new Map(),
  ) {
    this.run = run;
    this.#parent = parent;
    this.#values = values as Map<string, Value>;
  }

  /** A variable's value. */
  get(name: string): Value {
    let value = this.#values.get(name);
    let scope = this.#parent;
    while (value === undefined && scope !== undefined) {
      value = scope.#values.get(name);
      scope = scope.#parent;
    }
    return value === undefined
      ? new Undefined(`'${name}' is undefined`)
      : value;
  }

  /** Sets a variable of this block. */
  set(name: string, value: Value): void {
    this.#values.set(name, value);
  }
}
