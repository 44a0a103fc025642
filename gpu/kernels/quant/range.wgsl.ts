/**
 * Scales and biases of blocks. A block is cut into pieces, so that a large one keeps the whole GPU busy: extremes of
 * pieces, then of blocks; for the search squared errors of pieces, then the best of a block.
 *
 * Extremes are found among whole numbers, which order as the floats do.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";
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

/** Rule by which scales come from extremes. */
export type RangeRule = "absmax" | "minmax" | "mse";

/** Traits that are fixed when a kernel of this file is compiled. */
export interface RangeTraits {
  readonly affine: boolean;
  /** True if rows follow each other without a gap. */
  readonly dense: boolean;
  /** The most elements of a piece. */
  readonly piece: number;
}

/** Pieces of a run. */
const PIECES = {
  count: "u32",
  /** The number of the first of them in the whole matrix. */
  firstPiece: "u32",
  /** Their place among the results. */
  firstResult: "u32",
} as const;

/** Where their elements are. `origin` wraps: it may lie before the matrix. */
const PLACES = {
  /** Elements of the stretch that blocks do not go beyond: the matrix, or a row. */
  line: "u32",
  lineBlocks: "u32",
  block: "u32",
  blockPieces: "u32",
  /** Elements of a piece. */
  piece: "u32",
  cols: "u32",
  stride: "u32",
  origin: "u32",
} as const;

const ELEMENTS = /* wgsl */ `
override DENSE: bool;

struct Piece {
  start: u32,
  length: u32,
}

/** First element of a piece, and how many it has. */
fn piece_of(number: u32) -> Piece {
  let b = number / p.blockPieces;
  let line = b / p.lineBlocks;
  let block = (b % p.lineBlocks) * p.block;
  let end = min(p.line, block + p.block);
  let start = min(end, block + (number % p.blockPieces) * p.piece);
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
 * Extremes of pieces of `w`: `pieces[i] = (least, most)` as ordered integers. A team of threads takes a piece;
 * `64 / teamOf(piece)` pieces a workgroup.
 */
export const extremesKernel = ({ dense, piece }: RangeTraits) => {
  return kernel({
    name: "extremes of blocks",
    constants: { DENSE: dense ? 1 : 0, TEAM: teamOf(piece) },
    params: { ...PIECES, ...PLACES },
    reads: { w: "buffer u32" },
    writes: { pieces: "buffer vec2<i32>" },
    workgroup: 64,
    helpers: () => /* wgsl */ `
${ELEMENTS}
override TEAM: u32;
var<workgroup> least: array<i32, 64>;
var<workgroup> most: array<i32, 64>;
`,
    body: () => /* wgsl */ `
  let number = (group.x + group.y * groups.x) * (64u / TEAM) + thread / TEAM;
  let lane = thread % TEAM;
  var low = 0x7fffffff;
  var high = -0x7fffffff;
  if (number < p.count) {
    let piece = piece_of(p.firstPiece + number);
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
    pieces[p.firstResult + number] = vec2<i32>(least[thread], most[thread]);
  }`,
  });
};

/** Threads that find the extremes of a piece: a power of two, four elements or more for each. */
export function teamOf(piece: number): number {
  return Math.min(64, 2 ** Math.max(0, Math.ceil(Math.log2(piece / 4))));
}

/**
 * Full range of `count` blocks, one a thread, from the extremes of their pieces; for the search also `ends`, the bits of
 * each block's least and largest value. `top`: the largest code.
 */
export const rangesKernel = ({ affine }: RangeTraits, rule: RangeRule) => {
  const search = rule === "mse";
  return kernel({
    name: `ranges of blocks, ${rule}, ${affine ? "affine" : "levels"}`,
    params: { count: "u32", blockPieces: "u32", top: "u32" },
    reads: { pieces: "buffer vec2<i32>" },
    writes: {
      scales: "vector u32",
      biases: affine && "vector u32",
      ends: search && "buffer vec2<u32>",
    },
    workgroup: 64,
    helpers: () => /* wgsl */ `
${NUMBERS}
${WIDE_NUMBERS}

