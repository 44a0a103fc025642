/**
 * Records of Parquet files, a row group at a time.
 *
 * @module
 */

import { FormatError, ValueError } from "../../errors.ts";
import type { ByteSource } from "../bytes.ts";
import { messageOf, quoted } from "../errors.ts";
import { kindOf } from "./record.ts";
import type { DataRecord } from "./record.ts";
import { loadPackage } from "../package.ts";

/** Rows of one group at most: it is decoded as a whole. */
const MAX_GROUP_ROWS = 2 ** 22;

/** Bytes that a page may unpack to for each that it holds, and what any page may: gzip's best, and zstd's usual. */
const MOST_RATIO = 1100;
const FREE_BYTES = 2 ** 26;

/** Numbers of 64 bits as ordinary ones where they fit, in lists and objects too. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value.toString();
  }
  if (Array.isArray(value)) return value.map(plain);
  if (kindOf(value) !== "an object" || !isPlainObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value as object).map(([key, part]) => [key, plain(part)]),
  );
}

function clamp(position: number, size: number): number {
  return Math.trunc(Math.min(Math.max(position, 0), size)) || 0;
}

function isPlainObject(value: unknown): boolean {
  return Object.getPrototypeOf(value) === Object.prototype;
}

/**
 * The rows of a Parquet file, with any of the usual compressions.
 *
 * @throws {SyntaxError} If it is no Parquet file or is damaged.
 * @throws {RangeError} If a row group has more than four million rows, or a page unpacks to far more than it holds.
 */
export async function* readParquet(
  source: ByteSource,
): AsyncGenerator<DataRecord> {
  const { parquetMetadataAsync, parquetReadObjects } = await loadPackage(
    "hyparquet",
    () => import("npm:hyparquet@1.31.5"),
  );
  const { compressors: all } = await loadPackage(
    "hyparquet-compressors",
    () => import("npm:hyparquet-compressors@1.1.2"),
  );
  const compressors = Object.fromEntries(
    Object.entries(all).map(([name, unpack]) => [
      name,
      (input: Uint8Array, length: number) => {
        if (length > FREE_BYTES && length > MOST_RATIO * input.length) {
          throw new ValueError(
            `a page of ${input.length} bytes claims to unpack to ${length}`,
          );
        }
        return unpack(input, length);
      },
    ]),
  );
  const name = source.name;
  const file = {
    byteLength: source.size,
    // As ArrayBuffer's: a damaged file asks for ranges that it does not have, and nobody waits for some of them.
    async slice(start: number, end = source.size): Promise<ArrayBuffer> {
      const from = clamp(start, source.size);
      const length = Math.max(0, clamp(end, source.size) - from);
      return (await source.read(from, length)).buffer;
    },
  };
  const reading = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (cause) {
      const Kind = cause instanceof RangeError &&
          /claims to unpack/.test(cause.message)
        ? ValueError
        : FormatError;
      throw new Kind(
        `Cannot read ${quoted(name)}: it is no sound Parquet file: ${
          messageOf(cause)
        }`,
        { cause },
      );
    }
  };
  const metadata = await reading(() => parquetMetadataAsync(file));
  let row = 0;
  for (const [index, group] of metadata.row_groups.entries()) {
    const rows = Number(group.num_rows);
    if (!(rows >= 0 && rows <= MAX_GROUP_ROWS)) {
      throw new ValueError(
        `Cannot read ${
          quoted(name)
        }: row group ${index}: wanted at most ${MAX_GROUP_ROWS} rows, got ${rows}`,
      );
    }
    const objects = await reading(() =>
      parquetReadObjects({
        file,
        metadata,
        compressors,
        rowStart: row,
        rowEnd: row + rows,
      })
    );
    if (objects.length !== rows) {
      throw new FormatError(
        `Cannot read ${
          quoted(name)
        }: row group ${index}: wanted ${rows} rows, got ${objects.length}`,
      );
    }
    for (const object of objects) {
      const fields = plain(object) as Record<string, unknown>;
      yield { fields, file: name, row: ++row };
    }
  }
}
