/**
 * Attention on the WASM device. The kernels: `wasm/assembly/attention/*.ts`.
 *
 * The cut of work and memory depends on the shape alone, so that results do not depend on the number of threads.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import type { JobArgs } from "../generated/jobs.ts";
import { MAX_PARTS } from "../runtime/loader.ts";
import type { DeviceBuffer, Mat } from "../../src/device/buffer.ts";
import type { AttentionShape } from "../../src/device/contract/attention.ts";
import type { WasmMemory } from "../buffers.ts";
import { place } from "../words.ts";

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

/** Cut of an attention. */
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

/** Arguments of every job of attention. */
function shapeOf(
  memory: WasmMemory,
  { shape, q, k, v, out, logSumExp }: {
    shape: AttentionShape;
    q: Mat;
    k: Mat;
    v: Mat;
    out: Mat;
    logSumExp?: DeviceBuffer;
  },
  work: Pick<JobArgs["attention"], "block" | "scratch" | "scratchBytes">,
): JobArgs["attention"] {
  const { batch, time, keys, capacity, heads, kvHeads } = shape;
  const { headDim, scale, past, window } = shape;
  return {
    ...{ batch, time, keys, capacity, heads, kvHeads },
    ...{ headDim, scale, past, window },
    causal: shape.causal ? 1 : 0,
    bounds: shape.bounds ? memory.address(shape.bounds) : 0,
    ...work,
    q: place(memory, q),
    k: place(memory, k),
    v: place(memory, v),
    out: place(memory, out),
    logSumExp: logSumExp ? memory.address(logSumExp) : 0,
  };
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
  const scratchBytes = (2 * TILE_KEYS + 5) * line + 40 * TILE_KEYS +
    strips * (80 + 10 * line);
  const scratch = memory.scratch(scratchBytes);
  memory.kernels.run(
    "attention",
    partsOf(memory, blocks * pairs, work),
    shapeOf(memory, args, { block, scratch, scratchBytes }),
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
  const job = {
    ...shapeOf(memory, args, {
      block: 1,
      scratch: at + results,
      scratchBytes: bytes,
    }),
    ...{ span: RANGE_KEYS, ranges, results: at },
  };
  kernels.run("attentionOne", partsOf(memory, pairs * ranges, work), job);
  kernels.run("attentionMerge", 1, job);
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
  const job = {
    ...shapeOf(memory, args, {
      block,
      scratch: at + sums,
      scratchBytes: bytes,
    }),
    dy: place(memory, args.dy),
    dq: place(memory, args.dq),
    dk: place(memory, args.dk),
    dv: place(memory, args.dv),
    ...{ ranges, sums: at },
  };
  const parts = partsOf(memory, pairs * ranges, 2.5 * work);
  kernels.run("attentionBackward", parts, job);
  const values = batch * capacity * args.dk.cols * 2 * ranges;
  kernels.run("attentionSums", memory.parts(values, 32768), job);
}

/** These operations, in a memory of the device. */
export const attentionOperations = {
  attention,
  attentionBackward,
} satisfies MemoryOperations<WasmMemory>;
