/**
 * Shape checks of the network half of the contract, the same for every device.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import { want, wantBytes } from "./check.ts";
import type { Mat } from "../buffer.ts";
import type { AttentionShape, NetworkOperations } from "./network.ts";

type Args<K extends keyof NetworkOperations> = Parameters<
  NetworkOperations[K]
>[0];

/** Checks that each of `others` has the shape of `x`. */
export function wantSame(
  op: string,
  x: Mat,
  others: Record<string, Mat>,
): void {
  for (const [name, other] of Object.entries(others)) {
    want(`${op}: ${name}`, other, x.rows, x.cols);
  }
}

/** Checks that a value is a whole number from `low` to `high`. */
export function wantWhole(
  what: string,
  x: number,
  { low = 0, high = Number.MAX_SAFE_INTEGER } = {},
): void {
  if (!Number.isInteger(x) || x < low || x > high) {
    const range = high === Number.MAX_SAFE_INTEGER
      ? `>= ${low}`
      : `from ${low} to ${high}`;
    throw new ValueError(
      `Cannot run ${what} must be a whole number ${range}, got ${x}`,
    );
  }
}

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

/** Checks a norm. */
export function checkRmsNorm(
  { x, weight, epsilon, out, inverse }: Args<"rmsNorm">,
): void {
  wantSame("rmsNorm", x, { out });
  wantBytes("rmsNorm: weight", weight, x.cols * 4);
  wantBytes("rmsNorm: inverse", inverse, x.rows * 4);
  if (!(epsilon >= 0)) {
    throw new ValueError(
      `Cannot run rmsNorm: epsilon must be >= 0, got ${epsilon}`,
    );
  }
}

/** Checks the backward of a norm. */
export function checkRmsNormBackward(
  { dy, x, weight, inverse, dx, add, dweight }: Args<"rmsNormBackward">,
): void {
  const op = "rmsNormBackward";
  wantSame(op, x, { dy, dx, ...(add && { add }) });
  wantBytes(`${op}: weight`, weight, x.cols * 4);
  wantBytes(`${op}: inverse`, inverse, x.rows * 4);
  if (dweight) wantBytes(`${op}: dweight`, dweight, x.cols * 4);
}

/** Checks a rotation. */
export function checkRope(
  { x, out, positions, cos, sin, headDim }: Args<"rope">,
): void {
  wantSame("rope", x, { out });
  wantBytes("rope: positions", positions, x.rows * 4);
  if (!(headDim > 0) || headDim % 2 !== 0 || x.cols % headDim !== 0) {
    throw new KindError(
      `Cannot run rope: headDim must be even and divide the ${x.cols} columns, got ${headDim}`,
    );
  }
  want("rope: cos", cos, cos.rows, headDim / 2);
  want("rope: sin", sin, cos.rows, headDim / 2);
}

/** Checks a gated unit. */
export function checkSwiglu({ gate, up, out }: Args<"swiglu">): void {
  wantSame("swiglu", gate, { up, out });
}

/** Checks the backward of a gated unit. */
export function checkSwigluBackward(
  { dy, gate, up, dgate, dup }: Args<"swigluBackward">,
): void {
  wantSame("swigluBackward", gate, { dy, up, dgate, dup });
}

function wantAttention(
  op: string,
  shape: AttentionShape,
  mats: { queries: Record<string, Mat>; keys: Record<string, Mat> },
): void {
  const { batch, time, keys, capacity, heads, kvHeads, headDim } = shape;
  for (const [name, size] of Object.entries({ batch, time, keys, capacity })) {
    wantWhole(`${op}: ${name}`, size);
  }
  for (const [name, size] of Object.entries({ heads, kvHeads, headDim })) {
    wantWhole(`${op}: ${name}`, size, { low: 1 });
  }
  wantWhole(`${op}: past`, shape.past);
  wantWhole(`${op}: window`, shape.window);
  if (heads % kvHeads !== 0) {
    throw new KindError(
      `Cannot run ${op}: kvHeads must divide the ${heads} heads, got ${kvHeads}`,
    );
  }
  if (keys > capacity) {
    throw new KindError(
      `Cannot run ${op}: keys must be at most the capacity ${capacity}, got ${keys}`,
    );
  }
  for (const [name, x] of Object.entries(mats.queries)) {
    want(`${op}: ${name}`, x, batch * time, heads * headDim);
  }
  for (const [name, x] of Object.entries(mats.keys)) {
    want(`${op}: ${name}`, x, batch * capacity, kvHeads * headDim);
  }
  if (shape.bounds) wantBytes(`${op}: bounds`, shape.bounds, batch * 8);
}

/** Checks an attention. */
export function checkAttention(
  { q, k, v, out, shape, logSumExp }: Args<"attention">,
): void {
  wantAttention("attention", shape, { queries: { q, out }, keys: { k, v } });
  if (logSumExp) {
    const { batch, heads, time } = shape;
    wantBytes("attention: logSumExp", logSumExp, batch * heads * time * 4);
  }
}

/** Checks the backward of an attention. */
export function checkAttentionBackward(
  { dy, q, k, v, out, logSumExp, shape, dq, dk, dv }: Args<
    "attentionBackward"
  >,
): void {
  const op = "attentionBackward";
  wantAttention(op, shape, {
    queries: { dy, q, out, dq },
    keys: { k, v, dk, dv },
  });
  const { batch, heads, time } = shape;
  wantBytes(`${op}: logSumExp`, logSumExp, batch * heads * time * 4);
  if (shape.past !== 0) {
    throw new ValueError(`Cannot run ${op}: past must be 0, got ${shape.past}`);
  }
}

/** Checks a loss. */
export function checkCrossEntropy(
  { logits, labels, losses }: Args<"crossEntropy">,
): void {
  wantBytes("crossEntropy: labels", labels, logits.rows * 4);
  wantBytes("crossEntropy: losses", losses, logits.rows * 4);
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

/** Checks the factor of a clipping. */
export function checkClipScale(
  { squares, count, most, out }: Args<"clipScale">,
): void {
  wantWhole("clipScale: count", count);
  wantBytes("clipScale: squares", squares, count * 4);
  wantBytes("clipScale: out", out, 8);
  if (!(most > 0)) {
    throw new ValueError(
      `Cannot run clipScale: most must be above 0, got ${most}`,
    );
  }
}

/** Checks a step of the optimiser. */
export function checkAdamw(
  { param, grad, mean, square, scale }: Args<"adamw">,
): void {
  wantSame("adamw", param, { grad, mean, square });
  if (scale) wantBytes("adamw: scale", scale, 4);
}
