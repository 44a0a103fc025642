/**
 * Products of a matrix rounded to 8 bits with the codes of an affine one, four at a time by WGSL's packed dot product.
 *
 * The left side is rounded by groups of the right side's columns, as `src/device/reference/int8.ts` says. A workgroup
 * brings 64 rows of bytes and of codes, spread to a byte each, into its memory, and each thread adds up whole numbers for
 * a tile of 4 x 4; where a group ends they are scaled, and the bias times the sum of the bytes is added.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";
import {
  CODES_TEXT,
  dotsText,
  eachText,
  four,
  putText,
  sidesText,
  SUMS_TEXT,
} from "./int8_text.wgsl.ts";
import { paramsText, resultText, times } from "./text.wgsl.ts";
import { kept } from "../../kernel_cache.ts";

/** Rows, and columns, of the result that a workgroup of {@linkcode int8Kernel} takes. */
export const INT8_SIDE = 64;

/** Threads along each side of it. */
const LANES = INT8_SIDE / 4;
const TILE = { down: LANES, across: LANES };

/**
 * Rounds rows by groups: a thread a group. Parameters: groups in all, groups of a row, elements of a group, of a row, the
 * first of the matrix, its stride. Reads the matrix; writes bytes, four to a word, and for each group what a byte is worth
 * and the sum of them times that.
 */
export function roundKernel(): Kernel {
  return kept({ name: "gemm int8, rounding" }, () => /* wgsl */ `
struct Params {
  count: u32,
  groups: u32,
  group: u32,
  cols: u32,
  first: u32,
  stride: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> bytes: array<u32>;
@group(0) @binding(3) var<storage, read_write> factors: array<vec2f>;

fn four(i: u32) -> vec4f {
  return vec4f(a[i], a[i + 1u], a[i + 2u], a[i + 3u]);
}

${
    eachText(/* wgsl */ `
    let row = number / p.groups;
    let begin = number % p.groups * p.group;
    let end = min(begin + p.group, p.cols);
    let at = p.first + row * p.stride;
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
  `)
  }`);
}

/** Fields before those of a product, in whose parameters columns and strides of the left side are words of four. */
const FIELDS = /* wgsl */ `
  /** Words of a group. */
  group: u32,
  /** Groups of a row. */
  groups: u32,
  /** Bit of the first code, in the binding of the codes; bits from a row to the next. */
  first_bit: u32,
  line_bits: u32,
  /** Place of the first scale and bias in their bindings. */
  first_scale: u32,
`;

/** What the text and the constants of {@linkcode int8Kernel} depend on. */
export interface Int8Variant {
  /** Bits of a code. */
  readonly bits: number;
  /** Words that a workgroup brings at once, 4 or 8: groups and rows are whole numbers of them. */
  readonly depth: number;
  readonly addend: boolean;
}

/**
 * The product by tiles. Groups: tiles across and down. Parameters: those of its fields, then a product's. Reads bytes,
 * factors, codes, scales, biases, and the addend if there is one; writes c.
 */
export function int8Kernel({ bits, depth, addend }: Int8Variant): Kernel {
  return kept({
    name: `gemm int8${addend ? ", addend" : ""}`,
    constants: { BITS: bits, DEPTH: depth },
  }, () => text({ addend }));
}

function text({ addend }: { addend: boolean }): string {
  return /* wgsl */ `
${paramsText(FIELDS)}
@group(0) @binding(1) var<storage, read> bytes: array<u32>;
@group(0) @binding(2) var<storage, read> factors: array<vec2f>;
@group(0) @binding(3) var<storage, read> codes: array<u32>;
@group(0) @binding(4) var<storage, read> scales: array<f32>;
@group(0) @binding(5) var<storage, read> biases: array<f32>;
${resultText({ vectors: false, addend }, 6)}
${CODES_TEXT}
/** Words of a turn. */
override DEPTH: u32;

${sidesText(TILE, 8)}
var<workgroup> row_factors: array<vec2f, ${INT8_SIDE}>;
var<workgroup> col_scales: array<vec4f, ${LANES}>;
var<workgroup> col_biases: array<vec4f, ${LANES}>;

fn bytes_at(row: u32, word: u32) -> u32 {
  var found = 0u;
  if (row < p.m) { found = bytes[row * p.aStride + word]; }
  return found;
}

/** Four codes of a column of the result, a byte each. */
fn codes_at(col: u32, word: u32) -> u32 {
  var found = vec4u();
  if (col < p.n) {
    found = four_codes(p.first_bit + col * p.line_bits + word * 4u * BITS);
  }
  return pack4xU8(found);
}

fn scale_at(col: u32, g: u32) -> f32 {
  var found = 0.0;
  if (col < p.n) { found = scales[p.first_scale + col * p.groups + g]; }
  return found;
}

fn bias_at(col: u32, g: u32) -> f32 {
  var found = 0.0;
  if (col < p.n) { found = biases[p.first_scale + col * p.groups + g]; }
  return found;
}

@compute @workgroup_size(${LANES}, ${LANES})
fn main(
  @builtin(workgroup_id) tile: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = tile.y * ${INT8_SIDE}u;
  let col = tile.x * ${INT8_SIDE}u;
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
      let scale = col_scales[lane.x];
      let bias = col_biases[lane.x];
      ${
    times(4, (i) => `
      let factor${i} = row_factors[lane.y * 4u + ${i}u];
      sum${i} += vec4f(dot${i}) * (factor${i}.x * scale) + factor${i}.y * bias;
      dot${i} = vec4i();`)
  }
    }
    workgroupBarrier();
  }
  ${putText("row + lane.y * 4u", "col + lane.x * 4u")}
}
`;
}
