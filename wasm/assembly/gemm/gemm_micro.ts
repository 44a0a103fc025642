/**
 * Micro-kernel of the product: a 5 x 8 tile of `c` in ten registers.
 *
 * Where a WebAssembly engine checks every access in code (Deno does), loads cost as much as arithmetic. So `a` comes
 * packed too, and one load brings four of its values, which shuffles then broadcast: thirteen loads for forty
 * multiply-adds. It is exported: inlined into its caller it would lose its registers.
 *
 * A strip of five rows of `a`, four inner indices `k` at a time, 80 bytes:
 *
 * ```text
 * a(0,k) a(1,k) a(2,k) a(3,k) | the same for k+1 | k+2 | k+3 | a(4,k) a(4,k+1) a(4,k+2) a(4,k+3)
 * ```
 *
 * A panel of `b` has eight values an inner index: b(k,0) … b(k,7).
 */

/** Rows of a tile. */
export const TILE_ROWS: i32 = 5;
/** Columns of a tile. */
export const TILE_COLS: i32 = 8;

/** Four inner indices make a step, so that sizes are rounded up to it with zeros. */
export const STEP: i32 = 4;

/** The tile `a * b` over `steps` steps; `c = tile`, or `tile + beta * add` where `add` is not 0. Strides in bytes. */
export function micro(
  steps: i32,
  a: usize,
  b: usize,
  c: usize,
  ldc: usize,
  add: usize,
  ldadd: usize,
  beta: f32,
): void {
  let c00 = f32x4.splat(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  let c40 = c00;
  let c41 = c00;
  for (const end = a + <usize> steps * 80; a < end; a += 80, b += 128) {
    const last = v128.load(a, 64);
    let x = v128.load(a);
    let b0 = v128.load(b);
    let b1 = v128.load(b, 16);
    let s = v128.shuffle<f32>(x, x, 0, 0, 0, 0);
    c00 = f32x4.relaxed_madd(s, b0, c00);
    c01 = f32x4.relaxed_madd(s, b1, c01);
    s = v128.shuffle<f32>(x, x, 1, 1, 1, 1);
    c10 = f32x4.relaxed_madd(s, b0, c10);
    c11 = f32x4.relaxed_madd(s, b1, c11);
    s = v128.shuffle<f32>(x, x, 2, 2, 2, 2);
    c20 = f32x4.relaxed_madd(s, b0, c20);
    c21 = f32x4.relaxed_madd(s, b1, c21);
    s = v128.shuffle<f32>(x, x, 3, 3, 3, 3);
    c30 = f32x4.relaxed_madd(s, b0, c30);
    c31 = f32x4.relaxed_madd(s, b1, c31);
    s = v128.shuffle<f32>(last, last, 0, 0, 0, 0);
    c40 = f32x4.relaxed_madd(s, b0, c40);
    c41 = f32x4.relaxed_madd(s, b1, c41);
    x = v128.load(a, 16);
    b0 = v128.load(b, 32);
    b1 = v128.load(b, 48);
    s = v128.shuffle<f32>(x, x, 0, 0, 0, 0);
    c00 = f32x4.relaxed_madd(s, b0, c00);
    c01 = f32x4.relaxed_madd(s, b1, c01);
    s = v128.shuffle<f32>(x, x, 1, 1, 1, 1);
    c10 = f32x4.relaxed_madd(s, b0, c10);
    c11 = f32x4.relaxed_madd(s, b1, c11);
    s = v128.shuffle<f32>(x, x, 2, 2, 2, 2);
    c20 = f32x4.relaxed_madd(s, b0, c20);
    c21 = f32x4.relaxed_madd(s, b1, c21);
    s = v128.shuffle<f32>(x, x, 3, 3, 3, 3);
    c30 = f32x4.relaxed_madd(s, b0, c30);
    c31 = f32x4.relaxed_madd(s, b1, c31);
    s = v128.shuffle<f32>(last, last, 1, 1, 1, 1);
    c40 = f32x4.relaxed_madd(s, b0, c40);
    c41 = f32x4.relaxed_madd(s, b1, c41);
    x = v128.load(a, 32);
    b0 = v128.load(b, 64);
    b1 = v128.load(b, 80);
    s = v128.shuffle<f32>(x, x, 0, 0, 0, 0);
    c00 = f32x4.relaxed_madd(s, b0, c00);
    c01 = f32x4.relaxed_madd(s, b1, c01);
    s = v128.shuffle<f32>(x, x, 1, 1, 1, 1);
    c10 = f32x4.relaxed_madd(s, b0, c10);
    c11 = f32x4.relaxed_madd(s, b1, c11);
    s = v128.shuffle<f32>(x, x, 2, 2, 2, 2);
    c20 = f32x4.relaxed_madd(s, b0, c20);
    c21 = f32x4.relaxed_madd(s, b1, c21);
    s = v128.shuffle<f32>(x, x, 3, 3, 3, 3);
    c30 = f32x4.relaxed_madd(s, b0, c30);
    c31 = f32x4.relaxed_madd(s, b1, c31);
    s = v128.shuffle<f32>(last, last, 2, 2, 2, 2);
    c40 = f32x4.relaxed_madd(s, b0, c40);
    c41 = f32x4.relaxed_madd(s, b1, c41);
    x = v128.load(a, 48);
    b0 = v128.load(b, 96);
    b1 = v128.load(b, 112);
    s = v128.shuffle<f32>(x, x, 0, 0, 0, 0);
    c00 = f32x4.relaxed_madd(s, b0, c00);
    c01 = f32x4.relaxed_madd(s, b1, c01);
    s = v128.shuffle<f32>(x, x, 1, 1, 1, 1);
    c10 = f32x4.relaxed_madd(s, b0, c10);
    c11 = f32x4.relaxed_madd(s, b1, c11);
    s = v128.shuffle<f32>(x, x, 2, 2, 2, 2);
    c20 = f32x4.relaxed_madd(s, b0, c20);
    c21 = f32x4.relaxed_madd(s, b1, c21);
    s = v128.shuffle<f32>(x, x, 3, 3, 3, 3);
    c30 = f32x4.relaxed_madd(s, b0, c30);
    c31 = f32x4.relaxed_madd(s, b1, c31);
    s = v128.shuffle<f32>(last, last, 3, 3, 3, 3);
    c40 = f32x4.relaxed_madd(s, b0, c40);
    c41 = f32x4.relaxed_madd(s, b1, c41);
  }
  if (add) {
    const s = f32x4.splat(beta);
    c00 = f32x4.relaxed_madd(s, v128.load(add), c00);
    c01 = f32x4.relaxed_madd(s, v128.load(add, 16), c01);
    add += ldadd;
    c10 = f32x4.relaxed_madd(s, v128.load(add), c10);
    c11 = f32x4.relaxed_madd(s, v128.load(add, 16), c11);
    add += ldadd;
    c20 = f32x4.relaxed_madd(s, v128.load(add), c20);
    c21 = f32x4.relaxed_madd(s, v128.load(add, 16), c21);
    add += ldadd;
    c30 = f32x4.relaxed_madd(s, v128.load(add), c30);
    c31 = f32x4.relaxed_madd(s, v128.load(add, 16), c31);
    add += ldadd;
    c40 = f32x4.relaxed_madd(s, v128.load(add), c40);
    c41 = f32x4.relaxed_madd(s, v128.load(add, 16), c41);
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  c += ldc;
  v128.store(c, c10);
  v128.store(c, c11, 16);
  c += ldc;
  v128.store(c, c20);
  v128.store(c, c21, 16);
  c += ldc;
  v128.store(c, c30);
  v128.store(c, c31, 16);
  c += ldc;
  v128.store(c, c40);
  v128.store(c, c41, 16);
}
