/**
 * The tape of automatic differentiation: operations are recorded, then gradients computed in a backward pass.
 *
 * A step of training makes a tape, runs the model on it, calls {@linkcode Tape.backward} and disposes of it; every value
 * and gradient of the step lives on the tape. The backward pass frees each value as soon as nothing before needs
 * it. A tape that does not record serves inference: {@linkcode Tape.scope} frees what a block left behind.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import type { Parameter } from "./parameter.ts";

/** A matrix on a tape, and its gradient once there is one. */
export interface Tensor {
  /** The values. */
  readonly value: Mat;
  /** True if a gradient is wanted. */
  readonly needsGradient: boolean;
}

/** Options of a {@linkcode Tape}. */
export interface TapeOptions {
  /** True if a backward pass follows (false). */
  readonly recording?: boolean;
  /** True if the pass is one of training, with dropout; as `recording` without it. */
  readonly training?: boolean;
  /** Seed of the step's dropout (0). */
  readonly seed?: number;
}

interface Node {
  readonly output: Tensor;
  readonly backward: (gradient: Mat) => void;
  /** Memory that only this node's backward needs. */
  readonly saved: readonly DeviceBuffer[];
  /** True if the output stays another node's: an operation in place. */
  readonly inPlace: boolean;
}

/** One step's values. */
export class Tape implements Disposable {
  /** Device that it computes on. */
  readonly device: Device;
  /** True if a backward pass follows. */
  readonly recording: boolean;
  /** True if the pass is one of training, with dropout. */
  readonly training: boolean;
  readonly #nodes: Node[] = [];
  readonly #gradients = new Map<Tensor, Mat>();
  /** Memory of the tape, by scope: the innermost last. */
  #owned = new Set<DeviceBuffer>();
  #seed: number;
  #draws = 0;

  /** An empty tape. */
  constructor(
    device: Device,
    { recording = false, training = recording, seed = 0 }: TapeOptions = {},
  ) {
    this.device = device;
    this.recording = recording;
    this.training = training;
    this.#seed = seed;
  }

  /** Uninitialised memory that lives as long as the tape, a scope, or until {@linkcode free}. */
  alloc(bytes: number): DeviceBuffer {
    const buffer = this.device.alloc(bytes);
    this.#owned.add(buffer);
    return buffer;
  }

  /** An uninitialised matrix, as {@linkcode alloc}. */
  matrix(rows: number, cols: number): Mat {
    return mat(this.alloc(rows * cols * 4), rows, cols);
  }

  /** A buffer with `data` in it, as {@linkcode alloc}. */
  upload(data: ArrayBufferView): DeviceBuffer {
    const buffer = this.alloc(data.byteLength);
    this.device.write(buffer, data);
    return buffer;
  }

