/**
 * Scales and biases of blocks. A block is cut into pieces, so that a large one keeps the whole GPU busy: extremes of
 * pieces, then of blocks; for the search squared errors of pieces, then the best of a block.
 *
 * Extremes are found among whole numbers, which order as the floats do.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";
import { kept } from "../../kernel_cache.ts";
import { NUMBERS, WIDE_NUMBERS } from "./number.wgsl.ts";

/** Elements of a piece, but where that would make too many of a block. */
const PIECE = 1024;

/** The most pieces of a block: Mesa's software adapter leaves a kernel after 65536 turns of its loops. */
const MOST_PIECES = 16384;

/** Elements of the pieces of a block. */
export function pieceOf(block: number): number {
  return Math.min(block, PIECE * Math.ceil(block / PIECE / MOST_PIECES));
}

/** Sums that the search keeps of each piece, more than it has candidates. */
export const CANDIDATES = 32;

/** Values that a team of the search takes at once. */
const RUN = 128;

/** How scales come from extremes. */
export type RangeRule = "absmax" | "minmax" | "mse";

/** What is fixed when a kernel of this file is compiled. */
export interface RangeTraits {
  readonly affine: boolean;
  /** Whether rows follow each other without a gap. */
  readonly dense: boolean;
  /** The most elements of a piece. */
  readonly piece: number;
}

/** Pieces and where their elements are. `origin` wraps: it may lie before the matrix. */
const PIECES = /* wgsl */ `
struct Params {
  /** Pieces, or blocks, of this run. */
  count: u32,
  /** The number of the first of them in the whole matrix. */
  first_piece: u32,
  /** Their place among the results. */
  first_result: u32,
  /** Elements of the stretch that blocks do not go beyond: the matrix, or a row. */
  line: u32,
  line_blocks: u32,
  block: u32,
  block_pieces: u32,
  /** Elements of a piece. */
  piece: u32,
  cols: u32,
  stride: u32,
  origin: u32,
  first_scale: u32,
  /** The largest code. */
  top: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
`;

/** Levels and thresholds, for codebooks; first, for their alignment. */
const TABLES = `
  levels: array<vec4<f32>, 4>,
  thresholds: array<vec4<f32>, 4>,
`;

const ELEMENTS = /* wgsl */ `
override DENSE: bool;

struct Piece {
  start: u32,
  length: u32,
}

/** First element of a piece, and how many it has. */
fn piece_of(number: u32) -> Piece {
  let b = number / p.block_pieces;
  let line = b / p.line_blocks;
  let block = (b % p.line_blocks) * p.block;
  let end = min(p.line, block + p.block);
  let start = min(end, block + (number % p.block_pieces) * p.piece);
  return Piece(line * p.line + start, min(end - start, p.piece));
}

/** Where an element is in the binding. */
fn place_of(element: u32) -> u32 {
  if (DENSE) {
    return element - p.origin;
  }
  return (element / p.cols) * p.stride + element % p.cols -
    p.origin;
}
`;

/** The candidates of the search, in f64 as the reference device has them. */
const CANDIDATE = /* wgsl */ `
struct Range {
  scale: u32,
  bias: u32,
}

fn candidate_of(low: u32, high: u32, full: u32, number: u32) -> Range {
  var factors = FACTORS;
  let factor = factors[number];
  let scale = bits_of(wide_times(factor, wide_of(full)));
  if (!AFFINE) {
    return Range(scale, 0u);
  }
  let a = wide_of(low);
  let b = wide_of(high);
  let middle = wide_half(wide_plus(a, b));
  let half = wide_half(wide_minus(b, a));
  return Range(scale, bits_of(wide_minus(middle, wide_times(factor, half))));
}
`;

function candidates(affine: boolean, factors: readonly number[]): string {
  const words = factors.map((f) => {
    // A Wide: sign, power of two, and the 53 bits moved up by 11.
    const bits = new BigUint64Array(Float64Array.of(f).buffer)[0];
    const exponent = Number(bits >> 52n) - 1075 - 11;
    const mantissa = ((bits & (1n << 52n) - 1n) | 1n << 52n) << 11n;
    return `Wide(false, ${exponent}, ${mantissa >> 32n}u, ${
      mantissa & 0xffffffffn
    }u)`;
  });
  return `
const AFFINE = ${affine};
const FACTORS = array<Wide, ${factors.length}>(${words.join(", ")});
${CANDIDATE}`;
}

/**
 * Extremes of pieces: `pieces[i] = (least, most)` as ordered integers. Bindings: the matrix, the extremes.
 * A team of threads takes a piece; `64 / teamOf(piece)` pieces a workgroup.
 */
