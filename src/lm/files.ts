/**
 * Files of a model as a program has them: a browser's files, blobs, or bytes, by name.
 *
 * @module
 */

import { KindError } from "../errors.ts";
import type { ByteSource } from "../io/files/bytes.ts";
import { blobSource, bytesSource } from "../io/files/sources.ts";

/** Contents of a file. */
export type FileContents = Blob | Uint8Array;

/**
 * Files of a model or an adapter: a list of `File`s, as an `<input type="file" multiple>` gives them, or contents by
 * name (`config.json`, `model.safetensors`, `tokenizer.json`, or one `.gguf`). Blobs are read in ranges, not as a whole.
 */
export type ModelFiles =
  | readonly File[]
  | ReadonlyMap<string, FileContents>
  | Readonly<Record<string, FileContents>>;

/**
 * Byte sources over a program's blobs and bytes, by name.
 *
 * @throws {TypeError} If one is neither a blob nor bytes.
 */
export function sourcesOf(files: ModelFiles): Map<string, ByteSource> {
  const entries: Iterable<readonly [string, unknown]> = Array.isArray(files)
    ? files.map((file) => [pathOf(file), file] as const)
    : files instanceof Map
    ? files
    : Object.entries(files);
  const sources = new Map<string, ByteSource>();
  for (const [key, contents] of entries) {
    if (contents instanceof Blob) sources.set(key, blobSource(contents, key));
    else if (contents instanceof Uint8Array) {
      sources.set(key, bytesSource(contents, key));
    } else {
      throw new KindError(
        `Cannot open the file "${key}": wanted a Blob, a File or a Uint8Array, got ${
          contents === null ? "null" : typeof contents
        }`,
      );
    }
  }
  return sources;
}

/** The path of a file within the folder that was chosen, or its name. */
function pathOf(file: unknown): string {
  if (!(file instanceof File)) return "?";
  const { webkitRelativePath: path = "" } = file as {
    webkitRelativePath?: string;
  };
  return path.split("/").slice(1).join("/") || file.name;
}
