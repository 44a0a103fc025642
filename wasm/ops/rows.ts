/**
 * Sums, gathers and other work on rows and columns on the WASM device. The kernels: `wasm/assembly/elementwise/rows.ts`, `wasm/assembly/elementwise/groups.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import { dropoutFactor, dropoutThreshold } from "../../src/device/dropout.ts";
import type { WasmMemory } from "../buffers.ts";
import {
  GRAIN,
  isEmpty,
  pieces,
  place,
  SLOW_GRAIN,
  wantIds,
} from "../words.ts";

function combine(memory: WasmMemory, args: OperationArgs<"combine">): void {
  const { x, y, out, alpha = 1, beta = 1 } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("combine", memory.parts(x.rows * x.cols, GRAIN), {
    ...pieces([x, y, out]),
    x: place(memory, x),
    y: place(memory, y),
    out: place(memory, out),
    alpha,
    beta,
  });
}

function addRow(memory: WasmMemory, args: OperationArgs<"addRow">): void {
  const { x, row, out } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("addRow", memory.parts(x.rows * x.cols, GRAIN), {
    rows: x.rows,
    cols: x.cols,
    x: place(memory, x),
    row: memory.address(row),
    out: place(memory, out),
  });
}

function columnSums(
  memory: WasmMemory,
  args: OperationArgs<"columnSums">,
): void {
  const { x, out, beta = 0, square = false } = args;
  memory.kernels.run("columnSums", memory.parts(x.rows * x.cols, GRAIN), {
    rows: x.rows,
    cols: x.cols,
    x: place(memory, x),
    out: memory.address(out),
    beta,
    squared: square ? 1 : 0,
  });
}

function poolColumns(
  memory: WasmMemory,
  args: OperationArgs<"poolColumns">,
): void {
  const { x, group, out } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("poolColumns", memory.parts(x.rows * x.cols, GRAIN), {
    rows: x.rows,
    cols: x.cols,
    group: Math.min(group, x.cols),
    x: place(memory, x),
    out: place(memory, out),
  });
}

function spreadColumns(
  memory: WasmMemory,
  args: OperationArgs<"spreadColumns">,
): void {
  const { x, group, out, add } = args;
  if (isEmpty(out)) return;
  const parts = memory.parts(out.rows * out.cols, GRAIN);
  memory.kernels.run("spreadColumns", parts, {
    rows: out.rows,
    cols: out.cols,
    group: Math.min(group, out.cols),
    x: place(memory, x),
    out: place(memory, out),
    add: place(memory, add),
  });
}

function gatherRows(
  memory: WasmMemory,
  args: OperationArgs<"gatherRows">,
): void {
  const { table, ids, out } = args;
  wantIds(memory, "gatherRows: ids", {
    at: ids,
    count: out.rows,
    limit: table.rows,
  });
  memory.kernels.run("gatherRows", memory.parts(out.rows * out.cols, GRAIN), {
    rows: out.rows,
    cols: out.cols,
    table: place(memory, table),
    ids: memory.address(ids),
    out: place(memory, out),
  });
}

function scatterRows(
  memory: WasmMemory,
  args: OperationArgs<"scatterRows">,
): void {
  const { x, ids, table } = args;
  wantIds(memory, "scatterRows: ids", {
    at: ids,
    count: x.rows,
    limit: table.rows,
  });
  memory.kernels.run("scatterRows", memory.parts(x.rows * x.cols, GRAIN), {
    rows: x.rows,
    cols: x.cols,
    x: place(memory, x),
    ids: memory.address(ids),
    table: place(memory, table),
  });
}

function dropout(memory: WasmMemory, args: OperationArgs<"dropout">): void {
  const { x, out, rate, seed } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("dropout", memory.parts(x.rows * x.cols, SLOW_GRAIN), {
    ...pieces([x, out]),
    x: place(memory, x),
    out: place(memory, out),
    seed,
    least: dropoutThreshold(rate),
    factor: dropoutFactor(rate),
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
} satisfies MemoryOperations<WasmMemory>;
