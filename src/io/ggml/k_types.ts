/**
 * Decoders of ggml's K types and of IQ4: blocks of 256 values with a scale (and minimum) for each 16 or 32 of them.
 *
 * Values are those of the gguf Python package bit for bit. Every product and difference below is exact in f64 (an f16
 * scale, a 6- or 8-bit scale of the group and a code take 27 bits at most, an f16 minimum's multiple ends at the same
 * 2^-24), so it is rounded once, on storing, where f32 arithmetic rounds at most once, too: at its last operation.
 *
 * @module
 */

import { type DecodeBlocks, halfTable, words } from "./fields.ts";

/** 16 groups of 16: `w = d * scale * q - dmin * min`, 4 bits a scale and a minimum, 2 a code. */
export const decodeQ2K: DecodeBlocks = (input, out) => {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; p += 84) {
    const d = half[w[p + 80 >> 1]];
    const dmin = half[w[p + 82 >> 1]];
    for (let g = 0; g < 16; g++, o += 16) {
      const s = bytes[p + g];
      const scale = d * (s & 15);
      const min = dmin * (s >> 4);
      const shift = g & 6;
      const q = p + 16 + (g >> 3) * 32 + (g & 1) * 16;
      for (let j = 0; j < 16; j++) {
        out[o + j] = scale * (bytes[q + j] >> shift & 3) - min;
      }
    }
  }
};

/** 16 groups of 16: `w = d * (scale - 32) * (q - 4)`, 6 bits a scale, 3 a code, whose highest lies apart. */
export const decodeQ3K: DecodeBlocks = (input, out) => {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; p += 110) {
    const d = half[w[p + 108 >> 1]];
    for (let g = 0; g < 16; g++, o += 16) {
      const low = bytes[p + 96 + (g & 7)] >> (g >> 3) * 4 & 15;
      const high = bytes[p + 104 + (g & 3)] >> (g >> 2) * 2 & 3;
      const scale = d * ((low | high << 4) - 32);
      const shift = g & 6;
      const bit = g >> 1;
      const h = p + (g & 1) * 16;
      const q = h + 32 + (g >> 3) * 32;
      for (let j = 0; j < 16; j++) {
        out[o + j] = scale *
          ((bytes[q + j] >> shift & 3 | (bytes[h + j] >> bit & 1) << 2) - 4);
      }
    }
  }
};

/** 8 groups of 32: `w = d * scale * q - dmin * min`, 6 bits a scale and a minimum, 4 a code. */
export const decodeQ4K: DecodeBlocks = (input, out) => {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; p += 144) {
    const d = half[w[p >> 1]];
    const dmin = half[w[(p >> 1) + 1]];
    for (let g = 0; g < 8; g++, o += 32) {
      const scale = d * groupScale(bytes, p + 4, g);
      const min = dmin * groupMin(bytes, p + 4, g);
      const shift = (g & 1) * 4;
      const q = p + 16 + (g >> 1) * 32;
      for (let j = 0; j < 32; j++) {
        out[o + j] = scale * (bytes[q + j] >> shift & 15) - min;
      }
    }
  }
};

/** As Q4_K, with 5 bits a code, whose highest lies apart. */
export const decodeQ5K: DecodeBlocks = (input, out) => {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; p += 176) {
    const d = half[w[p >> 1]];
    const dmin = half[w[(p >> 1) + 1]];
    for (let g = 0; g < 8; g++, o += 32) {
      const scale = d * groupScale(bytes, p + 4, g);
      const min = dmin * groupMin(bytes, p + 4, g);
      const shift = (g & 1) * 4;
      const h = p + 16;
      const q = p + 48 + (g >> 1) * 32;
      for (let j = 0; j < 32; j++) {
        out[o + j] = scale *
            (bytes[q + j] >> shift & 15 | (bytes[h + j] >> g & 1) << 4) -
          min;
      }
    }
  }
};

/** 16 groups of 16: `w = d * scale * (q - 32)`, 8 bits a scale, 6 a code, whose highest two lie apart. */
export const decodeQ6K: DecodeBlocks = (input, out) => {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; p += 210) {
    const d = half[w[p + 208 >> 1]];
    for (let g = 0; g < 16; g++, o += 16) {
      const scale = d * (bytes[p + 192 + g] << 24 >> 24);
      const q = p + (g >> 3) * 64 + (g & 3) * 16;
      const shift = g & 4;
      const h = p + 128 + (g >> 3) * 32 + (g & 1) * 16;
      const high = g & 6;
      for (let j = 0; j < 16; j++) {
        out[o + j] = scale *
          ((bytes[q + j] >> shift & 15 | (bytes[h + j] >> high & 3) << 4) - 32);
      }
    }
  }
};

/** 256 values of an f32 scale and signed bytes: `w = d * q`; their sums, which follow, say nothing more. */
export const decodeQ8K: DecodeBlocks = (bytes, out) => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let o = 0, p = 0; o < out.length; o += 256, p += 292) {
    const d = view.getFloat32(p, true);
    for (let j = 0; j < 256; j++) {
      out[o + j] = d * (bytes[p + 4 + j] << 24 >> 24);
    }
  }
};

/** Values of the codes of IQ4, in steps of a block's or group's scale. */
const IQ4_VALUES = Int8Array.of(
  ...[-127, -104, -83, -65, -49, -35, -22, -10],
  ...[1, 13, 25, 38, 53, 69, 89, 113],
);

/** Blocks of 32: `w = d * value[q]`. */
export const decodeIQ4NL: DecodeBlocks = (input, out) => {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; o += 32, p += 18) {
    const d = half[w[p >> 1]];
    for (let j = 0; j < 16; j++) {
      const q = bytes[p + 2 + j];
      out[o + j] = d * IQ4_VALUES[q & 15];
      out[o + 16 + j] = d * IQ4_VALUES[q >> 4];
    }
  }
};

/** 8 groups of 32: `w = d * (scale - 32) * value[q]`, 6 bits a scale. */
export const decodeIQ4XS: DecodeBlocks = (input, out) => {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; p += 136) {
    const d = half[w[p >> 1]];
    const highs = w[(p >> 1) + 1];
    for (let g = 0; g < 8; g++, o += 32) {
      const low = bytes[p + 4 + (g >> 1)] >> (g & 1) * 4 & 15;
      const scale = d * ((low | (highs >> 2 * g & 3) << 4) - 32);
      for (let j = 0; j < 16; j++) {
        const q = bytes[p + 8 + g * 16 + j];
        out[o + j] = scale * IQ4_VALUES[q & 15];
        out[o + 16 + j] = scale * IQ4_VALUES[q >> 4];
      }
    }
  }
};

/** Scale of group `g` of Q4_K and Q5_K, whose 12 bytes begin at `p`: 6 bits, those of the last four groups in two pieces. */
function groupScale(bytes: Uint8Array, p: number, g: number): number {
  return g < 4
    ? bytes[p + g] & 63
    : bytes[p + 4 + g] & 15 | bytes[p + g - 4] >> 2 & 48;
}

/** Minimum of group `g`, beside its scale. */
function groupMin(bytes: Uint8Array, p: number, g: number): number {
  return g < 4
    ? bytes[p + 4 + g] & 63
    : bytes[p + 4 + g] >> 4 | bytes[p + g] >> 2 & 48;
}
