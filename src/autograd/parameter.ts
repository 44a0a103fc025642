/**
 * Trainable parameters, with their gradients and the optimiser's moments, in a few long buffers.
 *
 * One matrix operation then updates all of them, and the norm of all gradients is one reduction.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";

/** Elements of a row of an arena; parameters begin at a row. */
const WIDTH = 256;

/** Rows of an arena at the most: 64 MiB, half of the least that one binding of WebGPU reaches. */
const MOST_ROWS = 2 ** 16;

/** A trainable parameter: a matrix, or a vector as a matrix of one row. */
export interface Parameter {
  /** Name in the checkpoint or adapter. */
  readonly name: string;
  /** Value that the model computes with. */
  readonly value: Mat;
  /** Gradient that backward passes add to; holds nothing while {@linkcode fresh}. */
  readonly gradient: Mat;
  /** True if the next gradient is the first since the last update, and overwrites. */
  fresh: boolean;
}

/** Name and shape of a parameter, to make room for it. */
export interface ParameterShape {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  /** True if weight decay applies; norms and biases are left out of it by custom. */
  readonly decay: boolean;
}

/** A stretch of parameters in four buffers of one layout. */
export interface ParameterArena {
  /** True if weight decay applies to it. */
  readonly decay: boolean;
  /** Values. */
  readonly value: Mat;
  /** Gradients. */
  readonly gradient: Mat;
  /** AdamW's first moments, zero at first. */
  readonly mean: Mat;
  /** AdamW's second moments, zero at first. */
  readonly square: Mat;
}

/** All trainable parameters of a run. */
export class ParameterSet implements Disposable {
  /** Device that holds them. */
  readonly device: Device;
  /** By name, in the order given. */
  readonly parameters: ReadonlyMap<string, Parameter>;
  /** The buffers, as the optimiser takes them. */
  readonly arenas: readonly ParameterArena[];
  readonly #memory = new DisposableStack();
  readonly #vectors: { value: Mat; copy: Mat }[] = [];
  readonly #joined: readonly ParameterSet[];

  /**
   * Room for parameters; values are zero until {@linkcode set}.
   *
   * @param joined Other sets, which this one holds besides: they stay their owners'.
   */
  constructor(
    device: Device,
    shapes: readonly ParameterShape[],
    joined: readonly ParameterSet[] = [],
  ) {
    this.device = device;
    this.#joined = joined;
    const parameters = new Map<string, Parameter>();
    const arenas: ParameterArena[] = [];
    for (const decay of [true, false]) {
      const group = shapes.filter((s) => s.decay === decay);
      for (const part of split(group)) {
        const arena = this.#arena(decay, part.rows);
        arenas.push(arena);
        for (const { shape, row } of part.members) {
          const view = (of: Mat) =>
            mat(of.buffer, shape.rows, shape.cols, row * WIDTH);
          parameters.set(shape.name, {
            name: shape.name,
            value: view(arena.value),
            gradient: view(arena.gradient),
            fresh: true,
          });
        }
      }
    }
    this.parameters = new Map([
      ...shapes.map(({ name }) => [name, parameters.get(name)!] as const),
      ...joined.flatMap((other) => [...other.parameters]),
    ]);
    this.arenas = [...arenas, ...joined.flatMap((other) => other.arenas)];
  }

  /** Number of trainable parameters (values). */
  get count(): number {
    let count = 0;
    for (const { value } of this.parameters.values()) {
      count += value.rows * value.cols;
    }
    return count;
  }

  /** A parameter by name. @throws {RangeError} If there is none. */
  get(name: string): Parameter {
    const found = this.parameters.get(name);
    if (!found) {
      throw new ValueError(`Cannot find the parameter "${name}"`);
    }
    return found;
  }

  /** Writes a parameter's values, row-major, from element `at` (0) on. */
  set(name: string, values: Float32Array, at = 0): void {
    const { value } = this.get(name);
    const count = value.rows * value.cols;
    if (!(at >= 0 && at + values.length <= count)) {
      throw new KindError(
        `Cannot set "${name}": it has ${value.rows} x ${value.cols} values, got ${values.length} from ${at} on`,
      );
    }
    this.device.write(value.buffer, values, (value.offset + at) * 4);
  }

  /**
   * A buffer with a vector parameter's values, which kernels take whole; {@linkcode refresh} brings it up to date.
   */
  vector(name: string): DeviceBuffer {
    const { value } = this.get(name);
    const buffer = this.#memory.use(this.device.alloc(value.cols * 4));
    const copy = mat(buffer, 1, value.cols);
    this.#vectors.push({ value, copy });
    this.device.ops.combine({ x: value, out: copy });
    return buffer;
  }

  /** Brings the buffers of {@linkcode vector} up to date, after values changed. */
  refresh(): void {
    for (const { value, copy } of this.#vectors) {
      this.device.ops.combine({ x: value, out: copy });
    }
    for (const other of this.#joined) other.refresh();
  }

  /** Reads a parameter's values, row-major. */
  async read(name: string): Promise<Float32Array<ArrayBuffer>> {
    const { value } = this.get(name);
    return await readF32(
      this.device,
      value.buffer,
      value.offset,
      value.rows * value.cols,
    );
  }

  /** Reads the accumulated gradient, row-major; zeros if there was no backward pass. */
  async readGradient(name: string): Promise<Float32Array<ArrayBuffer>> {
    const { gradient, fresh } = this.get(name);
    const count = gradient.rows * gradient.cols;
    if (fresh) return new Float32Array(count);
    return await readF32(
      this.device,
      gradient.buffer,
      gradient.offset,
      count,
    );
  }

  /** Frees everything. */
  [Symbol.dispose](): void {
    this.#memory.dispose();
  }

  #arena(decay: boolean, rows: number): ParameterArena {
    const zeros = new Uint8Array(rows * WIDTH * 4);
    const alloc = (): Mat => {
      const buffer: DeviceBuffer = this.#memory.use(
        this.device.alloc(zeros.length),
      );
      this.device.write(buffer, zeros);
      return mat(buffer, rows, WIDTH);
    };
    return {
      decay,
      value: alloc(),
      gradient: alloc(),
      mean: alloc(),
      square: alloc(),
    };
  }
}

interface Part {
  rows: number;
  members: { shape: ParameterShape; row: number }[];
}

/** Deals parameters out to arenas of bounded size; a larger one has an arena of its own. */
function split(shapes: readonly ParameterShape[]): Part[] {
  const parts: Part[] = [];
  for (const shape of shapes) {
    const rows = Math.ceil(shape.rows * shape.cols / WIDTH);
    let last = parts.at(-1);
    if (!last || last.rows + rows > MOST_ROWS) {
      last = { rows: 0, members: [] };
      parts.push(last);
    }
    last.members.push({ shape, row: last.rows });
    last.rows += rows;
  }
  return parts;
}
