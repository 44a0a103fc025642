/**
 * What models do with tokens before their first block, and how blocks follow each other.
 *
 * @module
 */

import type { Parameter } from "../autograd/parameter.ts";
import type { Tape, Tensor } from "../autograd/tape.ts";
import type { Mat } from "../device/device.ts";
import type { TokenBatch } from "./model.ts";

/** A table of features, one row a token, position or text. */
export interface Table {
  readonly value: Mat;
  readonly parameter?: Parameter;
}

/**
 * Checks that a model can take these tokens.
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
): void {
  const fail = (what: string): never => {
    throw new RangeError(`Cannot run the model: ${what}`);
  };
  if (ids.length !== batch * time) {
    fail(`${batch} sequences of ${time} tokens, got ${ids.length} ids`);
  }
  if (time > maxLength) {
    fail(
      `a sequence of ${time} tokens is beyond its context of ${maxLength}`,
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
 * Row of the table of positions for each token: counted from `first` where no padding is before it. With a `first` above 0,
 * padding has the row before.
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
 * Runs blocks one after the other; the tape keeps what they made, or only their inputs with `checkpointing`. What else they
 * depend on that needs a gradient is `others`.
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
