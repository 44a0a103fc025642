/**
 * Work on single values, rows and columns of weights on the reference device.
 *
 * @module
 */

import type { QuantOperations } from "../contract/quant.ts";
import type { OperationArgs } from "../operations.ts";
import { f32, load, store } from "./memory.ts";

function rowSquares(args: OperationArgs<"rowSquares">): void {
  const { rows, cols } = args.x;
  const x = load(args.x);
  const out = f32(args.out);
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0; j < cols; j++) sum += x[i * cols + j] ** 2;
    out[i] = sum;
  }
}

function scaleColumns(args: OperationArgs<"scaleColumns">): void {
  const by = f32(args.by);
  store(args.out, load(args.x).map((x, i) => x * by[i % args.x.cols]));
}

function roundHalf(args: OperationArgs<"roundHalf">): void {
  store(args.out, load(args.x).map((x) => Math.f16round(x)));
}

/** These operations on the reference device. */
export const columnOperations: Pick<
  QuantOperations,
  "rowSquares" | "scaleColumns" | "roundHalf"
> = { rowSquares, scaleColumns, roundHalf };
