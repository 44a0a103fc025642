/**
 * File systems of a size, for tests of full disks.
 *
 * @module
 */

import assert from "node:assert/strict";

/** Runs a command and tells whether it succeeded; one that is not there has not. */
export async function system(
  command: string,
  ...args: string[]
): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, {
      args,
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false;
  }
}

/** A file system of `size` at `path`, while it is held; undefined where it cannot be mounted. */
export async function mounted(
  path: string,
  size: string,
): Promise<AsyncDisposable | undefined> {
  await Deno.mkdir(path, { recursive: true });
  const options = ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path];
  if (!await system("mount", ...options)) return undefined;
  return {
    async [Symbol.asyncDispose]() {
      assert.ok(await system("umount", path), `umount ${path}`);
    },
  };
}

/** Makes the file system at `path` larger. */
export function enlarged(path: string, size: string): Promise<boolean> {
  return system("mount", "-o", `remount,size=${size}`, path);
}

async function probe(): Promise<boolean> {
  const path = await Deno.makeTempDir();
  const disk = await mounted(path, "64k");
  await disk?.[Symbol.asyncDispose]();
  await Deno.remove(path);
  return disk !== undefined;
}

/** True if file systems can be mounted here. */
export const CAN_MOUNT: boolean = await probe();

/** `name` with why the test is left out, where it is. */
export function needingMount(name: string): string {
  return CAN_MOUNT
    ? name
    : `${name} (needs to mount a tmpfs, which fails here)`;
}
