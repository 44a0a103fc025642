/**
 * The input gradient of a product in 8 bits: sums over the rows of the weight, whose scales differ within each sum. They
 * are multiplied into the left side before it is rounded, group by group of the weight's columns, as
 * `src/device/reference/int8.ts` says.
 *
 * A workgroup takes 64 rows and 32 columns, which share a group. It makes the bytes of the left side from units of 16 bits
 * on their way into its memory, and takes four rows of codes to a word.
 *
 * @module
 */

import { ROW_BLOCK, SCALE_TOP, TOP, UNIT } from "../../../src/device/int8.ts";
import { kernel } from "../../kernel.ts";
import {
  CODES_TEXT,
  dotsText,
  EACH_THREADS,
  eachText,
  four,
  putText,
  sidesText,
  SUMS_TEXT,
} from "./int8_text.wgsl.ts";
import { resultBindings, resultText, SIZES, times } from "./text.wgsl.ts";

/** Rows and columns of the result that a workgroup of {@linkcode gradientKernel} takes. */
export const GRADIENT_TILE = { rows: 64, cols: 32 } as const;

/** Declares `units(x, factor)`: `x * factor` to the nearest whole number of at most `most`. */
const UNITS_TEXT = (most: number) => /* wgsl */ `
fn units(x: f32, factor: f32) -> i32 {
  return i32(clamp(round(x * factor), -${most}.0, ${most}.0));
}`;

/**
 * Rounds rows to units of 16 bits by blocks of {@linkcode ROW_BLOCK} values: a thread a block, `count` in all. Writes units,
 * two to a word, and each block's largest magnitude.
 */
export const unitsKernel = () =>
  kernel({
    name: "gemm int8, gradient in units",
    params: { count: "u32", blocks: "u32", cols: "u32" },
    reads: { a: "matrix f32" },
    writes: { pairs: "buffer u32", mosts: "buffer f32" },
    workgroup: EACH_THREADS,
    helpers: UNITS_TEXT(TOP),
    body: eachText(/* wgsl */ `
    let row = number / p.blocks;
    let begin = number % p.blocks * ${ROW_BLOCK}u;
    let end = min(begin + ${ROW_BLOCK}u, p.cols);
    let at = p.a + row * p.aStride;
    var most = 0.0;
    for (var j = begin; j < end; j += 1u) {
      most = max(most, abs(a[at + j]));
    }
    let factor = select(0.0, ${TOP}.0 / most, most > 0.0);
    for (var j = begin; j < end; j += 2u) {
      let low = units(a[at + j], factor);
      let high = units(a[at + j + 1u], factor);
      pairs[(row * p.cols + j) / 2u] =
        (bitcast<u32>(low) & 0xffffu) | (bitcast<u32>(high) << 16u);
    }
    mosts[number] = most;
  `),
  });

/**
 * Rounds scales to units of the largest of a block of {@linkcode ROW_BLOCK} rows: a thread a block and group, `count` in all.
 * Reads scales `[rows, groups]`; writes units `[groups, rows]`, and the largest magnitudes `[blocks, groups]`.
 */
export const scaleUnitsKernel = () =>
  kernel({
    name: "gemm int8, scales in units",
    params: { count: "u32", groups: "u32", rows: "u32" },
    reads: { scales: "vector f32" },
    writes: { found: "buffer i32", mosts: "buffer f32" },
    workgroup: EACH_THREADS,
    helpers: UNITS_TEXT(SCALE_TOP),
    body: eachText(/* wgsl */ `
    let g = number % p.groups;
    let begin = number / p.groups * ${ROW_BLOCK}u;
    let end = min(begin + ${ROW_BLOCK}u, p.rows);
    var most = 0.0;
    for (var o = begin; o < end; o += 1u) {
      most = max(most, abs(scales[p.scales + o * p.groups + g]));
    }
    let factor = select(0.0, ${SCALE_TOP}.0 / most, most > 0.0);
    for (var o = begin; o < end; o += 1u) {
      let scale = scales[p.scales + o * p.groups + g];
      found[g * p.rows + o] = units(scale, factor);
    }
    mosts[number] = most;
  `),
  });

/** Parameters of {@linkcode gradientKernel}. */
const PARAMS = {
  /** Columns of a group, and groups of a row of the weight. */
  group: "u32",
  groups: "u32",
  /** Bit of the first code, in the binding of the codes; bits from a row to the next. */
  firstBit: "u32",
  lineBits: "u32",
  /** Blocks of rows. */
  blocks: "u32",
  ...SIZES,
} as const;

