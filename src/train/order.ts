/**
 * Order of the examples: seeded, and the same again after a restart.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { Random } from "../tensor/random.ts";

/** As in the file; shuffled anew each epoch; or drawn at random, some twice and some never. */
export type OrderKind = "shuffle" | "sequential" | "random";

/** Every {@linkcode OrderKind}. */
export const ORDERS: readonly OrderKind[] = ["shuffle", "sequential", "random"];

/** Options of an order. */
export interface OrderOptions {
  /** Kind of order. */
  readonly kind: OrderKind;
  /** Examples to pick from. */
  readonly size: number;
  /** Seed of the picking (0). */
  readonly seed?: number;
  /** Examples that make up an epoch of a "random" order (`size`). */
  readonly draws?: number;
}

/** State of an order: plain JSON, whole with {@linkcode DataOrder.from}. */
export interface OrderState {
  /** As in {@linkcode OrderOptions}. */
  readonly kind: OrderKind;
  /** As in {@linkcode OrderOptions}. */
  readonly size: number;
  /** As in {@linkcode OrderOptions}. */
  readonly seed: number;
  /** As in {@linkcode OrderOptions}; `size` unless the order is "random". */
  readonly draws: number;
  /** The epoch that the next example belongs to, from 0. */
  readonly epoch: number;
  /** The next example's place in that epoch. */
  readonly index: number;
}

/** A walk through examples. Every epoch depends on the seed and its number alone. */
export class DataOrder {
  readonly #kind: OrderKind;
  readonly #size: number;
  readonly #seed: number;
  readonly #draws: number;
  #epoch = 0;
  #index = 0;
  #list: Uint32Array | undefined;

  /** Begins at the start of epoch 0. @throws {RangeError} If a size is not a whole number from 1 on. */
  constructor({ kind, size, seed = 0, draws = size }: OrderOptions) {
    for (const [what, n] of Object.entries({ size, draws })) {
      if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
        throw new ValueError(
          `Cannot order examples: wanted ${what} from 1 to 2^32, got ${n}`,
        );
      }
    }
    this.#kind = kind;
    this.#size = size;
    this.#seed = seed;
    this.#draws = kind === "random" ? draws : size;
  }

  /**
   * The order with the state `state`.
   *
   * @param options What this run would begin with; a state of other data or another seed is refused.
   * @param name Its name in errors.
   * @throws {RangeError} If the state does not belong to these options, or is none.
   */
  static from(
    state: OrderState,
    options: OrderOptions,
    name = "the order of examples",
  ): DataOrder {
    const order = new DataOrder(options);
    const own = order.state;
    for (const key of ["kind", "size", "seed", "draws"] as const) {
      if (state[key] !== own[key]) {
        throw new ValueError(
          `Cannot resume ${name}: ${key}: wanted ${own[key]}, got ${
            state[key]
          }`,
        );
      }
    }
    const { epoch, index } = state;
    if (
      !Number.isInteger(epoch) || epoch < 0 ||
      !Number.isInteger(index) || index < 0 || index >= own.draws
    ) {
      throw new ValueError(
        `Cannot resume ${name}: wanted an epoch and an index below ${own.draws}, got ${epoch} and ${index}`,
      );
    }
    order.#epoch = epoch;
    order.#index = index;
    return order;
  }

  /** Position in the order. */
  get state(): OrderState {
    return {
      kind: this.#kind,
      size: this.#size,
      seed: this.#seed,
      draws: this.#draws,
      epoch: this.#epoch,
      index: this.#index,
    };
  }

  /** Examples of an epoch. */
  get perEpoch(): number {
    return this.#draws;
  }

  /**
   * The next `count` examples, fewer at the end of an epoch: a batch never spans two.
   *
   * @throws {RangeError} If `count` is not a whole number from 1 on.
   */
  next(count: number): number[] {
    if (!Number.isInteger(count) || count < 1) {
      throw new ValueError(
        `Cannot take the next examples: wanted a count from 1 on, got ${count}`,
      );
    }
    this.#list ??= this.#listOf(this.#epoch);
    const end = Math.min(this.#index + count, this.#draws);
    const found = Array.from(this.#list.subarray(this.#index, end));
    this.#index = end;
    if (end === this.#draws) {
      this.#epoch++;
      this.#index = 0;
      this.#list = undefined;
    }
    return found;
  }

  /**
   * The batches of the next step: `accumulation` of `batch` examples, fewer at the end of an epoch.
   *
   * @throws {RangeError} If either is not a whole number from 1 on.
   */
  nextStep(batch: number, accumulation = 1): number[][] {
    const { epoch } = this.state;
    const batches = [this.next(batch)];
    while (batches.length < accumulation && this.#epoch === epoch) {
      batches.push(this.next(batch));
    }
    return batches;
  }

  #listOf(epoch: number): Uint32Array {
    const random = new Random(this.#seed, `epoch ${epoch}`);
    const list = new Uint32Array(this.#draws);
    if (this.#kind === "random") {
      return list.map(() => Math.floor(random.uniform() * this.#size));
    }
    for (let i = 0; i < list.length; i++) list[i] = i;
    if (this.#kind === "sequential") return list;
    for (let i = list.length - 1; i > 0; i--) {
      const j = Math.floor(random.uniform() * (i + 1));
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  }
}
