/**
 * The reference device: plain TypeScript, f64 accumulation, one thread. It is the oracle of the conformance table
 * and the fallback where there is no WebAssembly; clear before fast.
 *
 * @module
 */

import {
  checkCholesky,
  checkDequantize,
  checkGemm,
  checkQr,
  checkQuantize,
  checkRowSquares,
  checkScaleColumns,
  checkSolveRight,
  checkSvd,
} from "./check.ts";
import type {
  DeviceBuffer,
  Mat,
  Operations,
  PartialDevice,
  QuantMat,
} from "./device.ts";
import { quantSizes } from "./device.ts";
import { packCodes, unpackCodes } from "./pack.ts";
import {
  choleskyFactor,
  dot,
  jacobiSvd,
  orthonormalize,
} from "./reference_linalg.ts";
import { chooseRange, decode, encode } from "./reference_quant.ts";

class Memory {
  bytes = 0;
  peakBytes = 0;

  add(bytes: number): void {
    this.bytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.bytes);
  }
}

class Buffer implements DeviceBuffer {
  readonly bytes: number;
  #data: ArrayBuffer | null;
  #memory: Memory;

  constructor(bytes: number, memory: Memory) {
    this.bytes = bytes;
    this.#data = new ArrayBuffer(Math.ceil(bytes / 4) * 4);
    // What is not written yet reads as NaN, so that nobody comes to rely on zeros.
    new Uint8Array(this.#data).fill(0xff);
    this.#memory = memory;
    memory.add(bytes);
  }

  get data(): ArrayBuffer {
    if (this.#data === null) {
      throw new TypeError("Cannot use a buffer: it was freed");
    }
    return this.#data;
  }

  [Symbol.dispose](): void {
    if (this.#data === null) return;
    this.#data = null;
    this.#memory.add(-this.bytes);
  }
}

function own(buffer: DeviceBuffer): Buffer {
  if (!(buffer instanceof Buffer)) {
    throw new TypeError("Cannot use a buffer: it belongs to another device");
  }
  return buffer;
}

function f32(buffer: DeviceBuffer): Float32Array {
  return new Float32Array(own(buffer).data);
}

function u8(buffer: DeviceBuffer): Uint8Array {
  return new Uint8Array(own(buffer).data);
}

/** A dense f64 copy of `x`, row-major, or of its transpose. */
function load(x: Mat, transpose = false): Float64Array {
  const data = f32(x.buffer);
  const out = new Float64Array(x.rows * x.cols);
  const [down, right] = transpose ? [1, x.rows] : [x.cols, 1];
  for (let i = 0; i < x.rows; i++) {
    for (let j = 0; j < x.cols; j++) {
      out[i * down + j * right] = data[x.offset + i * x.stride + j];
    }
  }
  return out;
}

/** Rounds dense row-major values into `x`. */
function store(x: Mat, values: ArrayLike<number>): void {
  const data = f32(x.buffer);
  for (let i = 0; i < x.rows; i++) {
    for (let j = 0; j < x.cols; j++) {
      data[x.offset + i * x.stride + j] = values[i * x.cols + j];
    }
  }
}

/** Columns of a dense `[rows, cols]` array. */
function columnsOf(
  values: Float64Array,
  rows: number,
  cols: number,
): Float64Array[] {
  return Array.from(
    { length: cols },
    (_, j) =>
      Float64Array.from({ length: rows }, (_, i) => values[i * cols + j]),
  );
}

/** First element (in row-major order) and length of each block of a quantised matrix. */
function* blocksOf(
  { spec, rows, cols, block }: QuantMat,
): Generator<{ start: number; length: number }> {
  const [lines, line] = spec.grouping === "flat"
    ? [1, rows * cols]
    : [rows, cols];
  for (let i = 0; i < lines; i++) {
    for (let at = 0; at < line; at += block || line) {
      yield {
        start: i * line + at,
        length: Math.min(block || line, line - at),
      };
    }
  }
}

function gemm(args: Parameters<Operations["gemm"]>[0]): void {
  const { m, n, k } = checkGemm(args);
  const { alpha = 1, beta = 0 } = args;
  const a = load(args.a, args.transA);
  // Rows of bᵀ, so that each element is a dot product of two contiguous runs.
  const b = load(args.b, !args.transB);
  const c = args.add && beta !== 0
    ? load(args.add).map((x) => beta * x)
    : new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    const row = a.subarray(i * k, (i + 1) * k);
    for (let j = 0; j < n; j++) {
      c[i * n + j] += alpha * dot(row, b.subarray(j * k, (j + 1) * k));
    }
  }
  store(args.c, c);
}

function quantize(args: Parameters<Operations["quantize"]>[0]): void {
  checkQuantize(args);
  const { w, q, scale: rule } = args;
  const values = Float32Array.from(load(w));
  const weight = args.weight ? f32(args.weight) : undefined;
  const codes = new Uint8Array(values.length);
  const scales = f32(q.scales);
  const biases = q.spec.levels === null ? f32(q.biases!) : null;
  let block = 0;
  for (const { start, length } of blocksOf(q)) {
    const range = chooseRange(
      q.spec,
      values.subarray(start, start + length),
      {
        rule,
        weights: weight &&
          Float32Array.from({ length }, (_, i) => weight[(start + i) % q.cols]),
      },
    );
    for (let i = start; i < start + length; i++) {
      codes[i] = encode(q.spec, values[i], range);
    }
    scales[block] = range.scale;
    if (biases) biases[block] = range.bias;
    block++;
  }
  u8(q.codes).set(packCodes(q.spec, { rows: q.rows, cols: q.cols, codes }));
}

function dequantize(args: Parameters<Operations["dequantize"]>[0]): void {
  checkDequantize(args);
  const { q, out, from } = args;
  const { codeBytes } = quantSizes(q.spec, q.rows, q.cols, q.block);
  const codes = unpackCodes(q.spec, {
    rows: q.rows,
    cols: q.cols,
    codes: u8(q.codes).subarray(0, codeBytes),
  });
  const scales = f32(q.scales);
  const biases = q.spec.levels === null ? f32(q.biases!) : null;
  const values = new Float64Array(codes.length);
  let block = 0;
  for (const { start, length } of blocksOf(q)) {
    const range = { scale: scales[block], bias: biases ? biases[block] : 0 };
    for (let i = start; i < start + length; i++) {
      values[i] = decode(q.spec, codes[i], range);
    }
    block++;
  }
  store(out, from ? load(from).map((x, i) => x - values[i]) : values);
}

function rowSquares(args: Parameters<Operations["rowSquares"]>[0]): void {
  checkRowSquares(args);
  const { rows, cols } = args.x;
  const x = load(args.x);
  const out = f32(args.out);
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0; j < cols; j++) sum += x[i * cols + j] ** 2;
    out[i] = sum;
  }
}

