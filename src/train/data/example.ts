/**
 * What is trained on: rows of tokens with labels, and their batches.
 *
 * Labels stand as in transformers: `labels[t]` is the token at `t` itself, or {@linkcode IGNORED}; the model's
 * prediction at `t - 1` is held against it; `targetsOf` in `src/train/step.ts` does the shift.
 *
 * @module
 */

/** The label of a token that no loss is taken on. */
export const IGNORED: number = -100;

/** A sequence to train on. */
export interface Example {
  /** Token ids: [length]. */
  readonly tokens: Int32Array;
  /** The same ids where they are to be learnt, {@linkcode IGNORED} elsewhere: [length]. */
  readonly labels: Int32Array;
}

/** Examples by number, the same ones every time. */
export interface ExampleSet {
  /** How many there are. */
  readonly size: number;
  /** The example `index`, from 0. @throws {RangeError} If there is none. */
  example(index: number): Example;
}

/** Examples as one rectangle, padded on the right. */
export interface Batch {
  /** Examples. */
  readonly rows: number;
  /** Tokens of the longest example, or what it is padded to. */
  readonly cols: number;
  /** Token ids, padding at the end of each row: [rows, cols]. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /** Labels, {@linkcode IGNORED} for padding: [rows, cols]. */
  readonly labels: Int32Array<ArrayBuffer>;
  /** Tokens of each row that are no padding: [rows]. */
  readonly lengths: Int32Array<ArrayBuffer>;
}

/** Options of {@linkcode collate}. */
export interface CollateOptions {
  /** Token that fills short rows; it is never looked at. */
  readonly padId: number;
  /** Pads rows to a multiple of this (1). */
  readonly multiple?: number;
}

/** How many tokens of an example a loss is taken on: labels that are not ignored, the first left out. */
export function lossCount(labels: ArrayLike<number>): number {
  let count = 0;
  for (let t = 1; t < labels.length; t++) if (labels[t] !== IGNORED) count++;
  return count;
}

/**
 * Puts examples into one batch, padded on the right to the longest.
 *
 * @throws {RangeError} If there is none.
 */
export function collate(
  examples: readonly Example[],
  { padId, multiple = 1 }: CollateOptions,
): Batch {
  if (examples.length === 0) {
    throw new RangeError("Cannot make a batch: wanted examples, got none");
  }
  const rows = examples.length;
  const longest = examples.reduce((n, e) => Math.max(n, e.tokens.length), 1);
  const cols = Math.ceil(longest / multiple) * multiple;
  const tokens = new Int32Array(rows * cols).fill(padId);
  const labels = new Int32Array(rows * cols).fill(IGNORED);
  const lengths = new Int32Array(rows);
  for (const [row, example] of examples.entries()) {
    tokens.set(example.tokens, row * cols);
    labels.set(example.labels, row * cols);
    lengths[row] = example.tokens.length;
  }
  return { rows, cols, tokens, labels, lengths };
}
