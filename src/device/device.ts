/**
 * The device contract: buffers in, buffers out.
 *
 * A device is a place where matrices live and a table of operations on them. `reference` is plain
 * TypeScript that accumulates in f64 and is the oracle; `wasm` and (later) `webgpu` pass the same
 * conformance table, `tests/conformance`.
 *
 * What this layer does *not* do: it knows no number format by name, no LoftQ and no model; it does
 * not broadcast, promote or allocate results. Work is enqueued in the order of the calls, and only
 * {@linkcode Device.read} waits for it: on a GPU one wait costs about 11 ms whatever its size, so
 * no algorithm may read inside a loop that it can do without.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { NetworkOperations } from "./contract/network.ts";

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

/** A matrix view of the whole of `buffer`, or of a part that starts at element `offset`. */
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

/** How a number format turns weights into codes; the rows of `src/quant/formats.ts` have this shape. */
export interface QuantSpec {
  /** Bits of one code; 5 in an affine format only. */
  readonly bits: 2 | 3 | 4 | 5;
  /**
   * Codebook of at most `2^bits` values in ascending order (`w = scale * levels[code]`), or null for an affine
   * format (`w = scale * code + bias`).
   */
  readonly levels: Float32Array | null;
  /**
   * Decision thresholds of the codebook, one fewer than levels: `x > thresholds[i]` picks a code above `i`, a
   * tie stays below. Null for an affine format.
   */
  readonly thresholds: Float32Array | null;
  /**
   * `flat`: blocks of consecutive elements of the flattened row-major matrix, straddling rows.
   * `row`: groups along each row; the last group of a row may be short.
   */
  readonly grouping: "flat" | "row";
  /**
   * Order of codes in the bit stream. `high`: the first code of a byte sits in its high bits (4 bits only, as
   * bitsandbytes does). `low`: code `i` occupies bits `[i * bits, (i + 1) * bits)` of a little-endian stream.
   * A `flat` stream runs over the whole matrix, a `row` stream starts anew at a byte boundary in each row.
   */
  readonly order: "high" | "low";
}

/**
 * How the scale of a block is chosen.
 *
 * - `absmax`: the largest magnitude; for an affine format the range is `[-absmax, absmax]`.
 * - `minmax`: the range `[min, max]` (affine only).
 * - `mse`: the best of 25 shrink factors from 1 to 0.4, of absmax (codebook) or of half the range
 *   around its middle (affine), by squared error, each error weighted by `weight[column]` if given.
 * - `std`: mean + 2.5 standard deviations of the signed block (LoftQ's own uniform quantiser, codebook only).
 * - `clip`: the range mean ± 2 standard deviations, clipped to the data's own (LoftQ's GLUE quantiser, affine only).
 */
export type ScaleRule = "absmax" | "minmax" | "mse" | "std" | "clip";

/** A quantised matrix on a device. Sizes of the buffers: {@linkcode quantSizes}. */
export interface QuantMat {
  /** The number format. */
  readonly spec: QuantSpec;
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** Elements of a block; 0 means the whole matrix (`flat`) or the whole row (`row`). */
  readonly block: number;
  /** Packed codes. */
  readonly codes: DeviceBuffer;
  /** One f32 a block. */
  readonly scales: DeviceBuffer;
  /** One f32 a block for an affine format, else null. */
  readonly biases: DeviceBuffer | null;
}

/** Whether a format has a scale and a bias for each group along a row. */
export function hasGroups(
  { levels, grouping }: Pick<QuantSpec, "levels" | "grouping">,
): boolean {
  return levels === null && grouping === "row";
}

/** Number of blocks and of bytes of packed codes of a quantised `rows` x `cols` matrix. */
export function quantSizes(
  spec: QuantSpec,
  rows: number,
  cols: number,
  block: number,
): { blocks: number; codeBytes: number } {
  const n = rows * cols;
  if (spec.grouping === "flat") {
    const size = block || Math.max(n, 1);
    return {
      blocks: Math.ceil(n / size),
      codeBytes: Math.ceil((n * spec.bits) / 8),
    };
  }
  const size = block || Math.max(cols, 1);
  return {
    blocks: rows * Math.ceil(cols / size),
    codeBytes: rows * Math.ceil((cols * spec.bits) / 8),
  };
}