function scaleColumns(args: Parameters<Operations["scaleColumns"]>[0]): void {
  checkScaleColumns(args);
  const by = f32(args.by);
  store(args.out, load(args.x).map((x, i) => x * by[i % args.x.cols]));
}

function qr(args: Parameters<Operations["qr"]>[0]): void {
  checkQr(args);
  const { y, r } = args;
  const columns = columnsOf(load(y), y.rows, y.cols);
  store(r, orthonormalize(columns));
  store(y, rowsFromColumns(columns, y.rows));
}

/** Dense row-major values from columns. */
function rowsFromColumns(
  columns: readonly Float64Array[],
  rows: number,
): Float64Array {
  const n = columns.length;
  const out = new Float64Array(rows * n);
  for (let j = 0; j < n; j++) {
    for (let i = 0; i < rows; i++) out[i * n + j] = columns[j][i];
  }
  return out;
}

function cholesky(args: Parameters<Operations["cholesky"]>[0]): void {
  checkCholesky(args);
  const n = args.h.rows;
  const h = load(args.h);
  let trace = 0;
  for (let i = 0; i < n; i++) trace += h[i * n + i];
  for (let i = 0; i < n; i++) h[i * n + i] += args.damping * trace / n;
  store(args.l, choleskyFactor(h, n));
}

