/**
 * A set of files as a checkpoint: finds out what it holds and opens that. Needs no file system.
 *
 * @module
 */

import { KindError } from "../errors.ts";
import type { ByteSource } from "./bytes.ts";
import { bnbReaders, hasBnb } from "./bnb.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { quoted } from "./errors.ts";
import { readFile, readSideFiles, sourceFiles } from "./files.ts";
import type { FileSet } from "./files.ts";
import { openGgufCheckpoint } from "./gguf_checkpoint.ts";
import { gptqReaders, hasGptq } from "./gptq.ts";
import { hasHqq, hqqReaders } from "./hqq.ts";
import { parseJsonObject } from "./json.ts";
import type { JsonObject } from "./json.ts";
import { hasMlx, mlxReaders } from "./mlx.ts";
import { presented } from "./names.ts";
import { settledTies } from "./tied.ts";
import { hasPacked, packedReaders } from "./packed.ts";
import { modelConfig } from "./packed_config.ts";
import { makeCheckpoint } from "./tensor_reader.ts";
import type { TensorReader } from "./tensor_reader.ts";
import { openSafetensorsFile, openSafetensorsIndex } from "./tensor_store.ts";
import type { TensorStore } from "./tensor_store.ts";
import { openTorchFiles } from "./torch_store.ts";

/**
 * Opens the checkpoint among `files`, by name; the sources stay the caller's to dispose of.
 *
 * @param name What errors call it.
 * @throws {TypeError} If no model is among them, or it is of a kind that loqa does not read.
 * @throws {SyntaxError} If a file is malformed.
 */
export async function openCheckpointFrom(
  files: ReadonlyMap<string, ByteSource>,
  name = "the given files",
): Promise<Checkpoint> {
  return await openFileSet(sourceFiles(files, name));
}

/** Names of weights, the first of which that is there is read, in the order of transformers: a whole file before an index. */
const WEIGHTS = [
  "model.safetensors",
  "model.safetensors.index.json",
  "pytorch_model.bin",
  "pytorch_model.bin.index.json",
  "adapter_model.safetensors",
];

/**
 * Opens the checkpoint in a set of files: `model.safetensors`, else its index, else `pytorch_model.bin`, else its index,
 * as transformers takes them, else the only `.safetensors`, `.gguf` or `.bin` file.
 *
 * @throws {TypeError} If there is none, or several and no index.
 */
export async function openFileSet(files: FileSet): Promise<Checkpoint> {
  const weights = WEIGHTS.find((name) => files.names.includes(name)) ??
    onlyFile(files);
  if (weights.endsWith(".gguf")) {
    return await openGgufCheckpoint(await files.open(weights));
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
      ? openTorchFiles(files, weights)
      : weights.endsWith(".index.json")
      ? openSafetensorsIndex(files, weights)
      : openSafetensorsFile(files, weights)),
  );
  const where = files.name;
  const [format, readers] = await recognise(store, {
    where,
    config,
    plain: torch ? "torch" : "safetensors",
  });
  const named = presented(readers, { where, config });
  const owned = stack.move();
  const checkpoint = makeCheckpoint({
    name: where,
    format,
    readers: named,
    config,
    sideFiles: () => readSideFiles(files),
    dispose: () => owned.disposeAsync(),
  });
  await using opened = new AsyncDisposableStack();
  opened.use(checkpoint);
  const settled = await settledTies(checkpoint);
  opened.move();
  return settled;
}

/** The layout of a store, by the names of its tensors, and readers of what it holds. */
async function recognise(
  store: TensorStore,
  { where, config, plain }: {
    where: string;
    config: JsonObject;
    plain: Checkpoint["format"];
  },
): Promise<[Checkpoint["format"], Iterable<TensorReader>]> {
  if (hasPacked(store)) return ["packed", packedReaders(store, where)];
  if (hasBnb(store)) return ["bnb", await bnbReaders(store, where)];
  if (hasMlx(store)) return ["mlx", mlxReaders(store, { where, config })];
  if (hasHqq(store)) return ["hqq", await hqqReaders(store, where)];
  if (hasGptq(store)) {
    return ["gptq", await gptqReaders(store, { where, config })];
  }
  return [plain, store.tensors.values()];
}

function onlyFile(files: FileSet): string {
  for (const ending of [".safetensors", ".gguf", ".bin", ".pt", ".pth"]) {
    const found = files.names.filter((name) => name.endsWith(ending));
    if (found.length === 1) return found[0];
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
