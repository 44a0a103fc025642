/** Gated activations. */

import { share } from "../lib/args";
import { exp4, expConstant } from "../lib/exp";
import { piecesOf } from "./rows";
import { storeWithin, valueAt } from "../lib/vector";

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

/** Words of {@linkcode swiglu}. */
// @ts-ignore: decorator
@unmanaged
class Swiglu {
  units: u32;
  cols: u32;
  span: u32;
  gate: usize;
  gateStride: usize;
  up: usize;
  upStride: usize;
  out: usize;
  outStride: usize;
}

export function swiglu(args: Swiglu, part: u32, parts: u32): void {
  const units = args.units;
  const cols = args.cols;
  const span = args.span;
  const pieces = piecesOf(args.cols, args.span);
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    swigluRow(
      valueAt(args.gate, args.gateStride, i, j),
      valueAt(args.up, args.upStride, i, j),
      valueAt(args.out, args.outStride, i, j),
      <usize> min(span, cols - j) << 2,
    );
  }
}

/** Words of {@linkcode swigluBackward}. */
// @ts-ignore: decorator
@unmanaged
class SwigluBackward {
  units: u32;
  cols: u32;
  span: u32;
  dy: usize;
  dyStride: usize;
  gate: usize;
  gateStride: usize;
  up: usize;
  upStride: usize;
  dgate: usize;
  dgateStride: usize;
  dup: usize;
  dupStride: usize;
}

export function swigluBackward(args: SwigluBackward, part: u32, parts: u32): void {
  const units = args.units;
  const cols = args.cols;
  const span = args.span;
  const pieces = piecesOf(args.cols, args.span);
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    swigluGradient(
      valueAt(args.dy, args.dyStride, i, j),
      valueAt(args.gate, args.gateStride, i, j),
      valueAt(args.up, args.upStride, i, j),
      valueAt(args.dgate, args.dgateStride, i, j),
      valueAt(args.dup, args.dupStride, i, j),
      <usize> min(span, cols - j) << 2,
    );
  }
}
