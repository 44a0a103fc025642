/**
 * Helpers of the fault tests: a model that takes a second, and runs that are cut off.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Outcome, outcome, spawnLoqa } from "../helpers/cli.ts";
import {
  comparable,
  inFolder,
  tinyLlama,
  writeModel,
} from "../helpers/model.ts";

/** Runs `work` with a folder that holds `model/`, whose initialisation takes long enough to be cut off. */
export function withModel(
  work: (folder: string) => Promise<void>,
): Promise<void> {
  return inFolder(async (folder) => {
    await writeModel(
      `${folder}/model`,
      tinyLlama({ layers: 4, hidden: 101, inner: 151 }),
    );
    await work(folder);
  });
}

/** Arguments of a run into `out` that is safe after every tensor. */
export function initArgs(
  folder: string,
  out: string,
  ...more: string[]
): string[] {
  return [
    "init",
    `${folder}/model`,
    ...["-o", out, "--quiet", "--rank", "7", "--threads", "1"],
    ...["--safe-interval", "0", ...more],
  ];
}

/** True if there is something at `path`. */
export async function there(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Layers that the journal of an unfinished run tells of. */
export async function safeLayers(out: string): Promise<number> {
  try {
    const text = await Deno.readTextFile(`${out}.partial/journal.json`);
    return JSON.parse(text).layers.length;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

/** Resolves after `ms` milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves when the journal tells of `count` layers, or the child has ended. */
export async function untilLayers(
  child: Deno.ChildProcess,
  out: string,
  count: number,
): Promise<void> {
  let ended = false;
  child.status.then(() => ended = true);
  while (!ended && await safeLayers(out) < count) await sleep(5);
}

/** Runs `args` and asserts that they succeed. */
export async function succeeds(args: readonly string[]): Promise<Outcome> {
  const result = await outcome(spawnLoqa(args));
  assert.equal(result.code, 0, result.stderr);
  return result;
}

/** Runs `args` and asserts exit code 1, one line on stderr that matches, nothing on stdout, no stack trace. */
export async function failsWith(
  args: readonly string[],
  line: RegExp,
): Promise<void> {
  const { code, stdout, stderr } = await outcome(spawnLoqa(args));
  assert.equal(code, 1, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, /^loqa: [^\n]+\n$/);
  assert.match(stderr, line);
  assert.doesNotMatch(stderr, /file:\/\/|\.ts:\d/);
}

/** Asserts that `out` holds a whole result with the files of `whole`. */
export async function assertSame(
  out: string,
  whole: ReadonlyMap<string, string>,
): Promise<void> {
  assert.deepEqual(await comparable(out), whole);
  assert.equal(await there(`${out}.partial`), false);
  assert.equal(await there(`${out}.replaced`), false);
}
