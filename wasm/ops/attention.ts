/**
 * Attention on the WASM device. The kernels: `wasm/assembly/attention/*.ts`.
 *
 * How work and memory are cut up depends on the shape alone, so that results do not depend on the number of threads.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import { f32, MAX_PARTS, type Word } from "../runtime/loader.ts";
import type { DeviceBuffer, Mat } from "../../src/device/buffer.ts";
import type { AttentionShape } from "../../src/device/contract/attention.ts";
import type { WasmMemory } from "../buffers.ts";

/** Rows of a block, all query heads of a key head together: its strips and sums stay in the L2 cache. */
const BLOCK_ROWS = 160;

/** Keys of a tile, as `wasm/assembly/attention/attention_rows.ts` has it. */
const TILE_KEYS = 160;

/** Keys of a range where each sequence has one query. */
const RANGE_KEYS = 256;

/** Units of work that the backward is cut into at least, if it has so many blocks. */
const LEAST_UNITS = 16;

/** Products that one thread manages in about 30 µs. */
const GRAIN = 1 << 18;

/** How an attention is cut up. */
interface Plan {
  /** Queries of a block. */
  readonly block: number;
  /** Blocks of a sequence. */
  readonly blocks: number;
  /** Rows of a block. */
  readonly rows: number;
  /** Pairs of a sequence and a key head. */
  readonly pairs: number;
  /** Bytes of a head's features, in whole panels. */
  readonly line: number;
  /** Products of scores and sums of the forward. */
  readonly work: number;
}

function planOf(shape: AttentionShape): Plan {
  const { batch, time, keys, heads, kvHeads, headDim } = shape;
  const group = heads / kvHeads;
  const most = Math.max(1, Math.floor(BLOCK_ROWS / group));
  // Blocks of about equal size.
  const block = Math.ceil(time / Math.max(1, Math.ceil(time / most))) || 1;
  return {
    block,
    blocks: Math.ceil(time / block),
    rows: block * group,
    pairs: batch * kvHeads,
    line: Math.ceil(headDim / 8) * 32,
    work: 2 * batch * heads * time * keys * headDim,
  };
}

const matWords = (memory: WasmMemory, x: Mat): Word[] => [
  memory.origin(x),
  x.stride * 4,
];

/** The words that every job of attention begins with; see `wasm/assembly/attention/attention_rows.ts`. */
function shapeWords(
  memory: WasmMemory,
  { shape, q, k, v, out, logSumExp }: {
    shape: AttentionShape;
    q: Mat;
    k: Mat;
    v: Mat;
    out: Mat;
    logSumExp?: DeviceBuffer;
  },
  scratch: { block: number; at: number; bytes: number },
): Word[] {
  return [
    shape.batch,
    shape.time,
    shape.keys,
    shape.capacity,
    shape.heads,
    shape.kvHeads,
    shape.headDim,
    f32(shape.scale),
    shape.causal ? 1 : 0,
    shape.past,
    shape.window,
    shape.bounds ? memory.address(shape.bounds) : 0,
    scratch.block,
    scratch.at,
    scratch.bytes,
    ...[q, k, v, out].flatMap((x) => matWords(memory, x)),
    logSumExp ? memory.address(logSumExp) : 0,
  ];
}

/** Parts of a job of `units`: each its own, so that whoever is free takes the next, or one for little work. */
function partsOf(memory: WasmMemory, units: number, work: number): number {
  return memory.parts(work, GRAIN) === 1 ? 1 : Math.min(units, MAX_PARTS);
}

function attention(
  memory: WasmMemory,
  args: OperationArgs<"attention">,
): void {
  const plan = planOf(args.shape);
  if (plan.pairs === 0 || args.shape.time === 0) return;
  if (args.shape.time === 1) attentionOne(memory, args, plan);
  else attentionBlocks(memory, args, plan);
}

function attentionBlocks(
  memory: WasmMemory,
  args: OperationArgs<"attention">,
  { block, blocks, rows, pairs, line, work }: Plan,
): void {
  const strips = Math.ceil(rows / 5);
  const bytes = (2 * TILE_KEYS + 5) * line + 40 * TILE_KEYS +
    strips * (80 + 10 * line);
  const at = memory.scratch(bytes);
  memory.kernels.run(
    "attention",
    partsOf(memory, blocks * pairs, work),
    shapeWords(memory, args, { block, at, bytes }),
  );
}

function attentionOne(
  memory: WasmMemory,
  args: OperationArgs<"attention">,
  { pairs, line, work }: Plan,
): void {
  const { batch, heads, keys } = args.shape;
  const { kernels } = memory;
  const ranges = Math.max(1, Math.ceil(keys / RANGE_KEYS));
  const bytes = line + RANGE_KEYS * 4;
  const results = ranges * batch * heads * (line + 16);
  const at = kernels.scratch(results + kernels.threads * bytes);
  const words = [
    ...shapeWords(memory, args, { block: 1, at: at + results, bytes }),
    RANGE_KEYS,
    ranges,
    at,
  ];
  kernels.run("attentionOne", partsOf(memory, pairs * ranges, work), words);
  kernels.run("attentionMerge", 1, words);
}

function attentionBackward(
  memory: WasmMemory,
  args: OperationArgs<"attentionBackward">,
): void {
  const { keys, capacity, batch } = args.shape;
  const { block, blocks, rows, pairs, line, work } = planOf(args.shape);
  if (pairs === 0) return;
  const { kernels } = memory;
  const ranges = Math.max(1, Math.min(blocks, Math.ceil(LEAST_UNITS / pairs)));
  const height = Math.ceil(rows / 20) * 20;
  const bytes = TILE_KEYS * (3 * line + 20) +
    height * (36 + 8 * TILE_KEYS + 7 * line);
  const sums = ranges * pairs * 2 * (keys + 5) * line;
  const at = kernels.scratch(sums + kernels.threads * bytes);
  const { dy, dq, dk, dv } = args;
  const words = [
    ...shapeWords(memory, args, { block, at: at + sums, bytes }),
    ...[dy, dq, dk, dv].flatMap((x) => matWords(memory, x)),
    ranges,
    at,
  ];
  const parts = partsOf(memory, pairs * ranges, 2.5 * work);
  kernels.run("attentionBackward", parts, words);
  const values = batch * capacity * dk.cols * 2 * ranges;
  kernels.run("attentionSums", memory.parts(values, 32768), words);
}

/** These operations, in a memory of the device. */
export const attentionOperations = {
  attention,
  attentionBackward,
} satisfies MemoryOperations<WasmMemory>;