/** Threads along the rows and the columns of a tile, each with 4 x 4 values. */
const DOWN = GRADIENT_TILE.rows / 4;
const ACROSS = GRADIENT_TILE.cols / 4;
const TILE = { down: DOWN, across: ACROSS };

/** Words of four inner indices that a workgroup brings at once. */
const DEPTH = 8;

/**
 * The product by tiles, of groups that are whole tiles wide. Groups: tiles across and down. Reads units, their largest,
 * units of scales, their largest, codes, and what the biases add, `plain[m, groups]`.
 */
export const gradientKernel = (
  { bits, addend }: { readonly bits: number; readonly addend: boolean },
) => {
  const result = { vectors: false, addend };
  const { reads, writes } = resultBindings(result);
  return kernel({
    name: `gemm int8, gradient${addend ? ", addend" : ""}`,
    constants: { BITS: bits },
    params: PARAMS,
    reads: {
      ...{ pairs: "buffer vec2u", mosts: "buffer f32" },
      ...{ scales: "buffer vec4i", mostScales: "buffer f32" },
      ...{ codes: "buffer u32", plain: "buffer f32" },
      ...reads,
    },
    writes,
    workgroup: `${ACROSS}, ${DOWN}`,
    helpers: () => HELPERS + resultText(result),
    body: () => BODY,
  });
};

const HELPERS = /* wgsl */ `
${CODES_TEXT}
${sidesText(TILE, DEPTH)}
/** Four gradients times four scales, a byte each. */
fn bytes_at(row: u32, word: u32, g: u32) -> u32 {
  var found = 0u;
  if (row < p.m && word * 4u < p.k) {
    let pair = bitcast<vec2i>(pairs[row * (p.k / 4u) + word]);
    let low = (pair << vec2u(16u)) >> vec2u(16u);
    let high = pair >> vec2u(16u);
    let y = vec4i(low.x, high.x, low.y, high.y);
    let product = y * scales[g * (p.k / 4u) + word];
    let sixteen = (product + vec4i(${2 ** 14})) >> vec4u(15u);
    found = pack4xI8((sixteen + vec4i(128)) >> vec4u(8u));
  }
  return found;
}

/** Four codes of a row of the weight less the middle one, from a column on. */
fn codes_at(row: u32, col: u32) -> vec4i {
  var found = vec4i();
  if (row < p.k && col < p.n) {
    let all = four_codes(p.firstBit + row * p.lineBits + col * BITS);
    found = vec4i(all) - vec4i(1i << (BITS - 1u));
  }
  return found;
}

fn worth(row: u32, block: u32, g: u32) -> f32 {
  var found = 0.0;
  if (row < p.m) {
    found = mosts[row * p.blocks + block] *
      (mostScales[block * p.groups + g] * ${UNIT});
  }
  return found;
}

fn plain_at(row: u32, g: u32) -> f32 {
  var found = 0.0;
  if (row < p.m) { found = plain[row * p.groups + g]; }
  return found;
}
`;

const BODY = /* wgsl */ `
  let row = group.y * ${GRADIENT_TILE.rows}u;
  let col = group.x * ${GRADIENT_TILE.cols}u;
  let g = col / p.group;
  let own = row + local.y * 4u;
  ${SUMS_TEXT}
  for (var word = 0u; word * 4u < p.k; word += ${DEPTH}u) {
    {
      let quad = thread / ${DEPTH}u;
      let one = thread % ${DEPTH}u;
      let rows = row + quad * 4u;
      left[one * ${DOWN}u + quad] =
        vec4u${four((i) => `bytes_at(rows + ${i}u, word + one, g)`)};
    }
    if (thread < ${DEPTH * ACROSS}u) {
      let quad = thread % ${ACROSS}u;
      let one = thread / ${ACROSS}u;
      let rows = (word + one) * 4u;
      let cols = col + quad * 4u;
      ${times(4, (i) => `let q${i} = codes_at(rows + ${i}u, cols);`)}
      right[one * ${ACROSS}u + quad] = vec4u${
  four((j) => `pack4xI8(vec4i${four((i) => `q${i}[${j}]`)})`)
};
    }
${dotsText({ ...TILE, depth: `${DEPTH}u` })}
    let next = (word + ${DEPTH}u) * 4u;
    if (next % ${ROW_BLOCK}u == 0u || next >= p.k) {
      let block = word * 4u / ${ROW_BLOCK}u;
      ${
  times(4, (i) => `
      sum${i} += vec4f(dot${i}) * worth(own + ${i}u, block, g);
      dot${i} = vec4i();`)
}
    }
    workgroupBarrier();
  }
  ${times(4, (i) => `sum${i} += vec4f(plain_at(own + ${i}u, g));`)}
  ${putText("own", "col + local.x * 4u")}
`;
