/**
 * One layer of a LLaMA: attention and a gated feed-forward part (MLP), each behind a norm (pre-norm) and inside a residual
 * connection. What not all families have, norms of the heads of q and k and rotary positions in each layer, is asked of the
 * config.
 *
 * @module
 */

import { attention } from "../../autograd/attention.ts";
import { rope, type RopeTables, swiglu } from "../../autograd/elementwise.ts";
import { type NormWeight, rmsNorm } from "../../autograd/norm.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import type { DeviceBuffer, Mat } from "../../device/buffer.ts";
import type { AttentionShape } from "../../device/contract/attention.ts";
import type { Linear } from "../../nn/linear.ts";
import { Block } from "../parts/block.ts";
import type { DecoderConfig } from "../../families/decoder.ts";
import { blockModules, layerPrefix } from "../../families/decoder_block.ts";
import { storeRows } from "../parts/token_cache.ts";
import type { Weights } from "../parts/weights.ts";

/** KV cache of one layer: keys and values computed before, `[batch * capacity, kvHeads * headDim]`. */
export interface LayerCache {
  /** Keys. */
  readonly k: Mat;
  /** Values. */
  readonly v: Mat;
  /** Capacity: rows of a sequence. */
  readonly capacity: number;
}

/** Context of one pass, shared by all layers. */
export interface BlockContext {
  /** Batch size: number of sequences. */
  readonly batch: number;
  /** Sequence length in this pass, in tokens. */
  readonly time: number;
  /** Tokens of each sequence that are in the KV cache already. */
  readonly past: number;
  /** Position ids, `u32 [batch * time]`. */
  readonly positions: DeviceBuffer;
  /** Rotary position embedding: cosines and sines of the positions. */
  readonly tables: RopeTables;
  /** Attention mask `u32 [batch, 2]`, the valid range of each sequence, where sequences are padded. */
  readonly bounds?: DeviceBuffer;
  /** Called with the input `[batch * time, in]` of each linear layer before it is used; for calibration. */
  readonly onInput?: (module: string, x: Mat) => void;
}

/** A layer on a device. */
export class LlamaBlock extends Block {
  /** Number of the layer, from 0. */
  readonly index: number;
  readonly #config: DecoderConfig;
  readonly #norms: ReadonlyMap<string, NormWeight>;

  /** @ignore Use {@linkcode loadBlock}. */
  constructor(
    config: DecoderConfig,
    { index, linears, norms }: {
      index: number;
      linears: ReadonlyMap<string, Linear>;
      norms: ReadonlyMap<string, NormWeight>;
    },
  ) {
    super(linears);
    this.#config = config;
    this.index = index;
    this.#norms = norms;
  }

  /** `x[batch * time, hidden]` through the layer. With a KV cache, this pass's keys and values are added to it. */
  forward(
    tape: Tape,
    x: Tensor,
    { context, cache }: { context: BlockContext; cache?: LayerCache },
  ): Tensor {
    const h = this.#norm(tape, x, "input_layernorm");
    const a = this.#attention(tape, h, { context, cache });
    const middle = this.apply(tape, a, {
      name: "self_attn.o_proj",
      context,
      add: x,
    });
    const g = this.#norm(tape, middle, "post_attention_layernorm");
    const inner = swiglu(
      tape,
      this.apply(tape, g, { name: "mlp.gate_proj", context }),
      this.apply(tape, g, { name: "mlp.up_proj", context }),
    );
    return this.apply(tape, inner, {
      name: "mlp.down_proj",
      context,
      add: middle,
    });
  }

  /** `x` through a norm, or as it is where the block has none of the name. */
  #norm(tape: Tape, x: Tensor, name: string): Tensor {
    const { normEpsilon: epsilon } = this.#config;
    const weight = this.#norms.get(name);
    return weight ? rmsNorm(tape, x, { weight, epsilon }) : x;
  }

  #attention(
    tape: Tape,
    h: Tensor,
    { context, cache }: { context: BlockContext; cache?: LayerCache },
  ): Tensor {
    const { heads, kvHeads, headDim, windows, rotary } = this.#config;
    const { batch, time, past, positions, tables, bounds } = context;
    const turn = { positions, tables, headDim };
    const part = (name: string) =>
      this.apply(tape, h, { name: `self_attn.${name}`, context });
    const turned = (name: "q" | "k") => {
      const x = part(`${name}_proj`);
      const y = this.#norm(tape, x, `self_attn.${name}_norm`);
      return rotary[this.index] ? rope(tape, y, turn) : y;
    };
    const q = turned("q");
    let k = turned("k");
    let v = part("v_proj");
    if (cache) {
      const { capacity } = cache;
      const place = { batch, time, past, capacity };
      storeRows(tape.device, { from: k.value, to: cache.k }, place);
      storeRows(tape.device, { from: v.value, to: cache.v }, place);
      k = tape.input(cache.k);
      v = tape.input(cache.v);
    }
    const keys = past + time;
    const shape: AttentionShape = {
      batch,
      time,
      keys,
      capacity: cache?.capacity ?? keys,
      heads,
      kvHeads,
      headDim,
      scale: 1 / Math.sqrt(headDim),
      causal: true,
      past,
      window: windows[this.index],
      bounds,
    };
    return attention(tape, { q, k, v }, shape);
  }
}

/** Loads layer `index` of a checkpoint onto a device. */
export async function loadBlock(
  weights: Weights,
  config: DecoderConfig,
  index: number,
): Promise<LlamaBlock> {
  const prefix = layerPrefix(index);
  const linears = new Map<string, Linear>();
  const norms = new Map<string, NormWeight>();
  for (const { name, shape, bias = false } of blockModules(config)) {
    const path = `${prefix}.${name}`;
    if (shape.length === 2) linears.set(name, await weights.layer(path, bias));
    else norms.set(name, await weights.vector(`${path}.weight`));
  }
  return new LlamaBlock(config, { index, linears, norms });
}
