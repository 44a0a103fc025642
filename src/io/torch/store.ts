/**
 * Reading torch checkpoints (`.bin`, `.pt`): zip archives with a pickle that describes tensors and one entry for
 * each storage.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { DTYPE_BYTES } from "../../tensor/dtype.ts";
import type { ByteSource } from "../files/bytes.ts";
import { Problems, quoted } from "../files/errors.ts";
import type { FileSet } from "../files/files.ts";
import { readPickle } from "./pickle.ts";
import { TorchTensor } from "./pickle_values.ts";
import type { PickleValue } from "./pickle_values.ts";
import { SourcePool } from "../files/pool.ts";
import { plainReader, rowSize } from "../checkpoint/tensor_reader.ts";
import type { TensorReader } from "../checkpoint/tensor_reader.ts";
import { readIndex } from "../checkpoint/store.ts";
import type { TensorStore } from "../checkpoint/store.ts";
import { isZip, openZip } from "./zip.ts";

/** Names under which training scripts store a model's tensors. */
const WRAPPERS = ["state_dict", "model_state_dict", "model", "module"];

/** Bytes of a pickle at most; each tensor takes some hundred. */
const MAX_PICKLE = 2 ** 26;

/**
 * Opens a torch checkpoint of a set, several under an index, or the parts of one that was cut.
 *
 * @throws {SyntaxError} If a file is malformed or holds more than tensors.
 */
