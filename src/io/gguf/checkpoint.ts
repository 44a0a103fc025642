/**
 * A GGUF file of the llama family as a Hugging Face checkpoint.
 *
 * @module
 */

import { isMeant, KindError } from "../../errors.ts";
import type { ByteSource } from "../files/bytes.ts";
import type { Checkpoint, SideFileOptions } from "../checkpoint/checkpoint.ts";
import type { SideFile } from "../files/files.ts";
import { Problems, quoted } from "../files/errors.ts";
import type { GgufFile, GgufTensor } from "./file.ts";
import { type GgufModel, ggufModel, Metadata } from "./config.ts";
import { ggufPart, openGgufParts } from "./split.ts";
import { partError } from "../files/split.ts";
import { layersReason } from "../checkpoint/layer_count.ts";
import {
  fileRow,
  headRows as headRowsOf,
  huggingFaceName,
} from "../../families/gguf_names.ts";
import { blocksReader } from "../ggml/blocks.ts";
import { ggufTokenizer } from "./tokenizer.ts";
import { decodeBlocks, ggufTypes, isDecodable } from "../ggml/types.ts";
import type { JsonObject } from "../files/json.ts";
import {
  type CheckpointParts,
  decodedReader,
  makeCheckpoint,
  plainReader,
  rowSize,
  type TensorReader,
  unreadReader,
} from "../checkpoint/tensor_reader.ts";

/** Llama 3's frequency factors: a part of the config, no weight. */
const ROPE_FACTORS = "rope_freqs.weight";

/** A GGUF file as a checkpoint, and as it is. */
export interface GgufCheckpoint extends Checkpoint {
  /** The file, or all parts of it as one; open as long as the checkpoint. */
  readonly gguf: GgufFile;
}

/** The GGUF file that a checkpoint is of; undefined for one of another format, or with an overlay. */
export function ggufOf(checkpoint: Checkpoint): GgufFile | undefined {
  return (checkpoint as Partial<GgufCheckpoint>).gguf;
}

/** Options of {@linkcode openGgufCheckpoint}. */
export interface GgufOptions {
  /** As in opening any checkpoint: notes are taken of what cannot be used. */
  readonly describe?: boolean | "whole";
  /** Notes so far. */
  readonly notes?: readonly string[];
}

/**
 * Opens a GGUF file, or all parts of a split one in order, as a checkpoint and takes over the sources.
 *
 * Quantised tensors are decoded on reading, `q_proj` and `k_proj` come in the row order of Hugging Face. Side files
 * are made from the metadata; {@linkcode Checkpoint.sideFiles} throws a `TypeError` (or leaves it out) where the file's tokenizer has no
 * equivalent there.
 *
 * @throws {SyntaxError} If the file is malformed.
 * @throws {TypeError} If its architecture or one of its element types is not supported.
 */
export async function openGgufCheckpoint(
  source: ByteSource | readonly ByteSource[],
  { describe = false, notes = [] }: GgufOptions = {},
): Promise<GgufCheckpoint> {
  const sources = "read" in source ? [source] : source;
  await using opened = new AsyncDisposableStack();
  for (const each of sources) opened.use(each);
  const file = await openGgufParts(sources);
  const described = describe ? describedGguf(file, notes) : undefined;
  let parts: Pick<CheckpointParts, "config" | "notes"> & {
    readonly readers: TensorReader[];
  };
  // A part of a model, which is described only where that is asked for.
  let isPart = false;
  try {
    const part = ggufPart(file);
    isPart = part !== undefined && sources.length === 1;
    if (part && isPart) {
      throw partError(
        file.name,
        { of: part.of, present: [part.number] },
        `the others are not there under the names that gguf-split gives them (NAME-00001-of-${
          `${part.of}`.padStart(5, "0")
        }.gguf)`,
      );
    }
    const factors = file.tensors.get(ROPE_FACTORS);
    const model = ggufModel(
      file,
      factors && decodeBlocks(
        factors.type,
        await file.readRows(factors, 0, factors.shape[0]),
      ),
    );
    parts = { readers: readers(file, model), config: model.config };
    const layers = layersReason(
      parts.readers.map(({ info }) => info.name),
      { where: file.name, config: model.config },
    );
    isPart = layers !== undefined;
    if (layers) throw layers;
  } catch (error) {
    if (
      !described || !isMeant(error) || (isPart && describe === "whole")
    ) throw error;
    parts = described(error);
  }
  const owned = opened.move();
  const checkpoint = makeCheckpoint({
    name: file.name,
    format: "gguf",
    ...parts,
    // deno-lint-ignore require-await -- errors are to be rejections
    sideFiles: async (options) => sideFiles(file, parts.config, options),
    dispose: () => owned.disposeAsync(),
  });
  return { ...checkpoint, gguf: file };
}

/** Description of a file that cannot be used: its tensors under the names that they would have, and the reasons. */
function describedGguf(
  file: GgufFile,
  notes: readonly string[],
): (why: Error) => Pick<CheckpointParts, "config" | "notes"> & {
  readonly readers: TensorReader[];
} {
  return (why) => {
    const arch = file.metadata.get("general.architecture");
    let config: JsonObject = typeof arch === "string"
      ? { model_type: arch }
      : {};
    try {
      config = ggufModel(file).config;
    } catch (error) {
      if (!isMeant(error)) throw error;
    }
    return {
      readers: [...file.tensors.values()].map((
        { name, shape, bytes, type },
      ) =>
        unreadReader({
          name: huggingFaceName(name) ?? name,
          shape,
          bytes,
          encoding: type.name,
        })
      ),
      config,
      notes: notes.length > 0 ? notes : [why.message],
    };
  };
}

