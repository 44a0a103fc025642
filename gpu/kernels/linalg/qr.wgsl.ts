/**
 * Kernels that make columns orthonormal.
 *
 * Twice: the Gram matrix of the columns, its Cholesky factor R, and R taken off the columns by substitution
 * (CholeskyQR2, Yamamoto et al. 2015). In f32 this holds up to a condition of some hundreds, which is what subspaces
 * between two steps of an iteration have. The factorisation measures the condition; where it is too large, or a column
 * depends on others, {@linkcode gramSchmidt} does the work instead, slower and safe. Nobody waits to hear which.
 *
 * The buffer `state` holds a word for each of the two passes: 1 where its factor can be used.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";

/** `count` lines of a kernel. */
function times(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join("\n");
}

/** Columns of a tile of the Gram matrix. */
export const GRAM_TILE = 32;

/** Rows that a workgroup loads at once; each such slab is summed on its own, so that sums stay short. */
export const GRAM_SLAB = 32;

/**
 * Part of a Gram matrix: the tiles on and above the diagonal of `y[rows of a chunk, :]ᵀ y[rows of a chunk, :]`.
 *
 * `chunk`: its rows, a multiple of {@linkcode GRAM_SLAB}; `tiles`: of a side. The result is `parts[chunk, cols, cols]`.
 * Workgroups: tiles on and above the diagonal, chunks.
 */
export const GRAM = kernel({
  name: "qr gram",
  params: { rows: "u32", cols: "u32", chunk: "u32", tiles: "u32" },
  reads: { y: "matrix f32" },
  writes: { parts: "buffer f32" },
  workgroup: 64,
  helpers: `
var<workgroup> left: array<vec4f, 256>;
var<workgroup> right: array<vec4f, 256>;

fn four(row: u32, col: u32, end: u32) -> vec4f {
  var v = vec4f();
  if (row < end) {
    let at = p.y + row * p.yStride + col;
    for (var i = 0u; i < 4u; i += 1u) {
      if (col + i < p.cols) { v[i] = y[at + i]; }
    }
  }
  return v;
}
`,
  body: `
  var a = 0u;
  var b = group.x;
  while (b >= p.tiles - a) {
    b -= p.tiles - a;
    a += 1u;
  }
  b += a;
  let across = thread % 8u;
  let down = thread / 8u;
  let begin = group.y * p.chunk;
  let end = min(begin + p.chunk, p.rows);
  var total = array<vec4f, 4>();
  for (var row = begin; row < end; row += ${GRAM_SLAB}u) {
    for (var i = down; i < ${GRAM_SLAB}u; i += 8u) {
      left[i * 8u + across] = four(row + i, a * ${GRAM_TILE}u + across * 4u, end);
      right[i * 8u + across] = four(row + i, b * ${GRAM_TILE}u + across * 4u, end);
    }
    workgroupBarrier();
    var sum = array<vec4f, 4>();
    for (var i = 0u; i < ${GRAM_SLAB}u; i += 1u) {
      let l = left[i * 8u + down];
      let r = right[i * 8u + across];
      sum[0] += l.x * r;
      sum[1] += l.y * r;
      sum[2] += l.z * r;
      sum[3] += l.w * r;
    }
    for (var i = 0u; i < 4u; i += 1u) { total[i] += sum[i]; }
    workgroupBarrier();
  }
  for (var i = 0u; i < 4u; i += 1u) {
    let row = a * ${GRAM_TILE}u + down * 4u + i;
    for (var j = 0u; j < 4u; j += 1u) {
      let col = b * ${GRAM_TILE}u + across * 4u + j;
      if (row < p.cols && col < p.cols) {
        parts[(group.y * p.cols + row) * p.cols + col] = total[i][j];
      }
    }
  }`,
});

/** Threads of a side of the workgroup that factorises. */
const SIDE = 16;

/**
 * Sums the parts of a Gram matrix and factorises it, in one workgroup: `R` upper triangular with `Rᵀ R = G`, and whether
 * it can be used, if the squared Frobenius norm of the inverse is at most `limit` for columns scaled to length one. An R that cannot becomes
 * the identity.
 *
 * Gaussian elimination of `[G | I]`, both halves in one square: the upper triangle of G turns into that of `D^½ R`, and
 * below grows the inverse of its unit lower factor, a row for each column eliminated. A step reads one row and changes
 * those below it, so that one barrier a step will do. The square lies in workgroup memory, where it holds one
 * (`shared`), or in a buffer. It reads the parts and writes r `[cols, cols]`, the `state` of this `turn` (0 or 1), and its square `a`.
 */
