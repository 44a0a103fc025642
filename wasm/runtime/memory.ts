/**
 * Memory for the kernels: shared where the platform can, its own otherwise.
 *
 * @module
 */

import { FormatError } from "../../src/errors.ts";

/** Bytes of a WebAssembly page. */
export const PAGE = 65536;

/** The most pages that the module's memory may have: 4 GiB. */
export const MAX_PAGES = 65536;

/** Pages at the start: the loader's own page and a little to work in. */
const INITIAL_PAGES = 16;

/** A shared memory that may grow to 4 GiB, or undefined where the platform gives none. */
export function sharedMemory(): WebAssembly.Memory | undefined {
  if (typeof SharedArrayBuffer === "undefined") return undefined;
  try {
    const memory = new WebAssembly.Memory({
      initial: INITIAL_PAGES,
      maximum: MAX_PAGES,
      shared: true,
    });
    return memory.buffer instanceof SharedArrayBuffer ? memory : undefined;
  } catch {
    return undefined;
  }
}

/** A memory of one thread. */
export function ownMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({
    initial: INITIAL_PAGES,
    maximum: MAX_PAGES,
  });
}

/**
 * `module` with its memory import declared unshared.
 *
 * One flag in the import section is all that differs between the two modules: the kernels contain no atomic
 * instruction, since threads meet in JavaScript. Changing it here costs nothing; a second build would double
 * the size of `../generated/kernels.ts`.
 *
 * @throws {SyntaxError} If `module` imports no shared memory.
 */
export function withOwnMemory(
  module: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const bytes = module.slice();
  let at = 8;
  const number = (): number => {
    let value = 0;
    for (let shift = 0;; shift += 7) {
      const byte = bytes[at++];
      value |= (byte & 0x7f) << shift;
      if (!(byte & 0x80)) return value >>> 0;
    }
  };
  while (at < bytes.length) {
    const section = bytes[at++];
    const size = number();
    if (section !== 2) {
      at += size;
      continue;
    }
    // The kernels import nothing but their memory: one import, two names, kind 2, flags.
    const imports = number();
    for (let name = 0; name < 2; name++) {
      const length = number();
      at += length;
    }
    if (imports === 1 && bytes[at] === 2 && bytes[at + 1] === 3) {
      bytes[at + 1] = 1;
      return bytes;
    }
    break;
  }
  throw new FormatError(
    "Cannot make the kernels' memory unshared: the module does not import one shared memory",
  );
}