function readers(file: GgufFile, model: GgufModel): TensorReader[] {
  const problems: string[] = [];
  const malformed = new Problems(`read ${quoted(file.name)} as a checkpoint`);
  const out: TensorReader[] = [];
  for (const tensor of file.tensors.values()) {
    if (tensor.name === ROPE_FACTORS) continue;
    const name = huggingFaceName(tensor.name);
    if (name === undefined) {
      problems.push(`unknown tensor ${quoted(tensor.name)}`);
      continue;
    }
    if (!isDecodable(tensor.type)) {
      problems.push(
        `tensor ${quoted(tensor.name)} has type ${tensor.type.name}`,
      );
      continue;
    }
    const headRows = headRowsOf(name, model);
    if (headRows !== undefined && tensor.shape[0] % headRows !== 0) {
      malformed.add(
        `tensor ${quoted(tensor.name)} has ${
          tensor.shape[0]
        } rows, no multiple of a head's ${headRows}`,
      );
      continue;
    }
    out.push(tensorReader(file, tensor, name, headRows));
  }
  malformed.throwIfAny();
  if (problems.length > 0) {
    const more = problems.length - 10;
    throw new KindError(
      `Cannot read ${quoted(file.name)} as a checkpoint: ${
        problems.slice(0, 10).join("; ")
      }${more > 0 ? `; and ${more} more` : ""} (types read: ${
        ggufTypes().filter(isDecodable).map(({ name }) => name).join(", ")
      })`,
    );
  }
  return out;
}

function tensorReader(
  file: GgufFile,
  tensor: GgufTensor,
  name: string,
  headRows: number | undefined,
): TensorReader {
  const { type, shape, bytes } = tensor;
  const width = rowSize(shape);
  if (type.dtype !== undefined) {
    const rowBytes = width * type.bytes;
    const read = (from: number, to: number) =>
      rowsOf(from, to, {
        headRows,
        unit: 1,
        width: rowBytes,
        read: (a, b) => file.readRows(tensor, a, b),
      });
    return plainReader({ name, dtype: type.dtype, shape, bytes }, read);
  }
  if (shape.length === 2) {
    return blocksReader(
      { name, shape, type, bytes },
      (from, to) =>
        rowsOf(from, to, {
          headRows,
          unit: 1,
          width: bytes / shape[0],
          read: (from, to) => file.readRows(tensor, from, to),
        }),
    );
  }
  return decodedReader(
    { name, shape, encoding: type.name, dtype: "f16", bytes },
    (from, to) =>
      rowsOf(from, to, {
        headRows,
        unit: shape.length === 1 ? type.block : 1,
        width,
        read: async (from, to) =>
          decodeBlocks(type, await file.readRows(tensor, from, to)),
      }),
  );
}

/**
 * Rows `from` up to `to` in Hugging Face's order: whole heads are read where rows are reordered, whole blocks where
 * a vector is quantised, and the rows beyond the range are cut off.
 */
async function rowsOf<
  T extends Uint8Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
>(
  from: number,
  to: number,
  { headRows, unit, width, read }: {
    headRows: number | undefined;
    unit: number;
    width: number;
    read: (from: number, to: number) => Promise<T>;
  },
): Promise<T> {
  const step = headRows ?? unit;
  if (step === 1 || from === to) return await read(from, to);
  const first = Math.floor(from / step) * step;
  const rows = await read(first, Math.ceil(to / step) * step);
  if (headRows === undefined) {
    return rows.slice((from - first) * width, (to - first) * width) as T;
  }
  const out = rows.slice(0, (to - from) * width) as T;
  for (let row = from; row < to; row++) {
    const at = (fileRow(row, headRows) - first) * width;
    out.set(rows.subarray(at, at + width), (row - from) * width);
  }
  return out;
}

/** Roles of tokens that end a text, besides EOS: that of a turn, that of a message. */
const OTHER_ENDS = ["eot", "eom"];

function generationConfig(file: GgufFile, config: JsonObject): JsonObject {
  const ids = Object.entries(config).filter(([key, id]) =>
    key.endsWith("_token_id") && id !== null
  );
  const meta = new Metadata(file);
  const size = Number(config.vocab_size);
  const others = OTHER_ENDS.map((role) => meta.token(role))
    .filter((id) => id !== undefined && id < size);
  const ends = [config.eos_token_id ?? [], ...others].flat();
  return {
    ...Object.fromEntries(ids),
    ...(others.length > 0 && { "eos_token_id": [...new Set(ends)] }),
  };
}

function sideFiles(
  file: GgufFile,
  config: JsonObject,
  { onLeftOut }: SideFileOptions = {},
): SideFile[] {
  let tokenizer: Record<string, JsonObject> = {};
  try {
    tokenizer = ggufTokenizer(file);
  } catch (error) {
    if (!onLeftOut || !isMeant(error)) throw error;
    onLeftOut(error);
  }
  const files: Record<string, JsonObject> = {
    "config.json": config,
    "generation_config.json": generationConfig(file, config),
    ...tokenizer,
  };
  return Object.entries(files).map(([name, value]) => ({
    name,
    bytes: new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`),
  }));
}
