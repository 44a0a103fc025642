/**
 * Products of a matrix rounded to 8 bits with the codes of an affine one, four at a time by WGSL's packed dot product.
 *
 * The left side is rounded by groups of the right side's columns, as `src/device/reference/int8.ts` says. A workgroup
 * brings 64 rows of bytes and of codes, spread to a byte each, into its memory, and each thread adds up whole numbers for
 * a tile of 4 x 4; where a group ends they are scaled, and the bias times the sum of the bytes is added.
 *
 * @module
 */

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

/** Rows, and columns, of the result that a workgroup of {@linkcode int8Kernel} takes. */
export const INT8_SIDE = 64;

/** Threads along each side of it. */
const LANES = INT8_SIDE / 4;
const TILE = { down: LANES, across: LANES };

/**
 * Rounds rows by groups, each of `group` elements: a thread a group, `count` in all. Writes bytes, four to a word, and for
 * each group what a byte is worth and the sum of them times that.
 */
export const roundKernel = () =>
  kernel({
    name: "gemm int8, rounding",
    params: { count: "u32", groups: "u32", group: "u32", cols: "u32" },
    reads: { a: "matrix f32" },
    writes: { bytes: "buffer u32", factors: "buffer vec2f" },
    workgroup: EACH_THREADS,
    helpers: /* wgsl */ `
fn four(i: u32) -> vec4f {
  return vec4f(a[i], a[i + 1u], a[i + 2u], a[i + 3u]);
}`,
    body: eachText(/* wgsl */ `
    let row = number / p.groups;
    let begin = number % p.groups * p.group;
    let end = min(begin + p.group, p.cols);
    let at = p.a + row * p.aStride;
    var most4 = vec4f();
    for (var j = begin; j < end; j += 4u) {
      most4 = max(most4, abs(four(at + j)));
    }
    let most = max(max(most4.x, most4.y), max(most4.z, most4.w));
    let factor = select(0.0, 127.0 / most, most > 0.0);
    var sum = vec4i();
    for (var j = begin; j < end; j += 4u) {
      let x = clamp(round(four(at + j) * factor), vec4f(-127.0), vec4f(127.0));
      let byte = vec4i(x);
      sum += byte;
      bytes[(row * p.cols + j) / 4u] = pack4xI8(byte);
    }
    let scale = most / 127.0;
    factors[number] = vec2f(
      scale,
      scale * f32(sum.x + sum.y + sum.z + sum.w),
    );
  `),
  });

/** Parameters of {@linkcode int8Kernel}; inner indices are counted in words of four. */
const PARAMS = {
  /** Words of a group. */
  group: "u32",
  /** Groups of a row. */
  groups: "u32",
  /** Bit of the first code, in the binding of the codes; bits from a row to the next. */
  firstBit: "u32",
  lineBits: "u32",
  ...SIZES,
} as const;

/** Traits that the text and the constants of {@linkcode int8Kernel} depend on. */
export interface Int8Variant {
  /** Bits of a code. */
  readonly bits: number;
  /** Words that a workgroup brings at once, 4 or 8: groups and rows are whole numbers of them. */
  readonly depth: number;
  readonly addend: boolean;
}

/** The product by tiles. Groups: tiles across and down. */
export const int8Kernel = ({ bits, depth, addend }: Int8Variant) => {
  const result = { vectors: false, addend };
  const { reads, writes } = resultBindings(result);
  return kernel({
    name: `gemm int8${addend ? ", addend" : ""}`,
    constants: { BITS: bits, DEPTH: depth },
    params: PARAMS,
    reads: {
      ...{ bytes: "buffer u32", factors: "buffer vec2f" },
      ...{ codes: "buffer u32", scales: "vector f32", biases: "vector f32" },
      ...reads,
    },
    writes,
    workgroup: `${LANES}, ${LANES}`,
    helpers: () => HELPERS + resultText(result),
    body: () => BODY,
  });
};

const HELPERS = /* wgsl */ `
${CODES_TEXT}
/** Words of a turn. */
override DEPTH: u32;

${sidesText(TILE, 8)}
var<workgroup> row_factors: array<vec2f, ${INT8_SIDE}>;
var<workgroup> col_scales: array<vec4f, ${LANES}>;
var<workgroup> col_biases: array<vec4f, ${LANES}>;

fn bytes_at(row: u32, word: u32) -> u32 {
  var found = 0u;
  if (row < p.m) { found = bytes[row * p.k + word]; }
  return found;
}

/** Four codes of a column of the result, a byte each. */
fn codes_at(col: u32, word: u32) -> u32 {
  var found = vec4u();
  if (col < p.n) {
    found = four_codes(p.firstBit + col * p.lineBits + word * 4u * BITS);
  }
  return pack4xU8(found);
}

fn scale_at(col: u32, g: u32) -> f32 {
  var found = 0.0;
  if (col < p.n) { found = scales[p.scales + col * p.groups + g]; }
  return found;
}

fn bias_at(col: u32, g: u32) -> f32 {
  var found = 0.0;
  if (col < p.n) { found = biases[p.biases + col * p.groups + g]; }
  return found;
}
`;

const BODY = /* wgsl */ `
  let row = group.y * ${INT8_SIDE}u;
  let col = group.x * ${INT8_SIDE}u;
  ${SUMS_TEXT}
  for (var word = 0u; word < p.k; word += DEPTH) {
    let g = word / p.group;
    if (word % p.group == 0u) {
      if (thread < ${INT8_SIDE}u) {
        var factor = vec2f();
        if (row + thread < p.m) {
          factor = factors[(row + thread) * p.groups + g];
        }
        row_factors[thread] = factor;
      } else if (thread < ${INT8_SIDE + LANES}u) {
        let quad = thread - ${INT8_SIDE}u;
        let at = col + quad * 4u;
        col_scales[quad] = vec4f${four((i) => `scale_at(at + ${i}u, g)`)};
        col_biases[quad] = vec4f${four((i) => `bias_at(at + ${i}u, g)`)};
      }
    }
    if (thread < ${LANES}u * DEPTH) {
      let quad = thread / DEPTH;
      let one = thread % DEPTH;
      let rows = row + quad * 4u;
      let cols = col + quad * 4u;
      left[one * ${LANES}u + quad] =
        vec4u${four((i) => `bytes_at(rows + ${i}u, word + one)`)};
      right[one * ${LANES}u + quad] =
        vec4u${four((i) => `codes_at(cols + ${i}u, word + one)`)};
    }
${dotsText({ ...TILE, depth: "DEPTH" })}
    if ((word + DEPTH) % p.group == 0u || word + DEPTH >= p.k) {
      let scale = col_scales[local.x];
      let bias = col_biases[local.x];
      ${
  times(4, (i) => `
      let factor${i} = row_factors[local.y * 4u + ${i}u];
      sum${i} += vec4f(dot${i}) * (factor${i}.x * scale) + factor${i}.y * bias;
      dot${i} = vec4i();`)
}
    }
    workgroupBarrier();
  }
  ${putText("row + local.y * 4u", "col + local.x * 4u")}
`;