function solveRight(args: Parameters<Operations["solveRight"]>[0]): void {
  checkSolveRight(args);
  const { rows, cols: n } = args.x;
  const x = load(args.x);
  // Row by row z * t = x with t triangular: lower from the last column on, its transpose from the first.
  const t = load(args.l, args.transpose);
  const order = Array.from(
    { length: n },
    (_, i) => args.transpose ? i : n - 1 - i,
  );
  for (let i = 0; i < rows; i++) {
    const z = x.subarray(i * n, (i + 1) * n);
    for (const j of order) {
      z[j] /= t[j * n + j];
      const [from, to] = args.transpose ? [j + 1, n] : [0, j];
      for (let k = from; k < to; k++) z[k] -= z[j] * t[j * n + k];
    }
  }
  store(args.x, x);
}

function svd(args: Parameters<Operations["svd"]>[0]): void {
  const k = checkSvd(args);
  const { rows, cols } = args.a;
  const tall = rows >= cols;
  // The columns of the tall one of a and aᵀ.
  const values = load(args.a);
  const columns = tall
    ? columnsOf(values, rows, cols)
    : Array.from({ length: rows }, (_, i) =>
      values.slice(i * cols, (i + 1) * cols));
  const { sigma, columns: scaled, v } = jacobiSvd(columns);
  const order = Array.from(sigma.keys()).sort((i, j) => sigma[j] - sigma[i]);
  const long = order.map((j) =>
    scaled[j].map((x) => sigma[j] === 0 ? 0 : x / sigma[j])
  );
  const short = order.map((j) => v[j]);
  const [u, vt] = tall ? [long, short] : [short, long];
  store(args.s, order.map((j) => sigma[j]));
  store(args.u, rowsFromColumns(u, rows));
  for (let j = 0; j < k; j++) {
    store(
      { ...args.vt, rows: 1, offset: args.vt.offset + j * args.vt.stride },
      vt[j],
    );
  }
}

/** Opens the reference device. */
export function openReferenceDevice(): Promise<PartialDevice> {
  const memory = new Memory();
  return Promise.resolve({
    name: "reference",
    description: "reference (plain TypeScript, f64, 1 thread)",
    threads: 1,
    memory,
    ops: {
      gemm,
      quantize,
      dequantize,
      rowSquares,
      scaleColumns,
      qr,
      cholesky,
      solveRight,
      svd,
    },
    alloc(bytes: number): DeviceBuffer {
      if (!Number.isInteger(bytes) || bytes < 0) {
        throw new RangeError(
          `Cannot allocate ${bytes} bytes: wanted a whole number >= 0`,
        );
      }
      try {
        return new Buffer(bytes, memory);
      } catch (cause) {
        throw new RangeError(`Cannot allocate ${bytes} bytes`, { cause });
      }
    },
    write(buffer: DeviceBuffer, data: ArrayBufferView, at = 0): void {
      checkRange(buffer, at, data.byteLength);
      u8(buffer).set(
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        at,
      );
    },
    read(
      buffer: DeviceBuffer,
      at = 0,
      bytes = buffer.bytes - at,
    ): Promise<Uint8Array<ArrayBuffer>> {
      checkRange(buffer, at, bytes);
      return Promise.resolve(
        new Uint8Array(own(buffer).data.slice(at, at + bytes)),
      );
    },
    [Symbol.dispose](): void {},
  });
}

function checkRange(buffer: DeviceBuffer, at: number, bytes: number): void {
  if (at < 0 || bytes < 0 || at + bytes > buffer.bytes) {
    throw new RangeError(
      `Cannot reach bytes ${at} to ${
        at + bytes
      } of a buffer: it holds ${buffer.bytes}`,
    );
  }
}
