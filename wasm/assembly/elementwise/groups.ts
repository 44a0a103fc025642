/** Sums over groups of columns, and their backward. */

import { share } from "../lib/args";
import { storeWithin, sumLanes, valueAt } from "../lib/vector";

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

/** Words of {@linkcode poolColumns}. Parts own groups of rows' columns. */
// @ts-ignore: decorator
@unmanaged
class PoolColumns {
  rows: u32;
  cols: u32;
  group: u32;
  x: usize;
  xStride: usize;
  out: usize;
  outStride: usize;
}

export function poolColumns(args: PoolColumns, part: u32, parts: u32): void {
  const cols = args.cols;
  const group = args.group;
  const groups = (cols - 1) / group + 1;
  const units = args.rows * groups;
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / groups;
    const g = u - i * groups;
    const bytes = <usize> min(group, cols - g * group) << 2;
    const sum = sumRow(valueAt(args.x, args.xStride, i, g * group), bytes);
    store<f32>(valueAt(args.out, args.outStride, i, g), sum);
  }
}

/** Words of {@linkcode spreadColumns}. */
// @ts-ignore: decorator
@unmanaged
class SpreadColumns {
  rows: u32;
  cols: u32;
  group: u32;
  x: usize;
  xStride: usize;
  out: usize;
  outStride: usize;
  add: usize; // 0: none
  addStride: usize;
}

export function spreadColumns(args: SpreadColumns, part: u32, parts: u32): void {
  const cols = args.cols;
  const group = args.group;
  const groups = (cols - 1) / group + 1;
  const units = args.rows * groups;
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / groups;
    const g = u - i * groups;
    const bytes = <usize> min(group, cols - g * group) << 2;
    const value = v128.load32_splat(valueAt(args.x, args.xStride, i, g));
    const out = valueAt(args.out, args.outStride, i, g * group);
    if (args.add) {
      const add = valueAt(args.add, args.addStride, i, g * group);
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
