/**
 * KV cache of BART's decoder.
 *
 * @module
 */

import type { Device } from "../../device/device.ts";
import { type Mat, mat } from "../../device/buffer.ts";
import type { BartConfig } from "../../families/bart.ts";
import type { BartLayerCache, KeyValues } from "./layer.ts";
import type { DecoderCache } from "../model.ts";

/** KV cache: keys and values of all layers of a decoder. */
export class BartCache implements DecoderCache {
  readonly batch: number;
  readonly capacity: number;
  /** Of each layer. */
  readonly layers: readonly BartLayerCache[];
  length = 0;
  readonly #device: Device;
  readonly #memory = new DisposableStack();
  /** Second buffer, for the reordering of sequences; then the two are swapped. */
  #spare: KeyValues;

  /** Room for `batch` sequences of up to `capacity` tokens. */
  constructor(
    device: Device,
    { hiddenSize, decoder }: BartConfig,
    { batch, capacity }: { batch: number; capacity: number },
  ) {
    this.#device = device;
    this.batch = batch;
    this.capacity = capacity;
    const room = (): Mat => {
      const buffer = device.alloc(batch * capacity * hiddenSize * 4);
      return mat(this.#memory.use(buffer), batch * capacity, hiddenSize);
    };
    const both = (): KeyValues => ({ k: room(), v: room() });
    this.#spare = both();
    this.layers = Array.from(
      { length: decoder.layers },
      () => ({ own: both(), capacity }),
    );
  }

  /** Puts sequence `sequences[i]` in the place of sequence `i`, for all of them at once. */
  reorder(sequences: ArrayLike<number>): void {
    const { ops } = this.#device;
    const order = Uint32Array.from(sequences);
    if (order.every((from, i) => from === i)) return;
    using ids = this.#device.alloc(order.byteLength);
    this.#device.write(ids, order);
    // A sequence's rows as one, as far as they are filled.
    const rows = ({ buffer, cols }: Mat): Mat =>
      mat(buffer, this.batch, this.length * cols, 0, this.capacity * cols);
    for (const layer of this.layers) {
      for (const part of ["k", "v"] as const) {
        ops.gatherRows({
          table: rows(layer.own[part]),
          ids,
          out: rows(this.#spare[part]),
        });
      }
      [layer.own, this.#spare] = [this.#spare, layer.own];
    }
  }

  /** Frees it. */
  [Symbol.dispose](): void {
    for (const { source } of this.layers) {
      source?.k.buffer[Symbol.dispose]();
      source?.v.buffer[Symbol.dispose]();
    }
    this.#memory.dispose();
  }
}
