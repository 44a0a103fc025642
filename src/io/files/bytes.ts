/**
 * Sources and sinks of bytes: ranged reads and sequential writes.
 *
 * Every reader of a file format works over a {@linkcode ByteSource}, so that a local file, bytes in memory, a
 * Blob and an HTTP resource with ranges serve alike; only `src/io/files/deno.ts` touches `Deno.*`.
 *
 * @module
 */

/** Random access to the bytes of something of known size. */
export interface ByteSource extends AsyncDisposable {
  /** Its name in errors: a path, a URL. */
  readonly name: string;
  /** Size in bytes. */
  readonly size: number;
  /** When it was last changed, in milliseconds since 1970; of a file. */
  readonly modified?: number;
  /**
   * Exactly `length` bytes from `offset` on, in new memory that the caller owns.
   *
   * @throws {RangeError} If the range leaves the source.
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** Takes bytes in order; whole and in place only after {@linkcode ByteSink.close}. */
export interface ByteSink extends AsyncDisposable {
  /** Its name in errors. */
  readonly name: string;
  /** Bytes taken so far. */
  readonly size: number;
  /** Appends `bytes`; resolves when they may be changed again. */
  write(bytes: Uint8Array): Promise<void>;
  /** Flushes the bytes so far to the disk, so that a resumed run can rely on them. */
  sync(): Promise<void>;
  /** Flushes and puts the result in its place. Disposing without it leaves the target as it was. */
  close(): Promise<void>;
}

/** The bytes of one tensor, or of a whole file. */
export interface NamedBytes {
  /** Name of the tensor in its file, or of the file in errors. */
  readonly name: string;
  /** Its contents, little-endian. */
  readonly bytes: Uint8Array;
}
