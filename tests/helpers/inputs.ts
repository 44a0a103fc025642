/**
 * Places of real test inputs, and seeded synthetic ones.
 *
 * @module
 */

import { type Matrix, matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";

function folder(path: string): string | null {
  try {
    return Deno.statSync(path).isDirectory ? path : null;
  } catch {
    return null;
  }
}

/** Folder of real models and data, `../shared/data` beside the project's root, or null where there is none. */
export function sharedData(): string | null {
  return folder(
    new URL("../../../shared/data", import.meta.url).pathname,
  );
}

/** Folder of downloaded models, `$LOQA_MODELS` or `~/.cache/loqa-models`, or null where there is none. */
export function models(): string | null {
  return folder(
    Deno.env.get("LOQA_MODELS") ??
      `${Deno.env.get("HOME")}/.cache/loqa-models`,
  );
}

/** True if a file is there. */
export function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** A matrix of standard normal numbers. */
export function normalMatrix(
  random: Random,
  rows: number,
  cols: number,
): Matrix {
  return matrix(rows, cols, random.normals(rows * cols));
}

/** A whole number from `low` to `high`, both included. */
export function integer(random: Random, low: number, high: number): number {
  return low + Math.floor(random.uniform() * (high - low + 1));
}

/** One of `choices`. */
export function pick<T>(random: Random, choices: readonly T[]): T {
  return choices[integer(random, 0, choices.length - 1)];
}

/** Runs `check` for seeds 0 to `count - 1`; a failure names its seed. */
export async function forSeeds(
  count: number,
  check: (random: Random) => void | Promise<void>,
): Promise<void> {
  for (let seed = 0; seed < count; seed++) {
    try {
      await check(new Random(seed));
    } catch (error) {
      if (error instanceof Error) error.message += ` (seed ${seed})`;
      throw error;
    }
  }
}

/** Suffix of an ignored test's name: the missing input. */
export function lacking(there: boolean, what: string): string {
  return there ? "" : ` (ignored: ${what} not here)`;
}
