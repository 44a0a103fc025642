/**
 * Opens a checkpoint by a user's path: a folder, a file, or a hub id.
 *
 * @module
 */

import { KindError } from "../errors.ts";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import {
  fileSource,
  joinPath,
  kindOf,
  listFolder,
  realPath,
} from "./files/deno.ts";
import { IoError, quoted } from "./files/errors.ts";
import type { FileSet } from "./files/files.ts";
import { openFileSet, type OpenOptions } from "./recognise.ts";
import { TEMPLATE_FOLDER, templateOfFile } from "./files/named_templates.ts";
import { settledPath } from "./output/output.ts";
import { partNames } from "./files/split.ts";
import { type Adapter, openAdapterFrom } from "./peft/adapter.ts";

export { fileSource } from "./files/deno.ts";
export { checkpointTokenizer, openTokenizer } from "./open_tokenizer.ts";
export type {
  ChatMessage,
  ChatOptions,
  ChatRecord,
  ChatTemplate,
  DecodeOptions,
  EncodedPair,
  EncodeOptions,
  RenderedChat,
  Side,
  StreamOptions,
  TextStream,
  Tokenizer,
  TokenizerOptions,
  TokenOffsets,
} from "./tokenizer/tokenizer.ts";
export { openCheckpointFrom } from "./recognise.ts";
export type { OpenOptions } from "./recognise.ts";
export type { Adapter } from "./peft/adapter.ts";
export type {
  Checkpoint,
  CheckpointFile,
  SideFileOptions,
  TensorInfo,
} from "./checkpoint/checkpoint.ts";
export type { SideFile } from "./files/files.ts";
export type { FileSet } from "./files/files.ts";

/**
 * Opens the checkpoint at a path: a folder in the Hugging Face layout (torch, or safetensors that are plain, packed, or of
 * bitsandbytes, MLX, HQQ or GPTQ), a `.safetensors`, `.gguf` or `.bin` file (a `config.json` beside it is read too), or
 * `hf:owner/name[@revision]`, which is downloaded first. A file that is one part of a split model stands for all of them.
 *
 * @throws {IoError} If there is nothing there or it cannot be read.
 * @throws {TypeError} If it is no model, or of a kind that loqa does not read.
 * @throws {SyntaxError} If a file is malformed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openCheckpoint } from "@loqa/loqa/files";
 *
 * await using checkpoint = await openCheckpoint("examples/model"); // or a .gguf file, hf:owner/name
 * const { shape } = checkpoint.tensors.get("model.norm.weight")!;
 * assert.equal((await checkpoint.readF32("model.norm.weight")).length, shape[0]);
 * ```
 */
export async function openCheckpoint(
  path: string,
  options?: OpenOptions,
): Promise<Checkpoint> {
  return await openFileSet(await modelFiles(path), options);
}

/**
 * The files of the model at a path: of a folder all, of a file itself, its other parts where it is one of several, and
 * files without weights.
 *
 * @throws {IoError} If there is nothing there.
 * @throws {TypeError} If it is a file of another kind.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { modelFiles } from "@loqa/loqa/files";
 *
 * const { names } = await modelFiles("examples/model");
 * assert.ok(names.includes("config.json"));
 * ```
 */
export async function modelFiles(given: string): Promise<FileSet> {
  const path = await settledPath(given);
  if (path.startsWith("hf:")) {
    const { fetchModel } = await import("./hub/hub.ts");
    return await modelFiles(await fetchModel(path));
  }
  const kind = await kindOf(path);
  if (kind === undefined) {
    throw new IoError(
      `Cannot open ${
        quoted(path)
      }: no such file or folder (a model on the hub is hf:owner/name)`,
      path,
    );
  }
  if (kind === "folder") return await folderFiles(path);
  const cut = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  const files = await folderFiles(cut < 0 ? "." : path.slice(0, cut) || "/");
  const name = path.slice(cut + 1);
  if (!/\.(safetensors|gguf|bin|pt|pth)$/.test(name)) {
    throw new KindError(
      `Cannot open ${
        quoted(path)
      }: wanted a folder or a .safetensors, .gguf, .bin, .pt or .pth file`,
    );
  }
  // Other weights beside the file are not wanted.
  const parts = new Set(partNames(name));
  const names = files.names.filter((other) =>
    parts.has(other) ||
    !/\.(safetensors|gguf|bin|pt|pth)(\.index\.json)?$/.test(other)
  );
  return { ...files, name: path, names };
}

/**
 * The files of a folder, and of those in it the chat templates.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { folderFiles } from "@loqa/loqa/files";
 *
 * const files = await folderFiles("examples/model");
 * await using config = await files.open("config.json");
 * assert.ok(config.size > 0);
 * ```
 */
export async function folderFiles(path: string): Promise<FileSet> {
  const entries = await listFolder(path);
  const files = entries.filter((entry) => entry.isFile);
  const inner = entries.find(({ name, isFolder }) =>
    isFolder && name === TEMPLATE_FOLDER
  );
  if (inner) {
    for (const entry of await listFolder(joinPath(path, TEMPLATE_FOLDER))) {
      const name = `${TEMPLATE_FOLDER}/${entry.name}`;
      if (!entry.isFile || templateOfFile(name) === undefined) continue;
      const linked = entry.linked ??
        (inner.linked && joinPath(inner.linked, entry.name));
      files.push({ ...entry, name, linked });
    }
  }
  const links = files.filter(({ linked }) => linked !== undefined);
  const home = links.length > 0 ? await realPath(path) : path;
  const outside = new Map(
    links.filter(({ linked }) => !belongs(linked!, home))
      .map(({ name, linked }) => [name, linked!]),
  );
  return {
    name: path,
    names: files.map(({ name }) => name),
    ...(outside.size > 0 && { outside }),
    open: (name) => fileSource(joinPath(path, name)),
  };
}

/** True if the file `path` is in the folder `home`, or in a cache of the hub, whose folders are links to it. */
function belongs(path: string, home: string): boolean {
  return path.startsWith(joinPath(home, "")) ||
    /[\\/](models|datasets|spaces)--[^\\/]+[\\/]blobs[\\/][0-9a-f]{40,64}$/
      .test(path);
}

/**
 * Opens the LoRA adapter in the folder `path`.
 *
 * @throws {IoError} If there is no such folder.
 * @throws {TypeError} If it holds no LoRA adapter.
 * @throws {SyntaxError} If a file is malformed or does not fit the others.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openAdapter } from "@loqa/loqa/files";
 *
 * await using adapter = await openAdapter("tests/golden/io/adapter"); // in PEFT's layout
 * assert.ok(adapter.modules.size > 0);
 * ```
 */
export async function openAdapter(path: string): Promise<Adapter> {
  return await openAdapterFrom(await folderFiles(await settledPath(path)));
}
