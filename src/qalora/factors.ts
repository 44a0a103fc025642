/**
 * LoftQ's start for QA-LoRA: an adapter on groups that makes up for what its base lost.
 *
 * LoftQ (Li et al., 2310.08659) with the low-rank part constant in each group, so that it still merges into the biases
 * (Xu et al., QA-LoRA, 2309.14717); with second moments of the inputs, the best one for the layer's output.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import { exactTruncator } from "../linalg/truncated_svd.ts";
import { alternate, type Iterate, rankOf } from "../loftq/alternate.ts";
import type { LoftqResult } from "../loftq/options.ts";
import { type Errors, reported } from "../loftq/residual.ts";
import type { CheckedStart, Prepared } from "./prepare.ts";

/** Quantises a weight and corrects in the factors of its adapter, as often as the settings say; the best iterate. */
export async function startFactors(
  device: Device,
  { residual, quantizer }: Prepared,
  { rank, scaling, iterations, seed, name }: CheckedStart,
): Promise<LoftqResult> {
  const { w, e, groups, identity } = residual;
  const { rows } = w;
  const adapter = { rows, cols: groups, rank, seed, name };
  using buffer = device.alloc(rows * groups * 4);
  const t = mat(buffer, rows, groups);
  using truncator = exactTruncator(device, {
    ...adapter,
    rank: rankOf(adapter),
  });
  const gain = 1 / Math.sqrt(scaling);
  /** `-s B A: [out, groups]`, in the memory of T. */
  const minus = ({ b, a }: Iterate): Mat => {
    device.ops.gemm({ a: b, b: a, c: t, alpha: -scaling });
    return t;
  };

  let plain = undefined as Errors | undefined;
  const { errors, ...kept } = await alternate(device, quantizer, {
    adapter,
    iterations,
    quantise({ q }, last) {
      if (last) residual.add(minus(last), e);
      return quantizer.run(last ? e : w, q);
    },
    async correct({ q, b, a }) {
      const before = await residual.subtract(q);
      plain ??= before;
      if (iterations === 0) return before.outputError;
      residual.project(t);
      const values = await truncator.factor(t, { b, a, gain });
      residual.constants(a);
      return residual.without(before.outputError, values);
    },
    async errors(best, least) {
      if (iterations === 0) return [plain!, plain!];
      const left = identity
        ? { error: least, outputError: least }
        : await residual.subtract(best.q, minus(best));
      return [plain!, left];
    },
  });
  return { ...kept, scaling, ...reported(identity, ...errors) };
}
