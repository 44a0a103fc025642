/**
 * A set of files as a checkpoint: recognises the layout and opens it. Needs no file system.
 *
 * @module
 */

import { isMeant, KindError } from "../errors.ts";
import type { ByteSource } from "./files/bytes.ts";
import type { Checkpoint, CheckpointFile } from "./checkpoint/checkpoint.ts";
import { quoted } from "./files/errors.ts";
import { type FileSet, readFile, sourceFiles } from "./files/files.ts";
import { readSideFiles } from "./side_files.ts";
import { foreignReason } from "./checkpoint/foreign.ts";
import { openGgufCheckpoint } from "./gguf/checkpoint.ts";
import { parseJsonObject } from "./files/json.ts";
import { layersReason } from "./checkpoint/layer_count.ts";
import { presented } from "./checkpoint/names.ts";
import { settledTies } from "./checkpoint/tied.ts";
import { LAYOUTS } from "./layouts.ts";
import { modelConfig } from "./packed/config.ts";
import { partError, partNames, partOf } from "./files/split.ts";
import type { TensorStore } from "./checkpoint/store.ts";
import {
  makeCheckpoint,
  type TensorReader,
} from "./checkpoint/tensor_reader.ts";
import {
  openSafetensorsFile,
  openSafetensorsIndex,
  unreadError,
} from "./safetensors/store.ts";
import { openTorchFiles } from "./torch/store.ts";

/**
 * Opens the checkpoint among `files`, by name; the sources stay the caller's to dispose of.
 *
 * @param name Its name in errors.
 * @throws {TypeError} If no model is among them, or it is of a kind that loqa does not read.
 * @throws {SyntaxError} If a file is malformed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { bytesSource, openCheckpointFrom } from "@loqa/loqa";
 *
 * const files = new Map();
 * for (const name of ["config.json", "model.safetensors"]) {
 *   files.set(name, bytesSource(await Deno.readFile(`examples/model/${name}`), name));
 * }
 * await using checkpoint = await openCheckpointFrom(files);
 * assert.equal(checkpoint.config.model_type, "llama");
 * ```
 */
export async function openCheckpointFrom(
  files: ReadonlyMap<string, ByteSource>,
  name = "the given files",
): Promise<Checkpoint> {
  return await openFileSet(sourceFiles(files, name));
}

/** Names of weights, in the order of transformers (a whole file before an index); the first that exists is read. */
const WEIGHTS = [
  "model.safetensors",
  "model.safetensors.index.json",
  "pytorch_model.bin",
  "pytorch_model.bin.index.json",
  "adapter_model.safetensors",
];

/** Options of opening a checkpoint. */
export interface OpenOptions {
  /**
   * Opens also what cannot be used as a model, to describe it: a part of a split model, weights quantised by a
   * method that is not decoded. `notes` of the checkpoint then say why. `whole`: a part without the others is refused.
   */
  readonly describe?: boolean | "whole";
}

/** Opens files of a set; if one fails, those before it are closed. */
async function openAll(
  files: FileSet,
  names: readonly string[],
): Promise<ByteSource[]> {
  await using stack = new AsyncDisposableStack();
  const sources: ByteSource[] = [];
  for (const name of names) sources.push(stack.use(await files.open(name)));
  stack.move();
  return sources;
}

/**
 * Opens the checkpoint in a set of files: `model.safetensors`, else its index, else `pytorch_model.bin`, else its index,
 * as transformers takes them, else the only `.safetensors`, `.gguf` or `.bin` file, or all parts of the only one
 * that was cut into several.
 *
 * @throws {TypeError} If there is none, several and no index, a part without the others, or one quantised by a method that
 *   is not decoded.
 */
export async function openFileSet(
  files: FileSet,
  options?: OpenOptions,
): Promise<Checkpoint> {
  const opened: CheckpointFile[] = [];
  const checkpoint = await openWeights({
    ...files,
    async open(name) {
      const source = await files.open(name);
      const { size, modified } = source;
      if (modified !== undefined && WEIGHT_FILE.test(name)) {
        opened.push({ name, size, modified });
      }
      return source;
    },
  }, options);
  return {
    ...checkpoint,
    ...(opened.length > 0 && { files: opened }),
    ...(files.outside && { outside: files.outside }),
  };
}

