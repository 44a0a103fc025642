/**
 * Micro-kernel in f64: a 4 x 4 tile of a product in eight registers. Exported so that it keeps them.
 */

/**
 * `c = a * b + c0`: element (i, k) of `a` at `a + i * aDown + k * aRight`, row k of `b` (four values) at
 * `b + k * ldb`, `c` with rows `ldc` bytes apart. `mode` 0 stores the product, 1 adds it to `c`.
 */
export function microF64(
  kc: i32,
  a: usize,
  aDown: usize,
  aRight: usize,
  b: usize,
  ldb: usize,
  c: usize,
  ldc: usize,
  mode: i32,
): void {
  let a1 = a + aDown;
  let a2 = a1 + aDown;
  let a3 = a2 + aDown;
  let c00 = f64x2.splat(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  for (let k = 0; k < kc; k++) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load64_splat(a);
    c00 = f64x2.relaxed_madd(x, b0, c00);
    c01 = f64x2.relaxed_madd(x, b1, c01);
    x = v128.load64_splat(a1);
    c10 = f64x2.relaxed_madd(x, b0, c10);
    c11 = f64x2.relaxed_madd(x, b1, c11);
    x = v128.load64_splat(a2);
    c20 = f64x2.relaxed_madd(x, b0, c20);
    c21 = f64x2.relaxed_madd(x, b1, c21);
    x = v128.load64_splat(a3);
    c30 = f64x2.relaxed_madd(x, b0, c30);
    c31 = f64x2.relaxed_madd(x, b1, c31);
    a += aRight;
    a1 += aRight;
    a2 += aRight;
    a3 += aRight;
    b += ldb;
  }
  if (mode) {
    c00 = f64x2.add(c00, v128.load(c));
    c01 = f64x2.add(c01, v128.load(c, 16));
    c10 = f64x2.add(c10, v128.load(c + ldc));
    c11 = f64x2.add(c11, v128.load(c + ldc, 16));
    c20 = f64x2.add(c20, v128.load(c + 2 * ldc));
    c21 = f64x2.add(c21, v128.load(c + 2 * ldc, 16));
    c30 = f64x2.add(c30, v128.load(c + 3 * ldc));
    c31 = f64x2.add(c31, v128.load(c + 3 * ldc, 16));
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
}
