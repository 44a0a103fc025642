/**
 * Runs the kernels: instance, memory, threads.
 *
 * Nothing happens at import. Kernels come from base64 and workers from a blob, so that no permission is needed, from a
 * file or from a URL.
 *
 * Layout of the first page, the rest belongs to the arena:
 *
 * ```text
 *     64   control words   0 claim   1 job   2 parts   3 parts not done   4 whether one failed
 *   1024   arguments of the current job, 32-bit words
 *   2048   tables of the current job
 *  32768   the kernels' own constants
 * ```
 *
 * The claim word holds how many parts nobody has taken yet (12 bits) and, above, a number that grows with every job, so
 * that a thread that slept through one job cannot take a part of it from the next. Whoever is free takes the next
 * part: a thread that the system runs late costs no more than the part it took. What a part computes does not
 * depend on who computes it.
 *
 * @module
 */

import { KindError, ValueError } from "../../src/errors.ts";
import { Arena } from "./arena.ts";
import { type JobArgs, type JobName, JOBS } from "../generated/jobs.ts";
import { KERNELS_BASE64 } from "../generated/kernels.ts";
import {
  MAX_PAGES,
  ownMemory,
  PAGE,
  sharedMemory,
  withOwnMemory,
} from "./memory.ts";
import { relaxedIsExact } from "./trial.ts";
import { WORKER_SOURCE } from "../generated/worker_source.ts";

const CONTROL = 64;
const ARGS = 1024;

/** Address of 1 KiB for small tables that a job's arguments point to. */
export const TABLES = 2048;

/** Room behind the last buffer: kernels read whole vectors, and up to five values past a matrix. */
const SLACK = 256;

/**
 * Looks at a word of shared memory before a thread goes to sleep: some tenths of a millisecond, which
 * outlasts what the caller does between two jobs.
 */
const SPINS = 60000;

/** The most parts of a job, by the claim word's bits. */
export const MAX_PARTS = 0xfff;

/** Timeout for the start of workers in milliseconds, after which the work is done without them. */
const START_TIMEOUT = 5000;

/** Exports with the signature `(args, part, parts, thread)`, which threads can share. */
const JOB_NAMES = Object.keys(JOBS) as JobName[];

type Job = (
  args: number,
  part: number,
  parts: number,
  thread: number,
) => void;

/** Exports that run on the calling thread only. */
export interface Steps {
  /** See `wasm/assembly/linalg/qr.ts`. */
  factor(
    gram: number,
    parts: number,
    width: number,
    inverse: number,
    total: number,
    first: number,
  ): number;
  /** See `wasm/assembly/linalg/triangular.ts`. */
  choleskyDiagonal(
    h: number,
    ldh: number,
    l: number,
    ldl: number,
    n: number,
    from: number,
    shift: number,
    triangle: number,
  ): void;
  /** See `wasm/assembly/linalg/svd.ts`. */
  jacobi(
    a: number,
    down: number,
    right: number,
    k: number,
    len: number,
    work: number,
    line: number,
    norms: number,
  ): void;
  /** See `wasm/assembly/linalg/svd_eigen.ts`. */
  tridiagonalize(
    a: number,
    n: number,
    line: number,
    d: number,
    e: number,
    factors: number,
    p: number,
  ): void;
  /** See `wasm/assembly/linalg/svd_eigen.ts`. */
  tridiagonalQl(
    d: number,
    e: number,
    n: number,
    rotations: number,
    capacity: number,
    progress: number,
  ): number;
  /** See `wasm/assembly/lib/trial.ts`. */
  relaxed(at: number): void;
  /** `96 * n` floating-point operations without memory traffic: the speed limit of one core. */
  peak(n: number, x: number, y: number): number;
}

/** Options of {@linkcode openKernels}. */
export interface KernelOptions {
  /** Threads, the calling one included; those that the machine has without it. */
  readonly threads?: number;
  /** Tries for shared memory (default); false is for tests. */
  readonly shared?: boolean;
  /** Tries for relaxed SIMD (default); false is for tests. */
  readonly relaxed?: boolean;
}

/** Compiled kernels, their memory and threads. */
export class Kernels implements Disposable {
  /** Exports that run on the calling thread only. */
  readonly steps: Steps;
  /** True if they use relaxed SIMD: fused multiply-adds and dot products of bytes. */
  readonly relaxed: boolean;
  readonly #memory: WebAssembly.Memory;
  readonly #arena: Arena;
  readonly #jobs: readonly Job[];
  readonly #workers: readonly Worker[];
  #u8!: Uint8Array<ArrayBufferLike>;
  #u32!: Uint32Array<ArrayBufferLike>;
  #f32!: Float32Array<ArrayBufferLike>;
  #f64!: Float64Array<ArrayBufferLike>;
  #control!: Int32Array<ArrayBufferLike>;
  #turn = 0;
  #scratch = 0;
  #scratchBytes = 0;
  #closed = false;