  /** Frees memory of this tape before its end. */
  free(...buffers: DeviceBuffer[]): void {
    for (const buffer of buffers) {
      if (this.#owned.delete(buffer)) buffer[Symbol.dispose]();
    }
  }

  /** A value from outside, which stays its owner's. */
  input(value: Mat, needsGradient = false): Tensor {
    return { value, needsGradient: needsGradient && this.recording };
  }

  /** The result of an operation in new memory; it needs a gradient if one of `from` does, or `trains`. */
  output(
    rows: number,
    cols: number,
    from: readonly (Tensor | undefined)[],
    trains = false,
  ): Tensor {
    return {
      value: this.matrix(rows, cols),
      needsGradient: this.recording &&
        (trains || from.some((t) => t?.needsGradient)),
    };
  }

  /** Records the backward function of `output`; does nothing where no gradient is wanted. */
  record(
    output: Tensor,
    backward: (gradient: Mat) => void,
    { saved = [], inPlace = false }: {
      saved?: readonly DeviceBuffer[];
      inPlace?: boolean;
    } = {},
  ): void {
    if (output.needsGradient) {
      this.#nodes.push({ output, backward, saved, inPlace });
    } else this.free(...saved);
  }

  /** Adds to the gradient of `t`: `write(into, add)` computes it into `into`, plus `add` (which is `into`) where there is one already. */
  accumulate(t: Tensor, write: (into: Mat, add?: Mat) => void): void {
    if (!t.needsGradient) return;
    const { rows, cols } = t.value;
    const found = this.#gradients.get(t);
    const into = found ?? this.matrix(rows, cols);
    if (!found) this.#gradients.set(t, into);
    write(into, found);
  }

  /**
   * Moves `gradient`, a matrix of this tape, to `t` (ownership transfer). Whoever gives it may read it until its backward
   * ends.
   */
  moveGradient(t: Tensor, gradient: Mat): void {
    const found = this.#gradients.get(t);
    if (!t.needsGradient) return;
    if (!found) {
      this.#gradients.set(t, gradient);
      return;
    }
    this.device.ops.combine({ x: found, y: gradient, out: found });
  }

  /** The gradient of `t`, after {@linkcode backward}, if `t` came from outside. */
  gradient(t: Tensor): Mat | undefined {
    return this.#gradients.get(t);
  }

  /**
   * Runs the tape backwards from `root`, whose gradient is `gradient` (a matrix of this tape) or was given before.
   *
   * Gradients of parameters are added to the parameters' own; values and gradients of the steps between are freed.
   */
  backward(root?: Tensor, gradient?: Mat): void {
    if (root && gradient) this.moveGradient(root, gradient);
    for (;;) {
      const node = this.#nodes.pop();
      if (!node) return;
      const { output, inPlace } = node;
      const found = this.#gradients.get(output);
      // A value that nothing depended on has no gradient to pass on.
      if (found) node.backward(found);
      this.free(...node.saved);
      if (inPlace) continue;
      this.#gradients.delete(output);
      this.free(output.value.buffer);
      if (found && !this.#given(found)) this.free(found.buffer);
    }
  }

  /** Runs `body`; where the tape does not record, frees all that it made but its result. */
  scope(body: () => Tensor): Tensor {
    if (this.recording) return body();
    const outer = this.#owned;
    this.#owned = new Set();
    let kept: DeviceBuffer | undefined;
    try {
      const result = body();
      kept = result.value.buffer;
      return result;
    } finally {
      for (const buffer of this.#owned) {
        if (buffer === kept) outer.add(buffer);
        else buffer[Symbol.dispose]();
      }
      this.#owned = outer;
    }
  }

  /**
   * Activation (gradient) checkpointing (Chen et al., 1604.06174): computes `y = block(x)` and saves only `x`; the
   * backward pass recomputes the block. `block` must use the tape that it is given, and depend on nothing that needs a
   * gradient but `x`, `others`, which it is given as tensors of that tape, and parameters.
   */
  checkpoint(
    x: Tensor,
    block: (tape: Tape, x: Tensor, others: readonly Tensor[]) => Tensor,
    others: readonly Tensor[] = [],
  ): Tensor {
    if (!this.recording) return this.scope(() => block(this, x, others));
    const seed = this.seed();
    let value: Mat;
    {
      // Nothing is recorded, but dropout has to draw as it will in the backward pass.
      using quiet = new Tape(this.device, { training: this.training, seed });
      value = block(
        quiet,
        quiet.input(x.value),
        others.map((t) => quiet.input(t.value)),
      ).value;
      quiet.#owned.delete(value.buffer);
      this.#owned.add(value.buffer);
    }
    const output: Tensor = { value, needsGradient: true };
    this.record(output, (gradient) => {
      using inner = new Tape(this.device, {
        recording: true,
        training: this.training,
        seed,
      });
      const [start, ...rest] = [x, ...others].map((t) =>
        inner.input(t.value, t.needsGradient)
      );
      const end = block(inner, start, rest);
      inner.backward(end, gradient);
      this.#adopt(inner, start, x);
      rest.forEach((t, i) => this.#adopt(inner, t, others[i]));
    });
    return output;
  }

  /** A new seed for an operation's dropout: a u32, the same at every run of the same step. */
  seed(): number {
    const n = ++this.#draws;
    return (Math.imul(this.#seed ^ 0x9e3779b9, 0x85ebca6b) +
      Math.imul(n, 0xc2b2ae35)) >>> 0;
  }

  /** Frees everything that is left. */
  [Symbol.dispose](): void {
    for (const buffer of this.#owned) buffer[Symbol.dispose]();
    this.#owned.clear();
    this.#gradients.clear();
    this.#nodes.length = 0;
  }

  /** Takes over the gradient that `inner` found for `from`, as one of `to`. */
  #adopt(inner: Tape, from: Tensor, to: Tensor): void {
    const found = inner.gradient(from);
    if (!found) return;
    inner.#owned.delete(found.buffer);
    this.#owned.add(found.buffer);
    const given = this.#gradients.get(to);
    this.moveGradient(to, found);
    if (given && given !== found) this.free(found.buffer);
  }

  /** True if a gradient was handed on to an earlier tensor. */
  #given(gradient: Mat): boolean {
    for (const other of this.#gradients.values()) {
      if (other.buffer === gradient.buffer) return true;
    }
    return false;
  }
}

/** Adds to a parameter's gradient: `write(into, add)` as in {@linkcode Tape.accumulate}. */
export function accumulateParameter(
  parameter: Parameter,
  write: (into: Mat, add?: Mat) => void,
): void {
  const { gradient, fresh } = parameter;
  write(gradient, fresh ? undefined : gradient);
  parameter.fresh = false;
}
