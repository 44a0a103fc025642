/**
 * Generation with encoder-decoders (seq2seq): greedy decoding and beam search.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { Tape, type Tensor } from "../../autograd/tape.ts";
import { type Mat, mat } from "../../device/buffer.ts";
import { readF32 } from "../../device/device.ts";
import { BeamSearch } from "./beam.ts";
import type { Seq2SeqModel, TokenBatch } from "../model.ts";
import { argmax } from "./sampling.ts";
import { padRight } from "../parts/token_input.ts";
import { checkWriting, type WriteOptions } from "./seq2seq_options.ts";

export {
  modelWriting,
  WRITE_DEFAULTS,
  type WriteOptions,
  writeOptions,
} from "./seq2seq_options.ts";

/**
 * Generates a target sequence for each source: token ids without the decoder's first, with the one that ends it. One
 * readback a token.
 *
 * @throws {RangeError} If a source is longer than the model's context, the settings make no sense, or a logit is not
 * finite.
 */
export async function write(
  model: Seq2SeqModel,
  sources: readonly ArrayLike<number>[],
  options: WriteOptions,
): Promise<number[][]> {
  checkWriting(model, options);
  if (sources.length === 0) return [];
  const { device, config } = model;
  const { beams, maxLength, start = config.startId } = options;
  const source = padRight(sources);
  const rows = sources.length * beams;
  using tape = new Tape(device);
  using cache = model.cache({ batch: rows, capacity: maxLength });
  const encoded = repeated(tape, model.encode(tape, source), {
    batch: sources.length,
    times: beams,
  });
  const looked: TokenBatch = {
    ...source,
    batch: rows,
    bounds: source.bounds?.flatMap((bound) =>
      Array.from({ length: beams }, () => bound)
    ),
  };
  const logits = tape.matrix(rows, config.vocabSize);
  /** Next-token logits of each sequence. */
  const next = async (
    sequences: readonly (readonly number[])[],
  ): Promise<Float32Array[]> => {
    using step = new Tape(device);
    const hidden = model.decode(step, {
      ids: sequences.map((tokens) => tokens.at(-1)!),
      batch: rows,
      time: 1,
    }, { encoded, source: looked, cache });
    scoresOf(model, hidden.value, logits);
    const all = await readF32(device, logits.buffer, 0, rows * logits.cols);
    return sequences.map((_, i) =>
      checked(all.subarray(i * logits.cols, (i + 1) * logits.cols))
    );
  };
  return beams === 1
    ? await greedy(start, sources.length, { next, options })
    : await search(start, sources.length, {
      next,
      options,
      reorder: (order) => cache.reorder(order),
    });
}

/** Each sequence's hidden states so many times. */
function repeated(
  tape: Tape,
  x: Tensor,
  { batch, times }: { batch: number; times: number },
): Tensor {
  if (times === 1) return x;
  const { rows, cols, buffer, offset } = x.value;
  const width = rows / batch * cols;
  const out = tape.output(rows * times, cols, [x]);
  tape.device.ops.gatherRows({
    table: mat(buffer, batch, width, offset),
    ids: tape.upload(
      Uint32Array.from(
        { length: batch * times },
        (_, i) => Math.floor(i / times),
      ),
    ),
    out: mat(out.value.buffer, batch * times, width, out.value.offset),
  });
  return out;
}

function scoresOf(
  { device, head, headBias }: Seq2SeqModel,
  hidden: Mat,
  logits: Mat,
): void {
  head.forward(device, hidden, { y: logits });
  if (!headBias) return;
  const row = { ...headBias.value, rows: logits.rows, stride: 0 };
  device.ops.combine({ x: logits, y: row, out: logits });
}

/** Logits that a token can be chosen by. @throws {RangeError} If one of them is NaN or infinite. */
function checked(row: Float32Array): Float32Array {
  const wrong = row.find((x) => !Number.isFinite(x));
  if (wrong === undefined) return row;
  throw new ValueError(
    `Cannot choose a token: one of ${row.length} logits is ${wrong}`,
  );
}

interface Writing {
  readonly next: (
    sequences: readonly (readonly number[])[],
  ) => Promise<Float32Array[]>;
  readonly options: WriteOptions;
}

async function greedy(
  start: number,
  count: number,
  { next, options }: Writing,
): Promise<number[][]> {
  const { eos, maxLength } = options;
  const sequences = Array.from({ length: count }, () => [start]);
  const done = sequences.map(() => false);
  for (let length = 1; length < maxLength && done.includes(false); length++) {
    const rows = await next(sequences);
    for (const [i, row] of rows.entries()) {
      if (done[i]) {
        // Its further tokens are not read.
        sequences[i].push(start);
        continue;
      }
      restrict(row, sequences[i], options);
      const token = argmax(row);
      sequences[i].push(token);
      done[i] = eos.includes(token);
    }
  }
  return sequences.map(([_, ...tokens]) => {
    const end = tokens.findIndex((token) => eos.includes(token));
    return end < 0 ? tokens : tokens.slice(0, end + 1);
  });
}

async function search(
  start: number,
  count: number,
  { next, options, reorder }: Writing & {
    reorder: (order: readonly number[]) => void;
  },
): Promise<number[][]> {
  const beams = new BeamSearch(start, count, options);
  while (!beams.ended) {
    const { sequences } = beams;
    const rows = await next(sequences);
    for (const [i, row] of rows.entries()) {
      logSoftmax(row);
      restrict(row, sequences[i], options);
    }
    reorder(beams.advance(rows));
  }
  return beams.results();
}

/** Logits as log-probabilities, in place. */
function logSoftmax(row: Float32Array): void {
  let most = -Infinity;
  for (const x of row) most = Math.max(most, x);
  let sum = 0;
  for (const x of row) sum += Math.exp(x - most);
  const by = most + Math.log(sum);
  for (let i = 0; i < row.length; i++) row[i] -= by;
}

/** Masks tokens that may not come next, in transformers' order of its rules. */
function restrict(
  row: Float32Array,
  tokens: readonly number[],
  options: WriteOptions,
): void {
  const { noRepeatNgram: n, minLength, maxLength, eos } = options;
  const { length } = tokens;
  if (n > 0 && length + 1 >= n) {
    const last = tokens.slice(length + 1 - n);
    for (let from = 0; from + n <= length; from++) {
      if (last.every((token, i) => tokens[from + i] === token)) {
        row[tokens[from + n - 1]] = -Infinity;
      }
    }
  }
  if (length < minLength) { for (const id of eos) row[id] = -Infinity; }
  const { forcedBos, forcedEos } = options;
  if (length === 1 && forcedBos !== undefined) force(row, [forcedBos]);
  if (length === maxLength - 1 && forcedEos) force(row, forcedEos);
}

/** Leaves these tokens only. */
function force(row: Float32Array, tokens: readonly number[]): void {
  row.fill(-Infinity);
  for (const id of tokens) row[id] = 0;
}
