/**
 * Attention on the WebGPU device. The kernels: `*.wgsl.ts` beside it, `text.wgsl.ts`.
 *
 * Where a binding does not reach all of a matrix, sequences are done in several runs; where it does not reach one
 * sequence, parts of its queries with parts of its keys, whose results are then put together.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import { grid, type Span } from "../../context.ts";
import { record, type Values } from "../../kernel.ts";
import {
  attentionRanges,
  attentionTiles,
  MERGE_THREADS,
  mergeKernel,
  RANGE,
} from "./forward.wgsl.ts";
import {
  attentionKeyGradients,
  attentionMeans,
  attentionQueryGradients,
  MEANS_THREADS,
} from "./backward.wgsl.ts";
import { type PARAMS, slicesOf, TILE } from "./text.wgsl.ts";
import type { DeviceBuffer, Mat } from "../../../src/device/buffer.ts";
import type { AttentionShape } from "../../../src/device/contract/attention.ts";
import { bindMat, part, rowsBound, writeApart } from "../elementwise/map.ts";
import type { BoundMat, BoundVector, WebGpuMemory } from "../../buffers.ts";

/** Up to so many queries a sequence are done one by one, with the keys shared out. */
const FEW = 4;

/** The most sequences of a run: with {@linkcode FEW} queries each they are a dimension of workgroups. */
const MOST_SEQUENCES = 8192;

/** `[from, to)`. */
interface Range {
  readonly from: number;
  readonly to: number;
}

/** Sequences that are done together, or one of which only parts are bound at a time. */
interface Sequences {
  readonly first: number;
  readonly count: number;
  /** At least one, if an empty one. */
  readonly queries: readonly Range[];
  readonly keys: readonly Range[];
}

/** Cuts `[0, length)` into ranges of at most `step`, whole tiles if it can. */
function rangesOf(length: number, step: number): Range[] {
  const size = step >= length || step < TILE ? step : step - step % TILE;
  const out: Range[] = [];
  for (let from = 0; from < length; from += size) {
    out.push({ from, to: Math.min(length, from + size) });
  }
  return out.length > 0 ? out : [{ from: 0, to: 0 }];
}

/** Cuts a batch so that each matrix's part is in reach of a binding. `length` is the number of keys that count. */
function* sequencesOf(
  memory: WebGpuMemory,
  { batch, time, capacity }: AttentionShape,
  { queries, keys, length }: {
    queries: readonly Mat[];
    keys: readonly Mat[];
    length: number;
  },
): Generator<Sequences> {
  const reach = (mats: readonly Mat[]) =>
    Math.min(...mats.map((x) => rowsBound(memory, x)));
  const most = { queries: reach(queries), keys: reach(keys) };
  const together = Math.min(
    Math.floor(most.queries / time),
    Math.floor(most.keys / capacity),
    MOST_SEQUENCES,
  );
  const step = Math.max(1, together);
  for (let first = 0; first < batch; first += step) {
    yield {
      first,
      count: Math.min(step, batch - first),
      queries: rangesOf(time, together > 0 ? Infinity : most.queries),
      keys: rangesOf(length, together > 0 ? Infinity : most.keys),
    };
  }
}

/** Part of the work that one run of a kernel takes. */
interface Piece {
  readonly first: number;
  readonly count: number;
  readonly queries: Range;
  readonly keys: Range;
}

/** Rows of a matrix of queries that a piece has, or of one of keys. */
function rowsOf(
  x: Mat,
  { first, count }: Piece,
  { per, range }: { per: number; range: Range },
): Mat {
  const length = range.to - range.from;
  return part(x, {
    row: first * per + range.from,
    rows: length === 0 ? 0 : (count - 1) * per + length,
  });
}

/** The matrices of a piece, bound. */
function bindPiece<Q extends string, K extends string>(
  memory: WebGpuMemory,
  piece: Piece,
  { shape, queries, keys }: {
    shape: AttentionShape;
    queries: Readonly<Record<Q, Mat>>;
    keys: Readonly<Record<K, Mat>>;
  },
): Record<Q | K, BoundMat> {
  const bind = (
    mats: Readonly<Record<string, Mat>>,
    place: { per: number; range: Range },
  ) =>
    Object.entries(mats).map(([name, x]) => [
      name,
      bindMat(memory, rowsOf(x, piece, place)),
    ]);
  return Object.fromEntries([
    ...bind(queries, { per: shape.time, range: piece.queries }),
    ...bind(keys, { per: shape.capacity, range: piece.keys }),
  ]);
}

