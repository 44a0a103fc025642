/**
 * LoRA and QA-LoRA factors: beside a weight, or folded into the biases (zero points) of its groups.
 *
 * @module
 */

import type { Mat } from "../device/buffer.ts";
import { type LinearWeight, plus, type WeightGroups } from "./linear_weight.ts";
import type { Parameter } from "./parameter.ts";
import { accumulateParameter, type Tape, type Tensor } from "./tape.ts";

/**
 * LoRA factors of a linear layer: it adds `scaling * dropout(x) * Aᵀ * Bᵀ` (Hu et al., 2106.09685), or with `group`
 * QA-LoRA's `scaling * dropout(pool(x)) * Aᵀ * Bᵀ`, where `pool` sums the inputs of each group (Xu et al., 2309.14717).
 */
export interface LoraFactors {
  /** `lora_A: [rank, in]`, or `[rank, ceil(in / group)]`. */
  readonly a: Mat;
  /** `lora_B: [out, rank]`. */
  readonly b: Mat;
  /** LoRA scaling: factor of the product. */
  readonly scaling: number;
  /** LoRA dropout probability of the inputs, pooled ones with `group`; 0 without. */
  readonly dropout: number;
  /** Group size of QA-LoRA: inputs that are summed before A; the last group may be short. */
  readonly group?: number;
  /** Both factors as parameters, where they are trainable. */
  readonly trained?: { readonly a: Parameter; readonly b: Parameter };
}

/** Sums over each group of columns. */
export function pool(tape: Tape, x: Mat, group: number): Mat {
  const out = tape.matrix(x.rows, Math.ceil(x.cols / group));
  tape.device.ops.poolColumns({ x, group, out });
  return out;
}

/**
 * True if LoRA is folded into the weight's group biases. With fewer rows of inputs than groups the product of the factors
 * would be more work than they are by themselves.
 */
export function joins(
  tape: Tape,
  m: number,
  { groups }: LinearWeight,
  { group, dropout }: LoraFactors,
): boolean {
  return groups !== undefined && group === groups.size &&
    m > groups.biases.cols && !(dropout > 0 && tape.training);
}

/** The biases with the products of these factors added. */
export function joinedBiases(
  tape: Tape,
  { biases }: WeightGroups,
  joined: readonly LoraFactors[],
): Mat {
  const c = tape.matrix(biases.rows, biases.cols);
  let add = biases;
  for (const { a, b, scaling } of joined) {
    tape.device.ops.gemm({ a: b, b: a, c, alpha: scaling, beta: 1, add });
    add = c;
  }
  return c;
}

/** Gradients of factors folded into the biases, whose own is `dyᵀ pool(x)`. */
export function joinedBackward(
  tape: Tape,
  joined: readonly LoraFactors[],
  { dy, x }: { dy: Mat; x: Mat },
): void {
  const { gemm } = tape.device.ops;
  let gradient: Mat | undefined;
  for (const { a, b, scaling, group, trained } of joined) {
    if (!trained) continue;
    if (!gradient) {
      const inputs = pool(tape, x, group!);
      gradient = tape.matrix(dy.cols, inputs.cols);
      gemm({ a: dy, b: inputs, c: gradient, transA: true });
      tape.free(inputs.buffer);
    }
    const g = gradient;
    const alpha = scaling;
    accumulateParameter(
      trained.b,
      (c, add) => gemm({ a: g, b: a, c, transB: true, alpha, ...plus(add) }),
    );
    accumulateParameter(
      trained.a,
      (c, add) => gemm({ a: b, b: g, c, transA: true, alpha, ...plus(add) }),
    );
  }
  if (gradient) tape.free(gradient.buffer);
}

/** Values that the backward of factors needs. */
export interface LoraPart {
  /** `dropout(inputs) Aᵀ`, `[m, rank]`. */
  readonly u: Mat;
  backward(dy: Mat): void;
}

/** Adds the part of factors to `y`. */
export function loraForward(
  tape: Tape,
  { a, b, scaling, dropout, group, trained }: LoraFactors,
  { x, inputs, y }: {
    x: Tensor;
    /** The values of `x`, or sums over its groups. */
    inputs: Mat;
    y: Tensor;
  },
): LoraPart {
  const { device } = tape;
  const { gemm } = device.ops;
  const m = x.value.rows;
  const rank = a.rows;
  const u = tape.matrix(m, rank);
  const drops = dropout > 0 && tape.training;
  const seed = drops ? tape.seed() : 0;
  /** Runs `use` with the inputs that were not dropped. */
  const withInputs = (use: (inputs: Mat) => void): void => {
    if (!drops) return use(inputs);
    const kept = tape.matrix(m, a.cols);
    device.ops.dropout({ x: inputs, out: kept, rate: dropout, seed });
    use(kept);
    tape.free(kept.buffer);
  };
  withInputs((inputs) => gemm({ a: inputs, b: a, c: u, transB: true }));
  gemm({
    a: u,
    b,
    c: y.value,
    transB: true,
    alpha: scaling,
    beta: 1,
    add: y.value,
  });
  return {
    u,
    backward(dy) {
      const du = tape.matrix(m, rank);
      gemm({ a: dy, b, c: du, alpha: scaling });
      if (trained) {
        accumulateParameter(
          trained.b,
          (c, add) =>
            gemm({
              a: dy,
              b: u,
              c,
              transA: true,
              alpha: scaling,
              ...plus(add),
            }),
        );
        accumulateParameter(
          trained.a,
          (c, add) =>
            withInputs((inputs) =>
              gemm({ a: du, b: inputs, c, transA: true, ...plus(add) })
            ),
        );
      }
      if (x.needsGradient) {
        tape.accumulate(x, (dx, add) => {
          if (!drops && group === undefined) {
            gemm({ a: du, b: a, c: dx, ...plus(add) });
            return;
          }
          const part = tape.matrix(m, a.cols);
          gemm({ a: du, b: a, c: part });
          if (drops) {
            device.ops.dropout({ x: part, out: part, rate: dropout, seed });
          }
          if (group === undefined) {
            device.ops.combine({ x: part, y: add, out: dx });
          } else device.ops.spreadColumns({ x: part, group, out: dx, add });
          tape.free(part.buffer);
        });
      }
      tape.free(du.buffer);
    },
  };
}