/**
 * Several products of one shape, at equal distances: the `i`-th takes each matrix `i` times so many elements after
 * where its view begins. The results of two products may not overlap (they may interleave, as the heads of an
 * attention layer do).
 */
export interface GemmBatch {
  /** Products. */
  readonly count: number;
  /** From one `a` to the next; 0 for one that all products share. */
  readonly a: number;
  /** From one `b` to the next; 0 for one that all products share. */
  readonly b: number;
  /** From one `c` to the next. */
  readonly c: number;
  /** From one addend to the next, 0 for a shared one; as `c` without it. */
  readonly add?: number;
}

/** The products of a batch one by one, for a device that takes them so; `args` itself where there is no batch. */
export function* gemmProducts(
  args: Parameters<Operations["gemm"]>[0],
): Generator<Parameters<Operations["gemm"]>[0]> {
  const { batch, ...first } = args;
  if (!batch) yield first;
  const move = (x: Mat, by: number) => ({ ...x, offset: x.offset + by });
  for (let i = 0; i < (batch?.count ?? 0); i++) {
    const { a, b, c, add = c } = batch!;
    yield {
      ...first,
      a: move(first.a, i * a),
      b: move(first.b, i * b),
      c: move(first.c, i * c),
      add: first.add && move(first.add, i * add),
    };
  }
}

/**
 * The operations. Sizes: `m`, `n`, `k` of a product, `r` rank, `l` columns of a tall matrix.
 *
 * An output may not alias an input unless its line says so. Shapes are checked by `src/device/contract/check.ts`, once
 * for all devices, with a `TypeError`.
 */
export interface Operations extends NetworkOperations {
  /**
   * `c[m, n] = alpha * op(a)[m, k] * op(b)[k, n] + beta * add[m, n]`; `add` may be `c`; without `add`, `c` is only
   * written. With `batch`, so many products of the same shape.
   */
  gemm(args: {
    a: Mat;
    b: Mat;
    c: Mat;
    transA?: boolean;
    transB?: boolean;
    alpha?: number;
    beta?: number;
    add?: Mat;
    batch?: GemmBatch;
  }): void;

  /**
   * `q = quantise(w[m, n])`, codes packed. `weight`: `[n]` f32, for `mse` only.
   *
   * Codebook: `x = w * (1 / scale)` in f32 (a reciprocal, then a product), then the thresholds. Affine:
   * `code = clamp(roundHalfEven((w - bias) * (1 / scale)))` in f32. A scale of magnitude below 1e-38 counts as 1e-38
   * in the reciprocal (as in bitsandbytes), so that a block of scale 0 takes `x = 0`. No fused or relaxed arithmetic, so that codes are the same on every device (for `mse` up to near ties of the search).
   */
  quantize(args: {
    w: Mat;
    q: QuantMat;
    scale: ScaleRule;
    weight?: DeviceBuffer;
  }): void;

  /** `out[m, n] = dequantise(q)`, or `from - dequantise(q)` where `from[m, n]` is given; `from` may be `out`. */
  dequantize(args: { q: QuantMat; out: Mat; from?: Mat }): void;

  /**
   * `c[m, n] = alpha * a[m, k] * dequantise(q)[k, n] + beta * add[m, n]`, or with `transQ` the same of the transpose of
   * `q[n, k]`: a linear layer's product is `x * qᵀ`, that of its gradient `dy * q`. `add` may be `c`; without `add`, `c`
   * is only written. Codes are turned into values as the product needs them, a part of the matrix at a time.
   */
  gemmQuantized(args: {
    a: Mat;
    q: QuantMat;
    c: Mat;
    transQ?: boolean;
    alpha?: number;
    beta?: number;
    add?: Mat;
  }): void;

  /**
   * As {@linkcode gemmQuantized}, with the left side rounded to 8 bits where the device has integer arithmetic for it and
   * `q` is affine in groups along its rows: with `transQ`, each row of `a` by its groups, `a ≈ scale * byte` with
   * `scale = max |a| / 127`; without, each row of `a` times the scales of a group of columns, in blocks of 128 inner indices.
   * Codes are taken as they are, so that the rounding of `a` is the only error: at most half a step of each of its
   * values (a step of the gradient is `max |a| * max scale / 127`). Other formats and shapes are multiplied in f32.
   */
  gemmInt8(args: Parameters<Operations["gemmQuantized"]>[0]): void;

