/**
 * Linear layers: a weight that may be quantised and frozen, a bias, and LoRA or QA-LoRA factors, in one operation.
 *
 * @module
 */

import type { Device, DeviceBuffer, Mat, QuantMat } from "../device/device.ts";
import { hasGroups, mat } from "../device/device.ts";
import { accumulateParameter, type Tape, type Tensor } from "./tape.ts";
import type { Parameter } from "./parameter.ts";

/** A weight `[out, in]` that inputs are multiplied by. */
export interface LinearWeight {
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** `y[m, out] = x[m, in] * Wᵀ + add`; `add` may be `y`. */
  forward(device: Device, x: Mat, args: { y: Mat; add?: Mat }): void;
  /** `dx[m, in] = dy[m, out] * W + add`; `add` may be `dx`. */
  backward(device: Device, dy: Mat, args: { dx: Mat; add?: Mat }): void;
  /** The weight itself, where it is trained. */
  readonly parameter?: Parameter;
  /** Its values, where it is dense. */
  readonly value?: Mat;
  /** Inputs that share a scale and a bias, where the weight is quantised in affine groups along them. */
  readonly group?: number;
}

/** A weight in f32. */
export function denseWeight(
  value: Mat,
  parameter?: Parameter,
): LinearWeight {
  return {
    rows: value.rows,
    cols: value.cols,
    parameter,
    value,
    forward: (device, x, { y, add }) =>
      device.ops.gemm({ a: x, b: value, c: y, transB: true, ...plus(add) }),
    backward: (device, dy, { dx, add }) =>
      device.ops.gemm({ a: dy, b: value, c: dx, ...plus(add) }),
  };
}

/**
 * How products with quantised weights are computed: with values in f32, or, where the weight is affine in groups along its
 * rows, with inputs and gradients rounded to 8 bits and the codes as they are.
 */
export type Compute = "f32" | "int8";

/** A frozen quantised weight, decoded while it is multiplied by. */
export function quantizedWeight(
  q: QuantMat,
  compute: Compute = "f32",
): LinearWeight {
  const op = compute === "int8" ? "gemmInt8" : "gemmQuantized";
  return {
    rows: q.rows,
    cols: q.cols,
    ...(hasGroups(q.spec) && { group: q.block || q.cols }),
    forward: (device, x, { y, add }) =>
      device.ops[op]({
        a: x,
        q,
        c: y,
        transQ: true,
        ...plus(add),
      }),
    backward: (device, dy, { dx, add }) =>
      device.ops[op]({ a: dy, q, c: dx, ...plus(add) }),
  };
}

function plus(add: Mat | undefined): { beta?: number; add?: Mat } {
  return add ? { beta: 1, add } : {};
}

/**
 * LoRA factors of a linear layer: it adds `scaling * dropout(x) * Aᵀ * Bᵀ` (Hu et al., 2106.09685), or with `group`
 * QA-LoRA's `scaling * dropout(pool(x)) * Aᵀ * Bᵀ`, where `pool` sums the inputs of each group (Xu et al., 2309.14717).
 */
export interface LoraFactors {
  /** `lora_A: [rank, in]`, or `[rank, ceil(in / group)]`. */
  readonly a: Mat;
  /** `lora_B: [out, rank]`. */
  readonly b: Mat;
  /** Factor of the product. */
  readonly scaling: number;
  /** Share of the inputs, pooled ones with `group`, that is dropped in training; 0 without. */
  readonly dropout: number;
  /** Inputs that are summed before A, for QA-LoRA; the last group may be short. */
  readonly group?: number;
  /** Both factors, where they are trained. */
  readonly trained?: { readonly a: Parameter; readonly b: Parameter };
}

/** What a linear layer is made of. */
export interface LinearLayer {
  /** The weight. */
  readonly weight: LinearWeight;
  /** `f32 [out]`. */
  readonly bias?: {
    readonly value: DeviceBuffer;
    readonly parameter?: Parameter;
  };
  /** Enabled adapters; their parts add up. */
  readonly lora: readonly LoraFactors[];
}

/**
 * `y[m, out] = x[m, in] Wᵀ + bias + Σ scaling * dropout(x) Aᵀ Bᵀ + add[m, out]`.
 *
 * Backward: `dx = dy W + Σ scaling * (dy B) A`, `dA = scaling * (dy B)ᵀ x`, `dB = scaling * dyᵀ (x Aᵀ)`, `dW = dyᵀ x`.
 * Factors with a group have `pool(x)` for `x`, made once for all factors of that group, and their part of `dx` spread over
 * the groups.
 *
 * @throws {TypeError} If the features do not fit.
 */
export function linear(
  tape: Tape,
  x: Tensor,
  { layer, add }: { layer: LinearLayer; add?: Tensor },
): Tensor {
  const { device } = tape;
  const { weight, bias, lora } = layer;
  const m = x.value.rows;
  const trains = weight.parameter !== undefined ||
    bias?.parameter !== undefined || lora.some((l) => l.trained);
  const y = tape.output(m, weight.rows, [x, add], trains);
  weight.forward(device, x.value, { y: y.value, add: add?.value });
  if (bias) {
    device.ops.addRow({ x: y.value, row: bias.value, out: y.value });
  }
  const pooled = new Map<number, Mat>();
  const inputsOf = (group: number | undefined): Mat => {
    if (group === undefined) return x.value;
    const found = pooled.get(group);
    if (found) return found;
    const out = tape.matrix(m, Math.ceil(weight.cols / group));
    device.ops.poolColumns({ x: x.value, group, out });
    pooled.set(group, out);
    return out;
  };
  const parts = lora.map((factors) =>
    loraForward(tape, factors, { x, inputs: inputsOf(factors.group), y })
  );
  const saved = [...parts.map(({ u }) => u), ...pooled.values()]
    .map(({ buffer }) => buffer);
  tape.record(y, (dy) => {
    if (weight.parameter) {
      accumulateParameter(
        weight.parameter,
        (c, plusC) =>
          device.ops.gemm({
            a: dy,
            b: x.value,
            c,
            transA: true,
            ...plus(plusC),
          }),
      );
    }
    if (bias?.parameter) {
      accumulateParameter(bias.parameter, (into, plusInto) => {
        using sums = device.alloc(into.cols * 4);
        device.ops.columnSums({ x: dy, out: sums });
        const row = mat(sums, 1, into.cols);
        device.ops.combine({ x: row, y: plusInto, out: into });
      });
    }
    if (x.needsGradient) {
      tape.accumulate(
        x,
        (dx, plusX) => weight.backward(device, dy, { dx, add: plusX }),
      );
    }
    for (const part of parts) part.backward(dy);
    if (add) tape.give(add, dy);
  }, { saved });
  return y;
}

interface LoraPart {
  /** `dropout(inputs) Aᵀ`, `[m, rank]`. */
  readonly u: Mat;
  backward(dy: Mat): void;
}

function loraForward(
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
