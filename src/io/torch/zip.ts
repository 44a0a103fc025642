/**
 * Reading zip archives of uncompressed entries, as torch writes them.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { ByteSource } from "../files/bytes.ts";
import { quoted } from "../files/errors.ts";
import { decodeText } from "../files/json.ts";
import { sliceSource } from "../files/sources.ts";

/** One entry of an archive. */
interface ZipEntry {
  readonly name: string;
  /** Its name as stored. */
  readonly rawName: Uint8Array;
  /** Offset of its local header. */
  readonly header: number;
  readonly size: number;
  /** True if it is stored uncompressed. */
  readonly stored: boolean;
}

/** An open archive. */
export interface ZipArchive {
  /** Names in the order of the directory. */
  readonly names: readonly string[];
  /** Contents of one entry as a source; the archive's own source stays open. @throws {SyntaxError} If it is compressed, or not where the directory says. */
  open(name: string): Promise<ByteSource>;
}

const END = 0x06054b50;
const END64_LOCATOR = 0x07064b50;
const END64 = 0x06064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const FULL32 = 0xffffffff;

/** Bytes at the end of a file in which the end record must begin: its size with the longest comment. */
const TAIL = 22 + 0xffff;

/** True if a file begins like a zip archive. */
export async function isZip(source: ByteSource): Promise<boolean> {
  if (source.size < 22) return false;
  return view(await source.read(0, 4)).getUint32(0, true) === LOCAL;
}

function view(bytes: Uint8Array<ArrayBuffer>): DataView<ArrayBuffer> {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Reads the directory of an archive. `source` stays the caller's to dispose of.
 *
 * @throws {SyntaxError} If it is no archive or its directory lies.
 */
export async function openZip(source: ByteSource): Promise<ZipArchive> {
  const bad = (reason: string) =>
    new FormatError(
      `Cannot read ${quoted(source.name)} as a zip archive: ${reason}`,
    );
  const end = await readEnd(source, bad);
  if (
    end.offset + end.size > source.size || end.count * 46 > end.size
  ) throw bad("its directory leaves the file");
  const directory = await source.read(end.offset, end.size);
  const entries = new Map<string, ZipEntry>();
  const data = view(directory);
  let at = 0;
  for (let i = 0; i < end.count; i++) {
    if (at + 46 > end.size || data.getUint32(at, true) !== CENTRAL) {
      throw bad(`entry ${i} of its directory is none`);
    }
    const nameLength = data.getUint16(at + 28, true);
    const extraLength = data.getUint16(at + 30, true);
    const commentLength = data.getUint16(at + 32, true);
    const next = at + 46 + nameLength + extraLength + commentLength;
    if (next > end.size) throw bad(`entry ${i} leaves its directory`);
    const rawName = directory.subarray(at + 46, at + 46 + nameLength);
    const name = decodeText(rawName, source.name);
    if (entries.has(name)) throw bad(`entry ${quoted(name)} occurs twice`);
    entries.set(name, {
      name,
      rawName,
      stored: data.getUint16(at + 10, true) === 0 &&
        (data.getUint16(at + 8, true) & 1) === 0,
      ...sizes(
        data,
        at,
        { nameLength, extraLength },
        () => bad(`entry ${quoted(name)} has no 64-bit sizes`),
      ),
    });
    at = next;
  }
  return {
    names: [...entries.keys()],
    async open(name) {
      const entry = entries.get(name);
      if (entry === undefined) throw bad(`it has no entry ${quoted(name)}`);
      if (!entry.stored) throw bad(`entry ${quoted(name)} is compressed`);
      if (entry.header + 30 > source.size) {
        throw bad(`entry ${quoted(name)} leaves the file`);
      }
      const local = view(await source.read(entry.header, 30));
      // Another entry's header would make its bytes those of this one.
      if (
        local.getUint32(0, true) !== LOCAL ||
        !await namedAt(source, entry, local.getUint16(26, true))
      ) {
        throw bad(`entry ${quoted(name)} is not where its directory says`);
      }
      const offset = entry.header + 30 + local.getUint16(26, true) +
        local.getUint16(28, true);
      if (offset + entry.size > source.size) {
        throw bad(`entry ${quoted(name)} leaves the file`);
      }
      return sliceSource(source, {
        offset,
        length: entry.size,
        name: `${source.name}/${name}`,
      });
    },
  };
}

/** True if the local header of an entry, with a name of `length` bytes, bears the name of the directory. */
async function namedAt(
  source: ByteSource,
  { rawName, header }: ZipEntry,
  length: number,
): Promise<boolean> {
  if (length !== rawName.length || header + 30 + length > source.size) {
    return false;
  }
  const local = await source.read(header + 30, length);
  return local.every((byte, i) => byte === rawName[i]);
}

/** The end record: where the directory is. */
async function readEnd(
  source: ByteSource,
  bad: (reason: string) => SyntaxError,
): Promise<{ count: number; size: number; offset: number }> {
  const length = Math.min(source.size, TAIL);
  const start = source.size - length;
  const data = view(await source.read(start, length));
  let at = length - 22;
  while (at >= 0 && data.getUint32(at, true) !== END) at--;
  if (at < 0) throw bad("it has no end record");
  let count = data.getUint16(at + 10, true);
  let size = data.getUint32(at + 12, true);
  let offset = data.getUint32(at + 16, true);
  if (at >= 20 && data.getUint32(at - 20, true) === END64_LOCATOR) {
    const where = Number(data.getBigUint64(at - 12, true));
    if (where + 56 > source.size) throw bad("its end record leaves the file");
    const wide = view(await source.read(where, 56));
    if (wide.getUint32(0, true) !== END64) throw bad("its end record is none");
    count = Number(wide.getBigUint64(32, true));
    size = Number(wide.getBigUint64(40, true));
    offset = Number(wide.getBigUint64(48, true));
  }
  return { count, size, offset };
}

/** Size and place of an entry; where 32 bits are not enough they are in an extra field. */
function sizes(
  data: DataView,
  at: number,
  { nameLength, extraLength }: { nameLength: number; extraLength: number },
  bad: () => SyntaxError,
): { size: number; header: number } {
  let size = data.getUint32(at + 24, true);
  let header = data.getUint32(at + 42, true);
  if (size !== FULL32 && header !== FULL32) return { size, header };
  const compressed = data.getUint32(at + 20, true);
  const end = at + 46 + nameLength + extraLength;
  for (let field = at + 46 + nameLength; field + 4 <= end;) {
    const length = data.getUint16(field + 2, true);
    if (data.getUint16(field, true) === 1 && field + 4 + length <= end) {
      let next = field + 4;
      const take = () => {
        if (next + 8 > field + 4 + length) throw bad();
        next += 8;
        return Number(data.getBigUint64(next - 8, true));
      };
      if (size === FULL32) size = take();
      if (compressed === FULL32) take();
      if (header === FULL32) header = take();
      return { size, header };
    }
    field += 4 + length;
  }
  throw bad();
}
