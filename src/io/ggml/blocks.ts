/**
 * Readers of matrices that are stored in blocks of ggml, wherever their bytes lie.
 *
 * @module
 */

import {
  affineBlocksInfo,
  affineBlockType,
  decodeQ41Matrix,
} from "./affine_blocks.ts";
import { decodeBlocks, type GgufType } from "./types.ts";
import {
  decodedReader,
  type TensorReader,
} from "../checkpoint/tensor_reader.ts";

/** A reader of a matrix whose rows `read` gives as they are stored: whole blocks of `type`. */
export function blocksReader(
  { name, shape, type, bytes }: {
    name: string;
    shape: readonly number[];
    type: GgufType;
    bytes: number;
  },
  read: (from: number, to: number) => Promise<Uint8Array<ArrayBuffer>>,
): TensorReader {
  const [rows, cols] = shape;
  const affine = affineBlockType(type.name);
  const reader = decodedReader(
    {
      // Scales are f16 in the file, so f16 has the values' precision; readF32 gives them exactly.
      ...{ name, shape, encoding: type.name, dtype: "f16", bytes },
      blocks: type.name,
    },
    async (from, to) => decodeBlocks(type, await read(from, to)),
    affine && {
      shape: affineBlocksInfo(affine, { rows, cols }),
      read: async () =>
        decodeQ41Matrix(await read(0, rows), { rows, cols, type: affine }),
    },
  );
  return { ...reader, readBlocks: read };
}
