/**
 * Token inputs of a model up to its first block, and the loop over blocks.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { embedding } from "../../autograd/elementwise.ts";
import type { Parameter } from "../../autograd/parameter.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import type { DeviceBuffer, Mat } from "../../device/buffer.ts";
import type { TokenBatch, TokenCache } from "../model.ts";

/** An embedding table, one row a token, position or token type. */
export interface Table {
  readonly value: Mat;
  readonly parameter?: Parameter;
}

/**
 * Checks that a model can take these tokens, with `past` others before each sequence.
 *
 * @throws {RangeError} If a sequence is longer than the model's context, an id is no token, or a text's number none.
 */
export function checkTokens(
  { ids, batch, time, typeIds }: TokenBatch,
  { vocabSize, maxLength, typeVocabSize = Infinity }: {
    readonly vocabSize: number;
    readonly maxLength: number;
    readonly typeVocabSize?: number;
  },
  past = 0,
): void {
  const fail = (what: string): never => {
    throw new ValueError(`Cannot run the model: ${what}`);
  };
  if (ids.length !== batch * time) {
    fail(`${batch} sequences of ${time} tokens, got ${ids.length} ids`);
  }
  if (past + time > maxLength) {
    fail(
      `a sequence of ${
        past + time
      } tokens is beyond its context of ${maxLength}`,
    );
  }
  for (let i = 0; i < ids.length; i++) {
    if (!(ids[i] >= 0 && ids[i] < vocabSize)) {
      fail(`token ${ids[i]} is not in its vocabulary of ${vocabSize}`);
    }
    // A model without such a table does not look at them.
    if (
      typeIds && typeVocabSize > 0 &&
      !(typeIds[i] >= 0 && typeIds[i] < typeVocabSize)
    ) {
      fail(
        `a token belongs to text ${
          typeIds[i]
        }, the model tells ${typeVocabSize} apart`,
      );
    }
  }
}

/**
 * Checks that a cache has room for these tokens.
 *
 * @throws {RangeError} If it has not, or is of another number of sequences.
 */
export function checkRoom(
  { batch, time }: Pick<TokenBatch, "batch" | "time">,
  cache: TokenCache | undefined,
): void {
  if (!cache) return;
  const { length, capacity } = cache;
  if (length + time <= capacity && batch === cache.batch) return;
  throw new ValueError(
    `Cannot run the model: ${batch} x ${
      length + time
    } tokens, its cache holds ${cache.batch} x ${capacity}`,
  );
}

/** Sequences as one batch, padded on the right with token 0, which is masked. */
export function padRight(sequences: readonly ArrayLike<number>[]): TokenBatch {
  const batch = sequences.length;
  const time = sequences.reduce((n, s) => Math.max(n, s.length), 1);
  const ids = new Int32Array(batch * time);
  sequences.forEach((s, b) => ids.set(s, b * time));
  return {
    ...{ ids, batch, time },
    bounds: rightBounds(sequences.map(({ length }) => length), time),
  };
}

/** Attention mask (valid ranges) of sequences of these lengths, padded on the right; none where there is no padding. */
export function rightBounds(
  lengths: ArrayLike<number>,
  time: number,
): TokenBatch["bounds"] {
  const bounds = Array.from(lengths, (n) => [0, n] as const);
  return bounds.some(([, to]) => to < time) ? bounds : undefined;
}

/** Attention mask on the device, `u32 [batch, 2]`: the range of each sequence that is no padding. */
export function uploadBounds(
  tape: Tape,
  bounds: TokenBatch["bounds"],
): DeviceBuffer | undefined {
  return bounds && tape.upload(Uint32Array.from(bounds.flat()));
}

/** Rows of a table, `[ids.length, features]`. */
export function gather(
  tape: Tape,
  { value, parameter }: Table,
  ids: ArrayLike<number>,
): Tensor {
  return embedding(tape, tape.upload(Uint32Array.from(ids)), {
    table: value,
    parameter,
    count: ids.length,
  });
}

/**
 * Position id (row of the position embedding) of each token: counted from `first` where no padding is before it. With a
 * `first` above 0, padding has the row before.
 */
export function positionIds(
  { batch, time, bounds }: TokenBatch,
  first: number,
): Uint32Array {
  const positions = new Uint32Array(batch * time);
  for (let b = 0; b < batch; b++) {
    const [from, to] = bounds?.[b] ?? [0, time];
    for (let t = 0; t < time; t++) {
      const inside = t >= from && t < to;
      positions[b * time + t] = first === 0
        ? t
        : inside
        ? t - from + first
        : first - 1;
    }
  }
  return positions;
}

/**
 * Runs blocks one after the other; the tape saves their activations, or only their inputs with activation checkpointing.
 * `others` are further tensors with a gradient on which they depend.
 */
export function runBlocks(
  tape: Tape,
  x: Tensor,
  { blocks, checkpointing = false, others = [] }: {
    blocks:
      readonly ((tape: Tape, x: Tensor, others: readonly Tensor[]) => Tensor)[];
    checkpointing?: boolean;
    others?: readonly Tensor[];
  },
): Tensor {
  for (const block of blocks) {
    const from = x;
    x = checkpointing
      ? tape.checkpoint(from, block, others)
      : tape.scope(() => block(tape, from, others));
    if (!tape.recording) tape.free(from.value.buffer);
  }
  return x;
}
