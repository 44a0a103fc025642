/**
 * Orthonormal columns on the WebGPU device. The kernels: `gpu/kernels/linalg/qr.wgsl.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import { grid, type Span } from "../../context.ts";
import { record } from "../../kernel.ts";
import {
  APPLY,
  APPLY_GROUP,
  factorKernel,
  GRAM,
  GRAM_SCHMIDT,
  GRAM_SLAB,
  GRAM_TILE,
  MULTIPLY_TRIANGLES,
  SCHMIDT_BLOCK,
  SCHMIDT_THREADS,
} from "./qr.wgsl.ts";
import { onCpu } from "../../on_cpu.ts";
import type { WebGpuMemory } from "../../buffers.ts";

/**
 * The largest `‖R⁻¹‖²` of columns of length one whose Gram matrix is factorised: f32 gets it wrong by some 1e-6, so that
 * what one pass leaves is orthonormal to about 0.1, and the second to rounding.
 */
const LIMIT = 1e5;

/** Parts of a Gram matrix, unless they have more rows than they may: one workgroup sums them. */
const PARTS = 16;

/** The most rows of a part. */
const MOST_CHUNK = 8192;

/**
 * Turns of its loops that a thread may take. After 65536 in all loops together Mesa's software adapter leaves them,
 * without a word; the count is rough, hence the margin.
 */
const MOST_TURNS = 25000;

/** With more columns one workgroup cannot factorise the Gram matrix in so many turns. */
const MOST_COLUMNS = 272;

/** Columns that are too many, or a matrix too large for one binding, go to the CPU. */
function qr(
  memory: WebGpuMemory,
  args: OperationArgs<"qr">,
): void {
  const { context } = memory;
  const { rows, cols } = args.y;
  if (cols === 0) return;
  const squareBytes = cols * cols * 4;
  const columnBytes = rows * cols * 4;
  const chunk = Math.min(
    Math.ceil(Math.max(64, rows / PARTS) / GRAM_SLAB) * GRAM_SLAB,
    MOST_CHUNK,
  );
  const parts = Math.ceil(rows / chunk);
  const largest = Math.max(
    memory.extent(args.y) + 256,
    memory.extent(args.r) + 256,
    columnBytes,
    parts * squareBytes,
  );
  if (
    cols > MOST_COLUMNS || schmidtTurns(rows, cols) > MOST_TURNS ||
    largest > context.mostBound
  ) {
    onCpu(memory, {
      args,
      reads: ["y"],
      writes: ["y", "r"],
      run: (ops, { y, r }) => ops.qr({ y, r }),
    });
    return;
  }
  const y = memory.bind(args.y);
  const r = memory.bind(args.r);
  const shape = `${rows}x${cols}`;
  const tiles = Math.ceil(cols / GRAM_TILE);
  const shared = squareBytes + 1024 <=
    context.limits.maxComputeWorkgroupStorageSize;
  const factor = factorKernel(shared, cols);

  memory.enqueue(() => {
    const taken: GPUBuffer[] = [];
    const take = (bytes: number): Span => {
      const buffer = context.take(bytes);
      taken.push(buffer);
      return { buffer, at: 0, bytes };
    };
    const state = take(8);
    const grams = take(parts * squareBytes);
    const a = shared ? undefined : take(squareBytes);
    const factors = [take(squareBytes), take(squareBytes)];
    factors.forEach((one, turn) => {
      record(context, GRAM, {
        params: { rows, cols, chunk, tiles },
        bind: { y, parts: grams },
        groups: [tiles * (tiles + 1) / 2, parts],
        shape,
      });
      record(context, factor, {
        params: { cols, parts, turn, limit: LIMIT },
        bind: { grams, r: one, state, a },
        groups: [1],
        shape,
      });
      record(context, APPLY, {
        params: { rows, cols, turn },
        bind: { state, r: one, y },
        groups: grid(Math.ceil(rows / APPLY_GROUP)),
        shape,
      });
    });
    const q = take(columnBytes);
    for (let begin = 0, end = 0; begin < cols; begin = end) {
      let turns = 0;
      while (end < cols) {
        turns += schmidtTurns(rows, end);
        if (turns > MOST_TURNS && end > begin) break;
        end++;
      }
      record(context, GRAM_SCHMIDT, {
        params: { rows, cols, begin, end },
        bind: { state, y, r: factors[1], q },
        groups: [1],
        shape,
      });
    }
    record(context, MULTIPLY_TRIANGLES, {
      params: { cols },
      bind: { second: factors[1], first: factors[0], out: r },
      groups: [Math.ceil(cols / 8), Math.ceil(cols / 8)],
      shape,
    });
    for (const buffer of taken) context.release(buffer);
  });
}

/** Turns of the loops of Gram-Schmidt for the column `j`. */
function schmidtTurns(rows: number, j: number): number {
  const lines = Math.ceil(rows / SCHMIDT_THREADS);
  return 50 + 4 * lines + 2 * Math.ceil(j / SCHMIDT_BLOCK) * (12 + 2 * lines);
}

/** These operations, in a memory of the device. */
export const qrOperations = {
  qr,
} satisfies MemoryOperations<WebGpuMemory>;