  /** @ignore Use {@linkcode openKernels}. */
  constructor(
    { instance, memory, workers, relaxed }: {
      instance: WebAssembly.Instance;
      memory: WebAssembly.Memory;
      workers: readonly Worker[];
      relaxed: boolean;
    },
  ) {
    this.relaxed = relaxed;
    this.steps = instance.exports as unknown as Steps;
    this.#jobs = JOB_NAMES.map((name) => instance.exports[name] as Job);
    this.#memory = memory;
    this.#workers = workers;
    this.#arena = new Arena(PAGE, memory.buffer.byteLength - SLACK);
  }

  /** Threads that share a job, the calling one included. */
  get threads(): number {
    return this.#workers.length + 1;
  }

  /** The whole memory as bytes. Valid until the next allocation, which may grow it. */
  get u8(): Uint8Array<ArrayBufferLike> {
    this.#refresh();
    return this.#u8;
  }

  /** As {@linkcode u8}, as 32-bit words. */
  get u32(): Uint32Array<ArrayBufferLike> {
    this.#refresh();
    return this.#u32;
  }

  /** As {@linkcode u8}, as f32. */
  get f32(): Float32Array<ArrayBufferLike> {
    this.#refresh();
    return this.#f32;
  }

  /** As {@linkcode u8}, as f64. */
  get f64(): Float64Array<ArrayBufferLike> {
    this.#refresh();
    return this.#f64;
  }

  /** Bytes in use, the scratch memory left out. */
  get bytes(): number {
    return this.#arena.bytes - this.#scratchBytes;
  }

