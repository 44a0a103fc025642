/**
 * Products of matrices, dense and quantised: the operations of the contract, and the checks of their sizes.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import type { Mat } from "../buffer.ts";
import type { QuantMat } from "../quant_mat.ts";
import { type CallArgs, type Checks, shape, want, wantQuant } from "./want.ts";

/**
 * Several products of one shape, at equal distances: the `i`-th takes each matrix `i` times so many elements after
 * where its view begins. The results of two products may not overlap (they may interleave, as the heads of an
 * attention layer do).
 */
export interface GemmBatch {
  /** Products. */
  readonly count: number;
  /** From one `a` to the next; 0 for one that all products share. */
  readonly a: number;
  /** From one `b` to the next; 0 for one that all products share. */
  readonly b: number;
  /** From one `c` to the next. */
  readonly c: number;
  /** From one addend to the next, 0 for a shared one; as `c` without it. */
  readonly add?: number;
}

/** Products of matrices, dense and quantised. */
export interface GemmOperations {
  /**
   * `c[m, n] = alpha * op(a)[m, k] * op(b)[k, n] + beta * add[m, n]`; `add` may be `c`; without `add`, `c` is only
   * written. With `batch`, so many products of the same shape.
   */
  gemm(args: {
    a: Mat;
    b: Mat;
    c: Mat;
    transA?: boolean;
    transB?: boolean;
    alpha?: number;
    beta?: number;
    add?: Mat;
    batch?: GemmBatch;
  }): void;

  /**
   * `c[m, n] = alpha * a[m, k] * dequantise(q)[k, n] + beta * add[m, n]`, or with `transQ` the same of the transpose of
   * `q[n, k]`: a linear layer's product is `x * qᵀ`, that of its gradient `dy * q`. `add` may be `c`; without `add`, `c`
   * is only written. Codes are turned into values as the product needs them, a part of the matrix at a time.
   */
  gemmQuantized(args: {
    a: Mat;
    q: QuantMat;
    c: Mat;
    transQ?: boolean;
    alpha?: number;
    beta?: number;
    add?: Mat;
  }): void;

  /**
   * As {@linkcode gemmQuantized}, with the left side rounded to 8 bits where the device has integer arithmetic for it and
   * `q` is affine in groups along its rows: with `transQ`, each row of `a` by its groups, `a ≈ scale * byte` with
   * `scale = max |a| / 127`; without, each row of `a` times the scales of a group of columns, in blocks of 128 inner indices.
   * Codes are taken as they are, so that the rounding of `a` is the only error: at most half a step of each of its
   * values (a step of the gradient is `max |a| * max scale / 127`). Other formats and shapes are multiplied in f32.
   */
  gemmInt8(args: Parameters<GemmOperations["gemmQuantized"]>[0]): void;
}

type Args<K extends keyof GemmOperations> = CallArgs<GemmOperations, K>;

/** The products of a batch one by one, for a device that takes them so; `args` itself where there is no batch. */
export function* gemmProducts(
  args: Args<"gemm">,
): Generator<Args<"gemm">> {
  const { batch, ...first } = args;
  if (!batch) yield first;
  const move = (x: Mat, by: number) => ({ ...x, offset: x.offset + by });
  for (let i = 0; i < (batch?.count ?? 0); i++) {
    const { a, b, c, add = c } = batch!;
    yield {
      ...first,
      a: move(first.a, i * a),
      b: move(first.b, i * b),
      c: move(first.c, i * c),
      add: first.add && move(first.add, i * add),
    };
  }
}

/** Checks that `count` matrices `step` elements apart lie in their buffer. */
function wantRun(
  what: string,
  x: Mat,
  { count, step }: { count: number; step: number },
): void {
  if (!Number.isSafeInteger(step) || step < 0) {
    throw new ValueError(
      `Cannot run gemm: batch: the step of ${what} must be a whole number >= 0, got ${step}`,
    );
  }
  if (count === 0 || x.rows === 0 || x.cols === 0) return;
  const end = x.offset + (count - 1) * step + (x.rows - 1) * x.stride + x.cols;
  if (end * 4 > x.buffer.bytes) {
    throw new ValueError(
      `Cannot run gemm: batch: the last of ${count} ${what} ends at byte ${
        end * 4
      }, the buffer holds ${x.buffer.bytes}`,
    );
  }
}

function wantBatch({ a, b, c, add, batch }: Args<"gemm">): void {
  if (!batch) return;
  const { count } = batch;
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new ValueError(
      `Cannot run gemm: batch: count must be a whole number >= 0, got ${count}`,
    );
  }
  if (count > 1 && batch.c === 0) {
    throw new ValueError(
      "Cannot run gemm: batch: several products would be written to one place",
    );
  }
  wantRun("a", a, { count, step: batch.a });
  wantRun("b", b, { count, step: batch.b });
  wantRun("c", c, { count, step: batch.c });
  if (add) wantRun("add", add, { count, step: batch.add ?? batch.c });
}

/** Sizes of a product. */
export interface GemmSizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** Sizes of a product. */
export function gemmSizes({ a, b, transA, transB }: Args<"gemm">): GemmSizes {
  return {
    m: transA ? a.cols : a.rows,
    n: transB ? b.rows : b.cols,
    k: transA ? a.rows : a.cols,
  };
}

/** Sizes of a product with a quantised matrix. */
export function gemmQuantizedSizes(
  { a, q, transQ }: Args<"gemmQuantized">,
): GemmSizes {
  const [k, n] = transQ ? [q.cols, q.rows] : [q.rows, q.cols];
  return { m: a.rows, n, k };
}

/** Checks a product. */
export function checkGemm(args: Args<"gemm">): void {
  const { a, b, c, transA, transB, add, beta } = args;
  const { m, n, k } = gemmSizes(args);
  if ((transB ? b.cols : b.rows) !== k) {
    throw new KindError(
      `Cannot run gemm: inner sizes differ: a is ${shape(a)}${
        transA ? " (transposed)" : ""
      }, b is ${shape(b)}${transB ? " (transposed)" : ""}`,
    );
  }
  want("gemm: c", c, m, n);
  if (add) want("gemm: add", add, m, n);
  else if (beta) {
    throw new KindError("Cannot run gemm: beta needs an addend, got none");
  }
  wantBatch(args);
}

/** Checks a product with a quantised matrix. */
export function checkGemmQuantized(
  args: Args<"gemmQuantized">,
  op = "gemmQuantized",
): void {
  const { a, q, c, transQ, add, beta } = args;
  const { n, k } = gemmQuantizedSizes(args);
  if (a.cols !== k) {
    throw new KindError(
      `Cannot run ${op}: inner sizes differ: a is ${
        shape(a)
      }, q is ${q.rows} x ${q.cols}${transQ ? " (transposed)" : ""}`,
    );
  }
  want(`${op}: c`, c, a.rows, n);
  if (add) want(`${op}: add`, add, a.rows, n);
  else if (beta) {
    throw new KindError(
      `Cannot run ${op}: beta needs an addend, got none`,
    );
  }
  wantQuant(op, q);
}

/** The check of each. */
export const gemmChecks: Checks<GemmOperations> = {
  gemm: checkGemm,
  gemmQuantized: (args) => checkGemmQuantized(args),
  gemmInt8: (args) => checkGemmQuantized(args, "gemmInt8"),
};
