/** The optimiser's step. */

import { float, share, word } from "../lib/args";
import { piecesOf } from "./rows";
import { element, storeWithin } from "../lib/vector";

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

/**
 * Job: words are units, cols, span (see `rows.ts`), then param, grad, mean, square, each with its stride, scale (0: none),
 * and as f32 beta1, 1 - beta1, beta2, 1 - beta2, keep, rate, root, epsilon.
 */
export function adamw(args: usize, part: u32, parts: u32): void {
  const units = word(args, 0);
  const cols = word(args, 1);
  const span = word(args, 2);
  const pieces = piecesOf(args);
  const scale = <usize> word(args, 11);
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    adamwRow(
      element(args, 3, i, j),
      element(args, 5, i, j),
      element(args, 7, i, j),
      element(args, 9, i, j),
      <usize> min(span, cols - j) << 2,
      scale ? load<f32>(scale) : 1,
      float(args, 12),
      float(args, 13),
      float(args, 14),
      float(args, 15),
      float(args, 16),
      float(args, 17),
      float(args, 18),
      float(args, 19),
    );
  }
}
