/**
 * Pieces of text that the kernels of products in 8 bits share.
 *
 * @module
 */

import { range, times } from "./text.wgsl.ts";

/** Threads of a workgroup of a kernel with {@linkcode eachText}. */
export const EACH_THREADS = 64;

/** `(value(0), … value(3))`. */
export function four(value: (i: number) => string): string {
  return `(${range(4).map(value).join(", ")})`;
}

/**
 * The body of a kernel that does `body` for each `number` below `p.count`, a thread each. Groups: `grid` of them by
 * {@linkcode EACH_THREADS}.
 */
export function eachText(body: string): string {
  return /* wgsl */ `
  let number = (group.x + group.y * groups.x) * ${EACH_THREADS}u + thread;
  if (number < p.count) {${body}}`;
}

/** Declares `four_codes`, which gives four neighbours of the binding `codes` from a bit on. */
export const CODES_TEXT = /* wgsl */ `
override BITS: u32;

fn four_codes(at: u32) -> vec4u {
  let low = at & 31u;
  var word = codes[at >> 5u] >> low;
  if (32u % BITS != 0u) {
    // Codes may go on in the next word. Two steps, as no shift may be by 32.
    word |= (codes[(at >> 5u) + 1u] << 1u) << (31u - low);
  }
  let all = vec4u(word, word >> BITS, word >> (2u * BITS), word >> (3u * BITS));
  return all & vec4u((1u << BITS) - 1u);
}
`;

/** Sizes of a tile: threads along its rows and its columns, each with 4 x 4 values, and words that are brought at once. */
export interface Int8Tile {
  readonly down: number;
  readonly across: number;
  /** Text of a number. */
  readonly depth: string;
}

/** Declares a workgroup's memory: of each word of a turn four rows of the left side, or columns of the right, in one. */
export function sidesText(
  { down, across }: Pick<Int8Tile, "down" | "across">,
  depth: number,
): string {
  return /* wgsl */ `
var<workgroup> left: array<vec4u, ${depth * down}>;
var<workgroup> right: array<vec4u, ${depth * across}>;
`;
}

/** Declares a thread's values: `sum0` … `sum3`, rows of four, and the whole numbers that go into them, `dot0` … `dot3`. */
export const SUMS_TEXT = times(
  4,
  (i) => `var sum${i} = vec4f(); var dot${i} = vec4i();`,
);

/** Adds the products of a turn. */
export function dotsText({ down, across, depth }: Int8Tile): string {
  return /* wgsl */ `
    workgroupBarrier();
    for (var one = 0u; one < ${depth}; one += 1u) {
      let x = left[one * ${down}u + local.y];
      let q = right[one * ${across}u + local.x];
      ${
    times(4, (i) =>
      `dot${i} += vec4i${
        four((j) => `dot4I8Packed(x[${i}], q[${j}])`)
      };`)
  }
    }`;
}

/** Stores a thread's values, the first of which is at `row` and `col` (texts). */
export function putText(row: string, col: string): string {
  return times(
    4,
    (i) =>
      times(
        4,
        (j) => `put(0u, ${row} + ${i}u, ${col} + ${j}u, sum${i}[${j}]);`,
      ),
  );
}
