/**
 * Sums, gathers and other work on rows and columns, on the reference device.
 *
 * @module
 */

import type { RowOperations } from "../contract/rows.ts";
import { dropoutFactor, dropoutHash, dropoutThreshold } from "../dropout.ts";
import type { OperationArgs } from "../operations.ts";
import { f32, load, store, u32 } from "./memory.ts";

function combine(args: OperationArgs<"combine">): void {
  const { alpha = 1, beta = 1 } = args;
  const y = args.y && load(args.y);
  store(
    args.out,
    load(args.x).map((x, i) => alpha * x + (y ? beta * y[i] : 0)),
  );
}

function addRow(args: OperationArgs<"addRow">): void {
  const row = f32(args.row);
  store(args.out, load(args.x).map((x, i) => x + row[i % args.x.cols]));
}

function columnSums(args: OperationArgs<"columnSums">): void {
  const n = args.x.cols;
  const out = f32(args.out);
  const sums = args.beta
    ? Float64Array.from(out.subarray(0, n))
    : new Float64Array(n);
  load(args.x).forEach((x, i) => sums[i % n] += args.square ? x * x : x);
  out.set(sums);
}

function poolColumns(args: OperationArgs<"poolColumns">): void {
  const { x, group, out } = args;
  const sums = new Float64Array(out.rows * out.cols);
  load(x).forEach((value, e) => {
    const [i, j] = [Math.floor(e / x.cols), e % x.cols];
    sums[i * out.cols + Math.floor(j / group)] += value;
  });
  store(out, sums);
}

function spreadColumns(args: OperationArgs<"spreadColumns">): void {
  const { x, group, out, add } = args;
  const values = load(x);
  const sums = add ? load(add) : new Float64Array(out.rows * out.cols);
  store(
    out,
    sums.map((value, e) => {
      const [i, j] = [Math.floor(e / out.cols), e % out.cols];
      return value + values[i * x.cols + Math.floor(j / group)];
    }),
  );
}

function gatherRows(args: OperationArgs<"gatherRows">): void {
  const { rows: m, cols: n } = args.out;
  const table = load(args.table);
  const ids = u32(args.ids);
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    out.set(table.subarray(ids[i] * n, (ids[i] + 1) * n), i * n);
  }
  store(args.out, out);
}

function scatterRows(args: OperationArgs<"scatterRows">): void {
  const n = args.x.cols;
  const table = load(args.table);
  const ids = u32(args.ids);
  load(args.x).forEach((x, i) => {
    table[ids[Math.floor(i / n)] * n + i % n] += x;
  });
  store(args.table, table);
}

function dropout(args: OperationArgs<"dropout">): void {
  const { rate, seed } = args;
  const threshold = dropoutThreshold(rate);
  const factor = dropoutFactor(rate);
  store(
    args.out,
    load(args.x).map((x, e) =>
      dropoutHash(seed, e) >= threshold ? x * factor : 0
    ),
  );
}

/** These operations on the reference device. */
export const rowOperations: RowOperations = {
  combine,
  addRow,
  columnSums,
  poolColumns,
  spreadColumns,
  gatherRows,
  scatterRows,
  dropout,
};
