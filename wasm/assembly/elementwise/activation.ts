/** Gated activations. */

import { share, word } from "../lib/args";
import { exp4, expConstant } from "../lib/exp";
import { piecesOf } from "./rows";
import { element, storeWithin } from "../lib/vector";

/** Beyond this `exp(-gate)` would leave f32, and the results are 0. */
const MOST: f32 = 88.7;

/** `gate / (1 + exp(-gate)) * up` */
export function swigluRow(
  gate: usize,
  up: usize,
  out: usize,
  bytes: usize,
): void {
  const least = expConstant(0);
  const log2e = expConstant(1);
  const magic = expConstant(2);
  const ln2 = expConstant(3);
  const c5 = expConstant(4);
  const c4 = expConstant(5);
  const c3 = expConstant(6);
  const c2 = expConstant(7);
  const one = expConstant(8);
  const most = f32x4.splat(MOST);
  for (let at: usize = 0; at < bytes; at += 16) {
    const g = v128.load(gate + at);
    const power = f32x4.pmin(f32x4.neg(g), most);
    const e = exp4(power, least, log2e, magic, ln2, c5, c4, c3, c2, one);
    const v = f32x4.div(
      f32x4.mul(g, v128.load(up + at)),
      f32x4.add(one, e),
    );
    storeWithin(out, at, bytes, v128.andnot(v, f32x4.eq(power, most)));
  }
}

/** `dup = dy * gate * s`, `dgate = dy * up * s * (1 + gate * (1 - s))` with `s = 1 / (1 + exp(-gate))`. */
export function swigluGradient(
  dy: usize,
  gate: usize,
  up: usize,
  dgate: usize,
  dup: usize,
  bytes: usize,
): void {
  const least = expConstant(0);
  const log2e = expConstant(1);
  const magic = expConstant(2);
  const ln2 = expConstant(3);
  const c5 = expConstant(4);
  const c4 = expConstant(5);
  const c3 = expConstant(6);
  const c2 = expConstant(7);
  const one = expConstant(8);
  const most = f32x4.splat(MOST);
  for (let at: usize = 0; at < bytes; at += 16) {
    const g = v128.load(gate + at);
    const power = f32x4.pmin(f32x4.neg(g), most);
    const e = exp4(power, least, log2e, magic, ln2, c5, c4, c3, c2, one);
    const s = v128.andnot(
      f32x4.div(one, f32x4.add(one, e)),
      f32x4.eq(power, most),
    );
    const d = f32x4.mul(v128.load(dy + at), s);
    // 1 - s = e * s without cancellation.
    const slope = f32x4.relaxed_madd(g, f32x4.mul(e, s), one);
    const first = f32x4.mul(f32x4.mul(d, v128.load(up + at)), slope);
    storeWithin(dgate, at, bytes, first);
    storeWithin(dup, at, bytes, f32x4.mul(d, g));
  }
}

/** Job: words are units, cols, span (see `rows.ts`), then gate, up, out, each with its stride. */
export function swiglu(args: usize, part: u32, parts: u32): void {
  const units = word(args, 0);
  const cols = word(args, 1);
  const span = word(args, 2);
  const pieces = piecesOf(args);
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    swigluRow(
      element(args, 3, i, j),
      element(args, 5, i, j),
      element(args, 7, i, j),
      <usize> min(span, cols - j) << 2,
    );
  }
}

/** Job: words are units, cols, span, then dy, gate, up, dgate, dup, each with its stride. */
export function swigluBackward(args: usize, part: u32, parts: u32): void {
  const units = word(args, 0);
  const cols = word(args, 1);
  const span = word(args, 2);
  const pieces = piecesOf(args);
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    swigluGradient(
      element(args, 3, i, j),
      element(args, 5, i, j),
      element(args, 7, i, j),
      element(args, 9, i, j),
      element(args, 11, i, j),
      <usize> min(span, cols - j) << 2,
    );
  }
}
