/**
 * Products with the left side in 8 bits on the reference device: rounded as the kernels round, then summed in f64.
 *
 * @module
 */

import type { OperationArgs } from "../operations.ts";
import { groupWidth, ROW_BLOCK, SCALE_TOP, TOP, UNIT } from "../int8.ts";
import { f32, load } from "./memory.ts";

type Args = OperationArgs<"gemmInt8">;

const { fround } = Math;

/** The nearest integer, a tie to the even one. */
function nearest(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  return rest < 0.5 || rest === 0.5 && low % 2 === 0 ? low : low + 1;
}

function largest(values: Float64Array, from: number, to: number): number {
  let most = 0;
  for (let i = from; i < to; i++) most = Math.max(most, Math.abs(values[i]));
  return most;
}

/** `a` with each row rounded by groups of the columns of `q`. */
export function roundedRows({ a, q }: Args): Float64Array {
  const values = load(a);
  const group = groupWidth(q);
  for (let i = 0; i < a.rows; i++) {
    for (let from = 0; from < a.cols; from += group) {
      const [first, last] = [from, Math.min(from + group, a.cols)]
        .map((j) => i * a.cols + j);
      const most = largest(values, first, last);
      const factor = most > 0 ? fround(127 / most) : 0;
      const scale = fround(most / 127);
      for (let e = first; e < last; e++) {
        values[e] = scale * nearest(fround(values[e] * factor));
      }
    }
  }
  return values;
}

/**
 * `a * q` where the scales of `q` are multiplied into `a` before it is rounded, so that the codes stay whole:
 * `Σ_o rounded(a[i, o] * s[o, g]) * (code - middle) + a[i, o] * (b[o, g] + middle * s[o, g])`.
 */
export function roundedGradient(
  { a, q }: Args,
  codes: Float64Array,
): Float64Array {
  const { rows: m, cols: n } = a;
  const { cols: k } = q;
  const group = groupWidth(q);
  const groups = Math.ceil(k / group);
  const [x, s, b] = [load(a), f32(q.scales), f32(q.biases!)];
  const middle = 2 ** (q.spec.bits - 1);
  const out = new Float64Array(m * k);
  for (let i = 0; i < m; i++) {
    for (let from = 0; from < n; from += ROW_BLOCK) {
      const to = Math.min(n, from + ROW_BLOCK);
      const most = largest(x, i * n + from, i * n + to);
      const unit = most > 0 ? fround(TOP / most) : 0;
      for (let g = 0; g < groups; g++) {
        let mostScale = 0;
        for (let o = from; o < to; o++) {
          mostScale = Math.max(mostScale, Math.abs(s[o * groups + g]));
        }
        const factor = mostScale > 0 ? fround(SCALE_TOP / mostScale) : 0;
        const scale = fround(most * fround(mostScale * UNIT));
        for (let o = from; o < to; o++) {
          const at = o * groups + g;
          const product = nearest(fround(x[i * n + o] * unit)) *
            nearest(fround(s[at] * factor));
          const sixteen = Math.floor((product + 2 ** 14) / 2 ** 15);
          const rounded = scale * Math.floor((sixteen + 128) / 256);
          const plain = x[i * n + o] * (b[at] + middle * s[at]);
          const end = Math.min(k, (g + 1) * group);
          for (let j = g * group; j < end; j++) {
            out[i * k + j] += rounded * (codes[o * k + j] - middle) + plain;
          }
        }
      }
    }
  }
  return out;
}
