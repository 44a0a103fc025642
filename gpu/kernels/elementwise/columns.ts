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
import {
  ELEMENTWISE_THREADS,
  ROW_SQUARES,
  scaleColumnsKernel,
} from "./columns.wgsl.ts";
import { part, rowTiles, runMap, same } from "./map.ts";
import { ROUND_HALF } from "./rows.wgsl.ts";

function rowSquares(
  memory: WebGpuMemory,
  args: OperationArgs<"rowSquares">,
): void {
  const { out } = args;
  const runs = rowTiles(memory, [args.x]).map(({ row, rows }) => {
    const x = memory.bind(part(args.x, { row, rows }));
    const { span, first } = memory.part(out, row * 4, rows * 4);
    return () =>
      memory.context.run(ROW_SQUARES, {
        params: [rows, args.x.cols, x.first, x.stride, first / 4],
        reads: [x.span],
        writes: [span],
        groups: grid(rows),
        shape: `${rows}x${args.x.cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function roundHalf(
  memory: WebGpuMemory,
  args: OperationArgs<"roundHalf">,
): void {
  runMap(memory, ROUND_HALF, { mats: { x: args.x, out: args.out } });
}

function scaleColumns(
  memory: WebGpuMemory,
  args: OperationArgs<"scaleColumns">,
): void {
  const { cols } = args.x;
  if (cols === 0) return;
  const inPlace = same(args.x, args.out);
  const by = memory.part(args.by, 0, cols * 4);
  const widest = args.x.stride > args.out.stride ? args.x : args.out;
  const runs = rowTiles(memory, [widest]).map(({ row, rows }) => {
    const x = memory.bind(part(args.x, { row, rows }));
    const out = memory.bind(part(args.out, { row, rows }));
    return () =>
      memory.context.run(scaleColumnsKernel(inPlace), {
        params: [
          ...[rows, cols, x.first, x.stride, out.first, out.stride],
          by.first / 4,
        ],
        reads: inPlace ? [by.span] : [by.span, x.span],
        writes: [out.span],
        groups: grid(Math.ceil(rows * cols / ELEMENTWISE_THREADS)),
        shape: `${rows}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

/** These operations, in a memory of the device. */
export const columnOperations = {
  rowSquares,
  scaleColumns,
  roundHalf,
} satisfies MemoryOperations<WebGpuMemory>;
