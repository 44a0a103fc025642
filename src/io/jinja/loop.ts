/**
 * The variable `loop`.
 *
 * @module
 */

import {} from "./args.ts";
import {} from "./budget.ts";
import { END } from "./scope.ts";
import {
  equals,
  fault,
  Fn,
  lengthOf,
  Namespace,
  Tuple,
  Undefined,
  type Value,
} from "./values.ts";

/** A loop over items one by one, with look-ahead only where its body asks for it. */
export class Loop {
  /** The variable `loop` of the body. */
  readonly value: Namespace;
  readonly #next: () => Value | typeof END;
  readonly #depth: number;
  #ahead: (Value | typeof END)[] = [];
  #length: number | undefined;
  #at = -1;
  #before: Value | undefined;
  #current: Value | undefined;
  #last: readonly Value[] | undefined;

  /**
   * Begins a loop.
   *
   * @param next The items.
   * @param over Their container, where it has a length.
   * @param depth Number of loops of its kind around it.
   */
  constructor(
    next: () => Value | typeof END,
    over: Value | undefined,
    depth: number,
  ) {
    this.#next = next;
    this.#depth = depth;
    if (over !== undefined) this.#length = lengthOf(over);
    this.value = new Namespace(
      new Map(),
      "LoopContext",
      (name) => this.#lookup(name),
    );
  }

  /** The next item. */
  advance(): Value | typeof END {
    const value = this.#ahead.length > 0 ? this.#ahead.shift()! : this.#next();
    if (value === END) return END;
    this.#at++;
    this.#before = this.#current;
    this.#current = value;
    return value;
  }

  /** The next item, not consumed. */
  #peek(): Value | typeof END {
    if (this.#ahead.length === 0) this.#ahead.push(this.#next());
    return this.#ahead[0];
  }

  #count(): number {
    if (this.#length !== undefined) return this.#length;
    // The length of a generator is known only after its end.
    while (this.#ahead.at(-1) !== END) this.#ahead.push(this.#next());
    return this.#length = this.#at + this.#ahead.length;
  }

  #lookup(name: string): Value | undefined {
    switch (name) {
      case "index":
        return this.#at + 1;
      case "index0":
        return this.#at;
      case "revindex":
        return this.#count() - this.#at;
      case "revindex0":
        return this.#count() - this.#at - 1;
      case "first":
        return this.#at === 0;
      case "last":
        return this.#peek() === END;
      case "length":
        return this.#count();
      case "depth":
        return this.#depth + 1;
      case "depth0":
        return this.#depth;
      case "previtem":
        return this.#before ??
          (this.#at > 0 ? null : new Undefined("there is no previous item"));
      case "nextitem": {
        const next = this.#peek();
        return next === END ? new Undefined("there is no next item") : next;
      }
      case "cycle":
        return new Fn(name, ({ list }) => {
          if (list.length === 0) throw fault("no items for cycling given");
          return list[this.#at % list.length];
        });
      case "changed":
        return new Fn(name, ({ list }) => {
          const same = this.#last !== undefined &&
            equals(new Tuple(this.#last), new Tuple(list));
          this.#last = list;
          return !same;
        });
    }
    return undefined;
  }
}
