/**
 * LoRA factors in ordinary memory: those found on a device, and the default LoRA initialisation where nothing was found.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import { type Matrix, matrix } from "../tensor/matrix.ts";
import { Random } from "../tensor/random.ts";

/** `lora_A: [rank, in]` and `lora_B: [out, rank]`. */
export interface Factors {
  readonly a: Matrix;
  readonly b: Matrix;
}

/** Shape of an adapter and the seed of its random start. */
export interface AdapterShape {
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  readonly rank: number;
  readonly seed: number;
  /** Label of the random numbers: the layer's name. */
  readonly name: string;
}

/**
 * Default LoRA initialisation, also QLoRA's: A uniform in `±1 / sqrt(in)` (PEFT's `kaiming_uniform_` with `a = √5`), B
 * zero.
 */
export function loraStart(
  { rows, cols, rank, seed, name }: AdapterShape,
): Factors {
  const factors = { a: matrix(rank, cols), b: matrix(rows, rank) };
  reviveDead(factors, new Random(seed, name));
  return factors;
}

/**
 * Starts A at random in each direction where A and B are zero, as they are beyond the rank of what they stand for:
 * neither would get a gradient. Their product stays the same.
 */
function reviveDead({ a, b }: Factors, random: Random): void {
  const { rows: rank, cols } = a;
  const bound = 1 / Math.sqrt(cols);
  for (let j = 0; j < rank; j++) {
    const row = a.data.subarray(j * cols, (j + 1) * cols);
    if (row.some((x) => x !== 0)) continue;
    let i = j;
    while (i < b.data.length && b.data[i] === 0) i += rank;
    if (i < b.data.length) continue;
    for (let n = 0; n < cols; n++) row[n] = (2 * random.uniform() - 1) * bound;
  }
}

/**
 * Reads the factors `b[rows, k]` and `a[k, cols]` from a device. Beyond `k`, the rank that the matrix can have, and
 * where they are zero, they are as {@linkcode loraStart} has them, so that training can use them.
 */
export async function readFactors(
  device: Device,
  { b, a }: { b: Mat; a: Mat },
  options: AdapterShape,
): Promise<Factors> {
  const { rows, cols, rank, seed, name } = options;
  const k = a.rows;
  const [left, right] = await Promise.all([
    readF32(device, b.buffer, b.offset, rows * k),
    readF32(device, a.buffer, a.offset, k * cols),
  ]);
  const whole = k === rank
    ? { a: matrix(rank, cols, right), b: matrix(rows, rank, left) }
    : { a: matrix(rank, cols), b: matrix(rows, rank) };
  if (k < rank) {
    whole.a.data.set(right);
    for (let i = 0; i < rows; i++) {
      whole.b.data.set(left.subarray(i * k, (i + 1) * k), i * rank);
    }
  }
  reviveDead(whole, new Random(seed, name));
  return whole;
}
