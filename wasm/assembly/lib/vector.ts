/** Small things that kernels of whole rows share. */

/** Address of element (i, j) of a matrix, its stride in bytes. */
// @ts-ignore: decorator
@inline
export function valueAt(origin: usize, stride: usize, i: u32, j: u32): usize {
  return origin + <usize> i * stride + (<usize> j << 2);
}

/** Stores the first `count` (1 to 3) values of `v`, so that rows end where they end. */
// @ts-ignore: decorator
@inline
export function storeFew(p: usize, v: v128, count: usize): void {
  if (count & 2) {
    v128.store64_lane(p, v, 0);
    if (count & 1) v128.store32_lane(p, v, 2, 8);
  } else {
    v128.store32_lane(p, v, 0);
  }
}

/** Stores `v` at byte `at` of a row of `bytes` bytes, or what of it lies in the row. */
// @ts-ignore: decorator
@inline
export function storeWithin(p: usize, at: usize, bytes: usize, v: v128): void {
  if (at + 16 <= bytes) v128.store(p + at, v);
  else storeFew(p + at, v, (bytes - at) >> 2);
}

/** Sum of the four values. */
// @ts-ignore: decorator
@inline
export function sumLanes(v: v128): f32 {
  const two = f32x4.add(v, v128.shuffle<f32>(v, v, 2, 3, 2, 3));
  return f32x4.extract_lane(two, 0) + f32x4.extract_lane(two, 1);
}

/** `x * y` summed over `n` values, in sixteen lanes. */
export function dotRows(x: usize, y: usize, n: u32): f32 {
  const end = x + (<usize> n << 2);
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (const wide = x + (<usize> (n & ~15) << 2); x < wide; x += 64, y += 64) {
    s0 = f32x4.relaxed_madd(v128.load(x), v128.load(y), s0);
    s1 = f32x4.relaxed_madd(v128.load(x, 16), v128.load(y, 16), s1);
    s2 = f32x4.relaxed_madd(v128.load(x, 32), v128.load(y, 32), s2);
    s3 = f32x4.relaxed_madd(v128.load(x, 48), v128.load(y, 48), s3);
  }
  for (; x + 16 <= end; x += 16, y += 16) {
    s0 = f32x4.relaxed_madd(v128.load(x), v128.load(y), s0);
  }
  let sum = sumLanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  for (; x < end; x += 4, y += 4) sum += load<f32>(x) * load<f32>(y);
  return sum;
}