export const factorKernel = (shared: boolean, cols: number) => {
  const barrier = shared ? "workgroupBarrier()" : "storageBarrier()";
  return kernel({
    name: shared ? "qr factor" : "qr factor of many columns",
    constants: shared ? { SQUARE: cols * cols } : {},
    params: { cols: "u32", parts: "u32", turn: "u32", limit: "f32" },
    reads: { grams: "buffer f32" },
    writes: {
      ...{ r: "buffer f32", state: "buffer u32" },
      a: !shared && "buffer f32",
    },
    workgroup: `${SIDE}, ${SIDE}`,
    helpers: `
${shared ? "override SQUARE: u32;\nvar<workgroup> a: array<f32, SQUARE>;" : ""}
var<workgroup> sums: array<f32, ${SIDE * SIDE}>;

fn gram(i: u32, j: u32) -> f32 {
  var sum = 0.0;
  for (var part = 0u; part < p.parts; part += 1u) {
    sum += grams[(part * p.cols + i) * p.cols + j];
  }
  return sum;
}

fn isNormal(x: f32) -> bool {
  // Below 1e-30 and above 1e30 products lose digits; compared as bits, since a comparison may ignore NaN.
  let bits = bitcast<u32>(x);
  return bits > 0x0da24260u && bits < 0x7149f2cau;
}
`,
    body: `
  let n = p.cols;
  for (var i = local.y; i < n; i += ${SIDE}u) {
    for (var j = local.x; j < n; j += ${SIDE}u) {
      var value = 0.0;
      if (j >= i) { value = gram(i, j); }
      a[i * n + j] = value;
    }
  }
  ${barrier};
  for (var k = 0u; k < n; k += 1u) {
    let inverse = 1.0 / a[k * n + k];
    for (var i = k + 1u + local.y; i < n; i += ${SIDE}u) {
      let f = a[k * n + i] * inverse;
      for (var j = local.x; j < n; j += ${SIDE}u) {
        let at = i * n + j;
        if (j == k) {
          a[at] = -f;
        } else if (j < k || j >= i) {
          a[at] -= f * a[k * n + j];
        }
      }
    }
    ${barrier};
  }

  // ‖R⁻¹‖² with row i scaled by the length of column i.
  var size = 0.0;
  for (var i = local.y; i < n; i += ${SIDE}u) {
    let length = gram(i, i);
    let pivot = a[i * n + i];
    if (!isNormal(length) || !isNormal(pivot)) { size = 1e30; }
    for (var j = i + local.x; j < n; j += ${SIDE}u) {
      var x = 1.0;
      if (j > i) { x = a[j * n + i]; }
      size += x * x * length / a[j * n + j];
    }
  }
  sums[thread] = select(1e30, size, isNormal(size) || size == 0.0);
  workgroupBarrier();
  for (var half = ${SIDE * SIDE / 2}u; half > 0u; half >>= 1u) {
    if (thread < half) { sums[thread] += sums[thread + half]; }
    workgroupBarrier();
  }
  let usable = sums[0] <= p.limit && (p.turn == 0u || state[0] == 1u);
  for (var i = local.y; i < n; i += ${SIDE}u) {
    let inverse = 1.0 / sqrt(a[i * n + i]);
    for (var j = local.x; j < n; j += ${SIDE}u) {
      var value = 0.0;
      if (!usable) {
        if (i == j) { value = 1.0; }
      } else if (j >= i) {
        value = a[i * n + j] * inverse;
      }
      r[i * n + j] = value;
    }
  }
  if (thread == 0u) { state[p.turn] = select(0u, 1u, usable); }`,
  });
};

/** Threads of a workgroup of {@linkcode APPLY}, rows of a thread, columns that are solved before they are taken off. */
const APPLY_THREADS = 32;
const APPLY_ROWS = 4;
const APPLY_BLOCK = 8;

/** Rows that one workgroup of {@linkcode APPLY} does. */
export const APPLY_GROUP = APPLY_THREADS * APPLY_ROWS;

