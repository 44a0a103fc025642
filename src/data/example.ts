/**
 * Training examples, one kind for each kind of label, and batches of them.
 *
 * Labels of a causal LM are as in transformers: `labels[t]` is the token at `t` itself, or {@linkcode IGNORED}; the
 * logits at `t - 1` predict it; `targetsOf` in `src/train/step/objective.ts` does the shift. For an encoder-decoder the
 * batch holds the target shifted instead (teacher forcing): the decoder's input at `t` is its label at `t - 1`.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";

/** The label of a token that no loss is taken on. */
export const IGNORED: number = -100;

/** An example for a causal LM. */
export interface Example {
  /** Kind of loss: next tokens (causal language modelling). */
  readonly kind?: "tokens";
  /** Token ids: [length]. */
  readonly tokens: Int32Array;
  /** The same ids where they are to be learnt, {@linkcode IGNORED} elsewhere: [length]. */
  readonly labels: Int32Array;
}

/** A text, or two, and its class label or regression target. */
export interface ClassExample {
  /** Kind of loss: one label for the sequence. */
  readonly kind: "class";
  /** Token ids, special ones included: [length]. */
  readonly tokens: Int32Array;
  /** Token type (segment) ids, for models with a token type embedding: [length]. */
  readonly typeIds?: Int32Array;
  /** Class label, or regression target. */
  readonly label: number;
}

/** A question with a piece of text that may hold its answer. */
export interface SpanExample {
  /** Kind of loss: start and end of the answer. */
  readonly kind: "span";
  /** Token ids, special ones included: [length]. */
  readonly tokens: Int32Array;
  /** Token type (segment) ids, for models with a token type embedding: [length]. */
  readonly typeIds?: Int32Array;
  /** Position of the answer's first token; 0 where the piece has no answer. */
  readonly start: number;
  /** Position of its last token; 0 where the piece has no answer. */
  readonly end: number;
}

/** A source/target pair. */
export interface PairExample {
  /** Kind of loss: the target's tokens. */
  readonly kind: "pair";
  /** Token ids of the source, special ones included. */
  readonly source: Int32Array;
  /** Token ids of the target, with the one that ends it, without the decoder's first. */
  readonly target: Int32Array;
}

/** An example of any kind. */
export type AnyExample = Example | ClassExample | SpanExample | PairExample;

/** Examples by number, the same ones every time. */
export interface ExampleSet<E extends AnyExample = Example> {
  /** Number of examples. */
  readonly size: number;
  /** The example `index`, from 0. @throws {RangeError} If there is none. */
  example(index: number): E;
}

/** Sequences as one rectangle, padded on the right. */
export interface TokenRows {
  /** Examples. */
  readonly rows: number;
  /** Padded length, in tokens: the longest example, rounded up to `multiple`. */
  readonly cols: number;
  /** Token ids, padding at the end of each row: [rows, cols]. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /** Tokens of each row without padding (attention mask as lengths): [rows]. */
  readonly lengths: Int32Array<ArrayBuffer>;
}

/** Examples of a causal LM. */
export interface Batch extends TokenRows {
  /** Kind of loss. */
  readonly kind?: "tokens";
  /** Labels, {@linkcode IGNORED} for padding: [rows, cols]. */
  readonly labels: Int32Array<ArrayBuffer>;
}

/** Examples with an answer for each sequence. */
export interface ClassBatch extends TokenRows {
  /** Kind of loss. */
  readonly kind: "class";
  /** Token type (segment) ids, where an example has them: [rows, cols]. */
  readonly typeIds?: Int32Array<ArrayBuffer>;
  /** Classes, or numbers: [rows]. */
  readonly answers: Float32Array<ArrayBuffer>;
}

/** Examples with the place of an answer in each sequence. */
export interface SpanBatch extends TokenRows {
  /** Kind of loss. */
  readonly kind: "span";
  /** Token type (segment) ids, where an example has them: [rows, cols]. */
  readonly typeIds?: Int32Array<ArrayBuffer>;
  /** Positions of the answers' first tokens: [rows]. */
  readonly starts: Int32Array<ArrayBuffer>;
  /** Positions of their last: [rows]. */
  readonly ends: Int32Array<ArrayBuffer>;
}

/** Source/target pairs. */
export interface PairBatch {
  /** Kind of loss. */
  readonly kind: "pair";
  /** The source. */
  readonly source: TokenRows;
  /** Decoder input: its start token and the target without its last. */
  readonly target: TokenRows;
  /** Label of each position, {@linkcode IGNORED} for padding: [rows, cols] of the target. */
  readonly labels: Int32Array<ArrayBuffer>;
}

/** Examples of one kind. */
export type AnyBatch = Batch | ClassBatch | SpanBatch | PairBatch;

