/**
 * Check of a checkpoint's tensors against those that its model needs.
 *
 * @module
 */

import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { Problems, quoted } from "../../io/files/errors.ts";
import type { WantedTensor } from "../../families/tensors.ts";

/**
 * Checks that a checkpoint holds the tensors of its model, and no others but those that match `ignored`.
 *
 * @throws {SyntaxError} That lists every tensor that is missing, of another shape, or unknown.
 */
export function checkTensors(
  checkpoint: Checkpoint,
  wanted: readonly WantedTensor[],
  ignored: RegExp,
): void {
  const problems = new Problems(`run the model ${quoted(checkpoint.name)}`);
  for (const { name, shape } of wanted) {
    const info = checkpoint.tensors.get(name);
    if (!info) problems.add(`tensor ${quoted(name)} is missing`);
    else if (
      info.shape.length !== shape.length ||
      info.shape.some((n, i) => n !== shape[i])
    ) {
      problems.add(
        `tensor ${quoted(name)} is [${info.shape.join(", ")}], wanted [${
          shape.join(", ")
        }]`,
      );
    }
  }
  const known = new Set(wanted.map(({ name }) => name));
  for (const name of checkpoint.tensors.keys()) {
    if (!known.has(name) && !ignored.test(name)) {
      problems.add(`tensor ${quoted(name)} has no place in the model`);
    }
  }
  problems.throwIfAny();
}