const lines = (line: (row: number) => string): string =>
  times(APPLY_ROWS, line);

/** Solves column `k + j` of the block for a thread's rows. */
function solveColumn(j: number): string {
  return `
    ${lines((l) => `var x${l}_${j} = 0.0;`)}
    if (k + ${j}u < n) {
      let c = k + ${j}u;
      ${lines((l) => `x${l}_${j} = y[at${l} + c];`)}
      ${
    times(j, (i) => `
      let f${i} = r[(k + ${i}u) * n + c];
      ${lines((l) => `x${l}_${j} -= x${l}_${i} * f${i};`)}`)
  }
      let d = r[c * n + c];
      ${lines((l) => `x${l}_${j} /= d;`)}
    }`;
}

/**
 * Takes `R` off the right of `y` by substitution, if its state says so: row by row, which is stable whatever the
 * condition. Columns are solved in blocks of 8, and each block is taken off those that follow it at once, for several
 * rows of a thread with one look at R.
 *
 * Workgroups: rows / {@linkcode APPLY_GROUP}.
 */
export const APPLY = kernel({
  name: "qr apply",
  params: { rows: "u32", cols: "u32", turn: "u32" },
  reads: { state: "buffer u32", r: "buffer f32" },
  writes: { y: "matrix f32" },
  workgroup: APPLY_THREADS,
  body: `
  if (state[p.turn] == 0u) { return; }
  let n = p.cols;
  let row = (group.x + group.y * groups.x) * ${APPLY_GROUP}u + thread * ${APPLY_ROWS}u;
  if (row >= p.rows) { return; }
  // Past the end the last row is done again: all values are read before the first is written.
  ${
    lines((l) =>
      `let at${l} = p.y + min(row + ${l}u, p.rows - 1u) * p.yStride;`
    )
  }
  for (var k = 0u; k < n; k += ${APPLY_BLOCK}u) {
    ${times(APPLY_BLOCK, solveColumn)}
    ${
    times(APPLY_BLOCK, (j) => `
    if (k + ${j}u < n) {
      ${lines((l) => `y[at${l} + k + ${j}u] = x${l}_${j};`)}
    }`)
  }
    for (var j = k + ${APPLY_BLOCK}u; j < n; j += 1u) {
      ${lines((l) => `var s${l} = y[at${l} + j];`)}
      ${
    times(APPLY_BLOCK, (i) => `
      let f${i} = r[(k + ${i}u) * n + j];
      ${lines((l) => `s${l} -= x${l}_${i} * f${i};`)}`)
  }
      ${lines((l) => `y[at${l} + j] = s${l};`)}
    }
  }`,
});

/** Threads of the workgroup that {@linkcode GRAM_SCHMIDT} is. */
export const SCHMIDT_THREADS = 256;

/** Columns that it compares one with at a time. */
export const SCHMIDT_BLOCK = 8;

const each = (line: (b: number) => string): string =>
  times(SCHMIDT_BLOCK, line);

/**
 * Gram-Schmidt, each column twice against those before it ("twice is enough", Giraud et al. 2005), if the state of the
 * second turn says that there is no usable factor. One workgroup; a thread has every 256th row, so that only sums need
 * a barrier. Columns are scaled by powers of two, so that their squares stay in the range of f32.
 *
 * A column whose part outside the span of those before it is less than 3e-7 of its length is rounding noise, and becomes
 * zero.
 *
 * It does columns `[begin, end)`, those before them done; `r` is `[cols, cols]`, `q [cols, rows]` keeps the columns that
 * are done.
 */
