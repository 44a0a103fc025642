/**
 * Linear layers of a model, with the adapters that are loaded onto them.
 *
 * @module
 */

import {
  type Compute,
  denseWeight,
  type LinearWeight,
  quantizedWeight,
} from "../autograd/linear_weight.ts";
import type { LinearLayer } from "../autograd/linear.ts";
import type { LoraFactors } from "../autograd/lora.ts";
import type { Parameter } from "../autograd/parameter.ts";
import type { Device } from "../device/device.ts";
import type { DeviceBuffer } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import { upload } from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";

/** A linear layer by its path in the checkpoint. */
export class Linear implements LinearLayer {
  /** Path of the module: `model.layers.0.self_attn.q_proj`. */
  readonly module: string;
  /** The weight. */
  readonly weight: LinearWeight;
  readonly bias?: {
    readonly value: DeviceBuffer;
    readonly parameter?: Parameter;
  };
  readonly #adapters = new Map<string, LoraFactors>();
  #enabled: LoraFactors[] = [];

  /** A layer without adapters. */
  constructor(
    module: string,
    weight: LinearWeight,
    bias?: { value: DeviceBuffer; parameter?: Parameter },
  ) {
    this.module = module;
    this.weight = weight;
    this.bias = bias;
  }

  /** LoRA factors of the enabled adapters. */
  get lora(): readonly LoraFactors[] {
    return this.#enabled;
  }

  /** Adds an adapter's LoRA factors to the layer, under the adapter's name, not yet enabled. */
  setAdapter(name: string, factors: LoraFactors): void {
    this.#adapters.set(name, factors);
  }

  /** Enables these adapters and no others. */
  enable(names: readonly string[]): void {
    this.#enabled = names.flatMap((name) => this.#adapters.get(name) ?? []);
  }

  /** The factors of one adapter, if it has any here. */
  adapter(name: string): LoraFactors | undefined {
    return this.#adapters.get(name);
  }
}

/** A weight on a device, and its disposal. */
export interface OwnedWeight extends Disposable {
  readonly weight: LinearWeight;
}

/** A frozen dense weight `[rows, cols]` on a device. */
export function ownDense(
  device: Device,
  { rows, cols, data }: { rows: number; cols: number; data: Float32Array },
): OwnedWeight {
  const buffer = device.alloc(data.byteLength);
  device.write(buffer, data);
  return {
    weight: denseWeight(mat(buffer, rows, cols)),
    [Symbol.dispose]: () => buffer[Symbol.dispose](),
  };
}

/** A frozen quantised weight on a device. */
export function ownQuantized(
  device: Device,
  q: QuantizedMatrix,
  compute?: Compute,
): OwnedWeight {
  const on = upload(device, q);
  return {
    weight: quantizedWeight(on, compute),
    [Symbol.dispose]: () => on[Symbol.dispose](),
  };
}
