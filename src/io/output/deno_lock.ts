/**
 * File locks and the identity of their holders; with `../files/deno.ts` the files of `src/io` that touch `Deno.*`.
 *
 * @module
 */

import { doing, granted, mayRead } from "../files/deno.ts";

/** A file that this process has for itself: see {@linkcode holdFile}. */
export interface HeldFile {
  /** True if this process made it. */
  readonly isNew: boolean;
  /** True if the system keeps others from holding it; some file systems cannot. */
  readonly locks: boolean;
  /** The text that it holds. */
  read(): Promise<string>;
  /** Replaces its text. */
  write(text: string): Promise<void>;
  /** True if it is still the one at its path. */
  isThere(): Promise<boolean>;
  /** Lets others have it; with `remove`, removes it first, unless another file has come in its place. */
  release(options: { remove: boolean }): Promise<void>;
}

/**
 * Holds the file at `path`, made where it is not there, by the system's own lock, which ends with the process. Resolves
 * to undefined where another has it.
 */
export function holdFile(path: string): Promise<HeldFile | undefined> {
  return doing("lock", path, async () => {
    for (;;) {
      const { file, isNew } = await openShared(path);
      try {
        const locks = await file.tryLock(true).catch(() => undefined);
        // Its holder may have removed it between our opening and our locking.
        const ours = locks !== false && await isAt(file, path);
        if (ours) return heldFile(file, { path, isNew, locks: locks ?? false });
        file.close();
        if (locks === false) return undefined;
      } catch (error) {
        file.close();
        throw error;
      }
    }
  });
}

/** Opens the file at `path` for reading and writing; `isNew` if it was made for that. */
async function openShared(
  path: string,
): Promise<{ file: Deno.FsFile; isNew: boolean }> {
  const options = { read: true, write: true };
  for (;;) {
    try {
      const file = await Deno.open(path, { ...options, createNew: true });
      return { file, isNew: true };
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
    try {
      return { file: await Deno.open(path, options), isNew: false };
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

function heldFile(
  file: Deno.FsFile,
  { path, isNew, locks }: { path: string; isNew: boolean; locks: boolean },
): HeldFile {
  let held = true;
  return {
    isNew,
    locks,
    read: () =>
      doing("read", path, async () => {
        await file.seek(0, Deno.SeekMode.Start);
        const bytes = new Uint8Array(4096);
        return new TextDecoder().decode(
          bytes.subarray(0, await file.read(bytes) ?? 0),
        );
      }),
    write: (text) =>
      doing("write", path, async () => {
        const bytes = new TextEncoder().encode(text);
        await file.truncate(0);
        await file.seek(0, Deno.SeekMode.Start);
        for (let at = 0; at < bytes.length;) {
          at += await file.write(bytes.subarray(at));
        }
      }),
    isThere: () => doing("look at", path, () => isAt(file, path)),
    async release({ remove }) {
      if (!held) return;
      held = false;
      try {
        if (remove && await isAt(file, path)) await Deno.remove(path);
      } catch {
        // It stays, and the next one sees that nobody holds it.
      }
      file.close();
    },
  };
}

/** True if the open `file` is the one at `path`; where files have no numbers, if there is one. */
async function isAt(file: Deno.FsFile, path: string): Promise<boolean> {
  try {
    const [here, there] = [await file.stat(), await Deno.lstat(path)];
    return here.ino === there.ino && here.dev === there.dev;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The number of this process. */
export function processId(): number {
  return Deno.pid;
}

/** Name of this host; undefined where it may not be asked for. */
export function hostName(): string | undefined {
  try {
    if (granted({ name: "sys", kind: "hostname" })) return Deno.hostname();
    const path = "/etc/hostname";
    if (!mayRead(path)) return undefined;
    return Deno.readTextFileSync(path).trim() || undefined;
  } catch {
    return undefined;
  }
}

/**
 * Start time of the process `pid`, as the system counts it; empty where there is no such process, undefined where the
 * system does not say or may not be asked.
 */
export function processStart(pid: number): string | undefined {
  // Deno lets nobody read there without all permissions.
  const names = ["read", "write", "net", "env", "run", "sys", "ffi"] as const;
  try {
    if (!names.every((name) => granted({ name }))) return undefined;
    Deno.statSync("/proc/self/stat");
  } catch {
    return undefined;
  }
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The name of the command, in brackets, may hold anything.
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19];
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? "" : undefined;
  }
}
