/**
 * Codebooks of the number formats, as f32 values in ascending order.
 *
 * @module
 */

/**
 * NormalFloat 4: the table of bitsandbytes to the bit (`quant_map` of its files). Regenerating it from normal
 * quantiles in f64 misses some values by 4e-8, so it is written out.
 */
export const NF4_LEVELS: Float32Array = Float32Array.of(
  -1,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1,
);

/** NormalFloat 3: `NFQuantizer.create_normal_map(num_bits=3)` of LoftQ (asymmetric, offset 0.9677083). */
export const NF3_LEVELS: Float32Array = Float32Array.of(
  -1,
  -0.4786292016506195,
  -0.217141792178154,
  0,
  0.16093020141124725,
  0.33791524171829224,
  0.5626170039176941,
  1,
);

/** NormalFloat 2: `NFQuantizer.create_normal_map(num_bits=2)` of LoftQ; each of its levels is one of NF4's. */
export const NF2_LEVELS: Float32Array = Float32Array.of(
  -1,
  0,
  0.33791524171829224,
  1,
);

/**
 * `2^bits` equally spaced levels from -1 to 1 (no zero), as `torch.linspace` rounds them: a step in f32, a fused
 * multiply-add a level, the upper half mirrors the lower.
 */
export function uniformLevels(bits: number): Float32Array {
  const n = 1 << bits;
  const step = Math.fround(2 / (n - 1));
  const levels = new Float32Array(n);
  for (let i = 0; i < n / 2; i++) {
    levels[i] = -1 + step * i;
    levels[n - 1 - i] = -levels[i];
  }
  return levels;
}

/**
 * Decision thresholds halfway between neighbours, rounded to f32: the nearest level, ties to the lower one. For
 * NF4 these are the constants of bitsandbytes' kernels to the bit.
 */
export function midpoints(levels: Float32Array): Float32Array {
  const out = new Float32Array(levels.length - 1);
  for (let i = 0; i < out.length; i++) {
    out[i] = Math.fround(levels[i] + levels[i + 1]) / 2;
  }
  return out;
}
