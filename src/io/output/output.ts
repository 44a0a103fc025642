/**
 * Output of a verb: built beside its place, put there in one step when it is whole, removed when it fails.
 *
 * All that is not whole is in the folder `OUT.partial`: a marker that names its maker, the lock of the run at work, the
 * run's own work files, and under `result` the later `OUT`. Nothing is removed there, and nothing replaced at `OUT`,
 * that loqa did not make or was not asked to.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import {
  demandWrite,
  exists,
  joinPath,
  kindOf,
  linkTarget,
  listFolder,
  makeFolder,
  mayRead,
  parentOf,
  readTextFile,
  realPath,
  remove,
  removeEmpty,
  rename,
  syncFolder,
  writeFileAtomic,
} from "../files/deno.ts";
import { IoError, messageOf, quoted } from "../files/errors.ts";
import { type Lock, LOCK_FILE, lockFolder } from "./lock.ts";

/** The file in `OUT.partial` that says loqa made it. */
const MARKER = "partial.json";

/** Marker file between the two renames by which one folder replaces another. */
const PLACING = "placing";

/** Former content of `OUT`, until the new is in its place. */
const REPLACED = "replaced";

/** Journal: the bytes of an unfinished run that are safe on disk. */
export const JOURNAL_FILE = "journal.json";

/** Options of {@linkcode openOutput}. */
export interface OutputOptions {
  /** Who writes, for those who find the lock. */
  readonly verb: string;
  /** Kind of the output. */
  readonly kind: "file" | "folder";
  /** True if an interrupted run can be resumed; otherwise all of its work is removed. */
  readonly resumable?: boolean;
  /**
   * Treatment of a non-empty folder at the place: an error (`refuse`, the default), the caller's business (`tell`), or
   * replacement (`replace`), which is then tried, and which another run there prevents.
   */
  readonly occupied?: "refuse" | "tell" | "replace";
  /** Treatment of an interrupted run of the same verb: an error (the default), or the caller's business (`take`). */
  readonly unfinished?: "refuse" | "take";
  /** Paths that the run reads: a folder that holds any of them is not replaced. */
  readonly reads?: readonly string[];
}

/** A place that is locked and can be written to. */
export interface Output extends AsyncDisposable {
  /** Path of the result, without links. */
  readonly place: string;
  /** Folder for a run's work files; removed at its end. */
  readonly work: string;
  /** Path at which the result is built. */
  readonly result: string;
  /** True if something is at the place already, an empty folder apart. */
  readonly taken: boolean;
  /** True if there is an interrupted run to resume. */
  readonly unfinished: boolean;
  /** Begins: removes the partial result of another run, unless it is resumed. */
  begin(resume?: boolean): Promise<void>;
  /** Puts the result in its place. */
  settle(): Promise<void>;
}

/** Folder of the run whose result will be at `place`. */
function workOf(place: string): string {
  return `${bare(place)}.partial`;
}

function bare(path: string): string {
  return path.replace(/[\\/]+$/, "");
}

/**
 * Present path of the content of `path`: there, or, where a run was cut off while it replaced that, beside it. Changes
 * nothing.
 */
export async function settledPath(path: string): Promise<string> {
  if (path.startsWith("hf:") || await exists(path)) return path;
  const work = workOf(path);
  for (const [mark, name] of [[PLACING, "result"], [REPLACED, REPLACED]]) {
    const found = joinPath(work, name);
    if (await exists(joinPath(work, mark)) && await exists(found)) return found;
  }
  return path;
}

/**
 * Takes the place `out` for a run: follows links, makes and locks `OUT.partial`, and checks, before any work, that the
 * result can be put in its place.
 *
 * @throws {RangeError} If `out` has no name of its own, or is of another kind than what will be written.
 * @throws {IoError} If another run writes there, or it cannot be written to, or files of another maker are in the way.
 */
