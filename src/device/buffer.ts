/**
 * Memory of a device, and matrices in it.
 *
 * @module
 */

import { ValueError } from "../errors.ts";

/** Memory owned by a device. Freed by `using` or {@linkcode Disposable}, never by the collector. */
export interface DeviceBuffer extends Disposable {
  /** Size in bytes, as asked for. */
  readonly bytes: number;
}

/** A row-major f32 matrix inside a buffer; `stride` elements lie between the starts of two rows. */
export interface Mat {
  /** Where the values are. */
  readonly buffer: DeviceBuffer;
  /** Offset of element (0, 0) in elements (not bytes). */
  readonly offset: number;
  /** Number of rows. */
  readonly rows: number;
  /** Number of columns. */
  readonly cols: number;
  /** Elements from the start of a row to that of the next, at least `cols`. */
  readonly stride: number;
}

/**
 * A matrix view of the whole of `buffer`, or of a part that starts at element `offset`.
 *
 * @example
 * ```ts
 * import { mat, openDevice } from "@loqa/loqa";
 *
 * using device = await openDevice("wasm");
 * using x = device.alloc(4 * 6);
 * using y = device.alloc(4 * 4);
 * device.write(x, Float32Array.of(1, 2, 3, 4, 5, 6));
 * const a = mat(x, 2, 3); // the same six numbers, as they are and transposed
 * device.ops.gemm({ a, b: a, transB: true, c: mat(y, 2, 2) });
 * console.log(new Float32Array((await device.read(y)).buffer)); // 14 32 32 77
 * ```
 */
export function mat(
  buffer: DeviceBuffer,
  rows: number,
  cols: number,
  offset = 0,
  stride: number = cols,
): Mat {
  const last = rows === 0 || cols === 0
    ? offset
    : offset + (rows - 1) * stride + cols;
  if (stride < cols || offset < 0 || last * 4 > buffer.bytes) {
    throw new ValueError(
      `Cannot view a ${rows} x ${cols} matrix (offset ${offset}, stride ${stride}): it ends at byte ${
        last * 4
      }, the buffer holds ${buffer.bytes}`,
    );
  }
  return { buffer, rows, cols, offset, stride };
}
