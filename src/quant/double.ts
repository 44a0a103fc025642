/**
 * Double quantisation: the scales of a codebook matrix in 8 bits, as bitsandbytes nests them
 * (`compress_statistics`; Dettmers et al., QLoRA, 2305.14314, section 3).
 *
 * @module
 */

const { fround } = Math;

/** Scales that share one nested scale. */
export const NESTED_BLOCK = 256;

/** Scales in 8 bits: `scale[i] = map[codes[i]] * absmax[i / 256] + offset`, each step in f32. */
export interface NestedScales {
  /** One code a scale. */
  readonly codes: Uint8Array<ArrayBuffer>;
  /** One f32 for every {@linkcode NESTED_BLOCK} scales. */
  readonly absmax: Float32Array<ArrayBuffer>;
  /** The 256 values of a code, ascending. */
  readonly map: Float32Array<ArrayBuffer>;
  /** Mean of the scales, an f32. */
  readonly offset: number;
}

/**
 * The signed 8-bit dynamic map (Dettmers, 1511.04561): for each power of ten from 1e-6 to 1 the midpoints of twice
 * as many intervals of [0.1, 1] as for the one before, with both signs; 0; and 1. Built step by step in f32, as
 * `bitsandbytes.functional.create_dynamic_map` does.
 */
export function dynamicMap(): Float32Array<ArrayBuffer> {
  const values = [0, 1];
  for (let i = 0; i < 7; i++) {
    const power = fround(10 ** (i - 6));
    const edges = linspace(0.1, 1, (1 << i) + 1);
    for (let j = 0; j + 1 < edges.length; j++) {
      const mean = fround(fround(edges[j] + edges[j + 1]) / 2);
      const value = fround(power * mean);
      values.push(value, -value);
    }
  }
  return Float32Array.from(values).sort();
}

/**
 * `torch.linspace` in f32: a step in f32, then a fused multiply-add a value; the lower half counts up from the
 * start, the upper down from the end.
 */
function linspace(start: number, end: number, n: number): Float32Array {
  const first = fround(start);
  const step = fround(fround(end - first) / (n - 1));
  const half = Math.floor(n / 2);
  return Float32Array.from(
    { length: n },
    (_, i) => i < half ? first + step * i : end - step * (n - 1 - i),
  );
}

/** Size of bitsandbytes' lookup table over [-1, 1]. */
const GRID = 65535;

let table: Uint8Array | undefined;

/** For each of 65536 points of [-1, 1], the code of the nearest value of the map. */
function lookup(map: Float32Array): Uint8Array {
  if (table === undefined) {
    table = new Uint8Array(GRID + 1);
    let code = 0;
    for (let i = 0; i <= GRID; i++) {
      const x = -1 + (2 * i) / GRID;
      while (code < 255 && x > (map[code] + map[code + 1]) / 2) code++;
      table[i] = code;
    }
  }
  return table;
}

/**
 * Quantises `scales` to 8 bits.
 *
 * Given the same offset the result is that of bitsandbytes' CPU kernel byte for byte, which rounds to a grid of
 * 65536 points first; its CUDA kernel compares with the map itself, and near a tie (about one code in a
 * thousand) may choose the neighbour. The offset that bitsandbytes takes is a mean summed in f32 in an order that
 * depends on the machine; ours is the f64 mean, so the two may differ in the last bits.
 *
 * @param scales One f32 a block, all finite.
 * @param options `offset` replaces the mean.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { nestScales } from "@loqa/loqa";
 *
 * const { codes, absmax } = nestScales(new Float32Array(512).fill(0.1));
 * assert.deepEqual([codes.length, absmax.length], [512, 2]); // a byte a scale, an f32 for 256
 * ```
 */
export function nestScales(
  scales: Float32Array,
  options: { offset?: number } = {},
): NestedScales {
  const n = scales.length;
  let sum = 0;
  for (const s of scales) sum += s;
  const offset = fround(options.offset ?? (n === 0 ? 0 : sum / n));
  const map = dynamicMap();
  const nearest = lookup(map);
  const codes = new Uint8Array(n);
  const absmax = new Float32Array(Math.ceil(n / NESTED_BLOCK));
  for (let b = 0; b < absmax.length; b++) {
    const block = scales.subarray(b * NESTED_BLOCK, (b + 1) * NESTED_BLOCK)
      .map((s) => s - offset);
    for (const d of block) absmax[b] = Math.max(absmax[b], Math.abs(d));
    // A block of zeros takes code 0, which its scale of 0 turns into 0.
    if (absmax[b] === 0) continue;
    const inverse = fround(1 / absmax[b]);
    for (let i = 0; i < block.length; i++) {
      const x = fround(block[i] * inverse);
      const at = fround(fround(fround(x + 1) * 0.5) * GRID);
      codes[b * NESTED_BLOCK + i] = nearest[Math.floor(at + 0.5)];
    }
  }
  return { codes, absmax, map, offset };
}

/**
 * The f32 scales that nested ones stand for.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { nestScales, unnestScales } from "@loqa/loqa";
 *
 * const scales = new Float32Array(256).fill(0.5);
 * assert.deepEqual(unnestScales(nestScales(scales)), scales);
 * ```
 */
export function unnestScales(
  { codes, absmax, map, offset }: NestedScales,
): Float32Array<ArrayBuffer> {
  const out = new Float32Array(codes.length);
  for (let i = 0; i < out.length; i++) {
    const product = fround(
      map[codes[i]] * absmax[Math.floor(i / NESTED_BLOCK)],
    );
    out[i] = product + offset;
  }
  return out;
}
