/**
 * One layer of a BART, of its encoder or its decoder: attention and a feed-forward part (MLP), each with a residual
 * connection and a norm after it (post-norm).
 *
 * @module
 */

import { activate } from "../../autograd/activation.ts";
import { attention } from "../../autograd/attention.ts";
import { layerNorm } from "../../autograd/norm.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import type { DeviceBuffer, Mat } from "../../device/buffer.ts";
import type { Linear } from "../../nn/linear.ts";
import {
  ATTENTIONS,
  BART_EPSILON,
  type BartConfig,
  PROJECTIONS,
} from "../../families/bart.ts";
import { Block } from "../parts/block.ts";
import type { PassOptions } from "../model.ts";
import { storeRows } from "../parts/token_cache.ts";
import type { LayerNormWeights, Weights } from "../parts/weights.ts";

/** Sequences on a device. */
export interface Sequences {
  readonly batch: number;
  readonly time: number;
  /** Attention mask `u32 [batch, 2]`: the range of each sequence that is no padding; all without it. */
  readonly bounds?: DeviceBuffer;
}

/** Keys and values, `[batch * capacity, hidden]`. */
export interface KeyValues {
  readonly k: Mat;
  readonly v: Mat;
}

/** KV cache of a decoder's layer. */
export interface BartLayerCache {
  /** Self-attention: of the tokens before. */
  own: KeyValues;
  readonly capacity: number;
  /** Cross-attention: of the source, after the first pass. */
  source?: KeyValues;
}

/** Context of one pass, shared by the layers of a side. */
export interface BartContext extends PassOptions {
  /** The sequences that go through the layers. */
  readonly own: Sequences;
  /** Causal attention: a token sees only those before it. */
  readonly causal: boolean;
  /** Tokens before, in the cache. */
  readonly past: number;
  /** Encoder hidden states, for cross-attention. */
  readonly source?: Sequences & { readonly encoded: Tensor };
}

/** A layer on a device. */
export class BartLayer extends Block {
  readonly #config: BartConfig;
  readonly #side: "encoder" | "decoder";
  readonly #norms: ReadonlyMap<string, LayerNormWeights>;

  private constructor(
    config: BartConfig,
    side: "encoder" | "decoder",
    parts: {
      linears: ReadonlyMap<string, Linear>;
      norms: ReadonlyMap<string, LayerNormWeights>;
    },
  ) {
    super(parts.linears);
    this.#config = config;
    this.#side = side;
    this.#norms = parts.norms;
  }

  /** Puts the layer at `path`, one of a side, on the device of `weights`. */
  static async load(
    weights: Weights,
    config: BartConfig,
    { side, path }: { side: "encoder" | "decoder"; path: string },
  ): Promise<BartLayer> {
    const linears = new Map<string, Linear>();
    const norms = new Map<string, LayerNormWeights>();
    const put = async (name: string) => {
      linears.set(name, await weights.layer(`${path}.${name}`, true));
    };
    const putNorm = async (name: string) => {
      norms.set(name, await weights.norm(`${path}.${name}`));
    };
    for (const name of ATTENTIONS[side]) {
      for (const part of PROJECTIONS) await put(`${name}.${part}`);
      await putNorm(`${name}_layer_norm`);
    }
    await put("fc1");
    await put("fc2");
    await putNorm("final_layer_norm");
    return new BartLayer(config, side, { linears, norms });
  }

  /** `x[batch * time, hidden]` through the layer. With a KV cache, this pass's keys and values are added to it. */
  forward(
    tape: Tape,
    x: Tensor,
    { context, cache }: { context: BartContext; cache?: BartLayerCache },
  ): Tensor {
    for (const name of ATTENTIONS[this.#side]) {
      const seen = name === "self_attn"
        ? this.#own(tape, x, { context, cache })
        : this.#source(tape, x, { context, cache });
      x = this.#norm(
        tape,
        this.apply(tape, seen, { name: `${name}.out_proj`, context, add: x }),
        `${name}_layer_norm`,
      );
    }
    const inner = activate(
      tape,
      this.apply(tape, x, { name: "fc1", context }),
      this.#config.activation,
    );
    return this.#norm(
      tape,
      this.apply(tape, inner, { name: "fc2", context, add: x }),
      "final_layer_norm",
    );
  }

  /** Self-attention. */
  #own(
    tape: Tape,
    x: Tensor,
    { context, cache }: { context: BartContext; cache?: BartLayerCache },
  ): Tensor {
    const { own: { batch, time, bounds }, past, causal } = context;
    const part = (name: string) =>
      this.apply(tape, x, { name: `self_attn.${name}`, context });
    const q = part("q_proj");
    let [k, v] = [part("k_proj"), part("v_proj")];
    if (cache) {
      const place = { batch, time, past, capacity: cache.capacity };
      storeRows(tape.device, { from: k.value, to: cache.own.k }, place);
      storeRows(tape.device, { from: v.value, to: cache.own.v }, place);
      [k, v] = [tape.input(cache.own.k), tape.input(cache.own.v)];
    }
    const keys = past + time;
    return this.#attend(tape, { q, k, v }, {
      ...{ batch, time, keys, causal, past, bounds },
      capacity: cache?.capacity ?? keys,
    });
  }

  /** Cross-attention to the encoder's hidden states of the source. */
  #source(
    tape: Tape,
    x: Tensor,
    { context, cache }: { context: BartContext; cache?: BartLayerCache },
  ): Tensor {
    const { own: { batch, time }, source } = context;
    const { encoded, time: keys, bounds } = source!;
    const part = (from: Tensor, name: string) =>
      this.apply(tape, from, { name: `encoder_attn.${name}`, context });
    const q = part(x, "q_proj");
    const kept = cache?.source;
    const [k, v] = kept
      ? [tape.input(kept.k), tape.input(kept.v)]
      : [part(encoded, "k_proj"), part(encoded, "v_proj")];
    if (cache && !kept) {
      const { device } = tape;
      const keep = ({ value }: Tensor): Mat => {
        const buffer = device.alloc(value.rows * value.cols * 4);
        const to = { ...value, buffer, offset: 0 };
        device.ops.combine({ x: value, out: to });
        return to;
      };
      cache.source = { k: keep(k), v: keep(v) };
    }
    return this.#attend(tape, { q, k, v }, {
      ...{ batch, time, keys, capacity: keys, causal: false, past: 0, bounds },
    });
  }

  #attend(
    tape: Tape,
    inputs: { q: Tensor; k: Tensor; v: Tensor },
    shape: {
      readonly batch: number;
      readonly time: number;
      readonly keys: number;
      readonly capacity: number;
      readonly causal: boolean;
      readonly past: number;
      readonly bounds?: DeviceBuffer;
    },
  ): Tensor {
    const { hiddenSize } = this.#config;
    const { heads } = this.#config[this.#side];
    const headDim = hiddenSize / heads;
    return attention(tape, inputs, {
      ...{ ...shape, heads, kvHeads: heads, headDim, window: 0 },
      scale: 1 / Math.sqrt(headDim),
    });
  }

  #norm(tape: Tape, x: Tensor, name: string): Tensor {
    return layerNorm(tape, x, {
      ...this.#norms.get(name)!,
      epsilon: BART_EPSILON,
    });
  }
}
