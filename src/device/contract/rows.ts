/**
 * Sums, gathers and other work on the rows and columns of matrices: the operations of the contract, and the checks of their sizes.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import type { DeviceBuffer, Mat } from "../buffer.ts";
import {
  type CallArgs,
  type Checks,
  want,
  wantBytes,
  wantSame,
  wantWhole,
} from "./want.ts";

/** Sums, gathers and other work on the rows and columns of matrices. */
export interface RowOperations {
  /** `out[m, n] = alpha * x + beta * y`; without `y` (and `beta`), `alpha * x`. `out` may be `x` or `y`. Defaults of the factors: 1. */
  combine(
    args: { x: Mat; y?: Mat; out: Mat; alpha?: number; beta?: number },
  ): void;

  /** `out[m, n] = x[m, n] + row[n]`; `out` may be `x`. */
  addRow(args: { x: Mat; row: DeviceBuffer; out: Mat }): void;

  /**
   * `out[j] = Σ_i x[i, j] + beta * out[j]` with `out: f32 [n]`, or `Σ_i x[i, j]²` with `square`; `beta` is 0 or 1 (0), with
   * 0 `out` is only written.
   */
  columnSums(
    args: { x: Mat; out: DeviceBuffer; beta?: 0 | 1; square?: boolean },
  ): void;

  /**
   * `out[i, g] = Σ_j x[i, j]` over the columns of group `g`, `[g * group, (g + 1) * group)`: `x[m, n]`,
   * `out[m, ceil(n / group)]`; the last group may be short. `group` is a whole number of at least 1. (The pooled input of
   * QA-LoRA, Xu et al., 2309.14717, algorithm 1.)
   */
  poolColumns(args: { x: Mat; group: number; out: Mat }): void;

  /**
   * `out[i, j] = x[i, floor(j / group)] + add[i, j]`: `x[m, ceil(n / group)]`, `out[m, n]`, the backward of
   * {@linkcode poolColumns}; `add` may be `out`.
   */
  spreadColumns(args: { x: Mat; group: number; out: Mat; add?: Mat }): void;

  /** `out[i, :] = table[ids[i], :]` with `ids: u32 [m]`, each below `table.rows`. */
  gatherRows(args: { table: Mat; ids: DeviceBuffer; out: Mat }): void;

  /** `table[ids[i], :] += x[i, :]` in the order of `i`, `ids: u32 [m]`: the backward of {@linkcode gatherRows}. */
  scatterRows(args: { x: Mat; ids: DeviceBuffer; table: Mat }): void;

  /**
   * `out[m, n] = x * factor` where kept, else 0: element `(i, j)`, number `e = i * n + j`, is kept if
   * `hash(seed, e) >= threshold`, with `hash`, `threshold` and `factor = 1 / (1 - rate)` as in `../dropout.ts`, the same bits
   * on every device. The backward is the same call on the gradient. `seed` is a u32, `0 <= rate < 1`. `out` may be `x`.
   */
  dropout(args: { x: Mat; out: Mat; rate: number; seed: number }): void;
}

type Args<K extends keyof RowOperations> = CallArgs<RowOperations, K>;

/** Checks a linear combination. */
export function checkCombine({ x, y, out, beta }: Args<"combine">): void {
  wantSame("combine", x, { out });
  if (y) want("combine: y", y, x.rows, x.cols);
  else if (beta) {
    throw new KindError("Cannot run combine: beta needs y, got none");
  }
}

/** Checks the addition of a row. */
export function checkAddRow({ x, row, out }: Args<"addRow">): void {
  wantSame("addRow", x, { out });
  wantBytes("addRow: row", row, x.cols * 4);
}

/** Checks sums over columns. */
export function checkColumnSums({ x, out }: Args<"columnSums">): void {
  wantBytes("columnSums: out", out, x.cols * 4);
}

/** Checks sums over groups of columns. */
export function checkPoolColumns(
  { x, group, out }: Args<"poolColumns">,
): void {
  wantWhole("poolColumns: group", group, { low: 1 });
  want("poolColumns: out", out, x.rows, Math.ceil(x.cols / group));
}

/** Checks the backward of sums over groups of columns. */
export function checkSpreadColumns(
  { x, group, out, add }: Args<"spreadColumns">,
): void {
  wantWhole("spreadColumns: group", group, { low: 1 });
  want("spreadColumns: x", x, out.rows, Math.ceil(out.cols / group));
  if (add) want("spreadColumns: add", add, out.rows, out.cols);
}

/** Checks a look-up. */
export function checkGatherRows(
  { table, ids, out }: Args<"gatherRows">,
): void {
  want("gatherRows: out", out, out.rows, table.cols);
  wantBytes("gatherRows: ids", ids, out.rows * 4);
}

/** Checks the backward of a look-up. */
export function checkScatterRows(
  { x, ids, table }: Args<"scatterRows">,
): void {
  want("scatterRows: table", table, table.rows, x.cols);
  wantBytes("scatterRows: ids", ids, x.rows * 4);
}

/** Checks a dropout. */
export function checkDropout({ x, out, rate, seed }: Args<"dropout">): void {
  wantSame("dropout", x, { out });
  if (!(rate >= 0 && rate < 1)) {
    throw new ValueError(
      `Cannot run dropout: rate must be at least 0 and below 1, got ${rate}`,
    );
  }
  wantWhole("dropout: seed", seed, { high: 0xffff_ffff });
}

/** The check of each. */
export const rowsChecks: Checks<RowOperations> = {
  combine: checkCombine,
  addRow: checkAddRow,
  columnSums: checkColumnSums,
  poolColumns: checkPoolColumns,
  spreadColumns: checkSpreadColumns,
  gatherRows: checkGatherRows,
  scatterRows: checkScatterRows,
  dropout: checkDropout,
};
