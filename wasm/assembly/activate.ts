/**
 * Activations between layers, and their slopes.
 *
 * `gelu(x) = x * P(x)` with the normal distribution `P`, whose tail is `exp(-x² / 2)` times a polynomial in
 * `1 / (1 + 0.3275911 |x| / sqrt 2)` (Abramowitz and Stegun, 7.1.26): within 1.5e-7 of it.
 */

import { share, word } from "./args";
import { exp4, expConstant } from "./exp";
import { piecesOf } from "./rows";
import { element, storeWithin } from "./vector";

/** Kinds, in the order of `ACTIVATIONS` of the contract. */
const GELU: u32 = 0;
const GELU_TANH: u32 = 1;
const RELU: u32 = 2;

/** Beyond this an exponential would leave f32. */
const MOST: f32 = 88;

/** Below this `tanh` is taken from its series. */
const SMALL: f32 = 0.25;

/** `sqrt(2 / pi)`, and the factor of the cube within the hyperbolic tangent. */
const ROOT: f32 = 0.79788456080286536;
const CUBE: f32 = 0.044715;

// @ts-ignore: decorator
@inline
function exp(x: v128): v128 {
  return exp4(
    x,
    expConstant(0),
    expConstant(1),
    expConstant(2),
    expConstant(3),
    expConstant(4),
    expConstant(5),
    expConstant(6),
    expConstant(7),
    expConstant(8),
  );
}

/** The normal distribution at `x`, where `power` is `exp(-x² / 2)`. */
// @ts-ignore: decorator
@inline
function normal(x: v128, power: v128): v128 {
  const one = f32x4.splat(1);
  const t = f32x4.div(
    one,
    f32x4.relaxed_madd(f32x4.abs(x), f32x4.splat(0.23164190), one),
  );
  // Half of the coefficients of the complement of the error function.
  let p = f32x4.relaxed_madd(
    t,
    f32x4.splat(0.5307027145),
    f32x4.splat(-0.7265760135),
  );
  p = f32x4.relaxed_madd(p, t, f32x4.splat(0.7107068705));
  p = f32x4.relaxed_madd(p, t, f32x4.splat(-0.142248368));
  p = f32x4.relaxed_madd(p, t, f32x4.splat(0.127414796));
  const tail = f32x4.mul(f32x4.mul(p, t), power);
  return v128.bitselect(
    tail,
    f32x4.sub(one, tail),
    f32x4.lt(x, f32x4.splat(0)),
  );
}

/** `exp(-x² / 2)` */
// @ts-ignore: decorator
@inline
function bell(x: v128): v128 {
  return exp(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5)));
}

/** `1 / (1 + exp(-x))` */
// @ts-ignore: decorator
@inline
function sigmoid(x: v128): v128 {
  const one = f32x4.splat(1);
  const power = f32x4.pmin(f32x4.neg(x), f32x4.splat(MOST));
  return f32x4.div(one, f32x4.add(one, exp(power)));
}

/** Twice what the hyperbolic tangent of `gelu_tanh` is taken of. */
// @ts-ignore: decorator
@inline
function twice(x: v128): v128 {
  const square = f32x4.mul(x, x);
  const inner = f32x4.relaxed_madd(
    square,
    f32x4.splat(CUBE),
    f32x4.splat(1),
  );
  return f32x4.mul(f32x4.mul(x, f32x4.splat(2 * ROOT)), inner);
}

