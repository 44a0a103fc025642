/**
 * New LoRA factors by the default initialisation: `lora_A` at random, `lora_B` zero.
 *
 * @module
 */

import type { WantedTensor } from "../families/tensors.ts";
import { moduleScaling } from "../io/peft/config.ts";
import { checkPatterns } from "../loftq/plan.ts";
import { loraStart } from "../loftq/start.ts";
import type { AdapterModuleFactors } from "../nn/adapter.ts";
import { checkRanks } from "../nn/ranks.ts";
import { blockLinears, chosenLinears } from "./lora_targets.ts";

/** Settings of new factors. */
export interface NewFactors {
  /** Rank of the factors, `lora_A: [rank, in]`, `lora_B: [out, rank]`. */
  readonly rank: number;
  /** LoRA alpha: the product of the factors is scaled by `alpha / rank`. */
  readonly alpha: number;
  /** Rank-stabilised LoRA: scale `alpha / sqrt(rank)`. */
  readonly rslora?: boolean;
  /** Ranks by module name or pattern. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** Alphas by module name or pattern. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
  /** Target modules by name or pattern; all linear layers of the blocks without it. */
  readonly targets?: readonly string[];
  /** Seed of `lora_A`. */
  readonly seed: number;
  /** The model, as errors call it. */
  readonly name: string;
}

/**
 * New factors for the linear layers that are asked for, of a model with these tensors.
 *
 * @throws {RangeError} If a name or a pattern asks for none, or a rank is too large for a layer.
 */
export function newFactors(
  tensors: readonly WantedTensor[],
  { targets, seed, name, ...settings }: NewFactors,
): AdapterModuleFactors[] {
  const chosen = chosenLinears(blockLinears(tensors), {
    ...{ targets, tensors, name },
  });
  checkPatterns(chosen.map(({ module }) => module), settings);
  const shapes = chosen.map(({ module, shape: [rows, cols] }) => ({
    ...{ module, rows, cols },
    ...moduleScaling(settings, module),
  }));
  checkRanks(shapes);
  return shapes.map(({ module, rows, cols, rank, scaling }) => {
    const { a, b } = loraStart({ rows, cols, rank, seed, name: module });
    return { module, rank, scaling, a: a.data, b: b.data };
  });
}
