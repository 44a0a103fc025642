/**
 * Putting a folder in the place of another one.
 *
 * @module
 */

import { exists, remove, rename } from "../files/deno.ts";

function replacedPath(place: string): string {
  return `${place}.replaced`;
}

/** Brings back what a crash between the two renames of {@linkcode replaceFolder} left beside its place. */
export async function recoverFolder(place: string): Promise<void> {
  if (!await exists(place) && await exists(replacedPath(place))) {
    await rename(replacedPath(place), place);
  }
}

/**
 * Where what belongs at `place` stands: there, or beside it while, or since a crash in which, it is being replaced; undefined
 * where it is not. Changes nothing, so that who only reads is not in the way of who writes.
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
 * Puts the whole folder `partial` where `place` is, and removes what was there. Whoever calls holds the lock of the folder
 * that both are in.
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