fn bits_of_key(key: i32) -> u32 {
  return bitcast<u32>(key ^ ((key >> 31u) & 0x7fffffff));
}
`,
    body: () => /* wgsl */ `
  let number = (group.x + group.y * groups.x) * 64u + thread;
  if (number >= p.count) {
    return;
  }
  var key = pieces[number * p.blockPieces];
  for (var i = 1u; i < p.blockPieces; i += 1u) {
    let other = pieces[number * p.blockPieces + i];
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
  ${
      affine
        ? "scales[p.scales + number] = step_of(low, high, p.top);\n  biases[p.biases + number] = low;"
        : "scales[p.scales + number] = largest;"
    }
  ${search ? "ends[number] = vec2<u32>(low, high);" : ""}`,
  });
};

/**
 * Squared errors of pieces of `w` for every candidate, a thread each: `errors[32 i + candidate]`, in units of the block's
 * magnitude, weighted by a factor a column `by`. `top`: the largest code.
 */
export const errorsKernel = (
  { affine, dense, piece }: RangeTraits,
  { factors, weighted, bits }: {
    factors: readonly number[];
    weighted: boolean;
    bits: number;
  },
) => {
  const weight = weighted ? "weights[place] * " : "";
  return kernel({
    name: `errors of blocks, ${affine ? "affine" : "levels"}${
      weighted ? ", weighted" : ""
    }`,
    constants: {
      DENSE: dense ? 1 : 0,
      MOST: piece,
      ...(affine ? {} : { TOP: 2 ** bits - 1 }),
    },
    params: {
      ...{ levels: "array<vec4f, 4>", thresholds: "array<vec4f, 4>" },
      ...PIECES,
      ...PLACES,
      top: "u32",
    },
    reads: {
      ...{ w: "buffer u32", scales: "vector u32", ends: "buffer vec2<u32>" },
      by: weighted && "vector f32",
    },
    writes: { errors: "buffer f32" },
    workgroup: 64,
    helpers: () => /* wgsl */ `
${ELEMENTS}
${NUMBERS}
${WIDE_NUMBERS}
${candidates(affine, factors)}
override MOST: u32;
${affine ? "" : "override TOP: u32;"}
${affine ? "" : "var<workgroup> levels: array<f32, 16>;"}
var<workgroup> values: array<f32, ${2 * RUN}>;
${weighted ? `var<workgroup> weights: array<f32, ${2 * RUN}>;` : ""}
`,
    body: () => /* wgsl */ `
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
    piece = piece_of(p.firstPiece + number);
    let block = (p.firstResult + number) / p.blockPieces;
    let end = ends[block];
    // The block is moved to about 1, where squares neither overflow nor vanish.
    way = 127 - i32(max(end.x & MAGNITUDE, end.y & MAGNITUDE) >> 23u);
    let range = candidate_of(
      end.x,
      end.y,
      scales[p.scales + block],
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
      ${weighted ? "weights[team + i] = by[p.by + element % p.cols];" : ""}
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
    errors[(p.firstResult + number) * ${CANDIDATES}u + lane] = total;
  }`,
  });
};

/** The candidate of least error, the first of equals, as the range of each of `count` blocks. */
export const chooseKernel = (
  { affine }: RangeTraits,
  factors: readonly number[],
) => {
  return kernel({
    name: `choice of ranges, ${affine ? "affine" : "levels"}`,
    params: { count: "u32", blockPieces: "u32" },
    reads: { errors: "buffer f32", ends: "buffer vec2<u32>" },
    writes: { scales: "vector u32", biases: affine && "vector u32" },
    workgroup: 64,
    helpers: () => /* wgsl */ `
${NUMBERS}
${WIDE_NUMBERS}
${candidates(affine, factors)}
var<workgroup> sums: array<f32, 64>;
`,
    body: () => /* wgsl */ `
  let number = (group.x + group.y * groups.x) * 2u + (thread >> 5u);
  var sum = 0.0;
  if (number < p.count) {
    let first = number * p.blockPieces;
    for (var i = 0u; i < p.blockPieces; i += 1u) {
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
  let at = p.scales + number;
  let range = candidate_of(end.x, end.y, scales[at], best);
  scales[at] = range.scale;
  ${affine ? "biases[p.biases + number] = range.bias;" : ""}`,
  });
};
