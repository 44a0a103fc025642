/**
 * The files of a model, wherever they are: a folder, a map of sources, a hub snapshot.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { ByteSource } from "./bytes.ts";
import { IoError, quoted } from "./errors.ts";
import { templateOfFile } from "./named_templates.ts";

/** Files by name. */
export interface FileSet {
  /** Its name in errors: a path, an id. */
  readonly name: string;
  /** Names, in order. */
  readonly names: readonly string[];
  /** Targets of links out of the folder, by name. */
  readonly outside?: ReadonlyMap<string, string>;
  /** Opens one; whoever opens it disposes of it. @throws {IoError} If there is none. */
  open(name: string): Promise<ByteSource>;
}

/** A file set over sources, which stay the caller's: disposing of one that it opens does nothing. */
export function sourceFiles(
  files: ReadonlyMap<string, ByteSource>,
  name: string,
): FileSet {
  return {
    name,
    names: [...files.keys()].sort(),
    open(key) {
      const source = files.get(key);
      if (source === undefined) {
        return Promise.reject(
          new IoError(`Cannot open ${quoted(key)}: ${name} has none`, key),
        );
      }
      return Promise.resolve({
        name: source.name,
        size: source.size,
        read: (offset: number, length: number) => source.read(offset, length),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      });
    },
  };
}

/** Largest file in bytes that is read as a whole: a config, a table of names, a tokenizer. */
const MOST_WHOLE = 2 ** 29;

/** All bytes of one file of a set. @throws {SyntaxError} If it is far larger than any that is read as a whole. */
export async function readFile(
  files: FileSet,
  name: string,
): Promise<Uint8Array<ArrayBuffer>> {
  await using source = await files.open(name);
  if (source.size > MOST_WHOLE) {
    throw new FormatError(
      `Cannot read ${
        quoted(source.name)
      } as a whole: wanted at most ${MOST_WHOLE} bytes, got ${source.size}`,
    );
  }
  return await source.read(0, source.size);
}

/** Names of the small files that travel with a model. */
const SIDE_FILES =
  /^(config\.json|generation_config\.json|tokenizer[^/]*|vocab[^/]*|merges\.txt|special_tokens_map\.json|added_tokens\.json|chat_template[^/]*|[^/\\]*\.model|preprocessor_config\.json)$/;

/** True if `name` is a config, tokenizer or similar file that is copied along with a model. */
export function isSideFile(name: string): boolean {
  return (SIDE_FILES.test(name) || templateOfFile(name) !== undefined) &&
    !name.endsWith(".part");
}

/** A tokenizer, config or other small file that travels with a model. */
export interface SideFile {
  /** File name, no folder. */
  readonly name: string;
  /** Its contents. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}
