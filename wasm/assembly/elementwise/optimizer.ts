/** The optimiser's step. */

import { share } from "../lib/args";
import { piecesOf } from "./rows";
import { storeWithin, valueAt } from "../lib/vector";

/** One step on `bytes` bytes of a row. `keep = 1 - lr * decay`, `rate = lr / bias1`, `root = 1 / sqrt(bias2)`. */
export function adamwRow(
  param: usize,
  grad: usize,
  mean: usize,
  square: usize,
  bytes: usize,
  scale: f32,
  beta1: f32,
  rest1: f32,
  beta2: f32,
  rest2: f32,
  keep: f32,
  rate: f32,
  root: f32,
  epsilon: f32,
): void {
  const b1 = f32x4.splat(beta1);
  const r1 = f32x4.splat(rest1);
  const b2 = f32x4.splat(beta2);
  const r2 = f32x4.splat(rest2);
  const k = f32x4.splat(keep);
  const l = f32x4.splat(rate);
  const r = f32x4.splat(root);
  const e = f32x4.splat(epsilon);
  const f = f32x4.splat(scale);
  for (let at: usize = 0; at < bytes; at += 16) {
    const g = f32x4.mul(f, v128.load(grad + at));
    const m = f32x4.relaxed_madd(
      b1,
      v128.load(mean + at),
      f32x4.mul(r1, g),
    );
    const v = f32x4.relaxed_madd(
      b2,
      v128.load(square + at),
      f32x4.mul(r2, f32x4.mul(g, g)),
    );
    storeWithin(mean, at, bytes, m);
    storeWithin(square, at, bytes, v);
    const below = f32x4.relaxed_madd(f32x4.sqrt(v), r, e);
    const step = f32x4.div(f32x4.mul(l, m), below);
    const p = f32x4.sub(f32x4.mul(k, v128.load(param + at)), step);
    storeWithin(param, at, bytes, p);
  }
}

/** Words of {@linkcode adamw}. `rest1 = 1 - beta1`, `rest2 = 1 - beta2`. */
// @ts-ignore: decorator
@unmanaged
class Adamw {
  units: u32;
  cols: u32;
  span: u32;
  param: usize;
  paramStride: usize;
  grad: usize;
  gradStride: usize;
  mean: usize;
  meanStride: usize;
  square: usize;
  squareStride: usize;
  scale: usize; // 0: none
  beta1: f32;
  rest1: f32;
  beta2: f32;
  rest2: f32;
  keep: f32;
  rate: f32;
  root: f32;
  epsilon: f32;
}

export function adamw(args: Adamw, part: u32, parts: u32): void {
  const units = args.units;
  const cols = args.cols;
  const span = args.span;
  const pieces = piecesOf(args.cols, args.span);
  const scale = args.scale;
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    adamwRow(
      valueAt(args.param, args.paramStride, i, j),
      valueAt(args.grad, args.gradStride, i, j),
      valueAt(args.mean, args.meanStride, i, j),
      valueAt(args.square, args.squareStride, i, j),
      <usize> min(span, cols - j) << 2,
      scale ? load<f32>(scale) : 1,
      args.beta1,
      args.rest1,
      args.beta2,
      args.rest2,
      args.keep,
      args.rate,
      args.root,
      args.epsilon,
    );
  }
}
