/**
 * A checkpoint with an overlay: other names, other values, more tensors.
 *
 * A fine-tuned model whose head or biases are in an adapter file is read, run and merged as one checkpoint that has them.
 *
 * @module
 */

import type { Checkpoint } from "./checkpoint.ts";
import type { JsonObject } from "../files/json.ts";
import { makeCheckpoint, plainReader, rowSize } from "./tensor_reader.ts";
import type { TensorReader } from "./tensor_reader.ts";

/** A tensor in ordinary memory. */
export interface HeldTensor {
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** Its values, row-major. */
  readonly values: Float32Array<ArrayBuffer>;
}

/** Overlay of a checkpoint. */
export interface Overlay {
  /** Names of its tensors, by those of the file. */
  readonly rename?: (name: string) => string;
  /** Tensors that take the place of those of their names, the others after them; names are the new ones. */
  readonly tensors?: ReadonlyMap<string, HeldTensor>;
  /** Tensors that are left out, by the names of the file. */
  readonly without?: ReadonlySet<string>;
  /** Tensors with the values of others: sources by name; names are the new ones. */
  readonly copies?: ReadonlyMap<string, string>;
  /** Entries of the config that take the place of its own. */
  readonly config?: JsonObject;
}

/** The checkpoint with `overlay` on it. Disposing of it disposes of the checkpoint. */
export function overlaid(
  checkpoint: Checkpoint,
  {
    rename = (name) => name,
    tensors = new Map(),
    without,
    copies = new Map(),
    config,
  }: Overlay,
): Checkpoint {
  const readers = new Map<string, TensorReader>();
  for (const info of checkpoint.tensors.values()) {
    if (without?.has(info.name)) continue;
    const name = rename(info.name);
    readers.set(name, {
      info: { ...info, name },
      readF32: (from, to) => checkpoint.readF32(info.name, from, to),
      readRaw: (from, to) => checkpoint.readRaw(info.name, from, to),
      ...(info.blocks && {
        readBlocks: (from, to) => checkpoint.readBlocks!(info.name, from, to),
      }),
      ...(info.quantized && {
        readQuantized: async () =>
          (await checkpoint.readQuantized!(info.name))!,
        readScales: async () => (await checkpoint.readScales!(info.name))!,
      }),
    });
  }
  for (const [name, of] of copies) {
    const reader = readers.get(of)!;
    readers.set(name, { ...reader, info: { ...reader.info, name } });
  }
  for (const [name, held] of tensors) readers.set(name, heldReader(name, held));
  const { files, outside } = checkpoint;
  const made = makeCheckpoint({
    name: checkpoint.name,
    format: checkpoint.format,
    readers: readers.values(),
    config: { ...checkpoint.config, ...config },
    sideFiles: (options) => checkpoint.sideFiles(options),
    dispose: () => checkpoint[Symbol.asyncDispose](),
  });
  return { ...made, ...(files && { files }), ...(outside && { outside }) };
}

function heldReader(
  name: string,
  { shape, values }: HeldTensor,
): TensorReader {
  const width = rowSize(shape);
  return plainReader(
    { name, dtype: "f32", shape, bytes: values.byteLength },
    (from, to) =>
      Promise.resolve(
        new Uint8Array(values.slice(from * width, to * width).buffer),
      ),
  );
}
