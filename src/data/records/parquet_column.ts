/**
 * Columns of a row group of a Parquet file, page by page: hyparquet decodes pages, after they have been unpacked and
 * checked here.
 *
 * @module
 */

import type {
  ColumnMetaData,
  Compressors,
  DecodedArray,
  PageHeader,
  SchemaTree,
} from "npm:hyparquet@1.31.5";
import { FormatError, ValueError } from "../../errors.ts";
import {
  type Budget,
  checkDeltas,
  checkRuns,
  checkThrift,
  Cursor,
  type PageSize,
} from "./parquet_check.ts";
import { loadPackage } from "../../io/files/package.ts";

type ColumnDecoder = Parameters<Hyparquet["readPage"]>[2];

/** The parts of hyparquet that decode. */
export type Hyparquet = Awaited<ReturnType<typeof loadHyparquet>>;

/** Loads them. @throws {IoError} If the package cannot be had. */
export async function loadHyparquet() {
  const parts = await loadPackage("hyparquet", () =>
    Promise.all([
      import("npm:hyparquet@1.31.5"),
      import("npm:hyparquet@1.31.5/src/assemble.js"),
      import("npm:hyparquet@1.31.5/src/column.js"),
      import("npm:hyparquet@1.31.5/src/convert.js"),
      import("npm:hyparquet@1.31.5/src/datapage.js"),
      import("npm:hyparquet@1.31.5/src/delta.js"),
      import("npm:hyparquet@1.31.5/src/encoding.js"),
      import("npm:hyparquet@1.31.5/src/schema.js"),
      import("npm:hyparquet@1.31.5/src/utils.js"),
    ]));
  const [index, assemble, column, convert, page, delta, encoding, schema] =
    parts;
  return {
    ...index,
    ...assemble,
    ...column,
    ...convert,
    ...page,
    ...delta,
    ...encoding,
    ...schema,
    ...parts[8],
  };
}

/** A column chunk: its bytes in the file and its metadata in the footer. */
export interface Chunk {
  /** Its pages. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Metadata in the footer. */
  readonly meta: ColumnMetaData;
}

/** Context of decoding. */
export interface Decoding {
  /** The package. */
  readonly hyparquet: Hyparquet;
  /** Decompressors by the name of the codec. */
  readonly compressors: Compressors;
  /** The file's columns. */
  readonly tree: SchemaTree;
  /** Limit of memory. */
  readonly budget: Budget;
}

/**
 * The values of a top column in order, page by page; absent ones are null or undefined.
 *
 * @param column Its place among the file's columns.
 * @param chunks The chunks of its leaves.
 * @throws {Error} If it is damaged; anything that hyparquet throws.
 */
export function* columnPages(
  column: SchemaTree,
  chunks: readonly Chunk[],
  decoding: Decoding,
): Generator<DecodedArray> {
  const { hyparquet } = decoding;
  if (column.children.length === 0) {
    yield* pagesOf(chunks[0], decoding);
    return;
  }
  const leaves = new Map<string, DecodedArray>();
  for (const chunk of chunks) {
    leaves.set(
      chunk.meta.path_in_schema.join("."),
      hyparquet.flatten([...pagesOf(chunk, decoding)]),
    );
  }
  hyparquet.assembleNested(leaves, column, hyparquet.DEFAULT_PARSERS);
  yield leaves.get(column.element.name) ?? [];
}

