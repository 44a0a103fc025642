/**
 * A product with a quantised matrix as several with some rows of it each, which a device turns into values in turn.
 *
 * @module
 */

import type { Mat } from "./buffer.ts";
import type { Operations } from "./operations.ts";

/** Rows of the quantised matrix, and the product without its right operand. */
export interface QuantPart {
  readonly row: number;
  readonly rows: number;
  readonly product: {
    readonly a: Mat;
    readonly c: Mat;
    readonly transB: boolean;
    readonly alpha?: number;
    readonly beta?: number;
    readonly add?: Mat;
  };
}

/** Products with at most `most` rows of `q` each, which make up the whole in this order; none if it has no rows. */
export function* quantParts(
  args: Parameters<Operations["gemmQuantized"]>[0],
  most: number,
): Generator<QuantPart> {
  const { a, q, c, transQ = false, alpha, beta, add } = args;
  for (let row = 0; row < q.rows; row += most) {
    const rows = Math.min(most, q.rows - row);
    const columns = (x: Mat): Mat => ({
      ...x,
      cols: rows,
      offset: x.offset + row,
    });
    const product = transQ
      ? { a, c: columns(c), beta, add: add && columns(add) }
      // Rows of q are inner indices: what they add comes on top of what is there.
      : {
        a: columns(a),
        c,
        ...(row === 0 ? { beta, add } : { beta: 1, add: c }),
      };
    yield { row, rows, product: { ...product, transB: transQ, alpha } };
  }
}