export async function openOutput(
  out: string,
  {
    verb,
    kind,
    resumable = false,
    occupied = "refuse",
    unfinished: left = "refuse",
    reads = [],
  }: OutputOptions,
): Promise<Output> {
  const place = await placeOf(out);
  const work = workOf(place);
  await demandWrite(place);
  await using stack = new AsyncDisposableStack();
  const lock = await takeFolder(work, { verb, out });
  let [begun, settled] = [false, false];
  // Another run's work may still be resumed, until this one begins.
  stack.defer(() => leave(work, lock, !settled && (resumable || !begun)));
  await refuseOther(out, work, verb);
  const unfinished = await goesOn(work);
  if (unfinished && left === "refuse") {
    throw taken(
      out,
      `${work} is the work of an interrupted ${verb}; the same command with --resume continues it, with --force it starts anew`,
    );
  }
  if (await markedBy(work) !== verb) {
    await writeFileAtomic(
      joinPath(work, MARKER),
      `${JSON.stringify({ writtenBy: "loqa", verb })}\n`,
    );
  }
  await recover(place, work);
  const found = await kindOf(place);
  if (found !== undefined && (found !== "folder" || kind === "file")) {
    throw taken(out, `it is there already; wanted a new ${kind}`);
  }
  const full = await isFull(place);
  if (full && occupied === "refuse") {
    throw taken(out, `it is there already; wanted a new ${kind}`);
  }
  const replaces = full && occupied === "replace";
  if (replaces) {
    await refuseReads(out, place, reads);
    stack.use(await lockFolder(place, verb, out));
  }
  if (found === "folder" && (replaces || !full)) {
    if (!full) await clearLock(place, { verb, out });
    await tryReplacing(out, place, { work, full });
  }
  const result = joinPath(work, "result");
  const owned = stack.move();
  return {
    place,
    work,
    result,
    taken: full,
    unfinished,
    async begin(resume = false) {
      begun = true;
      if (resume) return;
      await remove(joinPath(work, JOURNAL_FILE));
      await remove(result);
    },
    async settle() {
      await syncAll(result);
      if (!await lock.isHeld()) {
        throw taken(out, `another process took ${quoted(work)} meanwhile`);
      }
      if (await isFull(place)) {
        if (!replaces) {
          throw taken(out, "it was made by another process meanwhile");
        }
        await writeFileAtomic(joinPath(work, PLACING), "");
        await rename(place, joinPath(work, REPLACED));
      } else if (await exists(place)) {
        await clearLock(place, { verb, out });
        await removeEmpty(place);
      }
      await rename(result, place);
      settled = true;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** True if there is anything at `place`, an empty folder apart. */
async function isFull(place: string): Promise<boolean> {
  const kind = await kindOf(place);
  return kind === "folder"
    ? (await namesIn(place)).length > 0
    : kind !== undefined;
}

/** Names in a folder; a lock that a process left when it was killed does not count. */
export async function namesIn(folder: string): Promise<string[]> {
  return (await listFolder(folder)).map(({ name }) => name)
    .filter((name) => name !== LOCK_FILE);
}

/** Removes a lock that nobody holds from a folder that will be replaced. @throws {IoError} If somebody does. */
async function clearLock(
  place: string,
  { verb, out }: { verb: string; out: string },
): Promise<void> {
  await using _ = await lockFolder(place, verb, out);
}

/** Refuses to begin where an interrupted run of another verb can be resumed. */
async function refuseOther(
  out: string,
  work: string,
  verb: string,
): Promise<void> {
  const left = await markedBy(work);
  if (left === undefined || left === verb) return;
  if (!await exists(joinPath(work, JOURNAL_FILE))) return;
  throw taken(
    out,
    `${work} is the work of an interrupted ${left}; end that with --resume, or remove it`,
  );
}

/** The verb that the marker of a folder names, as far as it can be read. */
async function markedBy(work: string): Promise<string | undefined> {
  const path = joinPath(work, MARKER);
  if (!await exists(path)) return undefined;
  try {
    const { verb } = JSON.parse(await readTextFile(path));
    return typeof verb === "string" ? verb : undefined;
  } catch {
    return undefined;
  }
}

/** The error that `out` is not free, and why. */
export function taken(out: string, why: string): ValueError {
  return new ValueError(`Cannot write to ${out}: ${why}`);
}

/**
 * The place that `out` means, with no link in it.
 *
 * @throws {RangeError} If it has no name of its own, or is a link to nothing.
 */
export async function placeOf(out: string): Promise<string> {
  const path = bare(out);
  if (/(^|[\\/])\.{0,2}$/.test(path)) {
    throw taken(out, "wanted the name of a folder");
  }
  const target = await linkTarget(path);
  if (await exists(path)) return await realPath(path);
  if (target !== undefined) {
    throw taken(out, `it is a link to ${target}, and nothing is there`);
  }
  const parent = parentOf(path);
  if (!mayRead(parent)) return path;
  if (!await exists(parent)) await makeFolder(parent);
  return joinPath(await realPath(parent), path.replace(/^.*[\\/]/s, ""));
}

/** Makes the folder to work in, or takes one that another run left, and locks it. */
async function takeFolder(
  work: string,
  { verb, out }: { verb: string; out: string },
): Promise<Lock> {
  for (;;) {
    await refuseForeign(out, work);
    await makeFolder(work);
    try {
      return await lockFolder(work, verb, out);
    } catch (error) {
      // The run before ended, and removed the folder, in between.
      if (await exists(work)) throw error;
    }
  }
}

/** Refuses to work in a folder that loqa did not make. */
async function refuseForeign(out: string, work: string): Promise<void> {
  const kind = await kindOf(work);
  const link = await linkTarget(work);
  if (kind === undefined && link === undefined) return;
  if (kind === "folder" && link === undefined) {
    const names = await listedNames(work);
    // The run before ended, and removed the folder, in between.
    if (names === undefined) return;
    // One that is new may not have its marker yet.
    const first = [LOCK_FILE, MARKER, `${MARKER}.part`];
    if (names.includes(MARKER) || names.every((n) => first.includes(n))) return;
  }
  throw new IoError(
    `Cannot write to ${quoted(out)}: ${
      quoted(work)
    }, where the work would be done, is there already, and loqa did not make it; move it, or write to another place`,
    work,
  );
}

/** Names in a folder that another process may remove meanwhile; undefined where it is gone. */
async function listedNames(folder: string): Promise<string[] | undefined> {
  try {
    return (await listFolder(folder)).map(({ name }) => name);
  } catch (error) {
    if (!await exists(folder)) return undefined;
    throw error;
  }
}

/** Completes the last step of a run that was cut off in it. */
async function recover(place: string, work: string): Promise<void> {
  const found = await settledPath(place);
  if (found !== place) await rename(found, place);
  await remove(joinPath(work, PLACING));
  await remove(joinPath(work, REPLACED));
}

/** Refuses to replace a folder with files that are read. */
async function refuseReads(
  out: string,
  place: string,
  reads: readonly string[],
): Promise<void> {
  for (const path of reads) {
    if (path.startsWith("hf:") || !await exists(path)) continue;
    const real = await realPath(path);
    if (
      [place, `${place}/`, `${place}\\`].some((p, i) =>
        i === 0 ? real === p : real.startsWith(p)
      )
    ) {
      throw taken(out, `${path}, which is read, is in it; wanted a new folder`);
    }
  }
}

/** Tries the replacement before the work: a mount point cannot be replaced. */
async function tryReplacing(
  out: string,
  place: string,
  { work, full }: { work: string; full: boolean },
): Promise<void> {
  const probe = joinPath(work, full ? REPLACED : "result.probe");
  try {
    if (full) await rename(place, probe);
    else {
      // Onto an empty folder; the other way round one with other rights would be left, if the process ended here.
      await makeFolder(probe);
      await rename(probe, place);
    }
  } catch (error) {
    if (!full) await remove(probe);
    throw taken(
      out,
      `it could not be replaced by the result (${
        messageOf(error).replace(/^.*?: /, "")
      }); write to a folder in it`,
    );
  }
  if (full) await rename(probe, place);
}

/** True if a folder holds a run that can be resumed. */
async function goesOn(work: string): Promise<boolean> {
  return await exists(joinPath(work, JOURNAL_FILE)) &&
    await exists(joinPath(work, "result"));
}

/** Releases the work folder: a run that can be resumed stays, all else is removed. */
async function leave(
  work: string,
  lock: Lock,
  keeps: boolean,
): Promise<void> {
  const stays = keeps && await goesOn(work);
  if (!stays) {
    for (const { name } of await listFolder(work)) {
      if (name !== LOCK_FILE && name !== MARKER) {
        await remove(joinPath(work, name));
      }
    }
    await remove(joinPath(work, MARKER));
  }
  await lock[Symbol.asyncDispose]();
  // Another run may have it by now.
  if (!stays) await removeEmpty(work);
}

/** Makes the names in a folder, and in those in it, survive a power failure; the files were written so. */
async function syncAll(path: string): Promise<void> {
  if (await kindOf(path) !== "folder") return;
  for (const { name, isFolder } of await listFolder(path)) {
    if (isFolder) await syncAll(joinPath(path, name));
  }
  await syncFolder(path);
}
