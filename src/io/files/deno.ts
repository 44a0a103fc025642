/**
 * Files, folders and the environment: the only file of `src/io` that touches `Deno.*`.
 *
 * Errors of the file system come out as one {@linkcode IoError} that names the file and has the cause.
 *
 * @module
 */

import { isMeant, ValueError } from "../../errors.ts";
import type { ByteSink, ByteSource } from "./bytes.ts";
import { IoError, messageOf, quoted } from "./errors.ts";
import { decodeText } from "./json.ts";
import { isAbsolute, normalPath } from "./paths.ts";
import { checkRange } from "./sources.ts";

/** Runs `work`, turning the system's errors into one that names the action and the file. */
export async function doing<T>(
  action: string,
  path: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw toIoError(action, path, cause);
  }
}

function toIoError(action: string, path: string, cause: unknown): Error {
  if (isMeant(cause)) return cause;
  const code = (cause as { code?: string } | null)?.code;
  const text = messageOf(cause);
  let reason = text;
  if (cause instanceof Deno.errors.NotFound) {
    reason = "no such file or folder";
  } else if (cause instanceof Deno.errors.NotCapable) {
    reason = `not permitted: ${text}`;
  } else if (cause instanceof Deno.errors.PermissionDenied) {
    reason = "permission denied";
  } else if (code === "ENOSPC" || /os error 28\b/.test(text)) {
    reason = "the disk is full";
  } else if (code === "EDQUOT" || /os error 122\b/.test(text)) {
    reason = "the disk quota is used up";
  } else if (cause instanceof Deno.errors.IsADirectory) {
    reason = "it is a folder";
  } else if (cause instanceof Deno.errors.NotADirectory) {
    reason = "a part of the path is no folder";
  } else if (code === "EBUSY" || /os error 16\b/.test(text)) {
    reason = "it is a mount point, or in use";
  }
  return new IoError(
    `Cannot ${action} ${quoted(path)}: ${reason}`,
    path,
    cause,
  );
}

/**
 * Opens the file at `path` for ranged reads.
 *
 * @throws {IoError} If it cannot be opened or is a folder.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { fileSource } from "@loqa/loqa/files";
 *
 * await using source = await fileSource("examples/model/config.json");
 * assert.deepEqual(await source.read(0, 1), new TextEncoder().encode("{"));
 * ```
 */
export async function fileSource(path: string): Promise<ByteSource> {
  const { file, size, modified } = await doing("open", path, async () => {
    const file = await Deno.open(path, { read: true });
    try {
      const info = await file.stat();
      if (info.isDirectory) throw new Deno.errors.IsADirectory();
      return { file, size: info.size, modified: info.mtime?.getTime() };
    } catch (error) {
      file.close();
      throw error;
    }
  });
  let closed = false;
  // The file has one position, so reads that overlap in time go one after the other.
  let last: Promise<unknown> = Promise.resolve();
  const readAt = async (offset: number, length: number) => {
    const bytes = new Uint8Array(length);
    await file.seek(offset, Deno.SeekMode.Start);
    for (let at = 0; at < length;) {
      const got = await file.read(bytes.subarray(at));
      if (got === null) {
        throw new IoError(
          `Cannot read ${quoted(path)}: it ended at byte ${
            offset + at
          }, it held ${size} when opened`,
          path,
        );
      }
      at += got;
    }
    return bytes;
  };
  const source: ByteSource = {
    name: path,
    size,
    modified,
    read(offset, length) {
      const result = last.then(() =>
        doing("read", path, () => {
          checkRange(source, offset, length);
          return readAt(offset, length);
        })
      );
      last = result.catch(() => {});
      return result;
    },
    async [Symbol.asyncDispose]() {
      if (closed) return;
      closed = true;
      await last;
      file.close();
    },
  };
  return source;
}

/** Options of {@linkcode fileSink}. */
export interface FileSinkOptions {
  /**
   * Resumes an interrupted run's part file: it is cut to this many bytes and appended to (0: begun anew). With it,
   * disposing without closing leaves the part file for a later run; without it, removes it.
   */
  resumeAt?: number;
}

/** Name of the file beside `path` that a {@linkcode fileSink} writes until it is closed. */
export function partPath(path: string): string {
  return `${path}.part`;
}

/**
 * A sink that writes beside `path` and puts the whole file in its place when closed.
 *
 * @throws {RangeError} If `resumeAt` is beyond the part file's end.
 * @throws {IoError} If the part file cannot be made.
 */
