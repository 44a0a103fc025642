/**
 * A GGUF file by its path.
 *
 * @module
 */

import type { ByteSource } from "./files/bytes.ts";
import type { GgufFile } from "./gguf/file.ts";
import { openGgufParts } from "./gguf/split.ts";
import { modelFiles } from "./open.ts";

/**
 * Opens the GGUF file at `path` and its other parts, if it is one of several.
 *
 * @throws {IoError} If it cannot be read.
 * @throws {TypeError} If parts are missing.
 * @throws {SyntaxError} If it is malformed.
 */
export async function openGgufFile(
  path: string,
): Promise<GgufFile & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const files = await modelFiles(path);
  const sources: ByteSource[] = [];
  for (const name of files.names.filter((name) => name.endsWith(".gguf"))) {
    sources.push(stack.use(await files.open(name)));
  }
  const file = await openGgufParts(sources);
  const owned = stack.move();
  return { ...file, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
