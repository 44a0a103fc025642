/**
 * One writer a folder: a lock file in it that names the writer.
 *
 * The system's own lock on that file is held as long as its process runs: it ends with the process, however that ends,
 * so neither a pid that another process got since nor a missing permission can deceive. Where a file system has no such
 * locks, the process is looked for.
 *
 * @module
 */

import { joinPath, readTextFile } from "../files/deno.ts";
import { holdFile, hostName, processId, processStart } from "./deno_lock.ts";
import { IoError, quoted } from "../files/errors.ts";

/** Name of the lock file. */
export const LOCK_FILE = "loqa.lock";

/** Who holds a lock, as the file says it. */
export interface Holder {
  readonly pid: number;
  /** Unknown where it may not be asked for. */
  readonly host?: string;
  readonly verb: string;
  /** When it was taken, ISO 8601. */
  readonly since: string;
  /** Start time of the process, as the system counts; unknown where it may not be asked for. */
  readonly started?: string;
}

/** A lock that is held until it is disposed of, or the process ends. */
export interface Lock extends AsyncDisposable {
  /** The file. */
  readonly path: string;
  /** True if nobody removed or replaced it. */
  isHeld(): Promise<boolean>;
}

/** Milliseconds that a holder has to write who it is. */
const PATIENCE = 200;

/**
 * Locks the folder `folder`, which is there, for writing by `verb`.
 *
 * @param place Name of the output in errors; the folder itself without it.
 * @throws {IoError} If another process, or another run of this one, writes there; the message names it.
 */
export async function lockFolder(
  folder: string,
  verb: string,
  place = folder,
): Promise<Lock> {
  const path = joinPath(folder, LOCK_FILE);
  const file = await holdFile(path);
  if (!file) throw refusal(place, path, await holderOf(path));
  try {
    const left = file.isNew ? undefined : parse(await file.read());
    if (left && mayHold(left, file.locks)) throw refusal(place, path, left);
    const holder: Holder = {
      pid: processId(),
      host: hostName(),
      verb,
      since: new Date().toISOString(),
      started: processStart(processId()),
    };
    await file.write(`${JSON.stringify(holder)}\n`);
  } catch (error) {
    await file.release({ remove: file.isNew });
    throw error;
  }
  return {
    path,
    isHeld: () => file.isThere(),
    [Symbol.asyncDispose]: () => file.release({ remove: true }),
  };
}

/**
 * True if the holder named in a file may still run, though the system gave the lock to us; `locks`: true if its file
 * system has locks at all.
 */
export function mayHold(holder: Holder, locks: boolean): boolean {
  const host = hostName();
  // The locks of a file system that hosts share may end at each host.
  if (holder.host !== undefined && host !== undefined && holder.host !== host) {
    return true;
  }
  if (locks) return false;
  const started = processStart(holder.pid);
  if (started === undefined) return true;
  return started !== "" &&
    (holder.started === undefined || started === holder.started);
}

/** Reads who holds the lock at `path`. */
async function holderOf(path: string): Promise<Holder | undefined> {
  for (let waited = 0;; waited += 20) {
    let holder: Holder | undefined;
    try {
      holder = parse(await readTextFile(path));
    } catch {
      // It was let go meanwhile, or the system keeps it from being read.
    }
    if (holder || waited >= PATIENCE) return holder;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function parse(text: string): Holder | undefined {
  try {
    const found = JSON.parse(text);
    return Number.isSafeInteger(found?.pid) ? found : undefined;
  } catch {
    return undefined;
  }
}

function told(holder: Holder | undefined): string {
  if (!holder) return "another process";
  const { pid, host, verb, since } = holder;
  const on = typeof host === "string" ? ` on ${host.slice(0, 80)}` : "";
  return `process ${pid}${on} (${String(verb).slice(0, 20)}, since ${
    String(since).slice(0, 30)
  })`;
}

function refusal(
  place: string,
  path: string,
  holder: Holder | undefined,
): IoError {
  const here = hostName();
  const elsewhere = holder?.host !== undefined && here !== undefined &&
    holder.host !== here;
  return new IoError(
    `Cannot write to ${quoted(place)}: ${told(holder)} writes there; ${
      elsewhere
        ? `this host, ${here}, cannot see whether it still runs: if it does not, remove ${
          quoted(path)
        }`
        : "wait until it is done, or stop it"
    }`,
    place,
  );
}
