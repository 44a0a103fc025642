/**
 * Measures operations of a device, for `loqa bench` and the comparison with peers.
 *
 * A {@linkcode Workload} is prepared once and run many times, so that the caller can interleave it with other work and
 * take medians. The first runs of each are slower (the engine compiles as it goes): warm up before timing.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import { type DeviceBuffer, type Mat, mat } from "../device/buffer.ts";
import type { Operations } from "../device/operations.ts";
import { format, type FormatName } from "../quant/formats.ts";
import { allocQuant } from "../quant/quantize.ts";
import { Random } from "../tensor/random.ts";
import { openKernels } from "../../wasm/runtime/loader.ts";

/** Something to time, with the memory it works on. */
export interface Workload extends Disposable {
  /** Floating-point operations (a multiply-add is two) of one run; 0 where they are not the point. */
  readonly flops: number;
  /** Bytes that one run must read and write, each once; 0 where they are not the point. */
  readonly bytes: number;
  /** Seconds of one run, an average over as many runs as fill `least` seconds (0: one run). */
  run(least?: number): Promise<number>;
}

/** Sizes of a matrix. */
export interface Shape {
  /** Rows. */
  readonly rows: number;
  /** Columns. */
  readonly cols: number;
}

/** Sizes of a product `[m, k] x [k, n]`. */
export interface ProductShape {
  /** Rows of the result. */
  readonly m: number;
  /** Columns of the result. */
  readonly n: number;
  /** Terms of each sum. */
  readonly k: number;
}

/** Most runs between two waits, so that a queue on a GPU stays short. */
const MOST_QUEUED = 64;

/** Times `enqueue`, waiting for the device by reading from `result`. */
async function time(
  device: Device,
  result: DeviceBuffer,
  enqueue: () => void,
  least: number,
): Promise<number> {
  await device.read(result, 0, 4);
  const began = performance.now();
  let runs = 0;
  let queued = 1;
  for (;;) {
    for (let i = 0; i < queued; i++) enqueue();
    runs += queued;
    await device.read(result, 0, 4);
    const spent = (performance.now() - began) / 1000;
    if (spent >= least) return spent / runs;
    queued = Math.min(MOST_QUEUED, runs);
  }
}

