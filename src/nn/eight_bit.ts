/**
 * A dense weight in 8 bits for products with few rows, which are bound by its size: the LM head in decode steps (M = 1).
 *
 * Groups of 32 along a row get 256 levels between their ends, `w ≈ s c + b`. A code is taken apart into two of four bits,
 * `c = 16 high + low`, so that the weight is the sum of two int4 matrices, for which there are kernels.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { LinearWeight } from "../autograd/linear_weight.ts";
import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import { format } from "../quant/formats.ts";
import { allocQuant } from "../quant/quantize.ts";
import type { OwnedWeight } from "./linear.ts";

const GROUP = 32;

/** Rows that a product may have to be taken in 8 bits. */
const FEW_ROWS = 4;

/** Values that are read at a time. */
const CHUNK = 2 ** 20;

/** True if {@linkcode ownEightBit} can take rows of `cols` values. */
export function fitsEightBit(cols: number): boolean {
  return cols > 0 && cols % GROUP === 0;
}

/**
 * `dense`, whose values are `value[out, in]`, with products of up to four rows in 8 bits; its other products stay as they
 * are. It takes 12 bits a weight besides `value`.
 *
 * @throws {RangeError} If the rows are no whole groups, see {@linkcode fitsEightBit}.
 */
export async function ownEightBit(
  device: Device,
  dense: LinearWeight,
  value: Mat,
): Promise<OwnedWeight> {
  const { rows, cols } = value;
  if (!fitsEightBit(cols)) {
    throw new ValueError(
      `Cannot take a weight in 8 bits: wanted rows of whole groups of ${GROUP}, got ${cols} values`,
    );
  }
  using memory = new DisposableStack();
  const room = () =>
    memory.use(
      allocQuant(device, format("int4"), { rows, cols, block: GROUP }),
    );
  const [high, low] = [room(), room()];
  const step = Math.max(1, Math.floor(CHUNK / cols));
  for (let from = 0; from < rows; from += step) {
    const count = Math.min(step, rows - from);
    const { buffer, offset, stride } = value;
    const data = await readF32(
      device,
      buffer,
      offset + from * stride,
      (count - 1) * stride + cols,
    );
    const parts = takeApart(data, { rows: count, cols, stride });
    const groups = cols / GROUP * 4;
    for (
      const [q, { codes, scales, biases }] of [
        [high, parts.high],
        [low, parts.low],
      ] as const
    ) {
      device.write(q.codes, codes, from * cols / 2);
      device.write(q.scales, scales, from * groups);
      device.write(q.biases!, biases, from * groups);
    }
  }
  const owned = memory.move();
  return {
    weight: {
      ...dense,
      forward(on, x, { y, add }) {
        if (x.rows > FEW_ROWS) return dense.forward(on, x, { y, add });
        const plus = add && { beta: 1, add };
        const { gemmInt8 } = on.ops;
        gemmInt8({ a: x, q: high, c: y, transQ: true, ...plus });
        gemmInt8({ a: x, q: low, c: y, transQ: true, beta: 1, add: y });
      },
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** An int4 matrix of some rows, packed. */
interface Part {
  readonly codes: Uint8Array<ArrayBuffer>;
  readonly scales: Float32Array<ArrayBuffer>;
  readonly biases: Float32Array<ArrayBuffer>;
}

function takeApart(
  data: Float32Array,
  { rows, cols, stride }: { rows: number; cols: number; stride: number },
): { high: Part; low: Part } {
  const groups = rows * cols / GROUP;
  const part = (): Part => ({
    codes: new Uint8Array(rows * cols / 2),
    scales: new Float32Array(groups),
    biases: new Float32Array(groups),
  });
  const [high, low] = [part(), part()];
  for (let g = 0; g < groups; g++) {
    const row = Math.floor(g * GROUP / cols);
    const at = row * stride + g * GROUP % cols;
    let least = Infinity;
    let most = -Infinity;
    for (let j = at; j < at + GROUP; j++) {
      const x = data[j];
      if (x < least) least = x;
      if (x > most) most = x;
    }
    const scale = Math.fround((most - least) / 255);
    const inverse = scale > 0 ? 1 / scale : 0;
    high.scales[g] = 16 * scale;
    high.biases[g] = least;
    low.scales[g] = scale;
    for (let j = 0; j < GROUP; j += 2) {
      const a = Math.min(255, Math.round((data[at + j] - least) * inverse));
      const b = Math.min(255, Math.round((data[at + j + 1] - least) * inverse));
      const byte = (g * GROUP + j) >> 1;
      high.codes[byte] = a >> 4 | b >> 4 << 4;
      low.codes[byte] = a & 15 | (b & 15) << 4;
    }
  }
  return { high, low };
}
