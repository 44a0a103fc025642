/**
 * Quantises matrices in ordinary memory, and moves quantised matrices to and from a device.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import type { QuantMat, ScaleRule } from "../device/quant_mat.ts";
import { mat } from "../device/buffer.ts";
import { quantSizes } from "../device/quant_mat.ts";
import { readF32 } from "../device/device.ts";
import { checkMatrix, type Matrix, matrix } from "../tensor/matrix.ts";
import { type Format, format, type FormatName, scaleRules } from "./formats.ts";
import { padLastByte } from "./pack.ts";
import type { QuantizedMatrix } from "./quantized.ts";

/** Settings of {@linkcode quantize}. */
export interface QuantizeSettings {
  /** Number format. */
  readonly format: FormatName;
  /** Elements of a block, 0 for the whole matrix or row; the format's default without it. */
  readonly block?: number;
  /** Rule of the scales; the format's default without it. */
  readonly scale?: ScaleRule;
  /** Weight of each column's squared error, `[cols]`, finite and not negative; with scale `mse` only. */
  readonly weights?: Float32Array;
  /** Name of the matrix in errors. */
  readonly name?: string;
}

/** A quantised matrix on a device, with its memory. */
export interface OwnedQuantMat extends QuantMat, Disposable {
  /** The row of the format table that `spec` is. */
  readonly spec: Format;
}

/**
 * Checks that every value is finite.
 *
 * @throws {RangeError} With the row and column of the first that is not.
 */
export function checkFinite(weight: Matrix, name = "the matrix"): void {
  checkMatrix(weight, name);
  // x * 0 is 0 for a finite x and NaN otherwise: one cheap pass, a second only to say where.
  let sum = 0;
  for (const x of weight.data) sum += x * 0;
  if (sum === 0) return;
  const at = weight.data.findIndex((x) => !Number.isFinite(x));
  throw new ValueError(
    `Cannot quantize ${name}: wanted finite values, got ${
      weight.data[at]
    } at row ${Math.floor(at / weight.cols)}, column ${at % weight.cols}`,
  );
}

/**
 * Quantises `weight[rows, cols]`.
 *
 * @throws {RangeError} If a value is not finite, the block is not a whole number, or a block's range overflows f32.
 * @throws {TypeError} If the scale rule does not fit the format, or there are not `cols` weights.
 */
export async function quantize(
  device: Device,
  weight: Matrix,
  options: QuantizeSettings,
): Promise<QuantizedMatrix> {
  const name = options.name ?? "the matrix";
  const row = format(options.format);
  const { rows, cols } = weight;
  const { block = row.defaultBlock, scale = row.defaultScale, weights } =
    options;
  if (!Number.isInteger(block) || block < 0) {
    throw new ValueError(
      `Cannot quantize ${name}: block must be a whole number >= 0, got ${block}`,
    );
  }
  if (!scaleRules(row).includes(scale)) {
    throw new KindError(
      `Cannot quantize ${name}: scale "${scale}" does not fit ${row.name}, wanted one of ${
        scaleRules(row).join(", ")
      }`,
    );
  }
  if (weights) checkWeights(weights, { cols, scale, name });
  checkFinite(weight, name);

  using memory = new DisposableStack();
  const alloc = (bytes: number) => memory.use(device.alloc(bytes));
  const w = mat(alloc(weight.data.byteLength), rows, cols);
  device.write(w.buffer, weight.data);
  let by;
  if (weights) {
    by = alloc(weights.byteLength);
    device.write(by, weights);
  }
  const q = memory.use(allocQuant(device, row, { rows, cols, block }));
  device.ops.quantize({ w, q, scale, weight: by });
  const result = await download(device, q);
  const overflow = result.scales.findIndex((s) => !Number.isFinite(s));
  if (overflow >= 0) {
    throw new ValueError(
      `Cannot quantize ${name}: the range of block ${overflow} overflows f32`,
    );
  }
  return result;
}

function checkWeights(
  weights: Float32Array,
  { cols, scale, name }: { cols: number; scale: ScaleRule; name: string },
): void {
  if (scale !== "mse") {
    throw new KindError(
      `Cannot quantize ${name}: weights need scale "mse", got "${scale}"`,
    );
  }
  if (weights.length !== cols) {
    throw new KindError(
      `Cannot quantize ${name}: wanted ${cols} weights, one a column, got ${weights.length}`,
    );
  }
  const at = weights.findIndex((x) => !(x >= 0 && x < Infinity));
  if (at >= 0) {
    throw new ValueError(
      `Cannot quantize ${name}: weights must be finite and >= 0, got ${
        weights[at]
      } for column ${at}`,
    );
  }
}

/** The f32 values of `q`. */
export async function dequantize(
  device: Device,
  q: QuantizedMatrix,
): Promise<Matrix> {
  const { rows, cols } = q;
  using on = upload(device, q);
  using buffer = device.alloc(rows * cols * 4);
  device.ops.dequantize({ q: on, out: mat(buffer, rows, cols) });
  return matrix(rows, cols, await readF32(device, buffer, 0, rows * cols));
}

