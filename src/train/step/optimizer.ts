/**
 * AdamW with gradient clipping, on the device.
 *
 * @module
 */

import type { ParameterSet } from "../../autograd/parameter.ts";
import type { DeviceBuffer, Mat } from "../../device/buffer.ts";
import { mat } from "../../device/buffer.ts";

/** Options of {@linkcode Optimizer}; the defaults are those of PyTorch and of transformers' trainer. */
export interface OptimizerOptions {
  /** Beta1: decay of the first moment (0.9). */
  readonly beta1?: number;
  /** Beta2: decay of the second moment (0.999). */
  readonly beta2?: number;
  /** Epsilon, added to the root of the second moment (1e-8). */
  readonly epsilon?: number;
  /** Weight decay: of the values by `learning rate * weightDecay` a step, norms and biases left out (0). */
  readonly weightDecay?: number;
  /**
   * Max gradient norm (gradient clipping), of all gradients together; larger ones are scaled down to it. None without it.
   */
  readonly clip?: number;
}

/** Updates the parameters of a set by their gradients. */
export class Optimizer implements Disposable {
  /** Updates so far. */
  steps = 0;
  readonly #parameters: ParameterSet;
  readonly #options: Required<Omit<OptimizerOptions, "clip">> & {
    clip?: number;
  };
  readonly #memory = new DisposableStack();
  readonly #squares: DeviceBuffer;
  readonly #scale: DeviceBuffer;
  readonly #rows: number;

  constructor(parameters: ParameterSet, options: OptimizerOptions = {}) {
    const { device, arenas } = parameters;
    this.#parameters = parameters;
    this.#options = {
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      weightDecay: 0,
      ...options,
    };
    this.#rows = arenas.reduce((sum, { value }) => sum + value.rows, 0);
    this.#squares = this.#memory.use(device.alloc(this.#rows * 4));
    this.#scale = this.#memory.use(device.alloc(8));
  }

  /** Gradient norm of the last step with clipping, `[1, 1]`, before it was clipped. */
  get norm(): Mat {
    return mat(this.#scale, 1, 1, 1);
  }

  /**
   * One update; the gradients are forgotten after it. Parameters without a gradient count as having one of zeros.
   */
  step(learningRate: number): void {
    const { device, arenas, parameters } = this.#parameters;
    const { ops } = device;
    const { clip, beta1, beta2, epsilon, weightDecay } = this.#options;
    for (const parameter of parameters.values()) {
      if (!parameter.fresh) continue;
      const { value, gradient } = parameter;
      ops.combine({ x: value, out: gradient, alpha: 0 });
    }
    this.steps++;
    if (clip !== undefined) this.#clip(clip);
    const step = {
      learningRate,
      beta1,
      beta2,
      epsilon,
      bias1: 1 - beta1 ** this.steps,
      bias2: 1 - beta2 ** this.steps,
    };
    for (const { value, gradient, mean, square, decay } of arenas) {
      ops.adamw({
        param: value,
        grad: gradient,
        mean,
        square,
        scale: clip === undefined ? undefined : this.#scale,
        step: { ...step, weightDecay: decay ? weightDecay : 0 },
      });
    }
    for (const parameter of parameters.values()) parameter.fresh = true;
    this.#parameters.refresh();
  }

  #clip(most: number): void {
    const { device, arenas } = this.#parameters;
    const { ops } = device;
    let from = 0;
    for (const { gradient } of arenas) {
      using part = device.alloc(gradient.rows * 4);
      ops.rowSquares({ x: gradient, out: part });
      ops.combine({
        x: mat(part, 1, gradient.rows),
        out: mat(this.#squares, 1, gradient.rows, from),
      });
      from += gradient.rows;
    }
    ops.clipScale({
      squares: this.#squares,
      count: this.#rows,
      most,
      out: this.#scale,
    });
  }

  /** Frees its own memory; the parameters are their owner's. */
  [Symbol.dispose](): void {
    this.#memory.dispose();
  }
}
