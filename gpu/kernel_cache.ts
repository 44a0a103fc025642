/**
 * Kernels that are made once: making a text takes longer than recording a dispatch.
 *
 * @module
 */

import type { Kernel } from "./context.ts";

const kernels = new Map<string, Kernel>();

/** The kernel of that name and those constants, with the text that `code` made when it was first asked for. */
export function kept(
  { name, constants = {} }: Omit<Kernel, "code">,
  code: () => string,
): Kernel {
  const key = `${name} ${JSON.stringify(constants)}`;
  const found = kernels.get(key);
  if (found) return found;
  const kernel = { name, constants, code: code() };
  kernels.set(key, kernel);
  return kernel;
}
