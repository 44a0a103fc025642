/**
 * Putting a folder in the place of another one.
 *
 * @module
 */

import { exists, remove, rename } from "../files/deno.ts";

function replacedPath(place: string): string {
  return `${place}.replaced`;
}

/** Undoes a crash between the two renames of {@linkcode replaceFolder}. */
export async function recoverFolder(place: string): Promise<void> {
  if (!await exists(place) && await exists(replacedPath(place))) {
    await rename(replacedPath(place), place);
  }
}

/**
 * Present path of the content of `place`: there, or beside it while it is being replaced or after a crash in that;
 * undefined where there is none. Changes nothing, so that readers are not in the way of writers.
 */
export async function standingFolder(
  place: string,
): Promise<string | undefined> {
  for (const path of [place, replacedPath(place)]) {
    if (await exists(path)) return path;
  }
  return undefined;
}

/**
 * Replaces the folder `place` by the whole folder `partial`. The caller holds the lock of the folder that both are in.
 */
export async function replaceFolder(
  partial: string,
  place: string,
): Promise<void> {
  const replaced = replacedPath(place);
  // Until the new one is there, it may be the only one.
  await recoverFolder(place);
  await remove(replaced);
  if (await exists(place)) await rename(place, replaced);
  await rename(partial, place);
  await remove(replaced);
}
