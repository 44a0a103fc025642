/**
 * Many files read as if all were open: a model of three hundred parts needs no more handles than one of a few.
 *
 * @module
 */

import type { ByteSource } from "./bytes.ts";
import { IoError, quoted } from "./errors.ts";
import type { FileSet } from "./files.ts";

/** Files open at a time; systems allow a process 256 and more. */
const MOST_OPEN = 32;

interface Pooled {
  readonly name: string;
  readonly size: number;
  source: Promise<ByteSource> | undefined;
  /** Reads that have not ended. */
  reading: number;
}

/** Sources of a set of files, of which only those that were read last are open. Disposing closes all. */
export class SourcePool implements AsyncDisposable {
  readonly #files: FileSet;
  readonly #most: number;
  /** Those that are open, the longest unused first. */
  readonly #open = new Set<Pooled>();

  /** Over `files`, with at most `most` of them open but for reads under way. */
  constructor(files: FileSet, most = MOST_OPEN) {
    this.#files = files;
    this.#most = most;
  }

  /** A source of the file `name`; it is the pool's, and disposing of it does nothing. */
  async open(name: string): Promise<ByteSource> {
    const source = await this.#files.open(name);
    const file: Pooled = {
      name,
      size: source.size,
      source: Promise.resolve(source),
      reading: 0,
    };
    this.#open.add(file);
    await this.#trim();
    return {
      name: source.name,
      size: source.size,
      read: (offset, length) => this.#read(file, offset, length),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  async #read(
    file: Pooled,
    offset: number,
    length: number,
  ): Promise<Uint8Array<ArrayBuffer>> {
    file.reading++;
    try {
      file.source ??= this.#reopen(file);
      this.#open.delete(file);
      this.#open.add(file);
      return await (await file.source).read(offset, length);
    } finally {
      file.reading--;
      await this.#trim();
    }
  }

  async #reopen(file: Pooled): Promise<ByteSource> {
    const source = await this.#files.open(file.name);
    if (source.size === file.size) return source;
    await source[Symbol.asyncDispose]();
    throw new IoError(
      `Cannot read ${
        quoted(source.name)
      }: it holds ${source.size} bytes, it held ${file.size} when opened`,
      source.name,
    );
  }

  async #trim(): Promise<void> {
    for (const file of this.#open) {
      if (this.#open.size <= this.#most) return;
      if (file.reading === 0) await this.#close(file);
    }
  }

  async #close(file: Pooled): Promise<void> {
    this.#open.delete(file);
    const { source } = file;
    file.source = undefined;
    // One that could not be opened was reported to its reader.
    await (await source?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }

  /** Closes all. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of [...this.#open]) await this.#close(file);
  }
}
