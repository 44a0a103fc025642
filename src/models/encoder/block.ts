/**
 * One layer of an encoder as BERT has it: attention and a feed-forward part, each with a shortcut and a norm after it.
 *
 * @module
 */

import { activate } from "../../autograd/activation.ts";
import { layerNorm } from "../../autograd/norm.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import type { Activation } from "../../device/contract/network.ts";
import type { Linear } from "../../nn/linear.ts";
import { Block } from "../parts/block.ts";
import type { PassOptions, WantedTensor } from "../model.ts";
import type { LayerNormWeights, Weights } from "../parts/weights.ts";

/** Sizes and names of a layer. */
export interface EncoderBlockShape {
  /** Features of a token. */
  readonly hiddenSize: number;
  /** Features inside the feed-forward part. */
  readonly intermediateSize: number;
  /** What stands between the two linear layers of the feed-forward part. */
  readonly activation: Activation;
  /** Added to the variance in a norm. */
  readonly normEpsilon: number;
  /** Names in `attention.self` of what makes queries, keys and values. */
  readonly projections: readonly [q: string, k: string, v: string];
  /** Further linear layers of `attention.self`, in the shape of these. */
  readonly others?: readonly string[];
}

/** Queries, keys and values, `[batch * time, hidden]`. */
export interface Projected {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** What all layers share in one pass. */
export interface EncoderContext extends PassOptions {
  /** Attention of a layer from its projections. */
  attend(tape: Tape, projected: Projected, block: EncoderBlock): Tensor;
}

const OUTPUTS = ["attention.output", "output"] as const;

/** Tensors of the layer at `prefix`. */
export function blockTensors(
  prefix: string,
  shape: EncoderBlockShape,
): WantedTensor[] {
  const { hiddenSize: n, intermediateSize: m, projections, others } = shape;
  const layer = (name: string, rows: number, cols: number): WantedTensor[] => [
    { name: `${prefix}.${name}.weight`, shape: [rows, cols] },
    { name: `${prefix}.${name}.bias`, shape: [rows] },
  ];
  const norm = (name: string): WantedTensor[] =>
    ["weight", "bias"].map((part) => ({
      name: `${prefix}.${name}.LayerNorm.${part}`,
      shape: [n],
    }));
  return [
    ...[...projections, ...others ?? []].flatMap((name) =>
      layer(`attention.self.${name}`, n, n)
    ),
    ...layer("attention.output.dense", n, n),
    ...norm("attention.output"),
    ...layer("intermediate.dense", m, n),
    ...layer("output.dense", n, m),
    ...norm("output"),
  ];
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
    const names = [
      ...[...shape.projections, ...shape.others ?? []]
        .map((name) => `attention.self.${name}`),
      ...["attention.output.dense", "intermediate.dense", "output.dense"],
    ];
    for (const name of names) {
      linears.set(name, await weights.layer(`${prefix}.${name}`, true));
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

  /** The end of a part: a linear layer, the shortcut, the norm. */
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
