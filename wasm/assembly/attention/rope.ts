/** Rotary positions. */

import { share } from "../lib/args";
import { storeWithin, valueAt } from "../lib/vector";

/**
 * Rotates one row: the pairs (c, c + half) of every head. `sign` is 1, or -1 to turn back.
 */
export function rotate(
  x: usize,
  out: usize,
  cos: usize,
  sin: usize,
  heads: u32,
  half: u32,
  sign: f32,
): void {
  const s = f32x4.splat(sign);
  const bytes = <usize> half << 2;
  for (let at: usize = 0; at < bytes; at += 16) {
    const c1 = v128.load(cos + at);
    const s1 = f32x4.mul(s, v128.load(sin + at));
    let from = x + at;
    let to = out;
    for (let h: u32 = 0; h < heads; h++, from += 2 * bytes, to += 2 * bytes) {
      const a = v128.load(from);
      const b = v128.load(from + bytes);
      storeWithin(
        to,
        at,
        bytes,
        f32x4.relaxed_nmadd(b, s1, f32x4.mul(a, c1)),
      );
      storeWithin(
        to + bytes,
        at,
        bytes,
        f32x4.relaxed_madd(a, s1, f32x4.mul(b, c1)),
      );
    }
  }
}

/** Words of {@linkcode rope}. `half`: of a head. */
// @ts-ignore: decorator
@unmanaged
class Rope {
  rows: u32;
  heads: u32;
  half: u32;
  x: usize;
  xStride: usize;
  out: usize;
  outStride: usize;
  positions: usize;
  cos: usize;
  cosStride: usize;
  sin: usize;
  sinStride: usize;
  inverse: u32;
}

export function rope(args: Rope, part: u32, parts: u32): void {
  const rows = args.rows;
  const positions = args.positions;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const position = load<u32>(positions + (<usize> i << 2));
    rotate(
      valueAt(args.x, args.xStride, i, 0),
      valueAt(args.out, args.outStride, i, 0),
      valueAt(args.cos, args.cosStride, position, 0),
      valueAt(args.sin, args.sinStride, position, 0),
      args.heads,
      args.half,
      args.inverse ? -1 : 1,
    );
  }
}
