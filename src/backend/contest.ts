/**
 * A short contest between a GPU and the CPU: right numbers first, then time.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";

/** Result of a contest. */
export interface Trial {
  /** Operation that the GPU computed wrongly; undefined if none. */
  readonly wrong: string | undefined;
  /** Products of the GPU, waiting for them included, in floating-point operations a second. */
  readonly gpuFlops: number;
  /** The same of the CPU. */
  readonly cpuFlops: number;
}

/** Rows, columns and inner size of a product. */
const N = 512;

/**
 * Products before a wait, in each round; the GPU has won when it is ahead in one. A wait costs it about 11 ms in Deno,
 * whatever it waits for: the last round, 8.6 GFLOP, is about one iteration of LoftQ on a 4096 x 4096 weight.
 */
const ROUNDS = [1, 8, 32];

/** Seconds after which a round was the last. */
const LONG = 0.05;

/** Rows that plain TypeScript computes: all would take a second. */
const FEW = 32;

/** The most that a product may be off, relative: rounding gives about 1e-6. */
const TOLERANCE = 1e-5;

const CODEBOOK = {
  bits: 2,
  levels: Float32Array.of(-1, -0.5, 0, 1),
  thresholds: Float32Array.of(-0.75, -0.25, 0.5),
  grouping: "flat",
  order: "low",
} as const;

/** The same numbers on each device. */
interface Work extends Disposable {
  /** `rows` of a product. */
  product(rows: number): void;
  /** The first `rows` of the last product. */
  result(rows: number): Promise<Float32Array>;
  /** Codes and scales of a quantised matrix, as bytes. */
  quantized(): Promise<Uint8Array[]>;
}

/**
 * Compares two devices on products and on quantisation, in some tens of milliseconds where both are quick.
 *
 * @throws {DeviceLostError} If the GPU fails that way.
 * @throws {DeviceFaultError} If it reports another error.
 */
export async function compareDevices(
  gpu: Device,
  cpu: Device,
): Promise<Trial> {
  const values = noise(2 * N * N);
  using one = prepare(gpu, values);
  using other = prepare(cpu, values);
  const rows = cpu.name === "reference" ? FEW : N;
  one.product(N);
  other.product(rows);
  const [got, codes] = await Promise.all([one.result(rows), one.quantized()]);
  const wrong = productFault(got, await other.result(rows)) ??
    codeFault(codes, await other.quantized());
  if (wrong) return { wrong, gpuFlops: 0, cpuFlops: 0 };

  // The first time the engine and the driver compiled; the second one counts.
  const cpuSeconds = await seconds(other, { products: 1, rows });
  const cpuFlops = (2 * rows * N ** 2) / cpuSeconds;
  let gpuFlops = 0;
  for (const products of ROUNDS) {
    const gpuSeconds = await seconds(one, { products, rows: N });
    gpuFlops = (2 * products * N ** 3) / gpuSeconds;
    if (gpuFlops > cpuFlops || gpuSeconds > LONG) break;
  }
  return { wrong: undefined, gpuFlops, cpuFlops };
}

/** Time of some products and the wait for them. */
async function seconds(
  work: Work,
  { products, rows }: { products: number; rows: number },
): Promise<number> {
  const began = performance.now();
  for (let i = 0; i < products; i++) work.product(rows);
  await work.result(1);
  return (performance.now() - began) / 1000;
}

function prepare(device: Device, values: Float32Array): Work {
  const memory = new DisposableStack();
  const room = (rows: number, cols: number): Mat =>
    mat(memory.use(device.alloc(rows * cols * 4)), rows, cols);
  const [a, b, c] = [room(N, N), room(N, N), room(N, N)];
  device.write(a.buffer, values.subarray(0, N * N));
  device.write(b.buffer, values.subarray(N * N));
  return {
    product: (rows) =>
      device.ops.gemm({
        a: mat(a.buffer, rows, N),
        b,
        c: mat(c.buffer, rows, N),
      }),
    result: (rows) => readF32(device, c.buffer, 0, rows * N),
    async quantized() {
      const w = mat(a.buffer, FEW, N);
      const block = 64;
      using codes = device.alloc((FEW * N) / 4);
      using scales = device.alloc(((FEW * N) / block) * 4);
      const q = { spec: CODEBOOK, rows: FEW, cols: N, block, codes, scales };
      device.ops.quantize({ w, q: { ...q, biases: null }, scale: "absmax" });
      return await Promise.all([device.read(codes), device.read(scales)]);
    },
    [Symbol.dispose]: () => memory.dispose(),
  };
}

/** Uniform in [-1, 1), from a linear congruence: drawing better numbers would take longer than the contest. */
function noise(n: number): Float32Array {
  const out = new Float32Array(n);
  let state = 1;
  for (let i = 0; i < n; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    out[i] = state / 0x8000_0000;
  }
  return out;
}

function productFault(
  got: Float32Array,
  wanted: Float32Array,
): string | undefined {
  let difference = 0;
  let norm = 0;
  for (const [i, x] of wanted.entries()) {
    difference += (got[i] - x) ** 2;
    norm += x * x;
  }
  const error = Math.sqrt(difference / norm);
  return error <= TOLERANCE
    ? undefined
    : `its matrix products are off by ${error.toPrecision(2)} of their size`;
}

function codeFault(
  got: readonly Uint8Array[],
  wanted: readonly Uint8Array[],
): string | undefined {
  const same = wanted.every((bytes, i) =>
    bytes.every((byte, at) => byte === got[i][at])
  );
  return same ? undefined : "it quantises to other codes";
}
