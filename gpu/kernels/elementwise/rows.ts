/**
 * Sums, gathers and other work on rows and columns on the WebGPU device.
 *
 * Row numbers, positions and labels are in buffers that nobody here reads: one out of range is not told, and WebGPU
 * itself sees to it that it reaches nothing outside the buffer.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import type { DeviceBuffer, Mat } from "../../../src/device/buffer.ts";
import {
  dropoutFactor,
  dropoutThreshold,
} from "../../../src/device/dropout.ts";
import type { WebGpuMemory } from "../../buffers.ts";
import { grid } from "../../context.ts";
import {
  GROUPS_THREADS,
  POOL_COLUMNS,
  spreadColumnsKernel,
} from "./groups.wgsl.ts";
import { bindMat, part, rowTiles, runMap, same, tiles } from "./map.ts";
import {
  columnSumsKernel,
  type ColumnTerm,
  COMBINE,
  DROPOUT,
  GATHER_ROWS,
  ROWS_THREADS,
  SCALE,
  SCATTER_ROWS,
  sumWidth,
} from "./rows.wgsl.ts";

/** Elements `[at, at + count)` of a vector as a binding, and where in it they begin, in elements. */
export function bindVector(
  memory: WebGpuMemory,
  x: DeviceBuffer,
  { at, count }: { at: number; count: number },
) {
  const { span, first } = memory.part(x, at * 4, count * 4);
  return { span, first: first / 4 };
}

function combine(memory: WebGpuMemory, args: OperationArgs<"combine">): void {
  const { x, y, out, alpha = 1, beta = 1 } = args;
  if (y) {
    runMap(memory, COMBINE, {
      mats: { x, y, out },
      words: () => [{ f32: alpha }, { f32: beta }],
    });
  } else {
    runMap(memory, SCALE, {
      mats: { x, out },
      words: () => [{ f32: alpha }],
    });
  }
}

function addRow(memory: WebGpuMemory, args: OperationArgs<"addRow">): void {
  const { x, row, out } = args;
  // A matrix in which each row begins where the last did.
  const y = { ...x, buffer: row, offset: 0, stride: 0 };
  combine(memory, { x, y, out });
}

