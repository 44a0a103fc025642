/**
 * The graph of a LLaMA decoder in ONNX, with keys and values of earlier tokens as inputs and outputs.
 *
 * Inputs and outputs are named as optimum and transformers.js have them: `input_ids`, `attention_mask`, `position_ids`,
 * `past_key_values.N.key` and `.value` to `logits`, `present.N.key` and `.value`. All but `MatMulNBits` are standard
 * operators.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import type { OnnxGraph } from "../../io/onnx/graph.ts";
import type { DecoderConfig } from "../../families/decoder.ts";
import { blockModules, layerPrefix } from "../../families/decoder_block.ts";
import { TOP_MODULES } from "../../families/decoders.ts";
import { ropeFrequencies } from "../../nn/rope.ts";
import type { OnnxWeights } from "./linear.ts";

/** Value of a masked score: finite, so that a row in which all are masked has a softmax. */
const MASKED = -3.4028234663852886e38;

/** Values that all layers share. */
interface Shared {
  /** `[batch, time]` as a tensor of two numbers. */
  readonly shape: string;
  /** Keys a query can see, as a tensor of one number. */
  readonly total: string;
  /** Cosines and sines of the positions, `[batch, 1, time, headDim / 2]`. */
  readonly cos: string;
  readonly sin: string;
  /** 0 or {@linkcode MASKED}, `[batch, 1, time, total]`, by sliding window (0: none). */
  readonly masks: ReadonlyMap<number, string>;
}

/** Builds a model's graph. */
export class OnnxLlama {
  readonly #graph: OnnxGraph;
  readonly #weights: OnnxWeights;
  readonly #config: DecoderConfig;
  /** True for the modules of a block that have a bias, by name. */
  readonly #modules: ReadonlyMap<string, boolean>;
  /** Those of {@linkcode #modules} that no layer so far has. */
  readonly #unplaced: Set<string>;