export const GRAM_SCHMIDT = kernel({
  name: "qr gram-schmidt",
  params: { rows: "u32", cols: "u32", begin: "u32", end: "u32" },
  reads: { state: "buffer u32" },
  writes: { y: "matrix f32", r: "buffer f32", q: "buffer f32" },
  workgroup: SCHMIDT_THREADS,
  helpers: `
const T = ${SCHMIDT_THREADS}u;
const B = ${SCHMIDT_BLOCK}u;
var<workgroup> sums: array<f32, T * B>;

// Sums over the threads of what they have put at [value * T + thread], at [value * T].
fn reduce(thread: u32) {
  workgroupBarrier();
  for (var left = T / 4u; left > 0u; left /= 4u) {
    for (var e = thread; e < left * B; e += T) {
      let at = (e / left) * T + e % left;
      sums[at] = (sums[at] + sums[at + left]) + (sums[at + 2u * left] + sums[at + 3u * left]);
    }
    workgroupBarrier();
  }
}

// The sum of one value over the threads.
fn total(thread: u32, value: f32) -> f32 {
  workgroupBarrier();
  sums[thread] = value;
  ${each((b) => b === 0 ? "" : `sums[${b}u * T + thread] = 0.0;`)}
  reduce(thread);
  return sums[0];
}

// The largest of the threads' values.
fn largest(thread: u32, value: f32) -> f32 {
  workgroupBarrier();
  sums[thread] = value;
  workgroupBarrier();
  for (var half = T / 2u; half > 0u; half /= 2u) {
    if (thread < half) { sums[thread] = max(sums[thread], sums[thread + half]); }
    workgroupBarrier();
  }
  return sums[0];
}
`,
  body: `
  if (state[1] != 0u) { return; }
  let m = p.rows;
  let n = p.cols;
  for (var j = p.begin; j < p.end; j += 1u) {
    let column = j * m;
    var most = 0.0;
    for (var i = thread; i < m; i += T) {
      let x = y[p.y + i * p.yStride + j];
      q[column + i] = x;
      most = max(most, abs(x));
    }
    // Times the inverse of its exponent the largest value lies between 1 and 4.
    let exponent = clamp(bitcast<u32>(largest(thread, most)) >> 23u, 1u, 252u);
    let down = bitcast<f32>((254u - exponent) << 23u);
    let up = bitcast<f32>(exponent << 23u);
    var square = 0.0;
    for (var i = thread; i < m; i += T) {
      let x = q[column + i] * down;
      q[column + i] = x;
      square += x * x;
    }
    let before = total(thread, square);
    for (var turn = 0u; turn < 2u; turn += 1u) {
      for (var k = 0u; k < j; k += B) {
        ${
    each((b) => `
        let at${b} = min(k + ${b}u, j) * m;
        var dot${b} = 0.0;`)
  }
        for (var i = thread; i < m; i += T) {
          let x = q[column + i];
          ${each((b) => `dot${b} += q[at${b} + i] * x;`)}
        }
        workgroupBarrier();
        // Past the last column before this one there is nothing to compare with.
        ${
    each((b) =>
      `sums[${b}u * T + thread] = select(0.0, dot${b}, k + ${b}u < j);`
    )
  }
        reduce(thread);
        ${each((b) => `dot${b} = sums[${b}u * T];`)}
        for (var i = thread; i < m; i += T) {
          var x = q[column + i];
          ${each((b) => `x -= dot${b} * q[at${b} + i];`)}
          q[column + i] = x;
        }
        if (thread < B && k + thread < j) {
          let at = (k + thread) * n + j;
          let part = sums[thread * T] * up;
          if (turn == 0u) { r[at] = part; } else { r[at] += part; }
        }
      }
    }
    square = 0.0;
    for (var i = thread; i < m; i += T) {
      square += q[column + i] * q[column + i];
    }
    let left = total(thread, square);
    let alive = left > 9e-14 * before;
    let length = sqrt(left);
    let inverse = 1.0 / length;
    for (var i = thread; i < m; i += T) {
      let x = select(0.0, q[column + i] * inverse, alive);
      q[column + i] = x;
      y[p.y + i * p.yStride + j] = x;
    }
    for (var i = j + thread; i < n; i += T) {
      r[i * n + j] = select(0.0, length * up, alive && i == j);
    }
  }`,
});

/** `out = second * first`, upper triangular all three, `[cols, cols]`; one value a thread. */
export const MULTIPLY_TRIANGLES = kernel({
  name: "qr product of triangles",
  params: { cols: "u32" },
  reads: { second: "buffer f32", first: "buffer f32" },
  writes: { out: "matrix f32" },
  workgroup: "8, 8",
  body: `
  let n = p.cols;
  let i = invocation.y;
  let j = invocation.x;
  if (i >= n || j >= n) { return; }
  var sum = 0.0;
  for (var k = i; k <= j; k += 1u) {
    sum += second[i * n + k] * first[k * n + j];
  }
  out[p.out + i * p.outStride + j] = sum;`,
});
