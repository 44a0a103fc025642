/**
 * The factors of an open adapter.
 *
 * @module
 */

import type { Adapter } from "../../io/peft/adapter.ts";
import type { AdapterModuleFactors } from "../../nn/adapter.ts";

/** Reads all factors of an adapter; tensors that it holds in full are others' part (`heldTensors`). */
export async function readAdapterFactors(
  adapter: Adapter,
): Promise<AdapterModuleFactors[]> {
  const factors: AdapterModuleFactors[] = [];
  for (const module of adapter.modules.values()) {
    factors.push({
      module: module.module,
      rank: module.rank,
      scaling: module.scaling,
      a: await module.readA(),
      b: await module.readB(),
      ...(module.group && { group: module.group }),
      ...(module.embedding && { embedding: true }),
    });
  }
  return factors;
}
