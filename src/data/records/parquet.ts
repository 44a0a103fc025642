/**
 * Records of Parquet files, a row group at a time.
 *
 * @module
 */

import type {
  ColumnMetaData,
  FileMetaData,
  SchemaTree,
} from "npm:hyparquet@1.31.5";
import { FormatError, ValueError } from "../../errors.ts";
import type { ByteSource } from "../../io/files/bytes.ts";
import { IoError, messageOf, quoted } from "../../io/files/errors.ts";
import { Budget, checkThrift, Cursor } from "./parquet_check.ts";
import { type Chunk, columnPages, loadHyparquet } from "./parquet_column.ts";
import { kindOf } from "./record.ts";
import type { DataRecord } from "./record.ts";
import { loadPackage } from "../../io/files/package.ts";

/** Rows of one group at most: lists and objects in it are decoded as a whole. */
const MAX_GROUP_ROWS = 2 ** 22;

/** Largest footer, in bytes. */
const MOST_FOOTER = 2 ** 26;

/** Numbers of 64 bits as ordinary ones where they fit, in lists and objects too. */
function plain(value: unknown): unknown {
  if (typeof value === "string" || value === null) return value;
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

function isPlainObject(value: unknown): boolean {
  return Object.getPrototypeOf(value) === Object.prototype;
}

/**
 * The rows of a Parquet file, with any of the usual compressions.
 *
 * Of each column a page is decoded at a time (of a list's or an object's the whole row group).
 *
 * @throws {SyntaxError} If it is no Parquet file or is damaged.
 * @throws {RangeError} If a row group has more than four million rows, or unpacks to far more than its bytes.
 */
export async function* readParquet(
  source: ByteSource,
): AsyncGenerator<DataRecord> {
  const hyparquet = await loadHyparquet();
  const { compressors } = await loadPackage(
    "hyparquet-compressors",
    () => import("npm:hyparquet-compressors@1.1.2"),
  );
  const name = source.name;
  const bad = (cause: unknown, where = ""): Error => {
    if (cause instanceof IoError) return cause;
    const Kind = cause instanceof ValueError ? ValueError : FormatError;
    return new Kind(
      `Cannot read ${quoted(name)}: it is no sound Parquet file: ${where}${
        messageOf(cause)
      }`,
      { cause },
    );
  };
  let metadata: FileMetaData;
  let tree: SchemaTree;
  try {
    metadata = hyparquet.parquetMetadata(await footerOf(source), {
      geoparquet: false,
    });
    tree = hyparquet.parquetSchema(metadata);
  } catch (cause) {
    throw bad(cause);
  }
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
    const columns: Column[] = [];
    const budget = new Budget();
    try {
      for (const column of tree.children) {
        if (column.element.logical_type?.type === "VARIANT") {
          throw new FormatError(
            `column ${
              quoted(column.element.name)
            } is a VARIANT, which is not read`,
          );
        }
        const chunks: Chunk[] = [];
        for (const { meta_data: meta } of group.columns) {
          if (meta?.path_in_schema[0] !== column.element.name) continue;
          chunks.push({ meta, bytes: await chunkOf(meta, source) });
        }
        if (chunks.length === 0) continue;
        const decoding = { hyparquet, compressors, tree, budget };
        columns.push({
          name: column.element.name,
          pages: columnPages(column, chunks, decoding),
          page: [],
          at: 0,
        });
      }
    } catch (cause) {
      throw bad(cause, `row group ${index}: `);
    }
    for (let i = 0; i < rows; i++) {
      const fields: [string, unknown][] = [];
      for (const column of columns) {
        while (column.at >= column.page.length) {
          try {
            const { done, value } = column.pages.next();
            if (done) throw new FormatError(`wanted ${rows} rows, got ${i}`);
            column.page = value;
            column.at = 0;
          } catch (cause) {
            throw bad(
              cause,
              `row group ${index}, column ${quoted(column.name)}: `,
            );
          }
        }
        fields.push([column.name, plain(column.page[column.at++])]);
      }
      yield { fields: Object.fromEntries(fields), file: name, row: ++row };
    }
  }
}

/** A column, and the position of its reader. */
interface Column {
  readonly name: string;
  readonly pages: Iterator<ArrayLike<unknown>>;
  page: ArrayLike<unknown>;
  at: number;
}

/** The end of a file, from its footer on, which is checked. */
async function footerOf(
  source: ByteSource,
): Promise<Uint8Array<ArrayBuffer>> {
  const { size } = source;
  if (size < 12) throw new FormatError("it is too short");
  const end = await source.read(size - 8, 8);
  if (new TextDecoder().decode(end.subarray(4)) !== "PAR1") {
    throw new FormatError("it does not end with PAR1");
  }
  const length = new DataView(end.buffer, end.byteOffset).getUint32(0, true);
  if (length > Math.min(size - 12, MOST_FOOTER)) {
    throw new FormatError(`a footer of ${length} bytes in a file of ${size}`);
  }
  const footer = await source.read(size - 8 - length, length + 8);
  checkThrift(new Cursor(footer));
  return footer;
}

/** The bytes of a column chunk. */
async function chunkOf(
  meta: ColumnMetaData,
  source: ByteSource,
): Promise<Uint8Array<ArrayBuffer>> {
  const start = Number(meta.data_page_offset);
  const dictionary = Number(meta.dictionary_page_offset ?? 0);
  const from = dictionary > 0 ? Math.min(dictionary, start) : start;
  const length = Number(meta.total_compressed_size);
  if (!(from >= 0 && length >= 0 && from + length <= source.size)) {
    throw new FormatError(
      `column ${
        quoted(meta.path_in_schema.join("."))
      }: ${length} bytes from ${from} in a file of ${source.size}`,
    );
  }
  return await source.read(from, length);
}
