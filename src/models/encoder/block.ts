/**
 * One layer of an encoder as BERT has it: attention and a feed-forward part (MLP), each with a residual connection and a
 * norm after it (post-norm).
 *
 * @module
 */

import { activate } from "../../autograd/activation.ts";
import { layerNorm } from "../../autograd/norm.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import {
  type EncoderBlockShape,
  encoderModules,
  OUTPUTS,
} from "../../families/encoder.ts";
import type { Linear } from "../../nn/linear.ts";
import type { PassOptions } from "../model.ts";
import { Block } from "../parts/block.ts";
import type { LayerNormWeights, Weights } from "../parts/weights.ts";

/** Queries, keys and values, `[batch * time, hidden]`. */
export interface Projected {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Context of one pass, shared by all layers. */
export interface EncoderContext extends PassOptions {
  /** Attention of a layer from its projections. */
  attend(tape: Tape, projected: Projected, block: EncoderBlock): Tensor;
}

/** A layer on a device. */
export class EncoderBlock extends Block {
  readonly #shape: EncoderBlockShape;
  readonly #norms: ReadonlyMap<string, LayerNormWeights>;

  private constructor(
    shape: EncoderBlockShape,
    linears: ReadonlyMap<string, Linear>,
    norms: ReadonlyMap<string, LayerNormWeights>,
  ) {
    super(linears);
    this.#shape = shape;
    this.#norms = norms;
  }

  /** Puts the layer at `prefix` on the device of `weights`. */
  static async load(
    weights: Weights,
    prefix: string,
    shape: EncoderBlockShape,
  ): Promise<EncoderBlock> {
    const linears = new Map<string, Linear>();
    const norms = new Map<string, LayerNormWeights>();
    for (
      const { name, shape: { length }, bias = false } of encoderModules(shape)
    ) {
      if (length < 2) continue;
      linears.set(name, await weights.layer(`${prefix}.${name}`, bias));
    }
    for (const name of OUTPUTS) {
      norms.set(name, await weights.norm(`${prefix}.${name}.LayerNorm`));
    }
    return new EncoderBlock(shape, linears, norms);
  }

  /** `x[batch * time, hidden]` through the layer. */
  forward(tape: Tape, x: Tensor, context: EncoderContext): Tensor {
    const { activation, projections } = this.#shape;
    const [q, k, v] = projections.map((name) =>
      this.apply(tape, x, { name: `attention.self.${name}`, context })
    );
    const seen = context.attend(tape, { q, k, v }, this);
    const middle = this.#output(tape, seen, { from: 0, add: x, context });
    const inner = activate(
      tape,
      this.apply(tape, middle, { name: "intermediate.dense", context }),
      activation,
    );
    return this.#output(tape, inner, { from: 1, add: middle, context });
  }

  /** The end of a part: a linear layer, the residual connection, the norm. */
  #output(
    tape: Tape,
    x: Tensor,
    { from, add, context }: {
      from: 0 | 1;
      add: Tensor;
      context: EncoderContext;
    },
  ): Tensor {
    const name = OUTPUTS[from];
    const sum = this.apply(tape, x, { name: `${name}.dense`, context, add });
    return layerNorm(tape, sum, {
      ...this.#norms.get(name)!,
      epsilon: this.#shape.normEpsilon,
    });
  }
}
