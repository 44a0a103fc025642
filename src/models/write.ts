/**
 * Writing with models that read one sequence and write another.
 *
 * @module
 */

import { Tape, type Tensor } from "../autograd/tape.ts";
import { type Mat, mat, readF32 } from "../device/device.ts";
import { type BeamOptions, BeamSearch } from "./beam.ts";
import type { Seq2SeqModel, TokenBatch } from "./model.ts";

/** How sequences are written; the names and meanings are those of transformers' generation config. */
export interface WriteOptions extends BeamOptions {
  /** Runs of so many tokens occur once at the most; 0 for no such rule. */
  readonly noRepeatNgram: number;
  /** Tokens before the one that ends a sequence, the first one included. */
  readonly minLength: number;
  /** Token that comes right after the first one. */
  readonly forcedBos?: number;
  /** Token that ends a sequence of the greatest length. */
  readonly forcedEos?: number;
}

/** What `generate` of transformers does where neither a model nor a caller says otherwise. */
export const WRITE_DEFAULTS: WriteOptions = {
  beams: 1,
  lengthPenalty: 1,
  earlyStopping: false,
  maxLength: 20,
  eos: [],
  noRepeatNgram: 0,
  minLength: 0,
};

type Json = Readonly<Record<string, unknown>>;

/** The settings in a model's generation_config.json, or config.json where it has none. */
export function writeOptions(...configs: readonly Json[]): WriteOptions {
  const find = (key: string): unknown =>
    configs.map((config) => config[key]).find((value) =>
      value !== undefined && value !== null
    );
  const number = (key: string, fallback: number): number => {
    const value = find(key);
    return typeof value === "number" ? value : fallback;
  };
  const token = (key: string): number | undefined => {
    const value = find(key);
    return typeof value === "number" ? value : undefined;
  };
  const eos = find("eos_token_id");
  const early = find("early_stopping");
  const start = WRITE_DEFAULTS;
  return {
    beams: number("num_beams", start.beams),
    lengthPenalty: number("length_penalty", start.lengthPenalty),
    earlyStopping: early === "never" ? early : early === true,
    maxLength: number("max_length", start.maxLength),
    eos: [eos].flat().filter((id) => typeof id === "number"),
    noRepeatNgram: number("no_repeat_ngram_size", start.noRepeatNgram),
    minLength: number("min_length", start.minLength),
    forcedBos: token("forced_bos_token_id"),
    forcedEos: token("forced_eos_token_id"),
  };
}

/**
 * Writes a sequence for each source: token ids without the decoder's first, with the one that ends it. One readback a
 * token.
 *
 * @throws {RangeError} If a source is longer than the model's context, or the settings make no sense.
 */
export async function write(
  model: Seq2SeqModel,
  sources: readonly ArrayLike<number>[],
  options: WriteOptions,
): Promise<number[][]> {
  checkOptions(model, options);
  if (sources.length === 0) return [];
  const { device, config } = model;
  const { beams, maxLength } = options;
  const source = padded(sources);
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
  /** Scores of the token after the last of each sequence. */
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
      all.subarray(i * logits.cols, (i + 1) * logits.cols)
    );
  };
  return beams === 1
    ? await greedy(config.startId, sources.length, { next, options })
    : await search(config.startId, sources.length, {
      next,
      options,
      reorder: (order) => cache.reorder(order),
    });
}

function checkOptions(
  { config }: Seq2SeqModel,
  { beams, maxLength, minLength, noRepeatNgram }: WriteOptions,
): void {
  const wrong = (what: string): never => {
    throw new RangeError(`Cannot write: ${what}`);
  };
  for (
    const [name, value, least] of [
      ["beams", beams, 1],
      ["the greatest length", maxLength, 2],
      ["the least length", minLength, 0],
      ["the length of a run that must not occur again", noRepeatNgram, 0],
    ] as const
  ) {
    if (!Number.isInteger(value) || value < least) {
      wrong(`${name} must be a whole number >= ${least}, got ${value}`);
    }
  }
  if (minLength > maxLength) {
    wrong(`the least length ${minLength} is above the greatest, ${maxLength}`);
  }
  // The last token is written, not read.
  if (maxLength - 1 > config.maxLength) {
    wrong(
      `the greatest length ${maxLength} is beyond the model's context of ${config.maxLength}`,
    );
  }
}

/** Sources as one batch; padding is token 0, which is not looked at. */
function padded(sources: readonly ArrayLike<number>[]): TokenBatch {
  const batch = sources.length;
  const time = sources.reduce((n, s) => Math.max(n, s.length), 1);
  const ids = new Uint32Array(batch * time);
  sources.forEach((s, b) => ids.set(s, b * time));
  return {
    ...{ ids, batch, time },
    bounds: sources.some((s) => s.length < time)
      ? sources.map((s) => [0, s.length] as const)
      : undefined,
  };
}

/** Each sequence's features so many times. */
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
        // Goes on with what nobody reads.
        sequences[i].push(start);
        continue;
      }
      restrict(row, sequences[i], options);
      const token = row.reduce((a, x, j) => x > row[a] ? j : a, 0);
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

/** Scores as log-probabilities, in place. */
function logSoftmax(row: Float32Array): void {
  let most = -Infinity;
  for (const x of row) most = Math.max(most, x);
  let sum = 0;
  for (const x of row) sum += Math.exp(x - most);
  const by = most + Math.log(sum);
  for (let i = 0; i < row.length; i++) row[i] -= by;
}

/** Takes away tokens that may not come next, in transformers' order of its rules. */
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
  const forced = length === 1 && options.forcedBos !== undefined
    ? options.forcedBos
    : length === maxLength - 1
    ? options.forcedEos
    : undefined;
  if (forced === undefined) return;
  row.fill(-Infinity);
  row[forced] = 0;
}
