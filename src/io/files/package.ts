/**
 * Third-party code, loaded when it is first needed; a failure to load it is no fault of the file at hand.
 *
 * @module
 */

import { IoError, messageOf } from "./errors.ts";

/**
 * Imports a package by `load`.
 *
 * @param name Name of the package.
 * @throws {IoError} If it cannot be loaded.
 */
export async function loadPackage<T>(
  name: string,
  load: () => Promise<T>,
): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new IoError(
      `Cannot load the package ${name}: ${
        messageOf(cause)
      }; it is downloaded when it is first needed, so run again with a network`,
      name,
      cause,
    );
  }
}
