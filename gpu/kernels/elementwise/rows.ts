/**
 * Sums, gathers and other work on rows and columns on the WebGPU device.
 *
 * Row numbers, positions and labels are in buffers that nobody here reads: one out of range is no error, and WebGPU
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
import { run } from "../../kernel.ts";
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

function combine(memory: WebGpuMemory, args: OperationArgs<"combine">): void {
  const { x, y, out, alpha = 1, beta = 1 } = args;
  if (y) {
    runMap(memory, COMBINE, {
      mats: { x, y, out },
      params: () => ({ alpha, beta }),
    });
  } else {
    runMap(memory, SCALE, {
      mats: { x, out },
      params: () => ({ alpha }),
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
  for (const tile of all) {
    const own = { at: tile.row, count: tile.rows };
    run(memory, kernel, {
      params: {
        ...{ rows: tile.rows, cols: tile.cols },
        add: grow || tile.row > 0 ? 1 : 0,
      },
      bind: {
        x: bindMat(memory, part(x, tile)),
        other: other && bindMat(memory, part(other, tile)),
        inverse: inverse && memory.vector(inverse, own),
        mean: mean && memory.vector(mean, own),
        y: memory.vector(out, { at: tile.col, count: tile.cols }),
      },
      groups: grid(Math.ceil(tile.cols / width)),
      shape: `${rows}x${cols}`,
    });
  }
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
  for (const tile of rowTiles(memory, [args.x, args.out])) {
    const { rows } = tile;
    run(memory, POOL_COLUMNS, {
      params: { rows, cols, pooled, width: Math.min(args.group, cols) },
      bind: {
        x: memory.bind(part(args.x, tile)),
        y: memory.bind(part(args.out, tile)),
      },
      groups: grid(Math.ceil(rows * pooled / GROUPS_THREADS)),
      shape: `${rows}x${cols} by ${args.group}`,
    });
  }
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
  for (const tile of rowTiles(memory, mats)) {
    const { rows } = tile;
    run(memory, kernel, {
      params: { rows, cols, width: Math.min(args.group, cols) },
      bind: {
        x: memory.bind(part(args.x, tile)),
        add: other && memory.bind(part(other, tile)),
        y: memory.bind(part(args.out, tile)),
      },
      groups: grid(Math.ceil(rows * cols / GROUPS_THREADS)),
      shape: `${rows}x${cols} by ${args.group}`,
    });
  }
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
  for (const tile of tiles(memory, [x])) {
    const { rows, cols } = tile;
    const columns = part(table, { col: tile.col, cols });
    const lines = memory.bind(part(x, tile));
    const names = memory.vector(ids, { at: tile.row, count: rows });
    for (const piece of rowTiles(memory, [columns])) {
      const some = memory.bind(part(columns, piece));
      const params = { rows, cols, begin: piece.row, count: piece.rows };
      const shape = `${rows}x${cols} of ${table.rows}`;
      if (add) {
        run(memory, SCATTER_ROWS, {
          params,
          bind: { ids: names, x: lines, table: some },
          groups: grid(Math.ceil(cols / ROWS_THREADS)),
          shape,
        });
      } else {
        run(memory, GATHER_ROWS, {
          params,
          bind: { ids: names, table: some, y: lines },
          groups: grid(Math.ceil(rows * cols / ROWS_THREADS)),
          shape,
        });
      }
    }
  }
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
    params: ({ row, col }) => ({
      begin: (row * x.cols + col) % 2 ** 32,
      width: x.cols,
      seed,
      threshold: dropoutThreshold(rate),
      factor: dropoutFactor(rate),
    }),
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