/** Adds down the columns; the first part of the rows overwrites `out`, unless it grows. */
export function sumColumns(
  memory: WebGpuMemory,
  { term, x, other, inverse, mean, out, grow }: {
    term: ColumnTerm;
    x: Mat;
    /** The matrix, and the factors and means of its rows, of a norm's weight. */
    other?: Mat;
    inverse?: DeviceBuffer;
    mean?: DeviceBuffer;
    out: DeviceBuffer;
    grow: boolean;
  },
): void {
  const { rows, cols } = x;
  if (cols === 0) return;
  const width = sumWidth(cols);
  const kernel = columnSumsKernel(term, width);
  const all = x.rows > 0
    ? tiles(memory, other ? [x, other] : [x])
    : [{ row: 0, rows: 0, col: 0, cols }];
  const runs = all.map((tile) => {
    const on = bindMat(memory, part(x, tile));
    const at = bindVector(memory, out, { at: tile.col, count: tile.cols });
    const by = other && bindMat(memory, part(other, tile));
    const factors = inverse &&
      bindVector(memory, inverse, { at: tile.row, count: tile.rows });
    const means = mean &&
      bindVector(memory, mean, { at: tile.row, count: tile.rows });
    const vectors = [factors, means].filter((v) => v !== undefined);
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, tile.cols, on.first, on.stride, at.first],
          grow || tile.row > 0 ? 1 : 0,
          ...(by ? [by.first, by.stride] : []),
          ...vectors.map(({ first }) => first),
        ],
        reads: [on, ...(by ? [by] : []), ...vectors].map(({ span }) => span),
        writes: [at.span],
        groups: grid(Math.ceil(tile.cols / width)),
        shape: `${rows}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function columnSums(
  memory: WebGpuMemory,
  args: OperationArgs<"columnSums">,
): void {
  const { x, out, beta, square } = args;
  const term = square ? "squares" : "values";
  sumColumns(memory, { term, x, out, grow: beta === 1 });
}

function poolColumns(
  memory: WebGpuMemory,
  args: OperationArgs<"poolColumns">,
): void {
  const { cols } = args.x;
  const pooled = args.out.cols;
  if (pooled === 0) return;
  const runs = rowTiles(memory, [args.x, args.out]).map((tile) => {
    const x = memory.bind(part(args.x, tile));
    const out = memory.bind(part(args.out, tile));
    return () =>
      memory.context.run(POOL_COLUMNS, {
        params: [
          ...[tile.rows, cols, pooled, Math.min(args.group, cols)],
          ...[x.first, x.stride, out.first, out.stride],
        ],
        reads: [x.span],
        writes: [out.span],
        groups: grid(Math.ceil(tile.rows * pooled / GROUPS_THREADS)),
        shape: `${tile.rows}x${cols} by ${args.group}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function spreadColumns(
  memory: WebGpuMemory,
  args: OperationArgs<"spreadColumns">,
): void {
  const { cols } = args.out;
  if (cols === 0) return;
  const inOut = args.add !== undefined && same(args.add, args.out);
  const other = inOut ? undefined : args.add;
  const kernel = spreadColumnsKernel(inOut ? "out" : other ? "other" : "none");
  const mats = [args.x, args.out, ...(other ? [other] : [])];
  const runs = rowTiles(memory, mats).map((tile) => {
    const [x, out, add] = mats.map((m) => memory.bind(part(m, tile)));
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, cols, Math.min(args.group, cols)],
          ...[x.first, x.stride, out.first, out.stride],
          ...[add?.first ?? 0, add?.stride ?? 0],
        ],
        reads: [x.span, ...(add ? [add.span] : [])],
        writes: [out.span],
        groups: grid(Math.ceil(tile.rows * cols / GROUPS_THREADS)),
        shape: `${tile.rows}x${cols} by ${args.group}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

/** Takes rows of `x` to or from those of a table that `ids` names, part by part of both. */
function lookUp(
  memory: WebGpuMemory,
  { x, ids, table, add }: {
    x: Mat;
    ids: DeviceBuffer;
    table: Mat;
    add: boolean;
  },
): void {
  const runs = tiles(memory, [x]).flatMap((tile) => {
    const columns = part(table, { col: tile.col, cols: tile.cols });
    const rows = memory.bind(part(x, tile));
    const names = bindVector(memory, ids, { at: tile.row, count: tile.rows });
    return rowTiles(memory, [columns]).map((piece) => {
      const from = memory.bind(part(columns, piece));
      const work = {
        params: [
          ...[tile.rows, tile.cols, piece.row, piece.rows, names.first],
          ...[from.first, from.stride, rows.first, rows.stride],
        ],
        shape: `${tile.rows}x${tile.cols} of ${table.rows}`,
      };
      return () =>
        add
          ? memory.context.run(SCATTER_ROWS, {
            ...work,
            reads: [names.span, rows.span],
            writes: [from.span],
            groups: grid(Math.ceil(tile.cols / ROWS_THREADS)),
          })
          : memory.context.run(GATHER_ROWS, {
            ...work,
            reads: [names.span, from.span],
            writes: [rows.span],
            groups: grid(Math.ceil(tile.rows * tile.cols / ROWS_THREADS)),
          });
    });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function gatherRows(
  memory: WebGpuMemory,
  args: OperationArgs<"gatherRows">,
): void {
  const { table, ids, out } = args;
  if (out.cols > 0) lookUp(memory, { x: out, ids, table, add: false });
}

function scatterRows(
  memory: WebGpuMemory,
  args: OperationArgs<"scatterRows">,
): void {
  if (args.x.cols > 0) lookUp(memory, { ...args, add: true });
}

function dropout(memory: WebGpuMemory, args: OperationArgs<"dropout">): void {
  const { x, out, rate, seed } = args;
  runMap(memory, DROPOUT, {
    mats: { x, out },
    words: ({ row, col }) => [
      (row * x.cols + col) % 2 ** 32,
      x.cols,
      seed,
      dropoutThreshold(rate),
      { f32: dropoutFactor(rate) },
    ],
  });
}

/** These operations, in a memory of the device. */
export const rowOperations = {
  combine,
  addRow,
  columnSums,
  poolColumns,
  spreadColumns,
  gatherRows,
  scatterRows,
  dropout,
} satisfies MemoryOperations<WebGpuMemory>;
