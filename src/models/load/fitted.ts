/**
 * Names of an adapter's modules as names of a checkpoint's: a wrapper of the model may have put a prefix before them.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { sharedTables } from "../../io/checkpoint/tied.ts";
import { findFamily } from "../families.ts";

/** Prefixes that PEFT, torch's wrappers and models around a model put before its own names. */
const WRAPPERS = new Set([
  ...["base_model", "model", "module", "_orig_mod"],
  ...["language_model", "text_model", "transformer"],
]);

/** Maps an adapter's name of a tensor to the checkpoint's. */
export type FitName = (name: string) => string | undefined;

/**
 * Names of tensors in `checkpoint` by those in an adapter: the same, or the only one that differs in nothing but the
 * wrapper's prefix (`model.`, `language_model.`, `module.`, `_orig_mod.`, an encoder's `bert.`, or none of them).
 *
 * @returns A function from a name to the checkpoint's; undefined if it has none. It throws a RangeError where two fit.
 */
export function namesOf(checkpoint: Checkpoint): FitName {
  const prefix = findFamily(checkpoint)?.encoder?.(checkpoint).prefix;
  const own = prefix?.replace(/\.$/, "");
  const core = (name: string): string => {
    const parts = name.split(".").filter((part) => part !== "_orig_mod");
    const first = parts.findIndex((p) => !WRAPPERS.has(p) && p !== own);
    return parts.slice(first).join(".");
  };
  // A tied head has a name and no tensor.
  const names = new Set([
    ...checkpoint.tensors.keys(),
    ...sharedTables(checkpoint)?.copies ?? [],
  ]);
  const byCore = new Map<string, string[]>();
  for (const name of names) {
    byCore.set(core(name), [...byCore.get(core(name)) ?? [], name]);
  }
  return (name) => {
    if (names.has(name)) return name;
    const [found, other] = byCore.get(core(name)) ?? [];
    if (other !== undefined) {
      throw new ValueError(
        `Cannot use an adapter for ${name} on ${checkpoint.name}: it may be ${found} or ${other} there`,
      );
    }
    return found;
  };
}