  /** `out[i] = Σ_j x[i, j]²`, one f32 a row in a buffer of `[m]`, each accumulated in a fixed order (f64 where the device has it). */
  rowSquares(args: { x: Mat; out: DeviceBuffer }): void;

  /** `out[m, n] = x[m, n] * diag(by)` with `by: [n]` f32; `out` may be `x`. */
  scaleColumns(args: { x: Mat; by: DeviceBuffer; out: Mat }): void;

  /**
   * `out[m, n] = x[m, n]` rounded to the nearest value that f16 has, ties to even; beyond its range infinity. `out` may
   * be `x`. For scales and biases that are stored in 16 bits: what is computed with them is then what is stored.
   */
  roundHalf(args: { x: Mat; out: Mat }): void;

  /**
   * Orthonormalises the columns of a tall `y[m, l]` in place, `m >= l`: `y = q * r`, `q` overwrites `y`, `r[l, l]`
   * is upper triangular. `‖qᵀq - I‖ <= 1e-5` for full column rank (condition up to 1e6). A column that depends on
   * those before it becomes zero in `q`, with a zero on the diagonal of `r`.
   */
  qr(args: { y: Mat; r: Mat }): void;

  /**
   * `l[n, n]` lower triangular with `l * lᵀ = h[n, n] + damping * mean(diag h) * I`, zeros above the diagonal; `l`
   * may be `h`. A matrix that is not positive definite gives a NaN at `l[n - 1, n - 1]`.
   */
  cholesky(args: { h: Mat; l: Mat; damping: number }): void;

  /** `x[m, n] <- x * l⁻¹` (or `x * l⁻ᵀ` with `transpose`), `l[n, n]` lower triangular, in place. */
  solveRight(args: { x: Mat; l: Mat; transpose?: boolean }): void;

  /**
   * Thin exact SVD `a[m, n] = u[m, k] * diag(s[1, k]) * vt[k, n]`, `k = min(m, n)`, singular values descending, each
   * within 1e-5 relative of the f64 one (computed in f64). Small and medium matrices. Rows of `vt` and columns of
   * `u` that belong to a zero singular value are zero.
   */
  svd(args: { a: Mat; u: Mat; s: Mat; vt: Mat }): void;
}

/** Name of an operation. */
export type OperationName = keyof Operations;

/** Every operation of the contract, so that `open.ts` and the conformance table can list what a device lacks. */
export const OPERATIONS: readonly OperationName[] = [
  "gemm",
  "quantize",
  "dequantize",
  "gemmQuantized",
  "gemmInt8",
  "rowSquares",
  "scaleColumns",
  "roundHalf",
  "qr",
  "cholesky",
  "solveRight",
  "svd",
];

/** Name of a device. */
export type DeviceName = "reference" | "wasm" | "webgpu";

/** What a device's own file exports: the operations it has, the others simply missing. */
export interface PartialDevice extends Disposable {
  /** Which device it is. */
  readonly name: DeviceName;
  /** One line for a person: threads, SIMD, adapter. */
  readonly description: string;
  /** Threads that work on one operation. */
  readonly threads: number;
  /** What it can do. */
  readonly ops: Partial<Operations>;

  /** Bytes now allocated in buffers, and the most there were since the device opened. */
  readonly memory: { readonly bytes: number; readonly peakBytes: number };

  /** Uninitialised memory. @throws {RangeError} If the device cannot give `bytes`. */
  alloc(bytes: number): DeviceBuffer;

  /** Copies `data` into `buffer` from byte `at` (0) on, in the order of the calls. */
  write(buffer: DeviceBuffer, data: ArrayBufferView, at?: number): void;

  /** Waits for the work so far and copies `bytes` (all) from byte `at` (0) on into new ordinary memory. */
  read(
    buffer: DeviceBuffer,
    at?: number,
    bytes?: number,
  ): Promise<Uint8Array<ArrayBuffer>>;
}

/** A device with every operation of the contract; see `openDevice`. */
export interface Device extends PartialDevice {
  /** What it can do: everything. */
  readonly ops: Operations;
}

/** Reads `count` f32 values from element `at` on (by default the whole buffer). */
export async function readF32(
  device: PartialDevice,
  buffer: DeviceBuffer,
  at = 0,
  count: number = Math.floor(buffer.bytes / 4) - at,
): Promise<Float32Array<ArrayBuffer>> {
  return new Float32Array(
    (await device.read(buffer, at * 4, count * 4)).buffer,
  );
}
