/**
 * Adapters on a model's token embedding and on its head, which may be tied.
 *
 * LoRA factors of an embedding or a head of a causal LM or encoder-decoder are added to it before the model is loaded; the
 * blocks' factors stay beside their weights. On a model that is tied, whoever has a table or a head of its own unties it,
 * as in PEFT.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import type { HeldTensor } from "../../io/checkpoint/overlay.ts";
import { saysTied, sharedTables, untied } from "../../io/checkpoint/tied.ts";
import type { AdapterModuleFactors } from "../../nn/adapter.ts";
import { findFamily } from "../families.ts";
import type { FitName } from "../load/fitted.ts";

/** Contents of an adapter, under the names of the checkpoint. */
export interface BroughtParts {
  /** Tensors in full. */
  readonly whole: Map<string, HeldTensor>;
  /** Factors. */
  readonly factors: readonly AdapterModuleFactors[];
}

/** Heads of encoders: they may have another number of classes than the file's, or none be there. */
const ENCODER_HEAD = /(^|\.)(classifier|qa_outputs|pooler)\./;

/**
 * The tensors of an adapter under the names that a checkpoint has for them.
 *
 * @param fit Maps their names.
 * @param what Name of the adapter, for errors.
 * @throws {TypeError} That lists those for which the model has no place, or one of another shape.
 */
export function fittedWhole(
  checkpoint: Checkpoint,
  whole: ReadonlyMap<string, HeldTensor>,
  { fit, what }: { fit: FitName; what: string },
): Map<string, HeldTensor> {
  // Tensors beside an encoder's head are named when both are put together.
  if (findFamily(checkpoint)?.encoder) return new Map(whole);
  const { tensors } = checkpoint;
  const shared = sharedTables(checkpoint);
  const placeOf = (name: string) =>
    tensors.get(name) ??
      (shared?.copies.includes(name) ? tensors.get(shared.table) : undefined);
  const found = new Map<string, HeldTensor>();
  const wrong: string[] = [];
  for (const [given, held] of whole) {
    const name = fit(given);
    const place = name === undefined ? undefined : placeOf(name);
    if (place === undefined) {
      if (ENCODER_HEAD.test(given)) found.set(given, held);
      else wrong.push(`it holds ${given} in full, the model has none`);
      continue;
    }
    found.set(name!, held);
    const [has, brings] = [place.shape, held.shape];
    if (has.join() === brings.join()) continue;
    const inTables = shared &&
      [shared.table, ...shared.copies].includes(name!) && has[1] === brings[1];
    wrong.push(
      inTables
        ? `it brings a vocabulary of ${brings[0]} (${name}), the model has ${
          has[0]
        }: give the model that one first (resize_token_embeddings(${
          brings[0]
        }) and save_pretrained in transformers)`
        : `its ${name} is [${brings.join(", ")}], the model's [${
          has.join(", ")
        }]`,
    );
  }
  if (wrong.length > 0) {
    throw new KindError(
      `Cannot use the adapter ${what} on ${checkpoint.name}: ${
        wrong.slice(0, 20).join("; ")
      }${wrong.length > 20 ? `; and ${wrong.length - 20} more` : ""}`,
    );
  }
  return found;
}

/** Modules among these that are an embedding or a head of a causal LM or encoder-decoder, by paths in the checkpoint. */
export function tableModules(
  checkpoint: Checkpoint,
  modules: Iterable<string>,
): string[] {
  const shared = sharedTables(checkpoint);
  if (!shared || findFamily(checkpoint)?.encoder) return [];
  const names = [shared.table, ...shared.copies];
  return [...modules].filter((module) => names.includes(`${module}.weight`));
}

/**
 * The checkpoint with an adapter's embedding and head, untied where they are no longer one, and the tensors laid over
 * it; their LoRA factors are then merged into `whole`.
 *
 * @param staysTied True if the adapter's settings keep tied embeddings tied.
 * @throws {TypeError} If a factor has another shape than its table.
 */
export async function withTables(
  checkpoint: Checkpoint,
  { whole, factors }: BroughtParts,
  staysTied: boolean,
): Promise<BroughtParts & { readonly checkpoint: Checkpoint }> {
  const adapted = new Set(
    tableModules(checkpoint, factors.map(({ module }) => module)),
  );
  const brought = new Set([
    ...tableModules(
      checkpoint,
      [...whole.keys()].map((name) => name.replace(/\.weight$/, "")),
    ),
    ...adapted,
  ]);
  const table = sharedTables(checkpoint)?.table.replace(/\.weight$/, "");
  const one = staysTied && brought.size === 1 && brought.has(table!);
  const base = brought.size > 0 && !one ? untied(checkpoint) : checkpoint;
  const all = new Map(whole);
  for (const factor of factors) {
    if (!adapted.has(factor.module)) continue;
    const name = `${factor.module}.weight`;
    all.set(name, await added(base, factor, all.get(name)));
  }
  return {
    checkpoint: base,
    whole: all,
    factors: factors.filter(({ module }) => !adapted.has(module)),
  };
}

/** An embedding with the product of its LoRA factors added. */
async function added(
  checkpoint: Checkpoint,
  { module, rank, scaling, a, b }: AdapterModuleFactors,
  given: HeldTensor | undefined,
): Promise<HeldTensor> {
  const name = `${module}.weight`;
  const shape = given?.shape ?? checkpoint.tensors.get(name)!.shape;
  const [rows, cols] = shape;
  const wanted = [b.length / rank, a.length / rank];
  if (rows !== wanted[0] || cols !== wanted[1]) {
    throw new KindError(
      `Cannot put an adapter on ${module} of ${checkpoint.name}: it is ${rows} x ${cols}, the adapter's ${
        wanted.join(" x ")
      }`,
    );
  }
  const values = given ? given.values.slice() : await checkpoint.readF32(name);
  const row = new Float64Array(cols);
  for (let i = 0; i < rows; i++) {
    row.fill(0);
    for (let k = 0; k < rank; k++) {
      const by = b[i * rank + k];
      if (by === 0) continue;
      for (let j = 0; j < cols; j++) row[j] += by * a[k * cols + j];
    }
    for (let j = 0; j < cols; j++) values[i * cols + j] += scaling * row[j];
  }
  return { shape, values };
}

/** The checkpoint untied where these modules are trained in full, as PEFT then has a table and a head of their own. */
export function untiedFor(
  checkpoint: Checkpoint,
  modules: readonly string[],
): Checkpoint {
  if (!saysTied(checkpoint.config)) return checkpoint;
  const shared = sharedTables(checkpoint);
  const touched = shared && !findFamily(checkpoint)?.encoder &&
    [shared.table, ...shared.copies].some((name) =>
      modules.some((end) => `.${name}`.endsWith(`.${end}.weight`))
    );
  return touched ? untied(checkpoint) : checkpoint;
}
