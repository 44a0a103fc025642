/**
 * Numbered layers of a checkpoint, checked against its config: a part of a model, or tensors of another one, are found
 * before any work, and sizes that no file could have before names are made of them.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import { isObject } from "../files/json.ts";
import type { JsonObject } from "../files/json.ts";

/** Keys of configs for the number of layers of their main stack; the first that exists counts. */
const COUNTS = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"];

/** A layer's number, as names have it. */
const NUMBER = /^\d{1,6}$/;

/** Parts of a name that are looked at. */
const LONGEST = 32;

/** The number of layers in a config, under its key; undefined where it has none, or shares one among many (ALBERT). */
function toldLayers(
  config: JsonObject,
): { key: string; count: number; extra: number } | undefined {
  for (
    const place of [config, config.text_config, config.llm_config].filter(
      isObject,
    )
  ) {
    if (place.num_hidden_groups !== undefined) return undefined;
    const key = COUNTS.find((key) => typeof place[key] === "number");
    if (key === undefined) continue;
    const extra = place.num_nextn_predict_layers;
    return {
      key,
      count: place[key] as number,
      extra: typeof extra === "number" ? extra : 0,
    };
  }
  return undefined;
}

/** The numbers of each stack, by its prefix in tensors' names. */
function stacksOf(names: Iterable<string>): Map<string, Set<number>> {
  const stacks = new Map<string, Set<number>>();
  for (const name of names) {
    const parts = name.split(".", LONGEST);
    const at = parts.findIndex((part, i) => i > 0 && NUMBER.test(part));
    if (at < 0 || at === parts.length - 1) continue;
    const stack = parts.slice(0, at).join(".");
    const numbers = stacks.get(stack);
    if (numbers) numbers.add(Number(parts[at]));
    else stacks.set(stack, new Set([Number(parts[at])]));
  }
  return stacks;
}

/** True if a stack has layers 0 to `count` - 1 and no others but up to `extra` behind them. */
function isStackOf(
  numbers: ReadonlySet<number>,
  count: number,
  extra: number,
): boolean {
  let most = 0;
  for (const n of numbers) most = Math.max(most, n);
  return numbers.size === most + 1 && numbers.size >= count &&
    numbers.size <= count + extra;
}

/**
 * Why the numbered layers of a checkpoint are not those of its config; undefined if they are. Layers behind the last are
 * fine where the config counts them as `num_nextn_predict_layers` (multi-token prediction).
 *
 * @param names Names of its tensors.
 */
export function layersReason(
  names: readonly string[],
  { where, config }: { where: string; config: JsonObject },
): SyntaxError | undefined {
  const told = toldLayers(config);
  if (!told) return undefined;
  const { key, count, extra } = told;
  const bad = (found: string, what: string) =>
    new FormatError(
      `Cannot read ${
        quoted(where)
      }: its config says ${key} ${count}, its tensors have ${found}: ${what}`,
    );
  const part =
    "wanted all files of the model and the config that belongs to them";
  if (!Number.isInteger(count) || count < 1) {
    return bad(`${names.length} names`, "wanted a whole number >= 1");
  }
  if (count > names.length) return bad(`${names.length} names`, part);
  const stacks = stacksOf(names);
  if (
    stacks.values().some((numbers) => isStackOf(numbers, count, extra))
  ) return undefined;
  const [longest] = [...stacks].sort(([, a], [, b]) => b.size - a.size);
  if (longest === undefined) return bad("no numbered layers", part);
  const [stack, numbers] = longest;
  const sorted = [...numbers].sort((a, b) => a - b);
  const most = sorted.at(-1)!;
  const gap = sorted.findIndex((n, i) => n !== i);
  return bad(
    gap >= 0 ? `no ${stack}.${gap}` : `${stack}.0 to ${most}`,
    gap < 0 && sorted.length > count
      ? `wanted no layers behind the last; ${part}`
      : part,
  );
}
