/**
 * Matrices on a device for one conformance case, with guards around every view.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Device } from "../../src/device/device.ts";
import type { DeviceBuffer, Mat } from "../../src/device/buffer.ts";
import type { QuantMat } from "../../src/device/quant_mat.ts";
import { mat } from "../../src/device/buffer.ts";
import { readF32 } from "../../src/device/device.ts";
import type { FormatName } from "../../src/quant/formats.ts";
import { format } from "../../src/quant/formats.ts";
import { allocQuant } from "../../src/quant/quantize.ts";
import { type Matrix, matrix } from "../../src/tensor/matrix.ts";

/** Elements before a view, and between its rows. */
export interface View {
  readonly offset: number;
  readonly gap: number;
}

/** The whole of a buffer. */
export const WHOLE: View = { offset: 0, gap: 0 };

/** An odd start and a stride that is no multiple of a vector. */
export const INNER: View = { offset: 3, gap: 5 };

const GUARD = 12345.5;

/** Guards after a vector. */
const AFTER = 5;

/** Name of a case: its size, then its marks, those that are there. */
export function named(
  size: string,
  ...marks: (string | false | undefined)[]
): string {
  const list = marks.filter(Boolean).join(", ");
  return list ? `${size} (${list})` : size;
}

/** Owns the buffers of one case. */
export class Workspace implements Disposable {
  readonly device: Device;
  #memory = new DisposableStack();

  constructor(device: Device) {
    this.device = device;
  }

  /** A buffer with these values. */
  vector(values: Float32Array | Int32Array | Uint32Array): DeviceBuffer {
    const buffer = this.#memory.use(this.device.alloc(values.byteLength));
    this.device.write(buffer, values);
    return buffer;
  }

  /** A buffer with these values and guards after them; {@linkcode values} reads it back. */
  guarded(values: Float32Array): DeviceBuffer {
    const all = new Float32Array(values.length + AFTER).fill(GUARD);
    all.set(values);
    return this.vector(all);
  }

  /** Reads the values of a guarded buffer back, after checking its guards. */
  async values(buffer: DeviceBuffer): Promise<Float32Array> {
    const all = await readF32(this.device, buffer);
    assert.ok(
      all.subarray(-AFTER).every((v) => v === GUARD),
      "an operation wrote past the end of a vector",
    );
    return all.subarray(0, -AFTER);
  }

  /** `x` on the device; guards surround a view. */
  put(x: Matrix, { offset, gap }: View = WHOLE): Mat {
    const stride = x.cols + gap;
    const values = new Float32Array(offset + x.rows * stride + gap)
      .fill(GUARD);
    for (let i = 0; i < x.rows; i++) {
      values.set(
        x.data.subarray(i * x.cols, (i + 1) * x.cols),
        offset + i * stride,
      );
    }
    return mat(this.vector(values), x.rows, x.cols, offset, stride);
  }

  /** Room for a result, full of NaN: values that an operation leaves out show. */
  room(rows: number, cols: number, view: View = WHOLE): Mat {
    return this.put(
      matrix(rows, cols, new Float32Array(rows * cols).fill(NaN)),
      view,
    );
  }

  /** Reads a matrix back, after checking the guards around it. */
  async get(x: Mat): Promise<Matrix> {
    const all = await readF32(this.device, x.buffer);
    const out = matrix(x.rows, x.cols);
    for (let i = 0; i < x.rows; i++) {
      const start = x.offset + i * x.stride;
      out.data.set(all.subarray(start, start + x.cols), i * x.cols);
      all.fill(GUARD, start, start + x.cols);
    }
    assert.ok(
      all.every((v) => v === GUARD),
      "an operation wrote outside its view",
    );
    return out;
  }

  /** Room for a quantised matrix. */
  quant(
    name: FormatName,
    shape: { rows: number; cols: number; block?: number },
  ): QuantMat & { readonly spec: ReturnType<typeof format> } {
    return this.#memory.use(allocQuant(this.device, format(name), shape));
  }

  [Symbol.dispose](): void {
    this.#memory.dispose();
  }
}
