/**
 * Work on single values, rows and columns of weights on the WASM device. The kernels:
 * `wasm/assembly/elementwise/elementwise.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import type { WasmMemory } from "../buffers.ts";
import { GRAIN, place } from "../words.ts";

function rowSquares(
  memory: WasmMemory,
  args: OperationArgs<"rowSquares">,
): void {
  const { x, out } = args;
  memory.kernels.run("rowSquares", memory.parts(x.rows * x.cols, GRAIN), {
    x: place(memory, x),
    rows: x.rows,
    cols: x.cols,
    out: memory.address(out),
  });
}

function roundHalf(
  memory: WasmMemory,
  args: OperationArgs<"roundHalf">,
): void {
  const { x, out } = args;
  memory.kernels.run("roundHalf", memory.parts(x.rows * x.cols, GRAIN), {
    x: place(memory, x),
    rows: x.rows,
    cols: x.cols,
    out: place(memory, out),
  });
}

function scaleColumns(
  memory: WasmMemory,
  args: OperationArgs<"scaleColumns">,
): void {
  const { x, by, out } = args;
  memory.kernels.run("scaleColumns", memory.parts(x.rows * x.cols, GRAIN), {
    x: place(memory, x),
    rows: x.rows,
    cols: x.cols,
    by: memory.address(by),
    out: place(memory, out),
  });
}

/** These operations, in a memory of the device. */
export const columnOperations = {
  rowSquares,
  scaleColumns,
  roundHalf,
} satisfies MemoryOperations<WasmMemory>;
