/**
 * Moments of the layers of a model that is run as a whole: encoders, encoder-decoders.
 *
 * @module
 */

import { Tape, type Tensor } from "../autograd/tape.ts";
import type { Device } from "../device/device.ts";
import { readF32 } from "../device/device.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { familyOf } from "../models/families.ts";
import type { Model, PassOptions, TokenBatch } from "../models/model.ts";
import { MomentSums } from "./sums.ts";

/** Tokens that go through a model at a time. */
const BATCH_TOKENS = 1024;

/** A source/target pair, as tokens. */
export interface CalibrationPair {
  /** Source token ids, special tokens included. */
  readonly source: Int32Array;
  /** Target token ids, with the token that ends it. */
  readonly target: Int32Array;
}

/** Inputs that a model is run on. */
export interface ModelInputs {
  /** Sequences of one length, for models that read one. */
  readonly sequences?: readonly Int32Array[];
  /** Pairs, for an encoder-decoder. */
  readonly pairs?: readonly CalibrationPair[];
}

/** Runs a model on all inputs. The sums are the caller's. */
export async function modelMoments(
  checkpoint: Checkpoint,
  { device, kind, signal, onProgress, ...inputs }: ModelInputs & {
    device: Device;
    kind: "diag" | "full";
    signal?: AbortSignal;
    onProgress?: (done: number, text: string) => void;
  },
): Promise<MomentSums> {
  using model = await familyOf(checkpoint).load(device, checkpoint, {});
  using memory = new DisposableStack();
  const moments = memory.use(new MomentSums({ device, kind }));
  const options: PassOptions = {
    onInput: (module, x) => moments.add(module, x),
  };
  const passes = passesOf(model, inputs);
  for (const [i, pass] of passes.entries()) {
    signal?.throwIfAborted();
    onProgress?.(
      i / passes.length,
      `calibrating, batch ${i + 1} of ${passes.length}`,
    );
    using tape = new Tape(device);
    const { value } = pass(tape, options);
    // On a GPU work is only sent: without a wait it would have to hold all batches.
    await readF32(device, value.buffer, value.offset, 1);
  }
  memory.move();
  return moments;
}

type Pass = (tape: Tape, options: PassOptions) => Tensor;

function passesOf(
  model: Model,
  { sequences = [], pairs = [] }: ModelInputs,
): Pass[] {
  switch (model.kind) {
    case "causal":
    case "encoder":
      return batches(sequences, (s) => s.length).map((rows): Pass => {
        const tokens = tokensOf(rows);
        return (tape, options) =>
          model.kind === "causal"
            ? model.forward(tape, tokens, options)
            : model.encode(tape, tokens, options);
      });
    case "seq2seq": {
      const { startId } = model.config;
      const sizes = ({ source, target }: CalibrationPair) =>
        `${source.length} ${target.length}`;
      // Of one length each, so that nothing is padding.
      const groups = Map.groupBy(pairs, sizes);
      return [...groups.values()].flatMap((group) =>
        batches(group, (p) => p.source.length + p.target.length)
      ).map((rows): Pass => {
        const source = tokensOf(rows.map((p) => p.source));
        const target = tokensOf(
          rows.map((p) => Int32Array.of(startId, ...p.target.subarray(0, -1))),
        );
        return (tape, options) => {
          const encoded = model.encode(tape, source, options);
          return model.decode(tape, target, { ...options, encoded, source });
        };
      });
    }
  }
}

/** Items of one length, so many together as make up a batch. */
function batches<T>(items: readonly T[], length: (item: T) => number): T[][] {
  if (items.length === 0) return [];
  const size = Math.max(1, Math.floor(BATCH_TOKENS / length(items[0])));
  return Array.from(
    { length: Math.ceil(items.length / size) },
    (_, i) => items.slice(i * size, (i + 1) * size),
  );
}

function tokensOf(rows: readonly Int32Array[]): TokenBatch {
  return {
    ids: rows.flatMap((row) => [...row]),
    batch: rows.length,
    time: rows[0].length,
  };
}
