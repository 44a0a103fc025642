/**
 * Text that the kernels of quantised matrices share: where a code is, which block it belongs to, what it stands for. They
 * read four neighbours of a row at a time, whatever the format.
 *
 * @module
 */

/** Traits that are fixed when a kernel for a quantised matrix is compiled. */
export interface QuantTraits {
  /** Bits of a code. */
  readonly bits: number;
  /** True if the values are `scale * code + bias`, not levels of a codebook. */
  readonly affine: boolean;
  /** True if the first code of a byte sits in its high bits. */
  readonly high: boolean;
  /** True if blocks run on over the ends of rows. */
  readonly flat: boolean;
  /** Elements of a block, at least 1. */
  readonly block: number;
  /** Elements of a row. */
  readonly cols: number;
}

/** Constants of blocks: a division by a power of two is a shift. */
export function blockConstants(
  { bits, high, flat, block }: QuantTraits,
): Record<string, number> {
  const shift = Math.log2(block);
  return {
    BITS: bits,
    HIGH: high ? 1 : 0,
    FLAT: flat ? 1 : 0,
    SHIFT: Number.isInteger(shift) ? shift : 32,
  };
}

/** Declares what {@linkcode blockConstants} sets. */
export const BLOCK_CONSTANTS = /* wgsl */ `
override BITS: u32;
/** True if the first code of a byte sits in its high bits. */
override HIGH: bool;
override FLAT: bool;
/** Binary logarithm of the block size, or 32. */
override SHIFT: u32;

fn block_of(element: u32) -> u32 {
  if (SHIFT < 32u) {
    return element >> (SHIFT & 31u);
  }
  return element / p.block;
}
`;

/** Constants of a kernel that contains {@linkcode quantReader}. */
export function readerConstants(traits: QuantTraits): Record<string, number> {
  const { bits, flat, block, cols } = traits;
  const fours = !flat || cols % 4 === 0;
  const lineBits = flat ? cols * bits : 8 * Math.ceil(cols * bits / 8);
  return {
    ...blockConstants(traits),
    ALIGNED: 32 % bits === 0 && lineBits % (4 * bits) === 0 ? 1 : 0,
    WHOLE: fours && block % 4 === 0 ? 1 : 0,
  };
}

/** Parameters that {@linkcode quantReader} needs. */
export const READER_PARAMS = {
  levels: "array<vec4f, 4>",
  /** Elements of a row. */
  width: "u32",
  block: "u32",
  /** Bit of the first element, in the binding of the codes. */
  firstBit: "u32",
  /** Bits from a row to the next. */
  lineBits: "u32",
  /** Elements of the first block that lie before the first row. */
  phase: "u32",
  firstBlock: "u32",
  /** Blocks of a row, 0 where they run on over its end. */
  lineBlocks: "u32",
} as const;

/** Bindings that {@linkcode quantReader} needs. */
export const readerBindings = ({ affine }: QuantTraits) =>
  ({
    codes: "buffer u32",
    scales: "buffer f32",
    biases: affine && "buffer f32",
  }) as const;

/**
 * `quad_at(i, j)`: four values of row i from column j on, j a multiple of four, rows counted from the first that is
 * bound. What it gives behind the end of a row is anything. `product` is how a scale and a level are multiplied.
 */
export function quantReader(
  { affine }: QuantTraits,
  { product }: { product: string },
): string {
  const perBlock = affine ? ["scales", "biases"] : ["scales"];
  return /* wgsl */ `
${BLOCK_CONSTANTS}
/** True if four codes never go beyond a word. */
override ALIGNED: bool;
/** True if they never go beyond a block. */
override WHOLE: bool;

/** A word of the codes, the first in the lowest bits. */
fn word_at(at: u32) -> u32 {
  let word = codes[at];
  if (HIGH) {
    return ((word & 0x0f0f0f0fu) << 4u) | ((word >> 4u) & 0x0f0f0f0fu);
  }
  return word;
}

/** Index of the scale of the element at row i and column j. */
fn block_at(i: u32, j: u32) -> u32 {
  if (FLAT) {
    return p.firstBlock + block_of(p.phase + i * p.width + j);
  }
  return p.firstBlock + i * p.lineBlocks + block_of(j);
}

fn blocks_at(i: u32, j: u32) -> vec4<u32> {
  if (WHOLE) {
    return vec4<u32>(block_at(i, j));
  }
  return vec4<u32>(
    block_at(i, j),
    block_at(i, j + 1u),
    block_at(i, j + 2u),
    block_at(i, j + 3u),
  );
}

${
    perBlock.map((name) => `
fn ${name}_of(at: vec4<u32>) -> vec4<f32> {
  if (WHOLE) {
    return vec4<f32>(${name}[at.x]);
  }
  return vec4<f32>(${name}[at.x], ${name}[at.y], ${name}[at.z], ${name}[at.w]);
}`).join("\n")
  }
${
    affine
      ? `
fn level_of(code: u32) -> f32 {
  return f32(code);
}`
      : `
/** Fifteen choices: no table that threads would have to share, or to read one by one. */
fn level_of(code: u32) -> f32 {
  var four = p.levels[0];
  if (BITS > 2u) {
    four = select(four, p.levels[1], (code & 4u) != 0u);
  }
  if (BITS > 3u) {
    let high = select(p.levels[2], p.levels[3], (code & 4u) != 0u);
    four = select(four, high, (code & 8u) != 0u);
  }
  let two = select(four.xy, four.zw, (code & 2u) != 0u);
  return select(two.x, two.y, (code & 1u) != 0u);
}`
  }

fn quad_at(i: u32, j: u32) -> vec4<f32> {
  let at = p.firstBit + i * p.lineBits + j * BITS;
  let low = at & 31u;
  var word = word_at(at >> 5u) >> low;
  if (!ALIGNED) {
    // Two steps, as no shift may be by 32.
    word |= (word_at((at >> 5u) + 1u) << 1u) << (31u - low);
  }
  let mask = (1u << BITS) - 1u;
  let level = vec4<f32>(
    level_of(word & mask),
    level_of((word >> BITS) & mask),
    level_of((word >> (2u * BITS)) & mask),
    level_of((word >> (3u * BITS)) & mask),
  );
  let block = blocks_at(i, j);
  let scale = scales_of(block);
  return ${product}${affine ? " + biases_of(block)" : ""};
}
`;
}