/** Memory on `device` for a quantised matrix, uninitialised. */
export function allocQuant(
  device: Device,
  spec: Format,
  { rows, cols, block = spec.defaultBlock }: {
    rows: number;
    cols: number;
    block?: number;
  },
): OwnedQuantMat {
  const { blocks, codeBytes } = quantSizes(spec, rows, cols, block);
  using memory = new DisposableStack();
  const alloc = (bytes: number) => memory.use(device.alloc(bytes));
  const codes = alloc(codeBytes);
  const scales = alloc(blocks * 4);
  const biases = spec.levels === null ? alloc(blocks * 4) : null;
  const owned = memory.move();
  return {
    spec,
    rows,
    cols,
    block,
    codes,
    scales,
    biases,
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** Rounds the scales and biases of `q` to f16, in place, so that what is computed with them is what is stored. */
export function roundScales(device: Device, q: QuantMat): void {
  const { blocks } = quantSizes(q.spec, q.rows, q.cols, q.block);
  for (const buffer of [q.scales, q.biases]) {
    if (!buffer) continue;
    const x = mat(buffer, 1, blocks);
    device.ops.roundHalf({ x, out: x });
  }
}

/** Least largest scale of a matrix that f16 has to six bits or more: below 2^-14 its values are multiples of 2^-24. */
const LEAST_HALF_SCALE = 2 ** -18;

/**
 * Checks that f16 can hold the scales and biases of `q`, which were rounded to it.
 *
 * @throws {RangeError} If one is beyond its range, or all scales are so small that it has only a few bits for them.
 */
export function checkHalfScales(q: QuantizedMatrix, name: string): void {
  const fail = (found: string): never => {
    throw new ValueError(
      `Cannot keep the scales of ${name} in f16: ${found}; wanted scales in f32 (--scale-dtype f32)`,
    );
  };
  let most = 0;
  for (const x of q.scales) most = Math.max(most, Math.abs(x));
  for (const values of [q.scales, q.biases]) {
    if (values?.some((x) => !Number.isFinite(x))) {
      fail("they reach beyond 65504");
    }
  }
  if (most > 0 && most < LEAST_HALF_SCALE) {
    fail(`the largest is ${most.toPrecision(2)}`);
  }
}

/**
 * Copies `q` to `device`.
 *
 * @throws {TypeError} If its arrays have not the sizes that its format, shape and block ask for.
 */
export function upload(device: Device, q: QuantizedMatrix): OwnedQuantMat {
  const spec = format(q.format);
  const { rows, cols, block } = q;
  checkSizes(q);
  const on = allocQuant(device, spec, { rows, cols, block });
  device.write(on.codes, q.codes);
  device.write(on.scales, q.scales);
  if (on.biases) device.write(on.biases, q.biases!);
  return on;
}

/** Copies a quantised matrix from `device`; its `spec` must be a row of the format table. */
export async function download(
  device: Device,
  q: QuantMat & { readonly spec: Format },
): Promise<QuantizedMatrix> {
  const { spec, rows, cols, block } = q;
  const { blocks, codeBytes } = quantSizes(spec, rows, cols, block);
  const [codes, scales, biases] = await Promise.all([
    device.read(q.codes, 0, codeBytes),
    readF32(device, q.scales, 0, blocks),
    q.biases && readF32(device, q.biases, 0, blocks),
  ]);
  padLastByte(spec, rows * cols, codes);
  return {
    format: spec.name,
    rows,
    cols,
    block,
    codes,
    scales,
    ...(biases && { biases }),
  };
}

/** {@linkcode download} of a matrix that will be stored as `name`; checks that its scales can be, where that is in f16. */
export async function downloadStored(
  device: Device,
  q: OwnedQuantMat,
  { scaleDType, name }: { scaleDType?: "f16" | "f32"; name: string },
): Promise<QuantizedMatrix> {
  const found = await download(device, q);
  if (scaleDType === "f16") checkHalfScales(found, name);
  return found;
}

/**
 * Checks the sizes of a quantised matrix's arrays.
 *
 * @throws {TypeError} If one of them is not what the format, shape and block ask for.
 */
export function checkSizes(q: QuantizedMatrix): void {
  const spec = format(q.format);
  const { blocks, codeBytes } = quantSizes(spec, q.rows, q.cols, q.block);
  const wanted = { codes: codeBytes, scales: blocks, biases: blocks };
  for (const key of ["codes", "scales", "biases"] as const) {
    const want = key === "biases" && spec.levels !== null ? 0 : wanted[key];
    const got = q[key]?.length ?? 0;
    if (got !== want) {
      throw new KindError(
        `Cannot use a ${q.rows} x ${q.cols} ${q.format} matrix in blocks of ${q.block}: wanted ${want} ${key}, got ${got}`,
      );
    }
  }
}