/** Options of {@linkcode collate}. */
export interface CollateOptions {
  /** Token that fills short rows; it is never looked at. */
  readonly padId: number;
  /** Pads rows to a multiple of this (1). */
  readonly multiple?: number;
  /** Decoder start token id, for pairs. */
  readonly startId?: number;
}

/** Number of an example's tokens with a loss: labels that are not ignored, the first left out. */
export function lossCount(labels: ArrayLike<number>): number {
  let count = 0;
  for (let t = 1; t < labels.length; t++) if (labels[t] !== IGNORED) count++;
  return count;
}

/** The batch that examples of a kind make. */
type BatchOf<E extends AnyExample> = E extends ClassExample ? ClassBatch
  : E extends SpanExample ? SpanBatch
  : E extends PairExample ? PairBatch
  : Batch;

/**
 * Puts examples of one kind into one batch, padded on the right to the longest.
 *
 * @throws {RangeError} If there is none, or a pair's decoder has no first token.
 * @throws {TypeError} If they are of several kinds.
 */
export function collate<E extends AnyExample>(
  examples: readonly E[],
  options: CollateOptions,
): BatchOf<E> {
  return collateAny(examples, options) as BatchOf<E>;
}

function collateAny(
  examples: readonly AnyExample[],
  options: CollateOptions,
): AnyBatch {
  const [first] = examples;
  if (!first) {
    throw new ValueError("Cannot make a batch: wanted examples, got none");
  }
  switch (first.kind) {
    case "class": {
      const all = ofKind<ClassExample>(examples, "class");
      return {
        kind: "class",
        ...rowsOf(all.map((e) => e.tokens), options),
        ...typesOf(all, options),
        answers: Float32Array.from(all, (e) => e.label),
      };
    }
    case "span": {
      const all = ofKind<SpanExample>(examples, "span");
      return {
        kind: "span",
        ...rowsOf(all.map((e) => e.tokens), options),
        ...typesOf(all, options),
        starts: Int32Array.from(all, (e) => e.start),
        ends: Int32Array.from(all, (e) => e.end),
      };
    }
    case "pair":
      return pairsOf(ofKind<PairExample>(examples, "pair"), options);
    default: {
      const all = ofKind<Example>(examples, "tokens");
      const { tokens: labels } = rowsOf(all.map((e) => e.labels), {
        ...options,
        padId: IGNORED,
      });
      return { ...rowsOf(all.map((e) => e.tokens), options), labels };
    }
  }
}

function ofKind<E extends AnyExample>(
  examples: readonly AnyExample[],
  kind: NonNullable<AnyExample["kind"]>,
): readonly E[] {
  const other = examples.find((e) => (e.kind ?? "tokens") !== kind);
  if (other) {
    throw new KindError(
      `Cannot make a batch: wanted examples of one kind, got "${kind}" and "${
        other.kind ?? "tokens"
      }"`,
    );
  }
  return examples as readonly E[];
}

function rowsOf(
  sequences: readonly Int32Array[],
  { padId, multiple = 1 }: CollateOptions,
): TokenRows {
  const rows = sequences.length;
  const longest = sequences.reduce((n, s) => Math.max(n, s.length), 1);
  const cols = Math.ceil(longest / multiple) * multiple;
  const tokens = new Int32Array(rows * cols).fill(padId);
  const lengths = new Int32Array(rows);
  for (const [row, sequence] of sequences.entries()) {
    tokens.set(sequence, row * cols);
    lengths[row] = sequence.length;
  }
  return { rows, cols, tokens, lengths };
}

/** Token type (segment) ids, 0 for padding: [rows, cols]; undefined where no example has them. */
function typesOf(
  examples: readonly { tokens: Int32Array; typeIds?: Int32Array }[],
  options: CollateOptions,
): { typeIds?: Int32Array<ArrayBuffer> } {
  if (examples.every(({ typeIds }) => !typeIds)) return {};
  const { tokens: typeIds } = rowsOf(
    examples.map((e) => e.typeIds ?? new Int32Array(e.tokens.length)),
    { ...options, padId: 0 },
  );
  return { typeIds };
}

function pairsOf(
  examples: readonly PairExample[],
  options: CollateOptions,
): PairBatch {
  const { startId } = options;
  if (startId === undefined) {
    throw new ValueError(
      "Cannot make a batch of pairs: wanted the decoder start token, got none",
    );
  }
  const target = rowsOf(
    examples.map(({ target }) =>
      Int32Array.of(startId, ...target.subarray(0, -1))
    ),
    options,
  );
  const { tokens: labels } = rowsOf(examples.map((e) => e.target), {
    ...options,
    padId: IGNORED,
  });
  const source = rowsOf(examples.map((e) => e.source), options);
  return { kind: "pair", source, target, labels };
}
