/**
 * A model by its path: loaded by {@linkcode openLm} only where there is a file system.
 *
 * @module
 */

import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { findModel, readAdapterFolder } from "../models/load/locate.ts";
import { openTuned } from "../models/load/with_adapters.ts";
import type { AdapterModuleFactors } from "../nn/adapter.ts";

/** A model's weights, and the LoRA factors on them, where there are any. */
export interface OpenedPath extends AsyncDisposable {
  readonly checkpoint: Checkpoint;
  readonly factors?: readonly AdapterModuleFactors[];
}

/**
 * Opens a folder that loqa wrote, a run or a checkpoint in it, an adapter, or a model.
 *
 * @param adapter Folder of an adapter in the place of the model's own; null for none.
 */
export async function openPath(
  path: string,
  adapter?: string | null,
): Promise<OpenedPath> {
  await using stack = new AsyncDisposableStack();
  const place = await findModel(path);
  const own = adapter === undefined ? place.adapter : undefined;
  const { checkpoint, adapters } = stack.use(
    await openTuned(place, own === undefined ? {} : { default: own }),
  );
  const factors = typeof adapter === "string"
    ? await readAdapterFolder(adapter, place)
    : adapters.get("default");
  const owned = stack.move();
  return {
    checkpoint,
    factors,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
