/**
 * Readers of single tensors, and a checkpoint made of them.
 *
 * Every format boils down to a list of readers; their common parts (row ranges, conversions, errors for missing names)
 * are here.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import { DTYPE_BYTES, isFloat, narrow, toF32 } from "../../tensor/dtype.ts";
import type { DType } from "../../tensor/dtype.ts";
import { release } from "../../tensor/release.ts";
import type { QuantizedMatrix } from "../../quant/quantized.ts";
import type {
  Checkpoint,
  QuantizedInfo,
  Scales,
  TensorInfo,
} from "./checkpoint.ts";
import { quoted } from "../files/errors.ts";
import type { JsonObject } from "../files/json.ts";

/** One tensor that can be read. */
export interface TensorReader {
  /** Its name, shape and type. */
  readonly info: TensorInfo;
  /** Decoded rows; the range was checked. */
  readF32(from: number, to: number): Promise<Float32Array<ArrayBuffer>>;
  /** Rows in `info.dtype`; the range was checked. */
  readRaw(from: number, to: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Rows as they are stored, where `info.blocks` names a type; the range was checked. */
  readBlocks?(from: number, to: number): Promise<Uint8Array<ArrayBuffer>>;
  /** The quantised matrix itself, where `info.quantized` describes one. */
  readQuantized?(): Promise<QuantizedMatrix>;
  /** Its scales and biases alone, where they lie apart from its codes. */
  readScales?(): Promise<Scales>;
}

/** A quantised matrix behind a tensor. */
export interface QuantizedReader {
  /** It, as headers describe it. */
  readonly shape: QuantizedInfo;
  /** Reads it. */
  read(): Promise<QuantizedMatrix>;
  /** Reads its scales and biases alone, where they lie apart from its codes. */
  scales?(): Promise<Scales>;
}

/** A reader of a tensor stored in a plain element type; `read` gives the stored bytes of rows, in new memory. */
export function plainReader(
  { name, dtype, shape, bytes, encoding = dtype.toUpperCase() }: {
    name: string;
    dtype: DType;
    shape: readonly number[];
    bytes: number;
    encoding?: string;
  },
  read: (from: number, to: number) => Promise<Uint8Array<ArrayBuffer>>,
): TensorReader {
  return {
    info: { name, shape, encoding, dtype, bytes },
    readRaw: read,
    async readF32(from, to) {
      if (!isFloat(dtype)) {
        throw new KindError(
          `Cannot read tensor ${quoted(name)} as f32: it holds ${dtype} values`,
        );
      }
      const bytes = await read(from, to);
      const values = toF32(bytes, dtype) as Float32Array<ArrayBuffer>;
      if (dtype === "f64") checkNarrowed(values, bytes, name);
      if (values.buffer !== bytes.buffer) release(bytes);
      return values;
    },
  };
}

/** @throws {RangeError} If a finite f64 became an infinity. */
function checkNarrowed(
  values: Float32Array,
  bytes: Uint8Array<ArrayBuffer>,
  name: string,
): void {
  const far = values.findIndex((x) => x === Infinity || x === -Infinity);
  if (far < 0) return;
  const stored = new Float64Array(bytes.slice().buffer);
  const lost = stored.find((x, i) =>
    Number.isFinite(x) && !Number.isFinite(values[i])
  );
  if (lost === undefined) return;
  throw new ValueError(
    `Cannot read tensor ${quoted(name)} as f32: it holds ${lost}, beyond f32`,
  );
}

/** A reader of a tensor that can be described but not read: `info.dtype` says nothing of it. */
export function unreadReader(info: Omit<TensorInfo, "dtype">): TensorReader {
  const refuse = () =>
    Promise.reject(
      new KindError(
        `Cannot read tensor ${
          quoted(info.name)
        }: loqa does not read the type ${info.encoding}`,
      ),
    );
  return { info: { ...info, dtype: "u8" }, readF32: refuse, readRaw: refuse };
}

/** A reader of a tensor in a quantised encoding; `decode` gives the values of rows, `quantized` the matrix, if it is one of loqa's. */
export function decodedReader(
  info: TensorInfo,
  decode: (from: number, to: number) => Promise<Float32Array<ArrayBuffer>>,
  quantized?: QuantizedReader,
): TensorReader {
  const { dtype } = info;
  if (!isFloat(dtype)) {
    throw new KindError(`Cannot decode ${quoted(info.name)} to ${dtype}`);
  }
  return {
    info: quantized ? { ...info, quantized: quantized.shape } : info,
    readF32: decode,
    async readRaw(from, to) {
      return narrow(await decode(from, to), dtype, info.name) as Uint8Array<
        ArrayBuffer
      >;
    },
    readQuantized: quantized?.read,
    readScales: quantized?.scales,
  };
}

/** Parts for {@linkcode makeCheckpoint}. */
export interface CheckpointParts {
  /** Name of the checkpoint in errors. */
  readonly name: string;
  /** Layout it was found in. */
  readonly format: Checkpoint["format"];
  /** Reasons for which it cannot be used as a model, if any. */
  readonly notes?: readonly string[];
  /** In file order. */
  readonly readers: Iterable<TensorReader>;
  /** Contents of config.json. */
  readonly config: JsonObject;
  /** Reads the files that travel along. */
  readonly sideFiles: Checkpoint["sideFiles"];
  /** Releases the readers' sources. */
  readonly dispose: () => PromiseLike<void>;
}

/** A checkpoint over tensor readers. */
export function makeCheckpoint(parts: CheckpointParts): Checkpoint {
  const { name, format, config, sideFiles, dispose, notes = [] } = parts;
  const readers = new Map<string, TensorReader>();
  const tensors = new Map<string, TensorInfo>();
  for (const reader of parts.readers) {
    readers.set(reader.info.name, reader);
    tensors.set(reader.info.name, reader.info);
  }
  const find = (key: string): TensorReader => {
    const reader = readers.get(key);
    if (reader === undefined) {
      throw new KindError(
        `Cannot read tensor ${quoted(key)}: ${quoted(name)} has none`,
      );
    }
    return reader;
  };
  return {
    name,
    format,
    ...(notes.length > 0 && { notes }),
    tensors,
    config,
    sideFiles,
    async readF32(key, from, to) {
      const reader = find(key);
      return await reader.readF32(...checkRows(reader.info, from, to));
    },
    async readRaw(key, from, to) {
      const reader = find(key);
      return await reader.readRaw(...checkRows(reader.info, from, to));
    },
    async readBlocks(key, from, to) {
      const reader = find(key);
      if (!reader.readBlocks) {
        throw new KindError(
          `Cannot read blocks of ${
            quoted(key)
          }: it is stored as ${reader.info.encoding}`,
        );
      }
      return await reader.readBlocks(...checkRows(reader.info, from, to));
    },
    async readQuantized(key) {
      return await find(key).readQuantized?.();
    },
    async readScales(key) {
      const reader = find(key);
      if (reader.readScales) return await reader.readScales();
      const q = await reader.readQuantized?.();
      return q && { scales: q.scales, ...(q.biases && { biases: q.biases }) };
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** Rows asked for, with the defaults filled in. @throws {RangeError} If they are not in the tensor. */
function checkRows(
  info: TensorInfo,
  from = 0,
  to?: number,
): [number, number] {
  const rows = info.shape[0] ?? 1;
  to ??= rows;
  if (
    !Number.isInteger(from) || !Number.isInteger(to) || from < 0 ||
    to < from || to > rows
  ) {
    throw new ValueError(
      `Cannot read rows ${from} to ${to} of ${
        quoted(info.name)
      }: it has ${rows}`,
    );
  }
  return [from, to];
}

/** Values in one row of a tensor of `shape`; a vector's rows are its elements. */
export function rowSize(shape: readonly number[]): number {
  return shape.slice(1).reduce((a, b) => a * b, 1);
}

/** Bytes of a tensor of `shape` in a plain type. */
export function plainBytes(dtype: DType, shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype]);
}

/** Stored bytes `from` up to `to` of a plain tensor, whatever its rows are. */
export async function readByteRange(
  { info, readRaw }: TensorReader,
  from: number,
  to: number,
): Promise<Uint8Array<ArrayBuffer>> {
  if (from === to) return new Uint8Array();
  const row = info.bytes / (info.shape[0] ?? 1);
  const first = Math.floor(from / row);
  const bytes = await readRaw(first, Math.ceil(to / row));
  if (to - from === bytes.length) return bytes;
  const part = bytes.slice(from - first * row, to - first * row);
  release(bytes);
  return part;
}

/** f32 values `from` up to `to` of a plain tensor of floats, whatever its rows are. */
export async function readFloats(
  reader: TensorReader,
  from: number,
  to: number,
): Promise<Float32Array<ArrayBuffer>> {
  const { name, dtype } = reader.info;
  if (!isFloat(dtype)) {
    throw new KindError(
      `Cannot read tensor ${quoted(name)} as f32: it holds ${dtype} values`,
    );
  }
  const width = DTYPE_BYTES[dtype];
  const bytes = await readByteRange(reader, width * from, width * to);
  return toF32(bytes, dtype) as Float32Array<ArrayBuffer>;
}
