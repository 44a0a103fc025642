/**
 * Activations between layers, and their slopes.
 *
 * `gelu(x) = x * P(x)` with the normal distribution `P(x) = 1 / 2 + x * N(x²) / D(x²)`, the polynomials chosen for the
 * least error up to |x| = 5.4, where it is 6e-9. With the roundings `gelu` is within 2e-7 |x|.
 */

import { share } from "../lib/args";
import { exp4, expConstant } from "../lib/exp";
import { piecesOf } from "./rows";
import { storeWithin, valueAt } from "../lib/vector";

/** Kinds, in the order of `ACTIVATIONS` of the contract. */
const GELU: u32 = 0;
const GELU_TANH: u32 = 1;
const RELU: u32 = 2;

/** Beyond this an exponential would leave f32. */
const MOST: f32 = 88;

/** Below this `tanh` is taken from its series. */
const SMALL: f32 = 0.25;

/** `N` from degree 5 down, `D` from degree 5 down to 1, the square of 5.4, 1 / 2 and its negative. */
const NORMAL: usize = memory.data<f32>([
  2.343660786386094e-8,
  0.000006348006553624613,
  0.00016327322615700956,
  0.004644581875039513,
  0.033274498389055295,
  0.3989422641631239,
  0.0000012171356120286627,
  0.00007203610370361732,
  0.0018531563951422452,
  0.028321954772331605,
  0.25007305984903083,
  29.16,
  0.5,
  -0.5,
]);

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

/** Coefficient `i` of {@linkcode NORMAL} in all lanes: as constants in the code they would be built in every turn. */
// @ts-ignore: decorator
@inline
function normalConstant(i: i32): v128 {
  return v128.load32_splat(NORMAL + (<usize> i << 2));
}

/** The normal distribution; exactly 0 or 1 far from 0, where the fraction stays and `x` grows. */
// @ts-ignore: decorator
@inline
function normal(x: v128): v128 {
  const one = expConstant(8);
  const half = normalConstant(12);
  const z = f32x4.pmin(f32x4.mul(x, x), normalConstant(11));
  let n = f32x4.relaxed_madd(z, normalConstant(0), normalConstant(1));
  n = f32x4.relaxed_madd(n, z, normalConstant(2));
  n = f32x4.relaxed_madd(n, z, normalConstant(3));
  n = f32x4.relaxed_madd(n, z, normalConstant(4));
  n = f32x4.relaxed_madd(n, z, normalConstant(5));
  let d = f32x4.relaxed_madd(z, normalConstant(6), normalConstant(7));
  d = f32x4.relaxed_madd(d, z, normalConstant(8));
  d = f32x4.relaxed_madd(d, z, normalConstant(9));
  d = f32x4.relaxed_madd(d, z, normalConstant(10));
  d = f32x4.relaxed_madd(d, z, one);
  const odd = f32x4.mul(x, f32x4.div(n, d));
  const low = f32x4.pmax(odd, normalConstant(13));
  return f32x4.add(f32x4.pmin(low, half), half);
}

/** `exp(-x² / 2)` */
// @ts-ignore: decorator
@inline
function bell(x: v128): v128 {
  return exp(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5)));
}

/** `exp(-x)` */
// @ts-ignore: decorator
@inline
function fall(x: v128): v128 {
  return exp(f32x4.pmin(f32x4.neg(x), f32x4.splat(MOST)));
}

/** `1 / (1 + exp(-x))` */
// @ts-ignore: decorator
@inline
function sigmoid(x: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.div(one, f32x4.add(one, fall(x)));
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
    if (kind == GELU) y = f32x4.mul(v, normal(v));
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
      const density = f32x4.mul(bell(v), f32x4.splat(0.3989422804014327));
      y = f32x4.relaxed_madd(v, density, normal(v));
    } else if (kind == GELU_TANH) {
      const e = fall(twice(v));
      const s = f32x4.div(one, f32x4.add(one, e));
      const inner = f32x4.relaxed_madd(
        f32x4.mul(v, v),
        f32x4.splat(3 * CUBE),
        one,
      );
      // 1 - s = e * s without cancellation.
      const rise = f32x4.mul(
        f32x4.mul(v, f32x4.splat(2 * ROOT)),
        f32x4.mul(inner, f32x4.mul(e, s)),
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

/** Words of {@linkcode activate}. */
// @ts-ignore: decorator
@unmanaged
class Activate {
  units: u32;
  cols: u32;
  span: u32;
  x: usize;
  xStride: usize;
  out: usize;
  outStride: usize;
  kind: u32;
}

export function activate(args: Activate, part: u32, parts: u32): void {
  const units = args.units;
  const cols = args.cols;
  const span = args.span;
  const pieces = piecesOf(args.cols, args.span);
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    const bytes = <usize> min(span, cols - j) << 2;
    const x = valueAt(args.x, args.xStride, i, j);
    const out = valueAt(args.out, args.outStride, i, j);
    // One loop for each kind, once the kind is known within it.
    const kind = args.kind;
    if (kind == GELU) activateRow(x, out, bytes, GELU);
    else if (kind == GELU_TANH) activateRow(x, out, bytes, GELU_TANH);
    else if (kind == RELU) activateRow(x, out, bytes, RELU);
    else activateRow(x, out, bytes, 3);
  }
}

/** Words of {@linkcode activateBackward}. */
// @ts-ignore: decorator
@unmanaged
class ActivateBackward {
  units: u32;
  cols: u32;
  span: u32;
  dy: usize;
  dyStride: usize;
  x: usize;
  xStride: usize;
  dx: usize;
  dxStride: usize;
  kind: u32;
}

export function activateBackward(args: ActivateBackward, part: u32, parts: u32): void {
  const units = args.units;
  const cols = args.cols;
  const span = args.span;
  const pieces = piecesOf(args.cols, args.span);
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    activateSlope(
      valueAt(args.dy, args.dyStride, i, j),
      valueAt(args.x, args.xStride, i, j),
      valueAt(args.dx, args.dxStride, i, j),
      <usize> min(span, cols - j) << 2,
      args.kind,
    );
  }
}
