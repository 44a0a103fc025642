/** Sums over groups of columns, and their backward. */

import { share, word } from "../lib/args";
import { element, storeWithin, sumLanes } from "../lib/vector";

/** Sum of the `bytes` bytes of values at `x`, in eight lanes. */
// @ts-ignore: decorator
@inline
function sumRow(x: usize, bytes: usize): f32 {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let at: usize = 0;
  for (; at + 32 <= bytes; at += 32) {
    s0 = f32x4.add(s0, v128.load(x + at));
    s1 = f32x4.add(s1, v128.load(x + at, 16));
  }
  let sum = sumLanes(f32x4.add(s0, s1));
  for (; at < bytes; at += 4) sum += load<f32>(x + at);
  return sum;
}

/** Job: words are rows, cols, group, x, its stride, out, its stride. Parts own groups of rows' columns. */
export function poolColumns(args: usize, part: u32, parts: u32): void {
  const cols = word(args, 1);
  const group = word(args, 2);
  const groups = (cols - 1) / group + 1;
  const units = word(args, 0) * groups;
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / groups;
    const g = u - i * groups;
    const bytes = <usize> min(group, cols - g * group) << 2;
    const sum = sumRow(element(args, 3, i, g * group), bytes);
    store<f32>(element(args, 5, i, g), sum);
  }
}

/** Job: words are rows, cols, group, x, its stride, out, its stride, add (0: none), its stride. */
export function spreadColumns(args: usize, part: u32, parts: u32): void {
  const cols = word(args, 1);
  const group = word(args, 2);
  const groups = (cols - 1) / group + 1;
  const units = word(args, 0) * groups;
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / groups;
    const g = u - i * groups;
    const bytes = <usize> min(group, cols - g * group) << 2;
    const value = v128.load32_splat(element(args, 3, i, g));
    const out = element(args, 5, i, g * group);
    if (word(args, 7)) {
      const add = element(args, 7, i, g * group);
      for (let at: usize = 0; at < bytes; at += 16) {
        const sum = f32x4.add(value, v128.load(add + at));
        storeWithin(out, at, bytes, sum);
      }
    } else {
      for (let at: usize = 0; at < bytes; at += 16) {
        storeWithin(out, at, bytes, value);
      }
    }
  }
}