export function extremesKernel({ dense, piece }: RangeTraits): Kernel {
  const constants = { DENSE: dense ? 1 : 0, TEAM: teamOf(piece) };
  return kept({ name: "extremes of blocks", constants }, () => /* wgsl */ `
${PIECES}
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read_write> pieces: array<vec2<i32>>;
${ELEMENTS}
override TEAM: u32;
var<workgroup> least: array<i32, 64>;
var<workgroup> most: array<i32, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = (group.x + group.y * groups.x) * (64u / TEAM) + thread / TEAM;
  let lane = thread % TEAM;
  var low = 0x7fffffff;
  var high = -0x7fffffff;
  if (number < p.count) {
    let piece = piece_of(p.first_piece + number);
    for (var i = lane; i < piece.length; i += TEAM) {
      let bits = bitcast<i32>(w[place_of(piece.start + i)]);
      let key = bits ^ ((bits >> 31u) & 0x7fffffff);
      low = min(low, key);
      high = max(high, key);
    }
  }
  least[thread] = low;
  most[thread] = high;
  for (var step = TEAM >> 1u; step > 0u; step >>= 1u) {
    workgroupBarrier();
    if (lane < step) {
      least[thread] = min(least[thread], least[thread + step]);
      most[thread] = max(most[thread], most[thread + step]);
    }
  }
  if (lane == 0u && number < p.count) {
    pieces[p.first_result + number] = vec2<i32>(least[thread], most[thread]);
  }
}
`);
}

/** Threads that find the extremes of a piece: a power of two, four elements or more for each. */
export function teamOf(piece: number): number {
  return Math.min(64, 2 ** Math.max(0, Math.ceil(Math.log2(piece / 4))));
}

/**
 * Full range of blocks, one a thread. Bindings: extremes of pieces, scales, biases (affine), and for the search
 * `ends`, the bits of each block's least and largest value.
 */
export function rangesKernel(
  { affine }: RangeTraits,
  rule: RangeRule,
): Kernel {
  const search = rule === "mse";
  const name = `ranges of blocks, ${rule}, ${affine ? "affine" : "levels"}`;
  return kept({ name }, () => /* wgsl */ `
${PIECES}
@group(0) @binding(1) var<storage, read> pieces: array<vec2<i32>>;
@group(0) @binding(2) var<storage, read_write> scales: array<u32>;
${
    affine
      ? "@group(0) @binding(3) var<storage, read_write> biases: array<u32>;"
      : ""
  }
${
    search
      ? `@group(0) @binding(${
        affine ? 4 : 3
      }) var<storage, read_write> ends: array<vec2<u32>>;`
      : ""
  }
${NUMBERS}
${WIDE_NUMBERS}

fn bits_of_key(key: i32) -> u32 {
  return bitcast<u32>(key ^ ((key >> 31u) & 0x7fffffff));
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = (group.x + group.y * groups.x) * 64u + thread;
  if (number >= p.count) {
    return;
  }
  var key = pieces[number * p.block_pieces];
  for (var i = 1u; i < p.block_pieces; i += 1u) {
    let other = pieces[number * p.block_pieces + i];
    key = vec2<i32>(min(key.x, other.x), max(key.y, other.y));
  }
  var low = bits_of_key(key.x);
  var high = bits_of_key(key.y);
  let largest = max(low & MAGNITUDE, high & MAGNITUDE);
  ${
    rule === "absmax" || !affine
      ? "high = largest;\n  low = largest ^ SIGN;"
      : ""
  }
  let at = p.first_scale + number;
  ${
    affine
      ? "scales[at] = step_of(low, high, p.top);\n  biases[at] = low;"
      : "scales[at] = largest;"
  }
  ${search ? "ends[number] = vec2<u32>(low, high);" : ""}
}
`);
}

/**
 * Squared errors of pieces for every candidate, a thread each: `errors[32 i + candidate]`, in units of the block's
 * magnitude. Bindings: the matrix, scales, ends, weights (if weighted), the errors.
 */
