/**
 * Rotary position embeddings (RoPE; Su et al., 2104.09864), with the scalings that checkpoints ask for.
 *
 * @module
 */

import type { RopeTables } from "../autograd/elementwise.ts";
import type { Device } from "../device/device.ts";
import { mat } from "../device/buffer.ts";
import type { RopeScaling } from "../families/rope.ts";

/** RoPE settings, which fix the angles. */
export interface RopeOptions {
  /** Head dimension: features of a head. */
  readonly headDim: number;
  /** RoPE theta: base of the geometric series of frequencies. */
  readonly theta: number;
  readonly scaling: RopeScaling;
}

/** Angle per position of each pair of features, `[headDim / 2]`. */
export function ropeFrequencies(
  { headDim, theta, scaling }: RopeOptions,
): Float64Array {
  const half = headDim >> 1;
  return Float64Array.from({ length: half }, (_, i) => {
    const frequency = 1 / theta ** (2 * i / headDim);
    if (scaling.type === "default") return frequency;
    if (scaling.type === "linear") return frequency / scaling.factor;
    const { factor, lowFreqFactor: low, highFreqFactor: high, originalLength } =
      scaling;
    const wavelength = 2 * Math.PI / frequency;
    if (wavelength > originalLength / low) return frequency / factor;
    if (wavelength < originalLength / high) return frequency;
    const smooth = (originalLength / wavelength - low) / (high - low);
    return (1 - smooth) * frequency / factor + smooth * frequency;
  });
}

/** Cosines and sines of positions 0 up to `positions` on a device; whoever asks for them disposes of them. */
export function ropeTables(
  device: Device,
  positions: number,
  options: RopeOptions,
): RopeTables & Disposable {
  const frequencies = ropeFrequencies(options);
  const half = frequencies.length;
  const table = (f: (angle: number) => number): Float32Array => {
    const out = new Float32Array(positions * half);
    for (let p = 0; p < positions; p++) {
      for (let i = 0; i < half; i++) out[p * half + i] = f(p * frequencies[i]);
    }
    return out;
  };
  const memory = new DisposableStack();
  const put = (values: Float32Array) => {
    const buffer = memory.use(device.alloc(values.byteLength));
    device.write(buffer, values);
    return mat(buffer, positions, half);
  };
  return {
    cos: put(table(Math.cos)),
    sin: put(table(Math.sin)),
    [Symbol.dispose]: () => memory.dispose(),
  };
}