function work(
  device: Device,
  memory: DisposableStack,
  { result, flops = 0, bytes = 0, enqueue }: {
    result: DeviceBuffer;
    flops?: number;
    bytes?: number;
    enqueue: () => void;
  },
): Workload {
  const owned = memory.move();
  return {
    flops,
    bytes,
    run: (least = 0) => time(device, result, enqueue, least),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function randomMat(
  device: Device,
  memory: DisposableStack,
  { rows, cols, seed = 0 }: Shape & { seed?: number },
): Mat {
  const m = mat(memory.use(device.alloc(rows * cols * 4)), rows, cols);
  device.write(m.buffer, new Random(seed).normals(rows * cols));
  return m;
}

function emptyMat(
  device: Device,
  memory: DisposableStack,
  rows: number,
  cols: number,
): Mat {
  return mat(memory.use(device.alloc(rows * cols * 4)), rows, cols);
}

/** Loops that touch no memory: each one's job, operations a turn, and two factors. */
const PEAKS = {
  fma: { job: "peakJob", operations: 96, x: 0.999, y: 0.5 },
  int8: {
    job: "peakDotsJob",
    operations: 384,
    x: 0x01020301,
    y: 0x03010201,
  },
} as const;

/**
 * Fused multiply-adds (`fma`) or dot products of bytes (`int8`) that touch no memory, on every thread at once: the limit of
 * what WebAssembly's 128-bit vectors can do here. It opens kernels of its own, with `threads` threads or as many as start.
 */
export async function preparePeak(
  threads: number,
  kind: keyof typeof PEAKS = "fma",
): Promise<Workload> {
  const { job, operations, x, y } = PEAKS[kind];
  const kernels = await openKernels({ threads });
  const parts = kernels.threads;
  const results = kernels.alloc(64 * parts);
  const turns = 200_000;
  return {
    flops: operations * turns * parts,
    bytes: 0,
    run(least = 0) {
      const began = performance.now();
      for (let runs = 1;; runs++) {
        kernels.run(job, parts, { n: turns, x, y, out: results });
        const spent = (performance.now() - began) / 1000;
        if (spent >= least) return Promise.resolve(spent / runs);
      }
    },
    [Symbol.dispose]: () => kernels[Symbol.dispose](),
  };
}

/** A dense product `c[m, n] = a[m, k] * b[k, n]` of random matrices. */
export function prepareGemm(
  device: Device,
  { m, n, k }: ProductShape,
): Workload {
  using memory = new DisposableStack();
  const a = randomMat(device, memory, { rows: m, cols: k });
  const b = randomMat(device, memory, { rows: k, cols: n, seed: 1 });
  const c = emptyMat(device, memory, m, n);
  return work(device, memory, {
    result: c.buffer,
    flops: 2 * m * n * k,
    bytes: 4 * (m * k + k * n + m * n),
    enqueue: () => device.ops.gemm({ a, b, c }),
  });
}

/** Quantising a random matrix, packed codes and scales in its format's defaults. */
export function prepareQuantize(
  device: Device,
  { rows, cols, name }: Shape & { readonly name: FormatName },
): Workload {
  using memory = new DisposableStack();
  const spec = format(name);
  const w = randomMat(device, memory, { rows, cols });
  const q = memory.use(allocQuant(device, spec, { rows, cols }));
  const packed = q.codes.bytes + q.scales.bytes + (q.biases?.bytes ?? 0);
  return work(device, memory, {
    result: q.scales,
    bytes: 4 * rows * cols + packed,
    enqueue: () => device.ops.quantize({ w, q, scale: spec.defaultScale }),
  });
}

/** Dequantising a random matrix to f32. */
export function prepareDequantize(
  device: Device,
  { rows, cols, name }: Shape & { readonly name: FormatName },
): Workload {
  using memory = new DisposableStack();
  const spec = format(name);
  const out = randomMat(device, memory, { rows, cols });
  const q = memory.use(allocQuant(device, spec, { rows, cols }));
  device.ops.quantize({ w: out, q, scale: spec.defaultScale });
  const packed = q.codes.bytes + q.scales.bytes + (q.biases?.bytes ?? 0);
  return work(device, memory, {
    result: out.buffer,
    bytes: 4 * rows * cols + packed,
    enqueue: () => device.ops.dequantize({ q, out }),
  });
}

/** Ways to multiply by a quantised matrix. */
export type QuantizedProduct = "fused" | "dequantize, gemm";

/** A linear layer's product `c[m, n] = a[m, k] * q[n, k]ᵀ` with a quantised matrix, in one operation or in two. */
export function prepareGemmQuantized(
  device: Device,
  { m, n, k, name, how }: ProductShape & {
    readonly name: FormatName;
    readonly how: QuantizedProduct;
  },
): Workload {
  using memory = new DisposableStack();
  const spec = format(name);
  const a = randomMat(device, memory, { rows: m, cols: k });
  const w = randomMat(device, memory, { rows: n, cols: k, seed: 1 });
  const c = emptyMat(device, memory, m, n);
  const q = memory.use(allocQuant(device, spec, { rows: n, cols: k }));
  device.ops.quantize({ w, q, scale: spec.defaultScale });
  return work(device, memory, {
    result: c.buffer,
    flops: 2 * m * n * k,
    enqueue() {
      if (how === "fused") {
        device.ops.gemmQuantized({ a, q, c, transQ: true });
      } else {
        device.ops.dequantize({ q, out: w });
        device.ops.gemm({ a, b: w, c, transB: true });
      }
    },
  });
}

/**
 * A linear layer's product in 8 bits with an int4 matrix `q[n, k]`: `c[m, n] = a qᵀ`, or with `backward` its gradient
 * `c[m, k] = a[m, n] q`.
 */
export function prepareGemmInt8(
  device: Device,
  { m, n, k, block, backward }: ProductShape & {
    /** Weights that share a scale. */
    readonly block: number;
    readonly backward: boolean;
  },
): Workload {
  using memory = new DisposableStack();
  const shape = { rows: n, cols: k };
  const w = randomMat(device, memory, { ...shape, seed: 1 });
  const a = randomMat(device, memory, { rows: m, cols: backward ? n : k });
  const c = emptyMat(device, memory, m, backward ? k : n);
  const q = memory.use(allocQuant(device, format("int4"), { ...shape, block }));
  device.ops.quantize({ w, q, scale: "minmax" });
  return work(device, memory, {
    result: c.buffer,
    flops: 2 * m * n * k,
    enqueue: () => device.ops.gemmInt8({ a, q, c, transQ: !backward }),
  });
}

/** The exact thin SVD of a random matrix. */
export function prepareSvd(device: Device, { rows, cols }: Shape): Workload {
  using memory = new DisposableStack();
  const k = Math.min(rows, cols);
  const a = randomMat(device, memory, { rows, cols });
  const u = emptyMat(device, memory, rows, k);
  const s = emptyMat(device, memory, 1, k);
  const vt = emptyMat(device, memory, k, cols);
  return work(device, memory, {
    result: s.buffer,
    enqueue: () => device.ops.svd({ a, u, s, vt }),
  });
}

/**
 * Seconds of copying a byte from one place in ordinary memory to another with one thread: the limit of an operation
 * that reads and writes each byte once. Measured over `bytes` (64 MiB, beyond the caches).
 */
export function copySecondsPerByte(bytes: number = 64 * 2 ** 20): number {
  const from = new Uint8Array(bytes).fill(1);
  const to = new Uint8Array(bytes);
  to.set(from);
  let best = Infinity;
  for (let i = 0; i < 5; i++) {
    const began = performance.now();
    to.set(from);
    best = Math.min(best, (performance.now() - began) / 1000);
  }
  // A copied byte is read once and written once.
  return best / (2 * bytes);
}

/** A device that counts the FLOPs of its operations. */
export interface CountingDevice extends Device {
  /** Floating-point operations of the products and orthonormalisations so far. */
  readonly flops: number;
}

/** Wraps a device to count FLOPs, for the least time that an algorithm could take. Disposing it leaves `device`. */
export function countFlops(device: Device): CountingDevice {
  let flops = 0;
  const { gemm, qr } = device.ops;
  const ops: Operations = {
    ...device.ops,
    gemm(args) {
      const terms = args.transA ? args.a.rows : args.a.cols;
      flops += 2 * args.c.rows * args.c.cols * terms;
      gemm(args);
    },
    qr(args) {
      flops += 2 * args.y.rows * args.y.cols ** 2;
      qr(args);
    },
  };
  return {
    name: device.name,
    description: device.description,
    threads: device.threads,
    ops,
    get flops() {
      return flops;
    },
    get memory() {
      return device.memory;
    },
    alloc: (bytes) => device.alloc(bytes),
    write: (buffer, data, at) => device.write(buffer, data, at),
    read: (buffer, at, bytes) => device.read(buffer, at, bytes),
    [Symbol.dispose]() {},
  };
}