export async function fileSink(
  path: string,
  { resumeAt }: FileSinkOptions = {},
): Promise<ByteSink> {
  const part = partPath(path);
  const file = await doing("write", path, async () => {
    const file = await Deno.open(part, {
      write: true,
      create: true,
      truncate: !resumeAt,
    });
    try {
      if (resumeAt) {
        const held = (await file.stat()).size;
        if (held < resumeAt) {
          throw new ValueError(
            `Cannot resume ${
              quoted(path)
            } at byte ${resumeAt}: ${part} holds ${held}`,
          );
        }
        await file.truncate(resumeAt);
        await file.seek(resumeAt, Deno.SeekMode.Start);
      }
      return file;
    } catch (error) {
      file.close();
      throw error;
    }
  });
  let size = resumeAt ?? 0;
  let open = true;
  return {
    name: path,
    get size() {
      return size;
    },
    write: (bytes) =>
      doing("write", path, async () => {
        for (let at = 0; at < bytes.byteLength;) {
          at += await file.write(bytes.subarray(at));
        }
        size += bytes.byteLength;
      }),
    sync: () => doing("write", path, () => file.sync()),
    close: () =>
      doing("write", path, async () => {
        await file.sync();
        file.close();
        open = false;
        await Deno.rename(part, path);
        await syncFolder(parentOf(path));
      }),
    async [Symbol.asyncDispose]() {
      if (!open) return;
      open = false;
      file.close();
      if (resumeAt === undefined) await remove(part);
    },
  };
}

/** Bytes of the file at `path`. */
export function readBytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  return doing("read", path, () => Deno.readFile(path));
}

/** UTF-8 text of the file at `path`. @throws {SyntaxError} If it is no UTF-8. */
export async function readTextFile(path: string): Promise<string> {
  return decodeText(await readBytes(path), path);
}

/** Writes `data` atomically: `path` has either its former bytes or all of the new ones. */
export async function writeFileAtomic(
  path: string,
  data: Uint8Array | string,
): Promise<void> {
  await using sink = await fileSink(path);
  await sink.write(
    typeof data === "string" ? new TextEncoder().encode(data) : data,
  );
  await sink.close();
}

/** Appends `text` to a file, which is made where it is missing. */
export function appendText(path: string, text: string): Promise<void> {
  return doing(
    "append to",
    path,
    () => Deno.writeTextFile(path, text, { append: true }),
  );
}

/** An entry of {@linkcode listFolder}; links are followed. */
export interface FolderEntry {
  /** Name in the folder. */
  readonly name: string;
  /** True if it is a file. */
  readonly isFile: boolean;
  /** True if it is a folder. */
  readonly isFolder: boolean;
  /** Its target, where it is a link. */
  readonly linked?: string;
}

/** Entries of the folder `path`, by name. A link that leads nowhere is left out. */
export function listFolder(path: string): Promise<FolderEntry[]> {
  return doing("list", path, async () => {
    const entries: FolderEntry[] = [];
    for await (
      const { name, isFile, isDirectory, isSymlink } of Deno.readDir(path)
    ) {
      if (!isSymlink) entries.push({ name, isFile, isFolder: isDirectory });
      else {
        const kind = await kindOf(joinPath(path, name));
        if (kind === undefined) continue;
        entries.push({
          name,
          linked: await Deno.realPath(joinPath(path, name)),
          isFile: kind === "file",
          isFolder: kind === "folder",
        });
      }
    }
    return entries.sort((a, b) => a.name < b.name ? -1 : 1);
  });
}

/** Kind of the entry at `path`, links followed; undefined where there is nothing. */
export function kindOf(
  path: string,
): Promise<"file" | "folder" | "other" | undefined> {
  return doing("look at", path, async () => {
    try {
      const info = await Deno.stat(path);
      return info.isFile ? "file" : info.isDirectory ? "folder" : "other";
    } catch (error) {
      if (
        error instanceof Deno.errors.NotFound ||
        error instanceof Deno.errors.NotADirectory
      ) return undefined;
      throw error;
    }
  });
}

/** True if there is a file or folder at `path`. */
export async function exists(path: string): Promise<boolean> {
  return await kindOf(path) !== undefined;
}

/** Time of the last change of the file at `path`, in milliseconds since 1970; undefined where unknown. */
export function lastChanged(path: string): Promise<number | undefined> {
  return doing(
    "look at",
    path,
    async () => (await Deno.stat(path)).mtime?.getTime(),
  );
}

/** Size of the file at `path` in bytes; undefined where there is none. */
export async function fileSize(path: string): Promise<number | undefined> {
  if (await kindOf(path) !== "file") return undefined;
  return await doing(
    "look at",
    path,
    async () => (await Deno.stat(path)).size,
  );
}

/** Size and time of the last change (milliseconds since 1970) of the file at `path`; undefined where there is none. */
export async function fileChange(
  path: string,
): Promise<{ size: number; modified: number } | undefined> {
  if (await kindOf(path) !== "file") return undefined;
  return await doing("look at", path, async () => {
    const { size, mtime } = await Deno.stat(path);
    return { size, modified: mtime?.getTime() ?? 0 };
  });
}

