/**
 * The linear layers that a new LoRA adapter goes on.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { WantedTensor } from "../families/tensors.ts";
import {
  layerPosition,
  leafNames,
  matchPattern,
  unmatchedKeys,
} from "../loftq/plan.ts";

/** The linear layers of a model's blocks. */
export function blockLinears(
  tensors: readonly WantedTensor[],
): { module: string; shape: readonly number[] }[] {
  const end = ".weight";
  return tensors.flatMap(({ name, shape }) => {
    const module = name.slice(0, -end.length);
    return name.endsWith(end) && shape.length === 2 && layerPosition(module)
      ? [{ module, shape }]
      : [];
  });
}

/**
 * The layers of `all` that are asked for: all of them without a choice.
 *
 * @throws {RangeError} If a name fits none; it lists the names.
 */
export function chosenLinears(
  all: ReturnType<typeof blockLinears>,
  { targets, name, tensors }: {
    targets: readonly string[] | undefined;
    /** Name of the model in errors. */
    name: string;
    tensors: readonly WantedTensor[];
  },
): ReturnType<typeof blockLinears> {
  if (!targets) return all;
  const modules = all.map(({ module }) => module);
  const lost = unmatchedKeys(targets, modules);
  if (lost.length > 0) {
    const beside = matrices(tensors).filter((module) =>
      matchPattern(module, { [lost[0]]: true }, false)
    );
    const is = beside.length > 0
      ? `; ${
        beside.slice(0, 3).join(", ")
      } is outside the blocks and takes no factors in training here, --modules-to-save trains it in full`
      : "";
    throw new ValueError(
      `Cannot train ${name}: no linear layer of its blocks is called ${
        lost.join(", ")
      }; they are ${leafNames(modules)}${is}`,
    );
  }
  return all.filter(({ module }) =>
    targets.some((key) => matchPattern(module, { [key]: true }, false))
  );
}

/** Paths of the modules with a matrix. */
function matrices(tensors: readonly WantedTensor[]): string[] {
  return tensors
    .filter(({ name, shape }) => name.endsWith(".weight") && shape.length === 2)
    .map(({ name }) => name.slice(0, -".weight".length));
}

/** A list for PEFT, to which names are ends of paths, that means `chosen` and no other module with a matrix. */
export function peftTargets(
  chosen: readonly string[],
  { targets, tensors }: {
    targets: readonly string[] | undefined;
    tensors: readonly WantedTensor[];
  },
): string[] {
  const names = targets ??
    [...new Set(chosen.map((module) => module.split(".").at(-1)!))];
  const meant = matrices(tensors).filter((module) =>
    names.some((end) => `.${module}`.endsWith(`.${end}`))
  );
  const same = meant.length === chosen.length &&
    meant.every((module) => chosen.includes(module));
  return same ? [...names] : [...chosen];
}