/** The operands that a kernel reads, as vectors of four if all of them can be. */
function readable<N extends string>(
  memory: WebGpuMemory,
  { headDim }: AttentionShape,
  mats: Readonly<Record<N, BoundMat>>,
): { vectors: boolean; bind: Record<N, BoundMat> } {
  const all: BoundMat[] = Object.values(mats);
  const widen = ({ span, ...place }: BoundMat) => ({
    ...place,
    span: { ...span, bytes: Math.ceil(span.bytes / 16) * 16 },
  });
  const vectors = headDim % 4 === 0 &&
    all.every(({ first, stride }) => first % 4 === 0 && stride % 4 === 0) &&
    all.map(widen).every(({ span: { buffer, at, bytes } }) =>
      at + bytes <= buffer.size && bytes <= memory.context.mostBound
    );
  const wide = Object.entries<BoundMat>(mats).map(([name, x]) => [
    name,
    vectors ? widen(x) : x,
  ]);
  return { vectors, bind: Object.fromEntries(wide) };
}

/** The parameters of all kernels. */
function paramsOf(
  shape: AttentionShape,
  { queries, keys }: Pick<Piece, "queries" | "keys">,
  { add = false } = {},
): Values<typeof PARAMS> {
  const { past, time, window } = shape;
  return {
    ...{ time, past, keys: shape.keys, capacity: shape.capacity },
    ...{ heads: shape.heads, kvHeads: shape.kvHeads, headDim: shape.headDim },
    causal: shape.causal ? 1 : 0,
    // One that reaches back to the first key hides nothing.
    window: window >= past + time ? 0 : window,
    ...{ queryFrom: queries.from, queryTo: queries.to },
    ...{ keyFrom: keys.from, keyTo: keys.to },
    bounded: shape.bounds ? 1 : 0,
    add: add ? 1 : 0,
    slices: slicesOf(shape.headDim).slices,
    scale: shape.scale,
  };
}

/** The bounds of a piece's sequences; without any, whatever there is. */
function boundsOf(
  memory: WebGpuMemory,
  { bounds }: AttentionShape,
  { piece: { first, count }, other }: { piece: Piece; other: BoundVector },
): BoundVector {
  return bounds
    ? memory.vector(bounds, { at: first * 2, count: count * 2 })
    : other;
}

/** The log-sum-exps of a piece's sequences. */
function logsOf(
  memory: WebGpuMemory,
  { shape, logSumExp }: { shape: AttentionShape; logSumExp: DeviceBuffer },
  { first, count }: Pick<Piece, "first" | "count">,
): BoundVector {
  const each = shape.heads * shape.time;
  return memory.vector(logSumExp, { at: first * each, count: count * each });
}

const shapeText = ({ batch, time, keys, heads, headDim }: AttentionShape) =>
  `${batch}x${time}x${keys}, ${heads} heads of ${headDim}`;

function attention(
  memory: WebGpuMemory,
  args: OperationArgs<"attention">,
): void {
  const { q, k, v, out, shape } = args;
  if (shape.time === 0) return;
  const runs: (() => void)[] = [];
  const cuts = sequencesOf(memory, shape, {
    queries: [q, out],
    keys: [k, v],
    length: shape.keys,
  });
  for (const { first, count, queries, keys } of cuts) {
    for (const range of queries) {
      const piece = { first, count, queries: range, keys };
      for (const small of storable(memory, shape, piece)) {
        runs.push(...forward(memory, args, small));
      }
    }
  }
  memory.enqueue(() => runs.forEach((run) => run()));
}

/** Sequences, some of their queries, and all of the keys. */
type QueryPiece = Omit<Piece, "keys"> & { readonly keys: readonly Range[] };

