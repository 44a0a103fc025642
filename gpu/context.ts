/**
 * Runs kernels on a GPU: pipelines, parameters, batches of dispatches, errors, loss.
 *
 * A dispatch is recorded; what is recorded goes to the GPU when someone reads, writes, or when there is enough of it.
 * WebGPU reports errors later and on the side: each batch and each buffer is made inside error scopes, and the first
 * error is thrown by the next {@linkcode GpuContext.read} or {@linkcode GpuContext.settle}, with the kernel's name.
 *
 * Conventions of a kernel: entry point `main`, group 0; binding 0 is its parameters (a uniform struct of 32-bit
 * words), storage buffers follow from binding 1 on, in the order in which they are given. `gpu/kernel.ts` keeps to them.
 *
 * @module
 */

import { KindError } from "../src/errors.ts";
import {
  DeviceFaultError,
  DeviceLostError,
  isDeviceFailure,
} from "../src/device/errors.ts";
import type { Limits, OpenedAdapter } from "./adapter.ts";
import { BufferPool } from "./pool.ts";

/** A compute shader and the values of its `override` constants. */
export interface Kernel {
  /** Its name in errors. */
  readonly name: string;
  /** WGSL. */
  readonly code: string;
  /** Values of `override` constants. Each set of values is a pipeline of its own. */
  readonly constants?: Readonly<Record<string, number>>;
}

/** A parameter: a whole number (u32 or i32), or a number that the kernel takes as f32. */
export type Word = number | { readonly f32: number };

/** A part of a buffer, as a binding: `at` a multiple of 256, both in bytes. */
export interface Span {
  readonly buffer: GPUBuffer;
  readonly at: number;
  readonly bytes: number;
}

/** One run of a kernel. */
export interface Dispatch {
  /** Words of the parameters, at most 64. */
  readonly params: readonly Word[];
  /** Inputs of the kernel; bound first. A span in a buffer that is written too is copied before. */
  readonly reads: readonly Span[];
  /** Outputs, and buffers that it reads and writes. */
  readonly writes: readonly Span[];
  /** Workgroups; see {@linkcode grid} for long lines of them. */
  readonly groups: readonly [number, number?, number?];
  /** For errors: "512x512x64". */
  readonly shape?: string;
}

// The standard fixes these numbers; the globals that name them are missing on some platforms without a GPU.
const MAP_READ = 0x01;
const COPY_SRC = 0x04;
const COPY_DST = 0x08;
const UNIFORM = 0x40;
const STORAGE = 0x80;
const MODE_READ = 0x01;

/** Bytes of one dispatch's parameters: the largest alignment that WebGPU may ask for. */
const SLOT = 256;
/** Dispatches of a batch. */
const SLOTS = 512;
/** The most workgroups of a dimension. */
const MOST_GROUPS = 65535;
/** `writeBuffer` holds memory until the next submit (gfx-rs/wgpu#9354). */
const WRITTEN_BYTES = 32 * 2 ** 20;

/** Workgroups in two dimensions for `count` of them: the kernel finds its number as `x + y * num_workgroups.x`. */
export function grid(count: number): [number, number] {
  const y = Math.max(1, Math.ceil(count / MOST_GROUPS));
  return [Math.ceil(count / y), y];
}

/** A device of WebGPU at work. */
export class GpuContext implements Disposable {
  /** The device itself. */
  readonly device: GPUDevice;
  /** Limits of the device. */
  readonly limits: Limits;
  /** A name for a person. */
  readonly description: string;
  /** True for a software adapter: a CPU does the work. */
  readonly software: boolean;
  /** True if shaders have dot products of four bytes in a word. */
  readonly packedDots: boolean;
  /** Free and used buffers. */
  readonly pool: BufferPool;
  readonly #pipelines = new Map<string, GPUComputePipeline>();
  readonly #params = new ArrayBuffer(SLOT * SLOTS);
  readonly #words = new Uint32Array(this.#params);
  readonly #floats = new Float32Array(this.#params);
  readonly #uniforms: GPUBuffer;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #recorded: string[] = [];
  /** Taken back while the batch that uses them is not submitted. */
  #released: GPUBuffer[] = [];
  #written = 0;
  #scopes: Promise<void>[] = [];
  #fault: DeviceFaultError | undefined;
  #lost: DeviceLostError | undefined;
  /** Rejections of the present waits for the GPU, called when it is lost. */
  readonly #waiting = new Set<(lost: DeviceLostError) => void>();
  #closed = false;

