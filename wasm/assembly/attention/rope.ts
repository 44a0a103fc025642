/** Rotary positions. */

import { share, word } from "../lib/args";
import { element, storeWithin } from "../lib/vector";

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

/** Job: words are rows, heads, half of a head, x, out, positions, cos, sin, inverse; matrices with their strides. */
export function rope(args: usize, part: u32, parts: u32): void {
  const rows = word(args, 0);
  const positions = <usize> word(args, 7);
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const position = load<u32>(positions + (<usize> i << 2));
    rotate(
      element(args, 3, i, 0),
      element(args, 5, i, 0),
      element(args, 8, position, 0),
      element(args, 10, position, 0),
      word(args, 1),
      word(args, 2),
      word(args, 12) ? -1 : 1,
    );
  }
}
