/**
 * The reference device: plain TypeScript, f64 accumulation, one thread. It is the oracle of the conformance table
 * and the fallback where there is no WebAssembly; clear before fast.
 *
 * @module
 */

import { checked, type OperationArgs } from "../operations.ts";
import {
  gemmProducts,
  gemmQuantizedSizes,
  gemmSizes,
} from "../contract/gemm.ts";
import { ValueError } from "../../errors.ts";
import type { DeviceBuffer, Mat } from "../buffer.ts";
import type { PartialDevice } from "../device.ts";
import { type QuantMat, quantSizes } from "../quant_mat.ts";
import { takenInInt8 } from "../int8.ts";
import { roundedGradient, roundedRows } from "./int8.ts";
import { choleskyFactor, dot, jacobiSvd, orthonormalize } from "./linalg.ts";
import { Buffer, f32, load, Memory, own, store, u8 } from "./memory.ts";
import { dequantizeValues, quantizeValues } from "./quant.ts";
import { rowOperations } from "./rows.ts";
import { normOperations } from "./norm.ts";
import { ropeOperations } from "./rope.ts";
import { activationOperations } from "./activation.ts";
import { lossOperations } from "./loss.ts";
import { optimizerOperations } from "./optimizer.ts";
import { scoreOperations } from "./scores.ts";
import { attentionOperations } from "./attention.ts";

/** A dense f64 copy of what `q` stands for, row-major. */
function loadQuantized(q: QuantMat): Float64Array {
  const { codeBytes } = quantSizes(q.spec, q.rows, q.cols, q.block);
  return dequantizeValues(q, {
    codes: u8(q.codes).subarray(0, codeBytes),
    scales: f32(q.scales),
    biases: q.spec.levels === null ? f32(q.biases!) : null,
  });
}

/** The codes of `q`, row-major. */
function loadCodes(q: QuantMat): Float64Array {
  const { blocks, codeBytes } = quantSizes(q.spec, q.rows, q.cols, q.block);
  return dequantizeValues(q, {
    codes: u8(q.codes).subarray(0, codeBytes),
    scales: new Float32Array(blocks).fill(1),
    biases: new Float32Array(blocks),
  });
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

function gemm(args: OperationArgs<"gemm">): void {
  const sizes = gemmSizes(args);
  for (const product of gemmProducts(args)) {
    multiply(product, {
      ...sizes,
      a: load(product.a, product.transA),
      b: load(product.b, !product.transB),
    });
  }
}

function gemmQuantized(args: OperationArgs<"gemmQuantized">): void {
  const sizes = gemmQuantizedSizes(args);
  const { q, transQ } = args;
  const values = loadQuantized(q);
  multiply(args, {
    ...sizes,
    a: load(args.a),
    b: transQ
      ? values
      : values.map((_, i) =>
        values[i % q.rows * q.cols + Math.floor(i / q.rows)]
      ),
  });
}

function gemmInt8(args: OperationArgs<"gemmInt8">): void {
  if (!takenInInt8(args)) return gemmQuantized(args);
  const sizes = gemmQuantizedSizes(args);
  const { q, transQ } = args;
  if (transQ) {
    multiply(args, { ...sizes, a: roundedRows(args), b: loadQuantized(q) });
    return;
  }
  const { m, n } = sizes;
  const product = roundedGradient(args, loadCodes(q));
  const identity = new Float64Array(n * n);
  for (let j = 0; j < n; j++) identity[j * n + j] = 1;
  multiply(args, { m, n, k: n, a: product, b: identity });
}

/**
 * `c = alpha * a * b + beta * add`; `b` holds the rows of its transpose, so that each element is a dot product of two
 * contiguous runs.
 */
function multiply(
  { c, add, alpha = 1, beta = 0 }: {
    c: Mat;
    add?: Mat;
    alpha?: number;
    beta?: number;
  },
  { m, n, k, a, b }:
    & Record<"m" | "n" | "k", number>
    & Record<"a" | "b", Float64Array>,
): void {
  const out = add && beta !== 0
    ? load(add).map((x) => beta * x)
    : new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    const row = a.subarray(i * k, (i + 1) * k);
    for (let j = 0; j < n; j++) {
      out[i * n + j] += alpha * dot(row, b.subarray(j * k, (j + 1) * k));
    }
  }
  store(c, out);
}

function quantize(args: OperationArgs<"quantize">): void {
  const { w, q, scale: rule, weight } = args;
  const result = quantizeValues(q, Float32Array.from(load(w)), {
    rule,
    weights: weight && f32(weight),
  });
  u8(q.codes).set(result.codes);
  f32(q.scales).set(result.scales);
  if (result.biases) f32(q.biases!).set(result.biases);
}

function dequantize(args: OperationArgs<"dequantize">): void {
  const { q, out, from } = args;
  const values = loadQuantized(q);
  store(out, from ? load(from).map((x, i) => x - values[i]) : values);
}

function rowSquares(args: OperationArgs<"rowSquares">): void {
  const { rows, cols } = args.x;
  const x = load(args.x);
  const out = f32(args.out);
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0; j < cols; j++) sum += x[i * cols + j] ** 2;
    out[i] = sum;
  }
}

function scaleColumns(args: OperationArgs<"scaleColumns">): void {
  const by = f32(args.by);
  store(args.out, load(args.x).map((x, i) => x * by[i % args.x.cols]));
}

function roundHalf(args: OperationArgs<"roundHalf">): void {
  store(args.out, load(args.x).map((x) => Math.f16round(x)));
}

function qr(args: OperationArgs<"qr">): void {
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

function cholesky(args: OperationArgs<"cholesky">): void {
  const n = args.h.rows;
  const h = load(args.h);
  let trace = 0;
  for (let i = 0; i < n; i++) trace += h[i * n + i];
  for (let i = 0; i < n; i++) h[i * n + i] += args.damping * trace / n;
  store(args.l, choleskyFactor(h, n));
}

function solveRight(args: OperationArgs<"solveRight">): void {
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

function svd(args: OperationArgs<"svd">): void {
  const k = Math.min(args.a.rows, args.a.cols);
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
    ops: checked({
      gemm,
      quantize,
      dequantize,
      gemmQuantized,
      gemmInt8,
      rowSquares,
      scaleColumns,
      roundHalf,
      qr,
      cholesky,
      solveRight,
      svd,
      ...attentionOperations,
      ...rowOperations,
      ...normOperations,
      ...ropeOperations,
      ...activationOperations,
      ...lossOperations,
      ...optimizerOperations,
      ...scoreOperations,
    }),
    alloc(bytes: number): DeviceBuffer {
      if (!Number.isInteger(bytes) || bytes < 0) {
        throw new ValueError(
          `Cannot allocate ${bytes} bytes: wanted a whole number >= 0`,
        );
      }
      try {
        return new Buffer(bytes, memory);
      } catch (cause) {
        throw new ValueError(`Cannot allocate ${bytes} bytes`, { cause });
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
    [Symbol.dispose](): void {
      memory.end();
    },
  });
}

function checkRange(buffer: DeviceBuffer, at: number, bytes: number): void {
  if (at < 0 || bytes < 0 || at + bytes > buffer.bytes) {
    throw new ValueError(
      `Cannot reach bytes ${at} to ${
        at + bytes
      } of a buffer: it holds ${buffer.bytes}`,
    );
  }
}