/** The pages of a leaf, decoded; of one inside a list or an object as they belong together. */
function* pagesOf(
  { bytes, meta }: Chunk,
  decoding: Decoding,
): Generator<DecodedArray> {
  const { hyparquet, compressors, tree, budget } = decoding;
  const schemaPath = hyparquet.getTreePath(tree, meta.path_in_schema);
  const { element } = schemaPath.at(-1)!;
  const isFlat = hyparquet.isFlatColumn(schemaPath);
  const decoder = {
    ...meta,
    pathInSchema: meta.path_in_schema,
    element,
    schemaPath,
    compressors,
    parsers: hyparquet.DEFAULT_PARSERS,
  } as ColumnDecoder;
  const unpacked = { ...decoder, codec: "UNCOMPRESSED" as const };
  const most = Number(meta.num_values);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reader = { view, offset: 0 };
  let held: PageSize | undefined;
  let dictionary: DecodedArray | undefined;
  let last: DecodedArray | undefined;
  let seen = 0;
  while (seen < most && reader.offset < bytes.length - 1) {
    checkThrift(new Cursor(bytes, reader.offset));
    const header = hyparquet.parquetHeader(reader);
    const packed = header.compressed_page_size;
    const values = valuesOf(header);
    const isDictionary = header.type === "DICTIONARY_PAGE";
    if (!(packed >= 0 && packed <= bytes.length - reader.offset)) {
      throw new FormatError(`a page of ${packed} bytes, beyond its column`);
    }
    if (!(values >= 0 && (isDictionary || values <= most - seen))) {
      throw new FormatError(
        `a page of ${values} values where its column has ${most - seen} more`,
      );
    }
    const size = { values, bytes: header.uncompressed_page_size, packed };
    if (isFlat && held) budget.give(held);
    budget.take(size);
    if (!isDictionary) held = size;
    const page = unpack(
      bytes.subarray(reader.offset, reader.offset + packed),
      { header, decoder, hyparquet },
    );
    reader.offset += packed;
    if (!isDictionary) checkPage(page, { header, decoder, hyparquet });
    const { data } = hyparquet.readPage(
      {
        view: new DataView(page.buffer, page.byteOffset, page.byteLength),
        offset: 0,
      },
      {
        ...header,
        compressed_page_size: page.length,
        uncompressed_page_size: page.length,
      },
      unpacked,
      dictionary,
      isFlat ? undefined : last,
      0,
    );
    if (isDictionary) {
      dictionary = data && hyparquet.convert(data, decoder);
      continue;
    }
    seen += values;
    // A page inside a list may continue the last one's last row.
    if (data && data !== last && data.length > 0) {
      if (isFlat || last !== undefined) yield data;
      last = data;
    }
  }
  if (!isFlat && last) yield last;
  if (isFlat && held) budget.give(held);
}

/** Values of a page, absent ones as well. */
function valuesOf(header: PageHeader): number {
  return (header.data_page_header ?? header.data_page_header_v2 ??
    header.dictionary_page_header)?.num_values ?? 0;
}

interface PageContext {
  readonly header: PageHeader;
  readonly decoder: ColumnDecoder;
  readonly hyparquet: Hyparquet;
}

/** A page's bytes, decompressed. In version 2, levels stand before the compressed part. */
function unpack(
  packed: Uint8Array<ArrayBuffer>,
  { header, decoder, hyparquet }: PageContext,
): Uint8Array {
  const { codec, compressors } = decoder;
  const v2 = header.data_page_header_v2;
  const levels = v2
    ? v2.definition_levels_byte_length + v2.repetition_levels_byte_length
    : 0;
  const size = header.uncompressed_page_size - levels;
  if (!(levels >= 0 && levels <= packed.length && size >= 0)) {
    throw new FormatError(`a page with ${levels} bytes of levels`);
  }
  if (codec === "UNCOMPRESSED" || v2?.is_compressed === false) return packed;
  // Nothing, compressed: not every decompressor takes that.
  if (size === 0) return packed.subarray(0, levels);
  const rest = hyparquet.decompressPage(
    packed.subarray(levels),
    size,
    codec,
    compressors,
  );
  if (levels === 0) return rest;
  const page = new Uint8Array(levels + rest.length);
  page.set(packed.subarray(0, levels));
  page.set(rest, levels);
  return page;
}

