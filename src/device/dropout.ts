/**
 * Elements that a dropout drops: by a hash of a seed and an element's number, the same on every device.
 *
 * @module
 */

/**
 * A u32 from a seed and a number, both u32: two rounds of a multiplicative mix (the constants are those of
 * Wellons' "lowbias32" search), the seed mixed first so that neighbouring seeds have nothing in common.
 */
export function dropoutHash(seed: number, element: number): number {
  return mix((mix(seed) + element) >>> 0);
}

/** The least hash that is kept, a u32: `min(ceil(rate * 2^32), 2^32 - 1)` for `0 <= rate < 1`. */
export function dropoutThreshold(rate: number): number {
  return Math.min(Math.ceil(rate * 2 ** 32), 2 ** 32 - 1);
}

/** Factor of a kept element: `1 / (1 - rate)`, as an f32. */
export function dropoutFactor(rate: number): number {
  return Math.fround(1 / (1 - rate));
}

function mix(x: number): number {
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  x ^= x >>> 16;
  return x >>> 0;
}
