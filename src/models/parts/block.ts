/**
 * Base of the layers of every architecture: linear layers by name.
 *
 * @module
 */

import { linear } from "../../autograd/linear.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import type { Linear } from "../../nn/linear.ts";
import type { PassOptions } from "../model.ts";

/** A layer of a model. */
export class Block {
  /** By name within the layer. */
  readonly linears: ReadonlyMap<string, Linear>;

  /** With these linear layers. */
  constructor(linears: ReadonlyMap<string, Linear>) {
    this.linears = linears;
  }

  /** One of the linear layers on `x`, plus `add`; its input goes to `onInput` first. */
  apply(
    tape: Tape,
    x: Tensor,
    { name, context, add }: {
      name: string;
      context: Pick<PassOptions, "onInput">;
      add?: Tensor;
    },
  ): Tensor {
    const layer = this.linears.get(name)!;
    context.onInput?.(layer.module, x.value);
    return linear(tape, x, { layer, add });
  }
}

/** Linear layers of all blocks by module path. */
export function linearsOf(blocks: readonly Block[]): Map<string, Linear> {
  return new Map(
    blocks.flatMap(({ linears }) =>
      [...linears.values()].map((l) => [l.module, l] as const)
    ),
  );
}