export function errorsKernel(
  { affine, dense, piece }: RangeTraits,
  { factors, weighted, bits }: {
    factors: readonly number[];
    weighted: boolean;
    bits: number;
  },
): Kernel {
  const weight = weighted ? "weights[place] * " : "";
  const name = `errors of blocks, ${affine ? "affine" : "levels"}${
    weighted ? ", weighted" : ""
  }`;
  const constants = {
    DENSE: dense ? 1 : 0,
    MOST: piece,
    ...(affine ? {} : { TOP: 2 ** bits - 1 }),
  };
  return kept({ name, constants }, () => /* wgsl */ `
${PIECES.replace("struct Params {", "struct Params {\n" + TABLES)}
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> ends: array<vec2<u32>>;
${weighted ? "@group(0) @binding(4) var<storage, read> by: array<f32>;" : ""}
@group(0) @binding(${
    weighted ? 5 : 4
  }) var<storage, read_write> errors: array<f32>;
${ELEMENTS}
${NUMBERS}
${WIDE_NUMBERS}
${candidates(affine, factors)}
override MOST: u32;
${affine ? "" : "override TOP: u32;"}
${affine ? "" : "var<workgroup> levels: array<f32, 16>;"}
var<workgroup> values: array<f32, ${2 * RUN}>;
${weighted ? `var<workgroup> weights: array<f32, ${2 * RUN}>;` : ""}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  ${
    affine ? "" : `
  if (thread < 16u) {
    levels[thread] = p.levels[thread >> 2u][thread & 3u];
  }`
  }
  let number = (group.x + group.y * groups.x) * 2u + (thread >> 5u);
  let lane = thread & 31u;
  let team = (thread >> 5u) * ${RUN}u;
  var piece = Piece(0u, 0u);
  var way = 0;
  var scale = 0.0;
  var bias = 0.0;
  var inverse = 0.0;
  if (number < p.count) {
    piece = piece_of(p.first_piece + number);
    let block = (p.first_result + number) / p.block_pieces;
    let end = ends[block];
    // The block is moved to about 1, where squares neither overflow nor vanish.
    way = 127 - i32(max(end.x & MAGNITUDE, end.y & MAGNITUDE) >> 23u);
    let range = candidate_of(
      end.x,
      end.y,
      scales[p.first_scale + block],
      min(lane, ${factors.length - 1}u),
    );
    scale = moved(range.scale, way);
    bias = moved(range.bias, way);
    inverse = reciprocal(range.scale, way);
  }
  var total = 0.0;
  for (var begin = 0u; begin < MOST; begin += ${RUN}u) {
    workgroupBarrier();
    for (var i = lane; i < ${RUN}u && begin + i < piece.length; i += 32u) {
      let element = piece.start + begin + i;
      values[team + i] = moved(w[place_of(element)], way);
      ${weighted ? "weights[team + i] = by[element % p.cols];" : ""}
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < ${RUN}u && begin + i < piece.length; i += 1u) {
      let place = team + i;
      let value = values[place];
      ${
    affine
      ? `let x = (value - bias) * inverse;
      let d = value - (scale * round(clamp(x, 0.0, f32(p.top))) + bias);`
      : `let x = value * inverse;
      var code = 0u;
      for (var t = 0u; t < TOP; t += 1u) {
        code += select(0u, 1u, x > p.thresholds[t >> 2u][t & 3u]);
      }
      let d = value - scale * levels[code];`
  }
      sum += ${weight}d * d;
    }
    total += sum;
  }
  if (number < p.count) {
    errors[(p.first_result + number) * ${CANDIDATES}u + lane] = total;
  }
}
`);
}

/**
 * The candidate of least error, the first of equals, as the block's range. Bindings: errors, ends, scales (read and
 * written), biases (affine).
 */
export function chooseKernel(
  { affine }: RangeTraits,
  factors: readonly number[],
): Kernel {
  const name = `choice of ranges, ${affine ? "affine" : "levels"}`;
  return kept({ name }, () => /* wgsl */ `
${PIECES}
@group(0) @binding(1) var<storage, read> errors: array<f32>;
@group(0) @binding(2) var<storage, read> ends: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> scales: array<u32>;
${
    affine
      ? "@group(0) @binding(4) var<storage, read_write> biases: array<u32>;"
      : ""
  }
${NUMBERS}
${WIDE_NUMBERS}
${candidates(affine, factors)}
var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = (group.x + group.y * groups.x) * 2u + (thread >> 5u);
  var sum = 0.0;
  if (number < p.count) {
    let first = number * p.block_pieces;
    for (var i = 0u; i < p.block_pieces; i += 1u) {
      sum += errors[(first + i) * ${CANDIDATES}u + (thread & 31u)];
    }
  }
  sums[thread] = sum;
  workgroupBarrier();
  if ((thread & 31u) != 0u || number >= p.count) {
    return;
  }
  var best = 0u;
  for (var i = 1u; i < ${factors.length}u; i += 1u) {
    best = select(best, i, sums[thread + i] < sums[thread + best]);
  }
  let end = ends[number];
  let at = p.first_scale + number;
  let range = candidate_of(end.x, end.y, scales[at], best);
  scales[at] = range.scale;
  ${affine ? "biases[at] = range.bias;" : ""}
}
`);
}
