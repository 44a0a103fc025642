/**
 * Check of a checkpoint against the model that its config describes, before any work is done on its weights.
 *
 * @module
 */

import { isMeant } from "../../errors.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { Problems, quoted } from "../../io/files/errors.ts";
import { findFamily } from "../families.ts";
import type { WantedTensor } from "../../families/tensors.ts";

/** Heads: a class with another task has another one, or none. */
const HEAD =
  /(^|\.)(lm_head|score|classifier|pooler|qa_outputs|classification_head|final_logits_bias)(\.|$)/;

/** Tensors that files carry along in a layer and nobody needs. */
const IDLE = /\.(inv_freq|position_ids|masked_bias|version)$/;

/** The numbered layer that a tensor is of, by its stack: `model.layers`. */
function stackOf(name: string): string | undefined {
  return /^(.*?)\.\d+\./.exec(name)?.[1];
}

/**
 * Checks that a checkpoint of an architecture that is known here has the tensors of its config in the layers, the tables and
 * the norms, with their shapes, and in the layers no others. Heads are left alone: they may be of another task. Nothing is
 * said of other architectures, nor of a config or names that are not understood.
 *
 * @throws {SyntaxError} That lists every tensor that is missing, of another shape, or has no place.
 */
export function checkWhole(checkpoint: Checkpoint): void {
  const wanted = wantedOf(checkpoint).filter(({ name }) => !HEAD.test(name));
  const { tensors } = checkpoint;
  if (!wanted.some(({ name }) => tensors.has(name))) return;
  const problems = new Problems(
    `use the model ${
      quoted(checkpoint.name)
    }, whose tensors are not those of its config`,
  );
  for (const { name, shape } of wanted) {
    const info = tensors.get(name);
    if (!info) problems.add(`tensor ${quoted(name)} is missing`);
    else if (info.shape.join() !== shape.join()) {
      problems.add(
        `tensor ${quoted(name)} is [${info.shape.join(", ")}], wanted [${
          shape.join(", ")
        }]`,
      );
    }
  }
  const known = new Set(wanted.map(({ name }) => name));
  const stacks = new Set(wanted.map(({ name }) => stackOf(name)));
  stacks.delete(undefined);
  for (const name of tensors.keys()) {
    if (stacks.has(stackOf(name)) && !known.has(name) && !IDLE.test(name)) {
      problems.add(`tensor ${quoted(name)} has no place in the model`);
    }
  }
  problems.throwIfAny();
}

function wantedOf(checkpoint: Checkpoint): WantedTensor[] {
  try {
    return findFamily(checkpoint)?.tensors(checkpoint) ?? [];
  } catch (error) {
    // A config that cannot be run here says nothing against files that only pass through.
    if (isMeant(error)) return [];
    throw error;
  }
}