  /**
   * Address of `bytes` uninitialised bytes, aligned to a cache line.
   *
   * @throws {RangeError} If they do not fit the 4 GiB that a WebAssembly memory can address, or the machine's memory.
   */
  alloc(bytes: number): number {
    this.#open();
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new ValueError(
        `Cannot allocate ${bytes} bytes: wanted a whole number >= 0`,
      );
    }
    const found = this.#arena.alloc(bytes);
    if (found !== undefined) return found;
    // A tenth more than asked for, so that many small requests do not grow page by page.
    const now = this.#memory.buffer.byteLength / PAGE;
    const need = Math.ceil((this.#arena.wanted(bytes) + SLACK) / PAGE);
    const ample = Math.min(MAX_PAGES, Math.ceil(need + now / 10));
    if (
      need > MAX_PAGES ||
      (!this.#grow(ample - now) && !this.#grow(need - now))
    ) {
      throw new ValueError(
        `Cannot allocate ${bytes} bytes of WebAssembly memory: ${this.#arena.bytes} are in use, and it ends at ${
          MAX_PAGES * PAGE
        } bytes or when the machine has no more`,
      );
    }
    this.#arena.grow(this.#memory.buffer.byteLength - SLACK);
    return this.#arena.alloc(bytes)!;
  }

  /**
   * Frees what {@linkcode alloc} returned.
   *
   * @throws {RangeError} If nothing is allocated there.
   */
  free(address: number): void {
    this.#arena.free(address);
  }

  /** Address of at least `bytes` of memory for temporaries, valid until the next call of this method. */
  scratch(bytes: number): number {
    if (bytes > this.#scratchBytes || this.#scratch === 0) {
      if (this.#scratch !== 0) this.#arena.free(this.#scratch);
      this.#scratch = 0;
      this.#scratchBytes = 0;
      const size = Math.max(65536, Math.ceil(bytes / 64) * 64);
      this.#scratch = this.alloc(size);
      this.#scratchBytes = size;
    }
    return this.#scratch;
  }

  /**
   * Runs the `parts` parts (1 to 4095) of a job, on all threads if there are several, and waits for them.
   *
   * @throws {Error} If a part failed: a fault of ours, the memory may be in any state.
   */
  run<K extends JobName>(name: K, parts: number, args: JobArgs[K]): void {
    this.#open();
    this.#refresh();
    JOBS[name](args, this.#u32, this.#f32, ARGS >> 2);
    const index = JOB_NAMES.indexOf(name);
    const job = this.#jobs[index];
    if (parts <= 1 || this.#workers.length === 0) {
      for (let part = 0; part < parts; part++) job(ARGS, part, parts, 0);
      return;
    }
    this.#post(index, parts);
    const control = this.#control;
    for (;;) {
      const claim = Atomics.load(control, 0);
      const left = claim & MAX_PARTS;
      if (left === 0) break;
      if (Atomics.compareExchange(control, 0, claim, claim - 1) !== claim) {
        continue;
      }
      job(ARGS, left - 1, parts, 0);
      Atomics.sub(control, 3, 1);
    }
    this.#wait(control);
    if (Atomics.load(control, 4) !== 0) {
      throw new Error(`Cannot run ${name}: a thread failed`);
    }
  }

  /** Ends the threads. Memory that is still allocated is gone. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#refresh();
    if (this.#workers.length > 0) this.#post(-1, this.#workers.length);
    for (const worker of this.#workers) worker.terminate();
  }

  /** Offers the parts of a job to the threads. */
  #post(index: number, parts: number): void {
    const control = this.#control;
    Atomics.store(control, 1, index);
    Atomics.store(control, 2, parts);
    Atomics.store(control, 3, parts);
    Atomics.store(control, 0, (++this.#turn << 12) | parts);
    Atomics.notify(control, 0, Math.min(parts, this.#workers.length));
  }

  #open(): void {
    if (this.#closed) {
      throw new KindError("Cannot use the kernels: they were disposed");
    }
  }

  #wait(control: Int32Array<ArrayBufferLike>): void {
    for (let i = 0; i < SPINS; i++) {
      if (Atomics.load(control, 3) === 0) return;
    }
    for (;;) {
      const left = Atomics.load(control, 3);
      if (left === 0) return;
      try {
        Atomics.wait(control, 3, left);
      } catch {
        // The main thread of a browser may not sleep; it keeps looking instead.
      }
    }
  }

  #grow(pages: number): boolean {
    try {
      this.#memory.grow(pages);
      return true;
    } catch {
      return false;
    }
  }

  /** Views end where the memory ended when they were made, or are detached: make them anew when it has grown. */
  #refresh(): void {
    const { buffer } = this.#memory;
    if (this.#u8?.buffer === buffer) return;
    this.#u8 = new Uint8Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.#f32 = new Float32Array(buffer);
    this.#f64 = new Float64Array(buffer);
    this.#control = new Int32Array(buffer, CONTROL, 8);
  }
}

/** Compiles the kernels and starts threads; fewer, down to one, where workers do not start. */
export async function openKernels(
  { threads, shared = true, relaxed = true }: KernelOptions = {},
): Promise<Kernels> {
  const wanted = threads ?? globalThis.navigator?.hardwareConcurrency ?? 1;
  const common = shared ? sharedMemory() : undefined;
  const memory = common ?? ownMemory();
  const start = async (base64: string): Promise<Build> => {
    const bytes = decodeBase64(base64);
    const module = await WebAssembly.compile(
      common ? bytes : withOwnMemory(bytes),
    );
    return {
      module,
      instance: await WebAssembly.instantiate(module, { env: { memory } }),
    };
  };
  const first = relaxed ? await startRelaxed(start, memory) : undefined;
  const { module, instance } = first ?? await start(
    (await import("../generated/plain_kernels.ts")).PLAIN_KERNELS_BASE64,
  );
  const workers = common && wanted > 1
    ? await startWorkers(Math.floor(wanted) - 1, module, common)
    : [];
  return new Kernels({ instance, memory, workers, relaxed: !!first });
}

interface Build {
  readonly module: WebAssembly.Module;
  readonly instance: WebAssembly.Instance;
}

/** The build with relaxed SIMD, where the platform has that and its results are those that the kernels count on. */
async function startRelaxed(
  start: (base64: string) => Promise<Build>,
  memory: WebAssembly.Memory,
): Promise<Build | undefined> {
  try {
    const build = await start(KERNELS_BASE64);
    const { relaxed } = build.instance.exports as unknown as Steps;
    return relaxedIsExact(relaxed, memory.buffer, TABLES) ? build : undefined;
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) return undefined;
    throw error;
  }
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  if (typeof Uint8Array.fromBase64 === "function") {
    return Uint8Array.fromBase64(text);
  }
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** All of `count` workers, ready; or none, silently: the results are the same but for the time they take. */
async function startWorkers(
  count: number,
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): Promise<Worker[]> {
  if (typeof Worker === "undefined" || typeof Blob === "undefined") return [];
  const workers: Worker[] = [];
  let url = "";
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    url = URL.createObjectURL(
      new Blob([WORKER_SOURCE], { type: "text/javascript" }),
    );
    const ready = Array.from({ length: count }, (_, i) => {
      const worker = new Worker(url, { type: "module" });
      workers.push(worker);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      worker.onmessage = () => resolve();
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error("worker failed"));
      };
      worker.postMessage({
        module,
        memory,
        jobs: JOB_NAMES,
        thread: i + 1,
        control: CONTROL,
        args: ARGS,
        spins: SPINS,
      });
      return promise;
    });
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("late")), START_TIMEOUT);
    });
    await Promise.race([Promise.all(ready), late]);
    for (const worker of workers) {
      worker.onmessage = null;
      worker.onerror = null;
    }
    return workers;
  } catch {
    for (const worker of workers) worker.terminate();
    return [];
  } finally {
    clearTimeout(timer);
    if (url) URL.revokeObjectURL(url);
  }
}