/** Checks an unpacked page's counts. @throws {SyntaxError} If one is not true. */
function checkPage(page: Uint8Array, context: PageContext): void {
  const { header, decoder } = context;
  const { num_values: values, encoding } =
    (header.data_page_header ?? header.data_page_header_v2)!;
  const cursor = new Cursor(page);
  const nulls = checkLevels(page, cursor, context);
  const count = values - nulls;
  if (!(nulls >= 0 && count >= 0)) {
    throw new FormatError(`${nulls} values of a page's ${values} are absent`);
  }
  if (encoding === "RLE" || encoding?.endsWith("_DICTIONARY")) {
    if (count === 0) return;
    const isBoolean = decoder.type === "BOOLEAN";
    const width = isBoolean ? 1 : cursor.byte();
    if (isBoolean) cursor.skip(4);
    // Of no bits at all: the first version has no runs then.
    if (width > 0 || !header.data_page_header) {
      checkRuns(cursor, { width, count });
    }
  } else if (encoding === "BYTE_STREAM_SPLIT") {
    const width = decoder.element.type_length ??
      (/64|DOUBLE/.test(decoder.type) ? 8 : 4);
    if (count * width > cursor.left) throw new FormatError("it ends early");
  } else if (encoding?.startsWith("DELTA_")) {
    const start = cursor.at;
    checkDeltas(cursor, count);
    if (encoding === "DELTA_BYTE_ARRAY") {
      checkDeltas(cursor, count);
      checkPrefixes(page, { start, count, hyparquet: context.hyparquet });
    }
  }
}

/** Number of a page's values that are present, by the levels before them, which are checked. */
function checkLevels(
  page: Uint8Array,
  cursor: Cursor,
  { header, decoder: { schemaPath }, hyparquet }: PageContext,
): number {
  const v2 = header.data_page_header_v2;
  const count = valuesOf(header);
  let nulls = v2?.num_nulls ?? 0;
  for (const kind of ["repetition", "definition"] as const) {
    const level = kind === "repetition"
      ? hyparquet.getMaxRepetitionLevel(schemaPath)
      : hyparquet.getMaxDefinitionLevel(schemaPath);
    let size = v2?.[`${kind}_levels_byte_length`] ?? 0;
    if (!v2 && level > 0) {
      for (let i = 0; i < 4; i++) size += cursor.byte() * 2 ** (8 * i);
    }
    const start = cursor.at;
    cursor.skip(size);
    if (level === 0) continue;
    const part = page.subarray(start, cursor.at);
    const width = 32 - Math.clz32(level);
    checkRuns(new Cursor(part), { width, count });
    if (v2 || kind === "repetition") continue;
    const levels = new Array<number>(count);
    const view = new DataView(part.buffer, part.byteOffset, part.length);
    hyparquet.readRleBitPackedHybrid({ view, offset: 0 }, width, levels, size);
    for (const found of levels) if (found !== level) nulls++;
  }
  return nulls;
}

/** Checks texts that begin as the one before: a few bytes can say that each is longer than it. */
function checkPrefixes(
  page: Uint8Array,
  { start, count, hyparquet }: {
    start: number;
    count: number;
    hyparquet: Hyparquet;
  },
): void {
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  const reader = { view, offset: start };
  const prefixes = new Int32Array(count);
  const suffixes = new Int32Array(count);
  hyparquet.deltaBinaryUnpack(reader, count, prefixes);
  hyparquet.deltaBinaryUnpack(reader, count, suffixes);
  let before = 0;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    if (prefixes[i] < 0 || prefixes[i] > before || suffixes[i] < 0) {
      throw new FormatError("a text begins as a longer one than there is");
    }
    before = prefixes[i] + suffixes[i];
    sum += before;
  }
  if (sum > MOST_TEXT && sum > MOST_SHARED * page.length) {
    throw new ValueError(
      `a page of ${page.length} bytes claims to unpack to ${sum}`,
    );
  }
}

/** Bytes of texts in one page at most that begin as others do, and how many for each of the page. */
const MOST_TEXT = 2 ** 26;
const MOST_SHARED = 100;