/** `path` as it is from any working folder; ids of the hub as they are. */
export function absolutePath(path: string): string {
  if (isAbsolute(path)) return normalPath(path);
  try {
    return normalPath(joinPath(Deno.cwd(), path));
  } catch {
    // The working folder may not be asked for.
    return path;
  }
}

/** Copies the files of a folder, and the folders in it, into the folder `to`, which is made. */
export async function copyFolder(from: string, to: string): Promise<void> {
  await makeFolder(to);
  for (const { name, isFile, isFolder } of await listFolder(from)) {
    const [source, target] = [joinPath(from, name), joinPath(to, name)];
    if (isFolder) await copyFolder(source, target);
    else if (isFile) {
      await doing("copy", source, () => Deno.copyFile(source, target));
    }
  }
}

/** Makes the folder `path` and those above it, unless they are there. */
export function makeFolder(path: string): Promise<void> {
  return doing(
    "make folder",
    path,
    () => Deno.mkdir(path, { recursive: true }),
  );
}

/** Renames a file or folder, replacing a file or an empty folder at `to`, so that a power failure does not undo it. */
export function rename(from: string, to: string): Promise<void> {
  return doing("rename", from, async () => {
    await Deno.rename(from, to);
    const [before, after] = [parentOf(from), parentOf(to)];
    await syncFolder(after);
    if (before !== after) await syncFolder(before);
  });
}

/** Makes the names in the folder `path` survive a power failure, where the system can and the permissions reach. */
export async function syncFolder(path: string): Promise<void> {
  try {
    if (!mayRead(path)) return;
    using folder = await Deno.open(path, { read: true });
    await folder.sync();
  } catch {
    // Not every system opens a folder; the rename is done.
  }
}

/** The folder that `path` is in. */
export function parentOf(path: string): string {
  const bare = path.replace(/(?<=[^\\/])[\\/]+$/, "");
  const cut = Math.max(bare.lastIndexOf("/"), bare.lastIndexOf("\\"));
  return cut < 0 ? "." : bare.slice(0, cut) || bare.slice(0, 1);
}

/** Target of the link at `path`; undefined where there is no link. */
export function linkTarget(path: string): Promise<string | undefined> {
  return doing("look at", path, async () => {
    try {
      return (await Deno.lstat(path)).isSymlink
        ? await Deno.readLink(path)
        : undefined;
    } catch (error) {
      if (
        error instanceof Deno.errors.NotFound ||
        error instanceof Deno.errors.NotADirectory
      ) return undefined;
      throw error;
    }
  });
}

/** True if `path` may be read without asking. */
export function mayRead(path: string): boolean {
  return granted({ name: "read", path });
}

/** `path` without links; as it is where that may not be asked for. */
export function realPath(path: string): Promise<string> {
  return doing(
    "look at",
    path,
    async () => mayRead(path) ? await Deno.realPath(path) : path,
  );
}

/** Removes the folder `path` if it is empty; true if it is gone. */
export async function removeEmpty(path: string): Promise<boolean> {
  try {
    await Deno.remove(path);
    return true;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

/** Asks for the permission to write `path` now, before the work. @throws {IoError} Without it. */
export function demandWrite(path: string): Promise<void> {
  return doing("write", path, async () => {
    const { state } = await Deno.permissions.request({ name: "write", path });
    if (state === "granted") return;
    throw new Deno.errors.NotCapable(
      `Requires write access to ${quoted(path)}`,
    );
  });
}

/** Removes a file or, with all in it, a folder; nothing there is fine. */
export function remove(path: string): Promise<void> {
  return doing("remove", path, async () => {
    try {
      await Deno.remove(path, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  });
}

/** True if a permission is granted already: asking for another would stop a person at a terminal. */
export function granted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

/** `name` inside the folder `path`. */
export function joinPath(path: string, name: string): string {
  return /[\\/]$/.test(path) ? path + name : `${path}/${name}`;
}

/** An environment variable; undefined where it is unset, empty or may not be read, which is not asked for. */
export function environment(name: string): string | undefined {
  if (!granted({ name: "env", variable: name })) return undefined;
  return Deno.env.get(name) || undefined;
}

/** Sets an environment variable where that is permitted. */
export function setEnvironment(name: string, value: string): void {
  if (granted({ name: "env", variable: name })) Deno.env.set(name, value);
}

/** Largest resident size of this process in bytes so far; the present one where the system has no record of it. */
export function peakMemory(): number {
  try {
    const status = Deno.readTextFileSync("/proc/self/status");
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(status);
    if (peak) return Number(peak[1]) * 1024;
  } catch {
    // Not Linux, or not permitted.
  }
  return Deno.memoryUsage().rss;
}