/** Names of files that hold tensors. */
const WEIGHT_FILE = /\.(safetensors|gguf|bin|pt|pth)$/;

async function openWeights(
  files: FileSet,
  { describe = false }: OpenOptions = {},
): Promise<Checkpoint> {
  const notes: string[] = [];
  const refuse = (error: Error): void => {
    if (!describe) throw error;
    notes.push(error.message);
  };
  const refusePart = (error: Error): void => {
    if (describe === "whole") throw error;
    refuse(error);
  };
  const weights = WEIGHTS.find((name) => files.names.includes(name)) ??
    onlyFile(files);
  const names = partNames(weights);
  const parts = names.filter((name) => files.names.includes(name));
  if (parts.length < names.length) {
    const missing = names.find((name) => !files.names.includes(name))!;
    refusePart(
      partError(files.name, {
        of: names.length,
        present: parts.map((name) => partOf(name)!.number),
      }, `${quoted(missing)} is not there`),
    );
  }
  if (weights.endsWith(".gguf")) {
    const some = notes.length > 0 ? [weights] : parts;
    return await openGgufCheckpoint(await openAll(files, some), {
      describe,
      notes,
    });
  }
  const config = files.names.includes("config.json")
    ? modelConfig(parseJsonObject(
      await readFile(files, "config.json"),
      `${files.name}/config.json`,
    ))
    : {};
  await using stack = new AsyncDisposableStack();
  const torch = /\.(bin|pt|pth)(\.index\.json)?$/.test(weights);
  const store: TensorStore = stack.use(
    await (torch
      ? openTorchFiles(files, parts)
      : weights.endsWith(".index.json")
      ? openSafetensorsIndex(files, weights, { unread: true })
      : openSafetensorsFile(files, parts, { unread: true })),
  );
  const where = files.name;
  const layout = LAYOUTS.find(({ recognises }) => recognises(store));
  let format = torch ? "torch" : "safetensors";
  let readers: TensorReader[] = [...store.tensors.values()];
  try {
    if (layout) {
      readers = await layout.readers(store, { where, config });
      format = layout.name;
    }
  } catch (error) {
    if (!describe || !isMeant(error)) throw error;
    notes.push(error.message);
  }
  const foreign = notes.length > 0 && describe
    ? undefined
    : foreignReason(readers, {
      where,
      config,
      isMethod: (method) => layout?.isMethod(method) ?? false,
      decoded: LAYOUTS.map(({ decoded }) => decoded),
    });
  if (foreign) refuse(foreign);
  else if (store.unread) refuse(unreadError(where, store.unread));
  const named = notes.length > 0
    ? readers
    : presented(readers, { where, config });
  const layers = layersReason(named.map(({ info }) => info.name), {
    where,
    config,
  });
  if (layers && notes.length === 0) refusePart(layers);
  const owned = stack.move();
  const checkpoint = makeCheckpoint({
    name: where,
    format,
    notes,
    readers: named,
    config,
    sideFiles: () => readSideFiles(files),
    dispose: () => owned.disposeAsync(),
  });
  await using opened = new AsyncDisposableStack();
  opened.use(checkpoint);
  // A model that is only described cannot be compared.
  const settled = notes.length > 0 ? checkpoint : await settledTies(checkpoint);
  opened.move();
  return settled;
}

function onlyFile(files: FileSet): string {
  for (const ending of [".safetensors", ".gguf", ".bin", ".pt", ".pth"]) {
    const found = files.names.filter((name) => name.endsWith(ending));
    const [first] = found;
    // One file, or the parts of one model and nothing else.
    const one = new Set(found.map((name) => partNames(name)[0])).size === 1;
    if (found.length > 0 && one) return first;
    if (found.length > 1) {
      throw new KindError(
        `Cannot open ${
          quoted(files.name)
        }: it holds ${found.length} ${ending} files and no index; name one of them: ${
          found.slice(0, 5).join(", ")
        }`,
      );
    }
  }
  throw new KindError(
    `Cannot open ${
      quoted(files.name)
    }: wanted a model (model.safetensors, its index, pytorch_model.bin or a .gguf file), got ${
      files.names.length === 0
        ? "no files"
        : files.names.slice(0, 8).map(quoted).join(", ")
    }`,
  );
}
