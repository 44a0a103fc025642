/**
 * Checkpoints with tensors that fine-tuning added: a head, or other modules that were trained in full.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import type { JsonObject } from "../../io/files/json.ts";
import { type HeldTensor, overlaid } from "../../io/checkpoint/overlay.ts";
import type { Adapter } from "../../io/peft/adapter.ts";
import { wholeTensors } from "../../io/peft/whole.ts";
import type { AdapterModuleFactors } from "../../nn/adapter.ts";
import { Random } from "../../tensor/random.ts";
import { headModules } from "../../families/encoder.ts";
import { tensorsOf } from "../../families/tensors.ts";
import { familyOf, findFamily } from "../families.ts";
import { namesOf } from "./fitted.ts";
import type { EncoderHead } from "../../families/tensors.ts";

/** Standard deviation of new weights where the config has none; transformers' own. */
const DEVIATION = 0.02;

/** Tensors that no encoder has but its head. */
const HEAD = /^(classifier|qa_outputs|pooler)\./;

/** The tensors that an adapter brings in full, in ordinary memory. */
export async function heldTensors(
  adapter: Adapter,
): Promise<Map<string, HeldTensor>> {
  const held = new Map<string, HeldTensor>();
  for (const [name, reader] of wholeTensors(adapter)) {
    const { shape } = reader.info;
    const values = await reader.readF32(0, shape[0] ?? 1);
    held.set(name, { shape, values });
  }
  return held;
}

/**
 * True if a checkpoint is a base-model checkpoint: an encoder stored without the prefix (`bert.`) that it has beside a
 * head.
 */
export function isBare(checkpoint: Checkpoint): boolean {
  const prefix = familyOf(checkpoint).encoder?.(checkpoint).prefix;
  return prefix !== undefined &&
    ![...checkpoint.tensors.keys()].some((name) => name.startsWith(prefix));
}

/**
 * The checkpoint with tensors and config laid over it, under the names that its tensors have beside a head: unless the given
 * ones are none of a head and named as in the checkpoint.
 */
export function completed(
  checkpoint: Checkpoint,
  { tensors = new Map(), config }: {
    tensors?: ReadonlyMap<string, HeldTensor>;
    config?: JsonObject;
  },
): Checkpoint {
  // A model that is not run here can be merged all the same.
  const { prefix } = findFamily(checkpoint)?.encoder?.(checkpoint) ?? {};
  const names = [...tensors.keys()];
  const bare = prefix !== undefined && isBare(checkpoint) &&
    (names.length === 0 ||
      names.some((name) => HEAD.test(name) || name.startsWith(prefix)));
  // DeBERTa's pooler is part of its head, BERT's of the model.
  const own = (name: string) =>
    HEAD.test(name) && !(name.startsWith("pooler.") && prefix === "bert.");
  return overlaid(checkpoint, {
    rename: (name) => bare && !own(name) ? prefix + name : name,
    tensors,
    config,
  });
}

/**
 * Factors under the names of the modules in a checkpoint, where the wrapper's prefix differs; those of missing modules
 * stay as they are.
 *
 * @throws {RangeError} If two modules fit a name.
 */
export function fittedFactors(
  checkpoint: Checkpoint,
  factors: readonly AdapterModuleFactors[],
): AdapterModuleFactors[] {
  const fit = namesOf(checkpoint);
  return factors.map((factor) => {
    const found = fit(`${factor.module}.weight`);
    return found === undefined
      ? factor
      : { ...factor, module: found.slice(0, -".weight".length) };
  });
}

/**
 * Tensors of a head that a checkpoint has not, as transformers makes new ones: weights from a normal distribution, biases
 * of zeros.
 *
 * @throws {TypeError} If the model is no encoder.
 */
export function newHead(
  checkpoint: Checkpoint,
  { head, seed }: { head: EncoderHead; seed: number },
): Map<string, HeldTensor> {
  const names = familyOf(checkpoint).encoder?.(checkpoint);
  if (!names) {
    throw new KindError(
      `Cannot put a head on ${checkpoint.name}: wanted an encoder, got ${
        String(checkpoint.config.model_type)
      }`,
    );
  }
  const { classifier, hiddenSize } = names;
  const given = checkpoint.config.initializer_range;
  const deviation = typeof given === "number" ? given : DEVIATION;
  const made = new Map<string, HeldTensor>();
  for (
    const { name, shape } of tensorsOf(
      headModules(head, classifier, hiddenSize),
    )
  ) {
    const found = checkpoint.tensors.get(name);
    if (found && found.shape.join() === shape.join()) continue;
    const count = shape.reduce((a, b) => a * b);
    const values = name.endsWith("bias")
      ? new Float32Array(count)
      : new Random(seed, name).normals(count).map((x) => deviation * x);
    made.set(name, { shape, values });
  }
  return made;
}