  /** Over a graph that is empty. */
  constructor(graph: OnnxGraph, weights: OnnxWeights, config: DecoderConfig) {
    this.#graph = graph;
    this.#weights = weights;
    this.#config = config;
    this.#modules = new Map(
      blockModules(config).map(({ name, bias = false }) => [name, bias]),
    );
    this.#unplaced = new Set(this.#modules.keys());
  }

  /**
   * Adds the whole model, with its weights.
   *
   * @param onLayer Called before each layer.
   * @throws {TypeError} If the family's block has a module that this graph has no place for.
   */
  async build(onLayer: (index: number) => void): Promise<void> {
    const graph = this.#graph;
    const { layers, vocabSize, hiddenSize, tied } = this.#config;
    const ids = graph.input("input_ids", "i64", [
      "batch_size",
      "sequence_length",
    ]);
    const shared = this.#shared(ids);
    const embedding = await this.#weights.plain(
      `${TOP_MODULES.embedding.name}.weight`,
    );
    let x = graph.node("Reshape", [
      graph.node("Gather", [embedding, ids]),
      this.#sizes([-1, hiddenSize]),
    ]);
    for (let i = 0; i < layers; i++) {
      onLayer(i);
      x = await this.#layer(x, i, shared);
      if (this.#unplaced.size > 0) {
        throw new KindError(
          `Cannot export a ${this.#config.modelType} to ONNX: its graph has no place for ${
            [...this.#unplaced].join(", ")
          }; export it to another format`,
        );
      }
    }
    const h = await this.#norm(x, TOP_MODULES.norm.name);
    const { name: head } = tied ? TOP_MODULES.embedding : TOP_MODULES.head;
    graph.node("Reshape", [
      await this.#weights.linear(h, head),
      graph.node("Concat", [shared.shape, this.#sizes([vocabSize])], {
        attributes: { axis: 0 },
      }),
    ], { outputs: ["logits"] });
    graph.output("logits", "f32", [
      "batch_size",
      "sequence_length",
      vocabSize,
    ]);
    for (let i = 0; i < layers; i++) {
      for (const part of ["key", "value"]) {
        graph.output(
          `present.${i}.${part}`,
          "f32",
          this.#cacheDims("total_sequence_length"),
        );
      }
    }
  }

  #sizes(values: readonly number[]): string {
    return this.#graph.constant("i64", values);
  }

  #cacheDims(length: string): (string | number)[] {
    const { kvHeads, headDim } = this.#config;
    return ["batch_size", kvHeads, length, headDim];
  }

  /** Values that are computed once, from the inputs beside the tokens. */
  #shared(ids: string): Shared {
    const graph = this.#graph;
    const { headDim, ropeTheta: theta, ropeScaling: scaling } = this.#config;
    const mask = graph.input("attention_mask", "i64", [
      "batch_size",
      "total_sequence_length",
    ]);
    const positions = graph.input("position_ids", "i64", [
      "batch_size",
      "sequence_length",
    ]);
    const angles = graph.node("Mul", [
      graph.node("Unsqueeze", [
        graph.node("Cast", [positions], { attributes: { to: 1 } }),
        this.#sizes([1, 3]),
      ]),
      graph.constant("f32", [...ropeFrequencies({ headDim, theta, scaling })]),
    ]);
    return {
      shape: graph.node("Shape", [ids]),
      total: graph.node("Shape", [mask], { attributes: { start: 1 } }),
      cos: graph.node("Cos", [angles]),
      sin: graph.node("Sin", [angles]),
      masks: this.#masks(ids, mask),
    };
  }

  /** Query `i` sees the keys up to `past + i` that the mask does not hide and that are within the window. */
  #masks(ids: string, mask: string): Map<number, string> {
    const graph = this.#graph;
    const scalar = (x: string) =>
      graph.node("Squeeze", [
        graph.node("Shape", [x], { attributes: { start: 1 } }),
      ]);
    const total = scalar(mask);
    const past = graph.node("Sub", [total, scalar(ids)]);
    const [zero, one] = [graph.constant("i64", 0), graph.constant("i64", 1)];
    const keys = graph.node("Range", [zero, total, one]);
    const queries = graph.node("Unsqueeze", [
      graph.node("Range", [past, total, one]),
      this.#sizes([1]),
    ]);
    const given = graph.node("Unsqueeze", [
      graph.node("Cast", [mask], { attributes: { to: 9 } }),
      this.#sizes([1, 2]),
    ]);
    const seen = graph.node("And", [
      graph.node("LessOrEqual", [keys, queries]),
      given,
    ]);
    const scores = (where: string) =>
      graph.node("Where", [
        where,
        graph.constant("f32", 0),
        graph.constant("f32", MASKED),
      ]);
    return new Map(
      [...new Set(this.#config.windows)].map((window) => [
        window,
        scores(
          window === 0 ? seen : graph.node("And", [
            seen,
            graph.node("Greater", [
              keys,
              graph.node("Sub", [queries, graph.constant("i64", window)]),
            ]),
          ]),
        ),
      ]),
    );
  }

  /** `x / sqrt(mean(x^2) + epsilon)`, times the weight. */
  async #norm(x: string, module: string): Promise<string> {
    const graph = this.#graph;
    const mean = graph.node("ReduceMean", [
      graph.node("Pow", [x, graph.constant("f32", 2)]),
      this.#sizes([-1]),
    ], { attributes: { keepdims: 1 } });
    const size = graph.node("Sqrt", [
      graph.node("Add", [
        mean,
        graph.constant("f32", this.#config.normEpsilon),
      ]),
    ]);
    return graph.node("Mul", [
      graph.node("Div", [x, size]),
      await this.#weights.plain(`${module}.weight`),
    ]);
  }

  /** A norm of block `index`; `x` as it is where the family has none of the name. */
  async #blockNorm(x: string, index: number, name: string): Promise<string> {
    if (!this.#modules.has(name)) return x;
    this.#unplaced.delete(name);
    return await this.#norm(x, `${layerPrefix(index)}.${name}`);
  }

  async #layer(x: string, index: number, shared: Shared): Promise<string> {
    const graph = this.#graph;
    const part = (x: string, name: string) =>
      this.#linear(x, index, `mlp.${name}`);
    const h = await this.#blockNorm(x, index, "input_layernorm");
    const middle = graph.node("Add", [
      x,
      await this.#attention(h, index, shared),
    ]);
    const g = await this.#blockNorm(middle, index, "post_attention_layernorm");
    const gate = await part(g, "gate_proj");
    const inner = graph.node("Mul", [
      graph.node("Mul", [gate, graph.node("Sigmoid", [gate])]),
      await part(g, "up_proj"),
    ]);
    return graph.node("Add", [middle, await part(inner, "down_proj")]);
  }

  async #attention(h: string, index: number, shared: Shared): Promise<string> {
    const graph = this.#graph;
    const { heads, kvHeads, headDim, windows, rotary } = this.#config;
    const turned = (x: string) => rotary[index] ? this.#rotated(x, shared) : x;
    const part = async (name: string, count: number) => {
      const y = await this.#linear(h, index, `self_attn.${name}_proj`);
      const shape = graph.node("Concat", [
        shared.shape,
        this.#sizes([count, headDim]),
      ], { attributes: { axis: 0 } });
      const split = graph.node("Reshape", [y, shape]);
      return this.#swapped(
        await this.#blockNorm(split, index, `self_attn.${name}_norm`),
      );
    };
    const scaled = graph.node("Mul", [
      turned(await part("q", heads)),
      graph.constant("f32", 1 / Math.sqrt(headDim)),
    ]);
    const extended = (kind: string, now: string) =>
      graph.node("Concat", [
        graph.input(
          `past_key_values.${index}.${kind}`,
          "f32",
          this.#cacheDims("past_sequence_length"),
        ),
        now,
      ], { attributes: { axis: 2 }, outputs: [`present.${index}.${kind}`] });
    const k = extended("key", turned(await part("k", kvHeads)));
    const v = extended("value", await part("v", kvHeads));
    // The queries of the heads that share a key head are rows of one product.
    const grouped = [0, kvHeads, -1];
    const q = graph.node("Reshape", [
      scaled,
      this.#sizes([...grouped, headDim]),
    ]);
    const scores = graph.node("MatMul", [
      q,
      graph.node("Transpose", [k], { attributes: { perm: [0, 1, 3, 2] } }),
    ]);
    const over = (x: string, sizes: readonly number[]) =>
      graph.node("Reshape", [
        x,
        graph.node("Concat", [this.#sizes(sizes), shared.total], {
          attributes: { axis: 0 },
        }),
      ]);
    const masked = graph.node("Add", [
      over(scores, [0, heads, -1]),
      shared.masks.get(windows[index])!,
    ]);
    const p = graph.node("Softmax", [masked], { attributes: { axis: -1 } });
    const mixed = graph.node("Reshape", [
      graph.node("MatMul", [over(p, grouped), v]),
      this.#sizes([0, heads, -1, headDim]),
    ]);
    return await this.#linear(
      graph.node("Reshape", [
        this.#swapped(mixed),
        this.#sizes([-1, heads * headDim]),
      ]),
      index,
      "self_attn.o_proj",
    );
  }

  /** A linear layer of block `index`, with its bias. */
  #linear(x: string, index: number, name: string): Promise<string> {
    this.#unplaced.delete(name);
    return this.#weights.linear(x, `${layerPrefix(index)}.${name}`, {
      bias: this.#modules.get(name),
    });
  }

  /** `[batch, a, b, headDim]` as `[batch, b, a, headDim]`. */
  #swapped(x: string): string {
    return this.#graph.node("Transpose", [x], {
      attributes: { perm: [0, 2, 1, 3] },
    });
  }

  /** Rotary positions over the halves of each head. */
  #rotated(x: string, { cos, sin }: Shared): string {
    const graph = this.#graph;
    const name = `${x}_half`;
    const [a, b] = graph.nodes("Split", [x], {
      attributes: { axis: -1, num_outputs: 2 },
      outputs: [`${name}_0`, `${name}_1`],
    });
    const times = (x: string, y: string) => graph.node("Mul", [x, y]);
    return graph.node("Concat", [
      graph.node("Sub", [times(a, cos), times(b, sin)]),
      graph.node("Add", [times(b, cos), times(a, sin)]),
    ], { attributes: { axis: -1 } });
  }
}
