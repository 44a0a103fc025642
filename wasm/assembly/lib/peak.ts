/** The physical limits of one core: fused multiply-adds, and dot products of bytes, that touch no memory. */

/** `12 * n` independent f32x4 fused multiply-adds, 96 * n operations; the result only keeps them alive. */
export function peak(n: i32, x: f32, y: f32): f32 {
  const a = f32x4.splat(x);
  const b = f32x4.splat(y);
  // Distinct starts: equal ones would be computed once.
  let c0 = f32x4.splat(0.5);
  let c1 = f32x4.splat(1.5);
  let c2 = f32x4.splat(2.5);
  let c3 = f32x4.splat(3.5);
  let c4 = f32x4.splat(4.5);
  let c5 = f32x4.splat(5.5);
  let c6 = f32x4.splat(6.5);
  let c7 = f32x4.splat(7.5);
  let c8 = f32x4.splat(8.5);
  let c9 = f32x4.splat(9.5);
  let c10 = f32x4.splat(10.5);
  let c11 = f32x4.splat(11.5);
  for (let i = 0; i < n; i++) {
    c0 = f32x4.relaxed_madd(a, b, c0);
    c1 = f32x4.relaxed_madd(a, b, c1);
    c2 = f32x4.relaxed_madd(a, b, c2);
    c3 = f32x4.relaxed_madd(a, b, c3);
    c4 = f32x4.relaxed_madd(a, b, c4);
    c5 = f32x4.relaxed_madd(a, b, c5);
    c6 = f32x4.relaxed_madd(a, b, c6);
    c7 = f32x4.relaxed_madd(a, b, c7);
    c8 = f32x4.relaxed_madd(a, b, c8);
    c9 = f32x4.relaxed_madd(a, b, c9);
    c10 = f32x4.relaxed_madd(a, b, c10);
    c11 = f32x4.relaxed_madd(a, b, c11);
  }
  c0 = f32x4.add(f32x4.add(c0, c1), f32x4.add(c2, c3));
  c4 = f32x4.add(f32x4.add(c4, c5), f32x4.add(c6, c7));
  c8 = f32x4.add(f32x4.add(c8, c9), f32x4.add(c10, c11));
  return f32x4.extract_lane(f32x4.add(c0, f32x4.add(c4, c8)), 0);
}

/** Words of {@linkcode peakJob}: as {@linkcode peak} has them, and a place for results. */
// @ts-ignore: decorator
@unmanaged
class PeakJob {
  n: i32;
  x: f32;
  y: f32;
  out: usize;
}

/** Job form of {@linkcode peak}, for several threads at once. */
export function peakJob(args: PeakJob, part: u32, parts: u32): void {
  store<f32>(
    args.out + (part << 6),
    peak(args.n, args.x, args.y),
  );
}

/** As {@linkcode peak} with dot products of bytes, 384 * n operations. */
export function peakDots(n: i32, x: i32, y: i32): i32 {
  const a = i32x4.splat(x);
  const b = i32x4.splat(y);
  let c0 = i32x4.splat(0);
  let c1 = i32x4.splat(1);
  let c2 = i32x4.splat(2);
  let c3 = i32x4.splat(3);
  let c4 = i32x4.splat(4);
  let c5 = i32x4.splat(5);
  let c6 = i32x4.splat(6);
  let c7 = i32x4.splat(7);
  let c8 = i32x4.splat(8);
  let c9 = i32x4.splat(9);
  let c10 = i32x4.splat(10);
  let c11 = i32x4.splat(11);
  for (let i = 0; i < n; i++) {
    c0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c0);
    c1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c1);
    c2 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c2);
    c3 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c3);
    c4 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c4);
    c5 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c5);
    c6 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c6);
    c7 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c7);
    c8 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c8);
    c9 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c9);
    c10 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c10);
    c11 = i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c11);
  }
  c0 = i32x4.add(i32x4.add(c0, c1), i32x4.add(c2, c3));
  c4 = i32x4.add(i32x4.add(c4, c5), i32x4.add(c6, c7));
  c8 = i32x4.add(i32x4.add(c8, c9), i32x4.add(c10, c11));
  return i32x4.extract_lane(i32x4.add(c0, i32x4.add(c4, c8)), 0);
}

/** Words of {@linkcode peakDotsJob}. */
// @ts-ignore: decorator
@unmanaged
class PeakDotsJob {
  n: i32;
  x: i32;
  y: i32;
  out: usize;
}

/** Job form of {@linkcode peakDots}. */
export function peakDotsJob(args: PeakDotsJob, part: u32, parts: u32): void {
  store<i32>(
    args.out + (part << 6),
    peakDots(args.n, args.x, args.y),
  );
}