  constructor(opened: OpenedAdapter) {
    const { device, limits, description, software, packedDots } = opened;
    this.device = device;
    this.limits = limits;
    this.description = description;
    this.software = software;
    this.packedDots = packedDots;
    this.pool = new BufferPool((bytes) =>
      this.#guard(
        () =>
          device.createBuffer({
            size: bytes,
            usage: STORAGE | COPY_SRC | COPY_DST,
          }),
        `a buffer of ${bytes} bytes`,
        (buffer) => this.pool.condemn(buffer),
      ), this.mostBytes);
    this.#uniforms = this.#guard(
      () =>
        device.createBuffer({
          label: "parameters",
          size: SLOT * SLOTS,
          usage: UNIFORM | COPY_DST,
        }),
      "a buffer for parameters",
    );
    device.lost?.then((info) => {
      const lost = new DeviceLostError(
        `${description} was lost: ${oneLine(info.message || info.reason)}`,
      );
      this.#lost = lost;
      for (const tell of this.#waiting) tell(lost);
    });
    device.addEventListener?.("uncapturederror", (event) => {
      event.preventDefault();
      const { error } = event as GPUUncapturedErrorEvent;
      this.#fault ??= new DeviceFaultError(
        `${description}: ${oneLine(error.message)}`,
      );
    });
  }

  /** The most bytes that one binding can reach. */
  get mostBound(): number {
    return this.limits.maxStorageBufferBindingSize;
  }

  /** The most bytes of one buffer, in whole words. */
  get mostBytes(): number {
    const { maxBufferSize } = this.limits;
    return maxBufferSize - (maxBufferSize % 4);
  }

  /** Records a run of `kernel`; it sees what was recorded and written before. */
  run(kernel: Kernel, dispatch: Dispatch): void {
    this.#open();
    const { params, reads, writes, groups, shape = "" } = dispatch;
    if (groups.some((n) => n === 0)) return;
    if (this.#recorded.length === SLOTS) this.submit();
    // Opens the error scopes in which all of it happens.
    this.#encoder ??= this.#begin();
    const pipeline = this.#pipeline(kernel);
    // One buffer cannot be bound for reading and for writing at once.
    const bound = reads.map((span) =>
      writes.some((w) => w.buffer === span.buffer) ? this.#copy(span) : span
    );
    const slot = this.#recorded.length;
    params.forEach((word, i) => {
      const at = slot * (SLOT >> 2) + i;
      if (typeof word === "number") this.#words[at] = word;
      else this.#floats[at] = word.f32;
    });
    const entries = [{
      binding: 0,
      resource: { buffer: this.#uniforms, offset: slot * SLOT, size: SLOT },
    }];
    for (const span of [...bound, ...writes]) {
      entries.push({
        binding: entries.length,
        resource: { buffer: span.buffer, offset: span.at, size: span.bytes },
      });
    }
    const group = this.device.createBindGroup({
      label: `${kernel.name} ${shape}`,
      layout: pipeline.getBindGroupLayout(0),
      entries,
    });
    this.#pass ??= this.#encoder.beginComputePass();
    this.#pass.setPipeline(pipeline);
    this.#pass.setBindGroup(0, group);
    this.#pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
    this.#recorded.push(`${kernel.name} ${shape}`);
  }

  /** Copies whole words, in the order of the calls. Both offsets and `bytes` are multiples of 4. */
  copy(
    from: GPUBuffer,
    to: GPUBuffer,
    { at, toAt, bytes }: { at: number; toAt: number; bytes: number },
  ): void {
    this.#open();
    if (bytes === 0) return;
    this.#encoder ??= this.#begin();
    this.#pass?.end();
    this.#pass = undefined;
    this.#encoder.copyBufferToBuffer(from, at, to, toAt, bytes);
  }

  /** Writes whole words, in the order of the calls; `data` may be changed afterwards. */
  write(buffer: GPUBuffer, at: number, data: Uint8Array): void {
    this.#open();
    if (data.byteLength === 0) return;
    this.submit();
    this.device.queue.writeBuffer(
      buffer,
      at,
      data as Uint8Array<ArrayBuffer>,
    );
    this.#written += data.byteLength;
    if (this.#written > WRITTEN_BYTES) {
      this.device.queue.submit([]);
      this.#written = 0;
    }
  }

  /**
   * Waits for everything before and copies whole words out.
   *
   * @throws {DeviceLostError} If the device is gone.
   * @throws {DeviceFaultError} If something recorded since the last wait went wrong.
   */
  async read(
    buffer: GPUBuffer,
    at: number,
    bytes: number,
  ): Promise<Uint8Array<ArrayBuffer>> {
    this.#open();
    if (bytes === 0) {
      await this.settle();
      return new Uint8Array(0);
    }
    const staging = this.#guard(
      () =>
        this.device.createBuffer({
          label: "read",
          size: bytes,
          usage: MAP_READ | COPY_DST,
        }),
      `a buffer of ${bytes} bytes to read through`,
    );
    try {
      this.copy(buffer, staging, { at, toAt: 0, bytes });
      this.submit();
      await this.#unlessLost(staging.mapAsync(MODE_READ));
      // A GPU that is lost may map all the same.
      await this.settle();
      const out = new Uint8Array(staging.getMappedRange().slice(0));
      staging.unmap();
      return out;
    } catch (error) {
      if (isDeviceFailure(error)) throw error;
      // An earlier error explains more, and a loss may be reported a little later than the failures by it.
      await new Promise((resolve) => setTimeout(resolve, 0));
      await this.settle();
      throw new DeviceFaultError(
        `${this.description} could not be read: ${
          oneLine(error instanceof Error ? error.message : String(error))
        }`,
      );
    } finally {
      staging.destroy();
    }
  }

  /** Waits until all errors so far are known, and throws the first. */
  async settle(): Promise<void> {
    const scopes = this.#scopes;
    this.#scopes = [];
    await this.#unlessLost(Promise.all(scopes));
    if (this.#fault) {
      const fault = this.#fault;
      this.#fault = undefined;
      throw fault;
    }
  }

  /** Gives a buffer back to the pool, after the work that uses it. */
  release(buffer: GPUBuffer): void {
    this.#released.push(buffer);
    if (!this.#encoder) this.#recycle();
    if (this.#closed) this.pool.trim(0);
  }

  /** A buffer of at least `bytes`, valid until {@linkcode release}; a temporary may be released right after its last use is recorded. */
  take(bytes: number): GPUBuffer {
    this.#open();
    return this.pool.take(bytes);
  }

  /** Sends what is recorded to the GPU. */
  submit(): void {
    const encoder = this.#encoder;
    if (!encoder) return;
    const recorded = this.#recorded;
    this.#pass?.end();
    this.#pass = undefined;
    this.#encoder = undefined;
    this.#recorded = [];
    if (recorded.length > 0) {
      this.device.queue.writeBuffer(
        this.#uniforms,
        0,
        this.#params,
        0,
        recorded.length * SLOT,
      );
    }
    this.#popScopes(
      () => this.device.queue.submit([encoder.finish()]),
      [...new Set(recorded)].slice(0, 12).join(", ") || "a copy",
    );
    this.#written = 0;
    this.#recycle();
  }

  /** Destroys the device and all buffers. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    // A finished encoder must be submitted (denoland/deno#29140), whatever comes of it.
    if (!this.#lost) this.submit();
    this.#closed = true;
    this.#pipelines.clear();
    this.pool.trim(0);
    this.#uniforms.destroy();
    this.device.destroy();
  }

  #open(): void {
    if (this.#closed) {
      throw new KindError("Cannot use the GPU: its device was disposed");
    }
    if (this.#lost) throw this.#lost;
  }

  #begin(): GPUCommandEncoder {
    this.#pushScopes();
    return this.device.createCommandEncoder();
  }

  #copy(span: Span): Span {
    const buffer = this.take(span.bytes);
    this.copy(span.buffer, buffer, {
      at: span.at,
      toAt: 0,
      bytes: span.bytes,
    });
    this.release(buffer);
    return { buffer, at: 0, bytes: span.bytes };
  }

  #recycle(): void {
    for (const buffer of this.#released) this.pool.give(buffer);
    this.#released = [];
    if (this.pool.full) this.pool.trim();
  }

  #pipeline(kernel: Kernel): GPUComputePipeline {
    const { name, constants = {} } = kernel;
    const key = `${name} ${JSON.stringify(constants)}`;
    const found = this.#pipelines.get(key);
    if (found) return found;
    const pipeline = this.#guard(
      () => {
        const module = this.device.createShaderModule({
          label: name,
          code: kernel.code,
        });
        return this.device.createComputePipeline({
          label: name,
          layout: "auto",
          compute: { module, entryPoint: "main", constants },
        });
      },
      `the kernel ${name}`,
      () => this.#pipelines.delete(key),
    );
    this.#pipelines.set(key, pipeline);
    return pipeline;
  }

  /** Does `make` inside error scopes of its own; on an error `spoiled` gets its result. */
  #guard<T>(make: () => T, what: string, spoiled?: (made: T) => void): T {
    this.#pushScopes();
    let made: T;
    this.#popScopes(() => made = make(), what, () => spoiled?.(made));
    return made!;
  }

  /** Waits for `promise`, or until the device is lost. */
  async #unlessLost<T>(promise: Promise<T>): Promise<T> {
    // Nobody asks for it any more once the device is lost.
    promise.catch(() => {});
    if (this.#lost) throw this.#lost;
    let tell: (lost: DeviceLostError) => void;
    const lost = new Promise<never>((_, reject) => tell = reject);
    this.#waiting.add(tell!);
    try {
      const result = await Promise.race([promise, lost]);
      if (this.#lost) throw this.#lost;
      return result;
    } finally {
      this.#waiting.delete(tell!);
    }
  }

  #pushScopes(): void {
    this.device.pushErrorScope("out-of-memory");
    this.device.pushErrorScope("validation");
  }

  /** Ends the two innermost scopes after `last`, which may throw. */
  #popScopes(last: () => void, what: string, spoiled?: () => void): void {
    try {
      last();
    } finally {
      for (let i = 0; i < 2; i++) {
        this.#scopes.push(
          this.device.popErrorScope().then((error) => {
            if (!error) return;
            this.#fault ??= new DeviceFaultError(
              `${this.description}, ${what}: ${oneLine(error.message)}`,
            );
            spoiled?.();
          }, () => {
            // The device was lost; `lost` reports it.
          }),
        );
      }
    }
  }
}

/** Drivers explain themselves over several lines, with drawings. */
function oneLine(message: string): string {
  return message.trim().replaceAll(/\s*\n\s*/g, " ");
}