/** Results that a piece has of each query: one of each range of keys. */
function resultsOf(
  { time }: AttentionShape,
  keys: readonly Range[],
): number {
  if (time > FEW) return keys.length;
  return keys.reduce(
    (sum, { from, to }) => sum + Math.max(1, Math.ceil((to - from) / RANGE)),
    0,
  );
}

/** Halves a piece until a binding reaches all of its results, where there are several of each query. */
function* storable(
  memory: WebGpuMemory,
  shape: AttentionShape,
  piece: QueryPiece,
): Generator<QueryPiece> {
  const { first, count, queries: { from, to } } = piece;
  const results = resultsOf(shape, piece.keys);
  const bytes = 4 * results * count * (to - from) * shape.heads * shape.headDim;
  const length = count > 1 ? count : to - from;
  if (results === 1 || bytes <= memory.context.mostBound || length === 1) {
    yield piece;
    return;
  }
  const half = length >> 1;
  if (count > 1) {
    yield* storable(memory, shape, { ...piece, count: half });
    yield* storable(memory, shape, {
      ...piece,
      first: first + half,
      count: count - half,
    });
  } else {
    for (
      const queries of [{ from, to: from + half }, { from: from + half, to }]
    ) {
      yield* storable(memory, shape, { ...piece, queries });
    }
  }
}

/** Binds what a piece needs; gives what records it. */
function forward(
  memory: WebGpuMemory,
  { q, k, v, out, shape, logSumExp }: OperationArgs<"attention">,
  piece: QueryPiece,
): (() => void)[] {
  const { context } = memory;
  const { time, heads } = shape;
  const { first, count, queries } = piece;
  const few = time <= FEW;
  const results = resultsOf(shape, piece.keys);
  const whole = { first, count, queries, keys: { from: 0, to: shape.keys } };
  const own = bindMat(
    memory,
    rowsOf(out, whole, { per: time, range: queries }),
  );
  const logs = logSumExp && logsOf(memory, { shape, logSumExp }, whole);
  // Results of several ranges, one after the other, and their log-sum-exps.
  const rows = (count - 1) * time + queries.to - queries.from;
  const step = rows * out.cols;
  const logStep = count * heads * time;
  const merged = results > 1;

  let result = 0;
  const launches = piece.keys.map((keys) => {
    const part = { ...whole, keys };
    const { vectors, bind } = readable(
      memory,
      shape,
      bindPiece(memory, part, { shape, queries: { q }, keys: { k, v } }),
    );
    const bounds = boundsOf(memory, shape, { piece: part, other: bind.q });
    const traits = { headDim: shape.headDim, vectors };
    const at = result;
    const ranges = few
      ? Math.max(1, Math.ceil((keys.to - keys.from) / RANGE))
      : 1;
    result += ranges;
    const { slices } = slicesOf(shape.headDim);
    const length = queries.to - queries.from;
    const kernel = few ? attentionRanges(traits) : attentionTiles(traits);
    const launch = (writes: { out: BoundMat; logs: BoundVector }) =>
      record(context, kernel, {
        params: { ...paramsOf(shape, part), step, logStep },
        bind: { ...bind, bounds, ...writes },
        groups: few
          ? [ranges, heads, count * length]
          : [Math.ceil(length / TILE) * slices, heads, count],
        shape: shapeText(shape),
      });
    return { at, launch };
  });
  const room = (bytes: number): Span => {
    const buffer = context.take(bytes);
    return { buffer, at: 0, bytes };
  };
  if (!merged) {
    return [() => {
      // The kernels write it, whether anybody wants it or not.
      const unused = logs ? undefined : room(logStep * 4);
      launches[0].launch({
        out: own,
        logs: logs ?? { span: unused!, first: 0 },
      });
      if (unused) context.release(unused.buffer);
    }];
  }
  return [() => {
    const parts = room(results * step * 4);
    const partLogs = room(results * logStep * 4);
    for (const { at, launch } of launches) {
      launch({
        out: { span: parts, first: at * step, stride: out.cols },
        logs: { span: partLogs, first: at * logStep },
      });
    }
    record(context, mergeKernel(logs !== undefined), {
      params: {
        ...{ rows, cols: out.cols, headDim: shape.headDim },
        ...{ queries: queries.to - queries.from, queryFrom: queries.from },
        ...{ time, heads, count: results, step, logStep },
      },
      bind: { parts, partLogs, out: own, logs },
      groups: grid(Math.ceil(rows * out.cols / MERGE_THREADS)),
      shape: shapeText(shape),
    });
    context.release(parts.buffer);
    context.release(partLogs.buffer);
  }];
}

function attentionBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"attentionBackward">,
): void {
  const { dy, q, k, v, out, shape, dq, dk } = args;
  writeApart(memory, { x: args.dv, other: dk }, (dv) => {
    const runs: (() => void)[] = [];
    const cuts = sequencesOf(memory, shape, {
      queries: [dy, q, out, dq],
      keys: [k, v, dk, dv],
      length: shape.capacity,
    });
    for (const cut of cuts) {
      runs.push(backward(memory, { ...args, dv }, cut));
    }
    memory.enqueue(() => runs.forEach((run) => run()));
  });
}

/** Binds what some sequences need; gives what records it. */
function backward(
  memory: WebGpuMemory,
  args: OperationArgs<"attentionBackward">,
  sequences: Sequences,
): () => void {
  const { context } = memory;
  const { shape } = args;
  const { heads, kvHeads, time, headDim } = shape;
  const { first, count } = sequences;
  const { slices } = slicesOf(headDim);
  const bytes = Math.max(8, count * heads * time * 8);
  const launches: ((means: Span) => void)[] = [];
  const pieces = sequences.queries.map((queries) =>
    sequences.keys.map((keys) => ({ first, count, queries, keys }))
  );
  for (const [piece] of pieces) {
    launches.push(meansOf(memory, args, piece));
  }
  for (const [i, row] of pieces.entries()) {
    for (const [j, piece] of row.entries()) {
      const { dy, q, k, v, dq, dk, dv } = args;
      const bound = bindPiece(memory, piece, {
        shape,
        queries: { q, dy, dq },
        keys: { k, v, dk, dv },
      });
      const { vectors, bind } = readable(memory, shape, {
        ...{ dy: bound.dy, q: bound.q, k: bound.k, v: bound.v },
      });
      const bounds = boundsOf(memory, shape, { piece, other: bind.dy });
      const traits = { headDim, vectors };
      const tiles = ({ from, to }: Range) =>
        Math.ceil((to - from) / TILE) * slices;
      launches.push((means) => {
        record(context, attentionQueryGradients(traits), {
          params: paramsOf(shape, piece, { add: j > 0 }),
          bind: { ...bind, means, bounds, dq: bound.dq },
          groups: [tiles(piece.queries), heads, count],
          shape: shapeText(shape),
        });
        record(context, attentionKeyGradients(traits), {
          params: paramsOf(shape, piece, { add: i > 0 }),
          bind: { ...bind, means, bounds, dk: bound.dk, dv: bound.dv },
          groups: [tiles(piece.keys), kvHeads, count],
          shape: shapeText(shape),
        });
      });
    }
  }
  return () => {
    const means: Span = { buffer: context.take(bytes), at: 0, bytes };
    launches.forEach((launch) => launch(means));
    context.release(means.buffer);
  };
}

/** Binds what the sums over `dy * out` of a piece need; gives what records them. */
function meansOf(
  memory: WebGpuMemory,
  { dy, out, shape, logSumExp }: OperationArgs<"attentionBackward">,
  piece: Piece,
): (means: Span) => void {
  const { heads, headDim } = shape;
  const { count, queries } = piece;
  const { vectors, bind } = readable(
    memory,
    shape,
    bindPiece(memory, piece, { shape, queries: { dy, out }, keys: {} }),
  );
  const logs = logsOf(memory, { shape, logSumExp }, piece);
  const total = count * heads * (queries.to - queries.from);
  return (means) =>
    record(memory.context, attentionMeans({ headDim, vectors }), {
      params: { ...paramsOf(shape, piece), count },
      bind: { ...bind, logs, means },
      groups: grid(Math.ceil(total / MEANS_THREADS)),
      shape: shapeText(shape),
    });
}

/** These operations, in a memory of the device. */
export const attentionOperations = {
  attention,
  attentionBackward,
} satisfies MemoryOperations<WebGpuMemory>;
