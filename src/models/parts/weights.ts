/**
 * A checkpoint's tensors on a device: frozen, or as parameters to train.
 *
 * @module
 */

import {
  type Compute,
  denseWeight,
  type LinearWeight,
} from "../../autograd/linear_weight.ts";
import type { NormWeight } from "../../autograd/norm.ts";
import { type Parameter, ParameterSet } from "../../autograd/parameter.ts";
import type { Device } from "../../device/device.ts";
import { type DeviceBuffer, type Mat, mat } from "../../device/buffer.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { Embedding } from "../../nn/embedding.ts";
import { Linear, ownQuantized } from "../../nn/linear.ts";
import { ValueError } from "../../errors.ts";
import { quoted } from "../../io/files/errors.ts";
import { nonFiniteAt } from "../../tensor/finite.ts";
import { release } from "../../tensor/release.ts";
import type { WantedTensor } from "../../families/tensors.ts";

/** Values that are read at a time: the host never holds a whole embedding. */
const CHUNK = 2 ** 19;

/** Weight and bias of a layer norm. */
export interface LayerNormWeights {
  readonly weight: NormWeight;
  readonly bias: NormWeight;
}

/** Room to train these tensors; their values come when a model is loaded with it. */
export function trainedTensors(
  device: Device,
  tensors: readonly WantedTensor[],
): ParameterSet {
  return new ParameterSet(
    device,
    tensors.map(({ name, shape }) => ({
      name,
      ...matrixShape(shape),
      decay: shape.length > 1,
    })),
  );
}

/** Shape of a tensor as a matrix: the dimensions after the first are one row, a vector a single one. */
function matrixShape(
  shape: readonly number[],
): { rows: number; cols: number } {
  const [first, ...rest] = shape.length > 1 ? shape : [1, ...shape];
  return { rows: first, cols: rest.reduce((a, b) => a * b, 1) };
}

/**
 * Puts tensors on a device and frees them together. All are finite: a model in which one is not gives numbers that look
 * right, where NaN is hidden behind a softmax.
 */
export class Weights implements Disposable {
  readonly device: Device;
  readonly #checkpoint: Checkpoint;
  readonly #trained: ParameterSet | undefined;
  readonly #compute: Compute | undefined;
  readonly #memory = new DisposableStack();

  /** @param options `trained`: parameters to train, which take the tensors of their names; the others are frozen. */
  constructor(
    device: Device,
    checkpoint: Checkpoint,
    { trained, compute }: { trained?: ParameterSet; compute?: Compute } = {},
  ) {
    this.device = device;
    this.#checkpoint = checkpoint;
    this.#trained = trained;
    this.#compute = compute;
  }

  /** A linear layer's weight `[out, in]`; quantised ones stay so. @throws {RangeError} If a value is not finite. */
  async linear(name: string): Promise<LinearWeight> {
    if (!this.#trained?.parameters.has(name)) {
      const q = await this.#checkpoint.readQuantized?.(name);
      if (q) {
        this.#checkFinite(`${name} (its scales)`, q.scales);
        if (q.biases) this.#checkFinite(`${name} (its biases)`, q.biases);
        const own = ownQuantized(this.device, q, this.#compute);
        release(q.codes, q.scales, q.biases);
        return this.#memory.use(own).weight;
      }
    }
    const { value, parameter } = await this.matrix(name);
    return denseWeight(value, parameter);
  }

  /**
   * A matrix in f32; a tensor of more dimensions with all but the first as its rows.
   *
   * @throws {RangeError} If a value is not finite.
   */
  async matrix(
    name: string,
  ): Promise<{ value: Mat; parameter?: Parameter }> {
    const { rows, cols } = matrixShape(this.#shape(name));
    const parameter = this.#trained?.parameters.get(name);
    const value = parameter?.value ??
      mat(this.#alloc(rows * cols * 4), rows, cols);
    const most = Math.max(1, Math.floor(CHUNK / cols));
    for (let from = 0; from < rows; from += most) {
      const part = await this.#checkpoint.readF32(
        name,
        from,
        Math.min(rows, from + most),
      );
      this.#checkFinite(name, part, from * cols);
      this.device.write(value.buffer, part, (value.offset + from * cols) * 4);
      release(part);
    }
    return { value, parameter };
  }

  /** A linear layer by its module's path, with its bias where it has one. */
  async layer(module: string, bias: boolean): Promise<Linear> {
    return new Linear(
      module,
      await this.linear(`${module}.weight`),
      bias ? await this.vector(`${module}.bias`) : undefined,
    );
  }

  /** Weight and bias of a layer norm. */
  async norm(module: string): Promise<LayerNormWeights> {
    return {
      weight: await this.vector(`${module}.weight`),
      bias: await this.vector(`${module}.bias`),
    };
  }

  /** A token embedding, at a module path. */
  async table(module: string): Promise<Embedding> {
    return new Embedding(module, await this.matrix(`${module}.weight`));
  }

  /** A vector: a bias or the weight of a norm. @throws {RangeError} If a value is not finite. */
  async vector(name: string): Promise<NormWeight> {
    const values = await this.#checkpoint.readF32(name);
    this.#checkFinite(name, values);
    if (this.#trained?.parameters.has(name)) {
      this.#trained.set(name, values);
      return {
        value: this.#trained.vector(name),
        parameter: this.#trained.get(name),
      };
    }
    const value = this.#alloc(values.byteLength);
    this.device.write(value, values);
    return { value };
  }

  /** Frees the tensors that are no parameters. */
  [Symbol.dispose](): void {
    this.#memory.dispose();
  }

  #checkFinite(what: string, values: ArrayLike<number>, first = 0): void {
    const at = nonFiniteAt(values);
    if (at < 0) return;
    throw new ValueError(
      `Cannot load ${quoted(this.#checkpoint.name)}: ${what} holds ${
        values[at]
      } (value ${
        first + at
      }), wanted finite values; write it anew in bf16 or f32, or take a copy that is sound`,
    );
  }

  #alloc(bytes: number): DeviceBuffer {
    return this.#memory.use(this.device.alloc(bytes));
  }

  #shape(name: string): readonly number[] {
    return this.#checkpoint.tensors.get(name)!.shape;
  }
}
