/**
 * Sums of squares and products of linear layers' inputs.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";

/** Takes the moments of a module. */
export type WriteMoments = (
  module: string,
  moments: Float32Array<ArrayBuffer>,
) => Promise<void>;

interface Sum {
  readonly buffer: DeviceBuffer;
  readonly into: Mat;
  /** Tokens so far. */
  rows: number;
}

/** Sums of the inputs of layers over tokens, on a device. */
export class MomentSums implements Disposable {
  readonly #device: Device;
  readonly #kind: "diag" | "full";
  readonly #sums = new Map<string, Sum>();
  readonly #memory = new DisposableStack();

  /** @param options `diag`: of squares; `full`: of products too. */
  constructor(
    { device, kind }: { device: Device; kind: "diag" | "full" },
  ) {
    this.#device = device;
    this.#kind = kind;
  }

  /** The layers so far, with the size of their inputs, in the order in which they came. */
  get inputs(): Map<string, number> {
    return new Map(
      [...this.#sums].map(([module, { into }]) => [module, into.cols]),
    );
  }

  /** Adds the inputs `x[tokens, in]` of a linear layer. */
  add(module: string, x: Mat): void {
    const { ops } = this.#device;
    const found = this.#sums.get(module);
    const full = this.#kind === "full";
    const sum = found ?? this.#room(x.cols, full);
    const { buffer, into } = sum;
    if (full) {
      ops.gemm({
        a: x,
        b: x,
        c: into,
        transA: true,
        ...(found && { beta: 1, add: into }),
      });
    } else {
      ops.columnSums({ x, out: buffer, square: true, beta: found ? 1 : 0 });
    }
    sum.rows += x.rows;
    this.#sums.set(module, sum);
  }

  /** Writes the mean over the tokens of each layer, in the order in which they came. */
  async write(write: WriteMoments): Promise<void> {
    for (const [module, { buffer, rows }] of this.#sums) {
      const values = await readF32(this.#device, buffer);
      await write(module, values.map((x) => x / rows));
    }
  }

  /** Frees them. */
  [Symbol.dispose](): void {
    this.#memory.dispose();
  }

  #room(cols: number, full: boolean): Sum {
    const rows = full ? cols : 1;
    const buffer = this.#memory.use(this.#device.alloc(rows * cols * 4));
    return { buffer, into: mat(buffer, rows, cols), rows: 0 };
  }
}
