/**
 * Work on single values, rows and columns of weights on the WebGPU device.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import type { WebGpuMemory } from "../../buffers.ts";
import { grid } from "../../context.ts";
import { run } from "../../kernel.ts";
import {
  ELEMENTWISE_THREADS,
  ROW_SQUARES,
  scaleColumnsKernel,
} from "./columns.wgsl.ts";
import { NONE, part, rowTiles, runMap, same } from "./map.ts";
import { ROUND_HALF } from "./rows.wgsl.ts";

function rowSquares(
  memory: WebGpuMemory,
  args: OperationArgs<"rowSquares">,
): void {
  const { cols } = args.x;
  for (const { row: at, rows } of rowTiles(memory, [args.x])) {
    run(memory, ROW_SQUARES, {
      params: { rows, cols },
      bind: {
        x: memory.bind(part(args.x, { row: at, rows })),
        y: memory.vector(args.out, { at, count: rows }),
      },
      groups: grid(rows),
      shape: `${rows}x${cols}`,
    });
  }
}

function roundHalf(
  memory: WebGpuMemory,
  args: OperationArgs<"roundHalf">,
): void {
  runMap(memory, ROUND_HALF, {
    mats: { x: args.x, out: args.out },
    params: NONE,
  });
}

function scaleColumns(
  memory: WebGpuMemory,
  args: OperationArgs<"scaleColumns">,
): void {
  const { cols } = args.x;
  if (cols === 0) return;
  const inPlace = same(args.x, args.out);
  const by = memory.vector(args.by, { count: cols });
  const widest = args.x.stride > args.out.stride ? args.x : args.out;
  for (const tile of rowTiles(memory, [widest])) {
    const { rows } = tile;
    run(memory, scaleColumnsKernel(inPlace), {
      params: { rows, cols },
      bind: {
        by,
        x: memory.bind(part(args.x, tile)),
        y: memory.bind(part(args.out, tile)),
      },
      groups: grid(Math.ceil(rows * cols / ELEMENTWISE_THREADS)),
      shape: `${rows}x${cols}`,
    });
  }
}

/** These operations, in a memory of the device. */
export const columnOperations = {
  rowSquares,
  scaleColumns,
  roundHalf,
} satisfies MemoryOperations<WebGpuMemory>;
