/**
 * HQQ's packing of codes: a matrix `[groups, group]` is cut into as many parts as codes fit into a word, one below the
 * other, and word `[i, j]` holds the codes `[i, j]` of all parts, the first part's highest.
 *
 * @module
 */

import type { Format } from "../../quant/formats.ts";

/** One way of packing. */
export interface HqqPacking {
  /** HQQ's name of it. */
  readonly name: string;
  readonly bits: Format["bits"];
  /** Codes in a word. */
  readonly parts: number;
  /** Type of a word. */
  readonly dtype: "u8" | "i32";
}

/**
 * HQQ's packings (hqq/core/bitpack.py) by the bits of a code; 3-bit codes leave two bits of a word unused, a 5-bit code
 * three of a byte.
 */
export const HQQ_PACKINGS: Readonly<Record<Format["bits"], HqqPacking>> = {
  5: { name: "8bit_u8", bits: 5, parts: 1, dtype: "u8" },
  4: { name: "4bit_u8", bits: 4, parts: 2, dtype: "u8" },
  3: { name: "3bit_32", bits: 3, parts: 10, dtype: "i32" },
  2: { name: "2bit_u8", bits: 2, parts: 4, dtype: "u8" },
};

/**
 * Rows of words that `groups` groups take; undefined if HQQ cannot pack that many: bytes want a multiple of their
 * codes, only 3-bit words are filled up.
 */
export function hqqWordRows(
  { parts, dtype }: HqqPacking,
  groups: number,
): number | undefined {
  if (dtype === "u8" && groups % parts !== 0) return undefined;
  return Math.ceil(groups / parts);
}

/** Packs codes `[groups, group]`, one a byte; 3-bit words are filled up with 0. */
export function packHqq(
  packing: HqqPacking,
  { codes, groups, group }: {
    codes: Uint8Array;
    groups: number;
    group: number;
  },
): Uint8Array<ArrayBuffer> {
  const { bits, parts, dtype } = packing;
  const step = Math.ceil(groups / parts) * group;
  const words = dtype === "u8" ? new Uint8Array(step) : new Uint32Array(step);
  for (let i = 0; i < codes.length; i++) {
    const part = Math.floor(i / step);
    words[i - part * step] |= codes[i] << bits * (parts - 1 - part);
  }
  return new Uint8Array(words.buffer);
}

/**
 * Codes of groups `from` up to `to`, one a byte; `read` gives the bytes of rows of words.
 *
 * @param rows Rows of words.
 */
export async function unpackHqq(
  { bits, parts, dtype }: HqqPacking,
  read: (from: number, to: number) => Promise<Uint8Array<ArrayBuffer>>,
  { rows, group, from, to }: {
    rows: number;
    group: number;
    from: number;
    to: number;
  },
): Promise<Uint8Array<ArrayBuffer>> {
  const out = new Uint8Array((to - from) * group);
  // Where the groups go around, words hold several of their codes: each is read once.
  const all = to - from > rows ? await read(0, rows) : undefined;
  const mask = (1 << bits) - 1;
  for (let part = Math.floor(from / rows); part * rows < to; part++) {
    const first = Math.max(from, part * rows);
    const end = Math.min(to, (part + 1) * rows);
    const [a, b] = [first - part * rows, end - part * rows];
    const width = (all?.length ?? 0) / rows;
    const bytes = all?.subarray(a * width, b * width) ?? await read(a, b);
    const { buffer, byteOffset, byteLength } = bytes;
    const words = dtype === "u8"
      ? bytes
      : new Uint32Array(buffer, byteOffset, byteLength / 4);
    const shift = bits * (parts - 1 - part);
    const at = (first - from) * group;
    for (let i = 0; i < words.length; i++) {
      out[at + i] = words[i] >> shift & mask;
    }
  }
  return out;
}
