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
import { f32 } from "../runtime/loader.ts";
import {
  GRAIN,
  isEmpty,
  matWords,
  pieceWords,
  SLOW_GRAIN,
  wantIds,
} from "./words.ts";

function combine(memory: WasmMemory, args: OperationArgs<"combine">): void {
  const { x, y, out, alpha = 1, beta = 1 } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("combine", memory.parts(x.rows * x.cols, GRAIN), [
    ...pieceWords([x, y, out]),
    ...matWords(memory, x),
    ...(y ? matWords(memory, y) : [0, 0]),
    ...matWords(memory, out),
    f32(alpha),
    f32(beta),
  ]);
}

function addRow(memory: WasmMemory, args: OperationArgs<"addRow">): void {
  const { x, row, out } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("addRow", memory.parts(x.rows * x.cols, GRAIN), [
    x.rows,
    x.cols,
    ...matWords(memory, x),
    memory.address(row),
    ...matWords(memory, out),
  ]);
}

function columnSums(
  memory: WasmMemory,
  args: OperationArgs<"columnSums">,
): void {
  const { x, out, beta = 0, square = false } = args;
  memory.kernels.run("columnSums", memory.parts(x.rows * x.cols, GRAIN), [
    x.rows,
    x.cols,
    ...matWords(memory, x),
    memory.address(out),
    beta,
    square ? 1 : 0,
  ]);
}

function poolColumns(
  memory: WasmMemory,
  args: OperationArgs<"poolColumns">,
): void {
  const { x, group, out } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("poolColumns", memory.parts(x.rows * x.cols, GRAIN), [
    x.rows,
    x.cols,
    Math.min(group, x.cols),
    ...matWords(memory, x),
    ...matWords(memory, out),
  ]);
}

function spreadColumns(
  memory: WasmMemory,
  args: OperationArgs<"spreadColumns">,
): void {
  const { x, group, out, add } = args;
  if (isEmpty(out)) return;
  const parts = memory.parts(out.rows * out.cols, GRAIN);
  memory.kernels.run("spreadColumns", parts, [
    out.rows,
    out.cols,
    Math.min(group, out.cols),
    ...matWords(memory, x),
    ...matWords(memory, out),
    ...(add ? matWords(memory, add) : [0, 0]),
  ]);
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
  memory.kernels.run("gatherRows", memory.parts(out.rows * out.cols, GRAIN), [
    out.rows,
    out.cols,
    ...matWords(memory, table),
    memory.address(ids),
    ...matWords(memory, out),
  ]);
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
  memory.kernels.run("scatterRows", memory.parts(x.rows * x.cols, GRAIN), [
    x.rows,
    x.cols,
    ...matWords(memory, x),
    memory.address(ids),
    ...matWords(memory, table),
  ]);
}

function dropout(memory: WasmMemory, args: OperationArgs<"dropout">): void {
  const { x, out, rate, seed } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("dropout", memory.parts(x.rows * x.cols, SLOW_GRAIN), [
    ...pieceWords([x, out]),
    ...matWords(memory, x),
    ...matWords(memory, out),
    seed,
    dropoutThreshold(rate),
    f32(dropoutFactor(rate)),
  ]);
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
