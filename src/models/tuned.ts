/**
 * A model as fine-tuning left it: its weights, what an adapter holds in full laid over them, and the adapter's factors.
 *
 * @module
 */

import type { Checkpoint } from "../io/checkpoint.ts";
import type { JsonObject } from "../io/json.ts";
import { openAdapter, openCheckpoint } from "../io/open.ts";
import type { HeldTensor } from "../io/overlay.ts";
import type { AdapterModuleFactors } from "../nn/adapter.ts";
import { completed, fittedFactors, heldTensors } from "./completed.ts";
import { headConfig, headInfo } from "./head_config.ts";
import { checkBase, type ModelPlace, readAdapterFactors } from "./open.ts";

/** A model's weights and the adapters on them. */
export interface TunedModel extends AsyncDisposable {
  /** Its weights as they are in their file. */
  readonly file: Checkpoint;
  /** With what adapters hold in full. */
  readonly checkpoint: Checkpoint;
  /** Factors by adapter, under the names of the checkpoint's modules; none if they were not wanted. */
  readonly adapters: ReadonlyMap<string, readonly AdapterModuleFactors[]>;
  /** What adapters hold in full, by name in the checkpoint. */
  readonly whole: ReadonlyMap<string, HeldTensor>;
}

/** The checkpoint with these tensors over it, and the config entries of the head that its `loqa.json` tells of. */
export function withWhole(
  checkpoint: Checkpoint,
  whole: ReadonlyMap<string, HeldTensor>,
  { report }: ModelPlace,
): Checkpoint {
  if (whole.size === 0) return checkpoint;
  const head = headInfo(report);
  const config: JsonObject | undefined = head &&
    headConfig(checkpoint.config.model_type, head);
  return completed(checkpoint, { tensors: whole, config });
}

/**
 * Opens the weights of a model and the adapters in these folders, by the names that they are enabled by.
 *
 * @throws {RangeError} If an adapter belongs to other quantised weights.
 * @throws {TypeError} If an adapter holds what is not known here.
 */
export async function openTuned(
  place: ModelPlace,
  folders: Readonly<Record<string, string>>,
  { factors: wanted = true }: {
    /** Whether to read the adapters' factors as well (true). */
    factors?: boolean;
  } = {},
): Promise<TunedModel> {
  await using stack = new AsyncDisposableStack();
  const whole = new Map<string, HeldTensor>();
  const read = new Map<string, AdapterModuleFactors[]>();
  for (const [name, folder] of Object.entries(folders)) {
    await using adapter = await openAdapter(folder);
    checkBase(adapter, place);
    if (wanted) read.set(name, await readAdapterFactors(adapter));
    for (const [key, held] of await heldTensors(adapter)) whole.set(key, held);
  }
  const file = stack.use(await openCheckpoint(place.model));
  const checkpoint = withWhole(file, whole, place);
  const owned = stack.move();
  return {
    ...{ file, checkpoint },
    whole,
    adapters: new Map(
      [...read].map(([name, factors]) => [
        name,
        fittedFactors(checkpoint, factors),
      ]),
    ),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
