/**
 * Check of LoRA ranks against the shapes of the layers.
 *
 * @module
 */

import { ValueError } from "../errors.ts";

/** A layer, the shape of its factors' product, and the wanted rank. */
export interface RankedLayer {
  readonly module: string;
  readonly rank: number;
  readonly rows: number;
  readonly cols: number;
}

/**
 * Refuses a rank that is more than any layer has; returns a warning where some have less, undefined where none has. A
 * product of factors has at most the rank of its smaller side: any beyond takes space and adds nothing.
 *
 * @param options.surplus True if a rank beyond every layer's is only warned of: QA-LoRA's A has a column a group, of
 * which small layers have few, and the same rank is wanted for models of all sizes.
 * @throws {RangeError} If the rank of every layer is beyond it.
 */
export function checkRanks(
  layers: readonly RankedLayer[],
  { surplus = false }: { surplus?: boolean } = {},
): string | undefined {
  const most = ({ rows, cols }: RankedLayer) => Math.min(rows, cols);
  const beyond = layers.filter((layer) => layer.rank > most(layer));
  if (beyond.length === 0) return undefined;
  const [{ rank }] = beyond;
  if (beyond.length === layers.length && !surplus) {
    throw new ValueError(
      `Cannot use rank ${rank}: no layer has more than ${
        Math.max(...layers.map(most))
      }, its smaller side`,
    );
  }
  const [least] = beyond.toSorted((a, b) => most(a) - most(b));
  return `rank ${least.rank} is more than ${beyond.length} of ${layers.length} layers have (${least.module}: ${
    most(least)
  }); what is beyond adds nothing`;
}
