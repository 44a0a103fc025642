/**
 * A fine-tuned model: its weights, the tensors that an adapter holds in full (`modules_to_save`) laid over them, and the
 * adapter's LoRA factors.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import type { JsonObject } from "../../io/files/json.ts";
import { type Adapter, openAdapter, openCheckpoint } from "../../io/open.ts";
import type { HeldTensor } from "../../io/checkpoint/overlay.ts";
import type { AdapterModuleFactors } from "../../nn/adapter.ts";
import { completed, fittedFactors, heldTensors } from "./with_head.ts";
import { namesOf } from "./fitted.ts";
import { headConfig, headInfo } from "../encoder/head_config.ts";
import { checkBase, type ModelPlace } from "./locate.ts";
import { readAdapterFactors } from "./factors.ts";
import { fittedWhole, tableModules, withTables } from "../parts/tables.ts";

/** A model's weights and the adapters on them. */
export interface TunedModel extends AsyncDisposable {
  /** Its weights as they are in their file. */
  readonly file: Checkpoint;
  /** With the tensors that adapters hold in full. */
  readonly checkpoint: Checkpoint;
  /** Factors by adapter, under the names of the checkpoint's modules; none if they were not wanted. */
  readonly adapters: ReadonlyMap<string, readonly AdapterModuleFactors[]>;
  /** Adapters whose factors were not wanted, by name: open, and to be closed by whoever reads them, if not with the model. */
  readonly open: ReadonlyMap<string, Adapter>;
  /** Tensors that adapters hold in full, and embeddings with their factors added, by name in the checkpoint. */
  readonly whole: ReadonlyMap<string, HeldTensor>;
}

/** The checkpoint with these tensors over it, and the config entries of the head in its `loqa.json`. */
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
 * Checks that an adapter is for a model with such modules; single missing ones are reported where it is put on.
 *
 * @throws {TypeError} If none of its modules is there.
 */
function checkNames(
  checkpoint: Checkpoint,
  factors: readonly AdapterModuleFactors[],
  folder: string,
): void {
  const { tensors } = checkpoint;
  if (factors.length === 0) return;
  if (factors.some(({ module }) => tensors.has(`${module}.weight`))) return;
  const [{ module }] = factors;
  const leaf = `.${module.split(".").at(-1)}.weight`;
  const names = [...tensors.keys()];
  const like = names.find((name) => name.endsWith(leaf)) ??
    names.find((name) => /\.\d+\..*\.weight$/.test(name));
  throw new KindError(
    `Cannot put the adapter ${folder} on ${checkpoint.name}: it has factors of ${module}, the model's layers are called ${
      like?.replace(/\.weight$/, "") ?? "otherwise"
    }`,
  );
}

/** @throws {TypeError} If an adapter that is to be trained has factors of an embedding or a head. */
function refuseTables(
  { name, modules }: Adapter,
  checkpoint: Checkpoint,
): void {
  const fit = namesOf(checkpoint);
  const found = tableModules(
    checkpoint,
    [...modules.keys()].map((module) =>
      fit(`${module}.weight`)?.replace(/\.weight$/, "") ?? module
    ),
  );
  if (found.length === 0) return;
  throw new KindError(
    `Cannot train the adapter ${name}: it has factors of ${
      found.join(" and ")
    }, which can be run and merged here, not trained; merge it and train a new one (--modules-to-save for an embedding or a head in full)`,
  );
}

/**
 * Opens the weights of a model and the adapters in these folders, by name.
 *
 * @throws {RangeError} If an adapter belongs to other quantised weights.
 * @throws {TypeError} If an adapter has unknown tensors, or tensors that the model has no place for.
 */
export async function openTuned(
  place: ModelPlace,
  folders: Readonly<Record<string, string>>,
  { factors: wanted = true, file: given }: {
    /** Reads the adapters' factors as well (true); without, the adapters are to be trained. */
    factors?: boolean;
    /** Weights that are open: they are taken over if they are the place's. */
    file?: Checkpoint;
  } = {},
): Promise<TunedModel> {
  await using stack = new AsyncDisposableStack();
  const file = stack.use(
    given?.name === place.model ? given : await openCheckpoint(place.model),
  );
  let base: Checkpoint = file;
  let whole = new Map<string, HeldTensor>();
  const read = new Map<string, readonly AdapterModuleFactors[]>();
  const open = new Map<string, Adapter>();
  for (const [name, folder] of Object.entries(folders)) {
    const adapter = stack.use(await openAdapter(folder));
    await checkBase(adapter, place, folder);
    const fit = namesOf(base);
    if (!wanted) refuseTables(adapter, base);
    const brought = fittedWhole(base, await heldTensors(adapter), {
      ...{ fit, what: folder },
    });
    const made = await withTables(base, {
      whole: new Map([...whole, ...brought]),
      factors: wanted
        ? fittedFactors(base, await readAdapterFactors(adapter))
        : [],
    }, adapter.settings.staysTied);
    ({ checkpoint: base, whole } = made);
    read.set(name, made.factors);
    if (wanted) await adapter[Symbol.asyncDispose]();
    else open.set(name, adapter);
  }
  const checkpoint = withWhole(base, whole, place);
  // An encoder may have got the prefix that its names have beside a head.
  for (const [name, factors] of read) {
    const fitted = fittedFactors(checkpoint, factors);
    checkNames(checkpoint, fitted, folders[name]);
    read.set(name, fitted);
  }
  const owned = stack.move();
  return {
    ...{ file, checkpoint },
    whole,
    adapters: read,
    open,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