/** `1 - 2 / (exp(2 x) + 1)`, or the series near 0. */
// @ts-ignore: decorator
@inline
function tangent(x: v128): v128 {
  const one = f32x4.splat(1);
  const far = f32x4.relaxed_nmadd(
    f32x4.splat(2),
    sigmoid(f32x4.mul(x, f32x4.splat(-2))),
    one,
  );
  const z = f32x4.mul(x, x);
  let p = f32x4.relaxed_madd(
    z,
    f32x4.splat(62.0 / 2835),
    f32x4.splat(-17.0 / 315),
  );
  p = f32x4.relaxed_madd(p, z, f32x4.splat(2.0 / 15));
  p = f32x4.relaxed_madd(p, z, f32x4.splat(-1.0 / 3));
  const near = f32x4.relaxed_madd(f32x4.mul(p, z), x, x);
  return v128.bitselect(
    near,
    far,
    f32x4.lt(f32x4.abs(x), f32x4.splat(SMALL)),
  );
}

/** `out = f(x)`; `out` may be `x`. */
export function activateRow(
  x: usize,
  out: usize,
  bytes: usize,
  kind: u32,
): void {
  for (let at: usize = 0; at < bytes; at += 16) {
    const v = v128.load(x + at);
    let y: v128;
    if (kind == GELU) y = f32x4.mul(v, normal(v, bell(v)));
    else if (kind == GELU_TANH) y = f32x4.mul(v, sigmoid(twice(v)));
    else if (kind == RELU) y = f32x4.max(v, f32x4.splat(0));
    else y = tangent(v);
    storeWithin(out, at, bytes, y);
  }
}

/** `dx = dy * f'(x)`; `dx` may be `dy`. */
export function activateSlope(
  dy: usize,
  x: usize,
  dx: usize,
  bytes: usize,
  kind: u32,
): void {
  const one = f32x4.splat(1);
  for (let at: usize = 0; at < bytes; at += 16) {
    const v = v128.load(x + at);
    const d = v128.load(dy + at);
    let y: v128;
    if (kind == GELU) {
      const power = bell(v);
      const density = f32x4.mul(power, f32x4.splat(0.3989422804014327));
      y = f32x4.relaxed_madd(v, density, normal(v, power));
    } else if (kind == GELU_TANH) {
      const s = sigmoid(twice(v));
      const inner = f32x4.relaxed_madd(
        f32x4.mul(v, v),
        f32x4.splat(3 * CUBE),
        one,
      );
      const rise = f32x4.mul(
        f32x4.mul(v, f32x4.splat(2 * ROOT)),
        f32x4.mul(inner, f32x4.sub(one, s)),
      );
      y = f32x4.relaxed_madd(s, rise, s);
    } else if (kind == RELU) {
      y = v128.and(one, f32x4.gt(v, f32x4.splat(0)));
    } else {
      const t = tangent(v);
      y = f32x4.mul(f32x4.sub(one, t), f32x4.add(one, t));
    }
    storeWithin(dx, at, bytes, f32x4.mul(d, y));
  }
}

/** Job: words are units, cols, span (see `rows.ts`), then x and out, each with its stride, and the kind. */
export function activate(args: usize, part: u32, parts: u32): void {
  const units = word(args, 0);
  const cols = word(args, 1);
  const span = word(args, 2);
  const pieces = piecesOf(args);
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    const bytes = <usize> min(span, cols - j) << 2;
    const x = element(args, 3, i, j);
    const out = element(args, 5, i, j);
    // One loop for each kind, once the kind is known within it.
    const kind = word(args, 7);
    if (kind == GELU) activateRow(x, out, bytes, GELU);
    else if (kind == GELU_TANH) activateRow(x, out, bytes, GELU_TANH);
    else if (kind == RELU) activateRow(x, out, bytes, RELU);
    else activateRow(x, out, bytes, 3);
  }
}

/** Job: words are units, cols, span, then dy, x and dx, each with its stride, and the kind. */
export function activateBackward(args: usize, part: u32, parts: u32): void {
  const units = word(args, 0);
  const cols = word(args, 1);
  const span = word(args, 2);
  const pieces = piecesOf(args);
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    activateSlope(
      element(args, 3, i, j),
      element(args, 5, i, j),
      element(args, 7, i, j),
      <usize> min(span, cols - j) << 2,
      word(args, 9),
    );
  }
}