export async function openTorchFiles(
  files: FileSet,
  name: string | readonly string[],
): Promise<TensorStore> {
  await using opened = new AsyncDisposableStack();
  const pool = opened.use(new SourcePool(files));
  const names = typeof name === "string" ? [name] : name;
  const map = names[0].endsWith(".index.json")
    ? await readIndex(files, names[0])
    : undefined;
  const tensors = new Map<string, TensorReader>();
  for (const part of map ? [...new Set(map.values())].sort() : names) {
    const source = await pool.open(part);
    for (const [key, reader] of await readTorch(source)) {
      if (map !== undefined && map.get(key) !== part) continue;
      if (tensors.has(key)) {
        throw new FormatError(
          `Cannot read ${quoted(files.name)}: tensor ${quoted(key)} is in ${
            quoted(part)
          } and in another part`,
        );
      }
      tensors.set(key, reader);
    }
  }
  const missing = new Problems(`read ${quoted(files.name)}`);
  for (const [key, part] of map ?? []) {
    if (!tensors.has(key)) {
      missing.add(`tensor ${quoted(key)} is not in ${quoted(part)}`);
    }
  }
  missing.throwIfAny();
  const owned = opened.move();
  return {
    tensors,
    metadata: new Map(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/**
 * Readers of the tensors in a torch checkpoint, by name. `source` stays the caller's to dispose of.
 *
 * @throws {SyntaxError} If the file is malformed, holds anything but tensors, texts and numbers, or lies about a
 *   tensor; all mismatches in one error.
 */
export async function readTorch(
  source: ByteSource,
): Promise<Map<string, TensorReader>> {
  const { name } = source;
  const bad = (reason: string) =>
    new FormatError(
      `Cannot read ${quoted(name)} as a torch checkpoint: ${reason}`,
    );
  if (!await isZip(source)) {
    throw bad(
      "it is no zip archive (files of torch before 1.6 are none; save it again with a newer one)",
    );
  }
  const zip = await openZip(source);
  const pickles = zip.names.filter((entry) =>
    /^([^/]+\/)?data\.pkl$/.test(entry)
  );
  if (pickles.length !== 1) throw bad("it has no data.pkl");
  const root = pickles[0].slice(0, -"data.pkl".length);
  if (zip.names.includes(`${root}byteorder`)) {
    const order = await zip.open(`${root}byteorder`);
    const text = new TextDecoder().decode(
      await order.read(0, Math.min(order.size, 16)),
    );
    if (text !== "little") throw bad(`its byte order is ${quoted(text)}`);
  }
  const pickle = await zip.open(pickles[0]);
  if (pickle.size > MAX_PICKLE) {
    throw bad(
      `its data.pkl has ${pickle.size} bytes, wanted at most ${MAX_PICKLE}`,
    );
  }
  const value = readPickle(await pickle.read(0, pickle.size), name);

  const problems = new Problems(`read ${quoted(name)} as a torch checkpoint`);
  const storages = new Map<string, ByteSource>();
  const readers = new Map<string, TensorReader>();
  for (const [key, tensor] of tensorsOf(value)) {
    const { storage } = tensor;
    const entry = `${root}data/${storage.key}`;
    if (!storages.has(entry)) {
      if (!zip.names.includes(entry)) {
        problems.add(`tensor ${quoted(key)}: its storage is missing`);
        continue;
      }
      storages.set(entry, await zip.open(entry));
    }
    const data = storages.get(entry)!;
    const wrong = mismatch(tensor, data.size);
    if (wrong !== undefined) problems.add(`tensor ${quoted(key)}: ${wrong}`);
    else readers.set(key, tensorReader(key, tensor, data));
  }
  problems.throwIfAny();
  if (readers.size === 0) throw bad("it holds no tensors by name");
  return readers;
}

/** The named tensors of a checkpoint: of the dictionary itself, or of one inside it. */
function tensorsOf(value: PickleValue): [string, TorchTensor][] {
  if (!(value instanceof Map)) return [];
  const own: [string, TorchTensor][] = [];
  for (const [key, item] of value) {
    if (typeof key === "string" && item instanceof TorchTensor) {
      own.push([key, item]);
    }
  }
  if (own.length > 0) return own;
  for (const wrapper of WRAPPERS) {
    const inner: PickleValue | undefined = value.get(wrapper);
    // A dictionary may contain itself; one step in is all that is looked at.
    if (inner instanceof Map && inner !== value) {
      const found = [...inner].filter((pair): pair is [string, TorchTensor] =>
        typeof pair[0] === "string" && pair[1] instanceof TorchTensor
      );
      if (found.length > 0) return found;
    }
  }
  return [];
}

/** Fault of a tensor, given the size of its storage's entry; undefined if there is none. */
function mismatch(tensor: TorchTensor, size: number): string | undefined {
  const { storage, offset, shape, stride } = tensor;
  if (storage.count * DTYPE_BYTES[storage.dtype] !== size) {
    return `its storage claims ${storage.count} values of ${storage.dtype}, the file holds ${size} bytes`;
  }
  const count = shape.reduce((a, b) => a * b, 1);
  if (count === 0) return undefined;
  const last = shape.reduce((at, n, i) => at + (n - 1) * stride[i], offset);
  // A stride of 0 could claim any number of values of a storage of one.
  if (last >= storage.count || count > storage.count) {
    return `[${
      shape.join(", ")
    }] leaves its storage of ${storage.count} values`;
  }
  return undefined;
}

/** Strides of a tensor whose values are in order. */
function isContiguous(
  shape: readonly number[],
  stride: readonly number[],
): boolean {
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && stride[i] !== step) return false;
    step *= shape[i];
  }
  return true;
}

function tensorReader(
  name: string,
  tensor: TorchTensor,
  data: ByteSource,
): TensorReader {
  const { shape, stride, offset, storage: { dtype } } = tensor;
  const width = DTYPE_BYTES[dtype];
  const row = rowSize(shape);
  const bytes = shape.reduce((a, b) => a * b, width);
  const info = { name, dtype, shape, bytes };
  if (bytes === 0 || isContiguous(shape, stride)) {
    return plainReader(
      info,
      (from, to) =>
        data.read((offset + from * row) * width, (to - from) * row * width),
    );
  }
  return plainReader(info, async (from, to) => {
    const sizes = [to - from, ...shape.slice(1)];
    const first = offset + from * stride[0];
    const span = sizes.reduce((at, n, i) => at + (n - 1) * stride[i], 1);
    const out = new Uint8Array(sizes.reduce((a, b) => a * b, width));
    if (out.length === 0) return out;
    const input = await data.read(first * width, span * width);
    const at = new Array<number>(sizes.length).fill(0);
    for (let o = 0; o < out.length; o += width) {
      let i = 0;
      for (let d = 0; d < at.length; d++) i += at[d] * stride[d];
      for (let b = 0; b < width; b++) out[o + b] = input[i * width + b];
      for (let d = at.length - 1; d >= 0 && ++at[d] === sizes[d]; d--) {
        at[d] = 0;
      }
    }
    return out;
  });
}
