/**
 * Rows of the benchmark: our figures, their limits and their peers.
 *
 * @module
 */

import {
  copySecondsPerByte,
  countFlops,
  prepareDequantize,
  prepareGemm,
  preparePeak,
  prepareQuantize,
  prepareSvd,
  type ProductShape,
  type Shape,
  type Workload,
} from "../../src/bench/measure.ts";
import type { Device } from "../../src/device/device.ts";
import { mat } from "../../src/device/buffer.ts";
import { openDevice } from "../../src/backend/open.ts";
import { findTargets } from "../../src/init/targets.ts";
import { openCheckpoint } from "../../src/io/open.ts";
import { randomizedTruncator } from "../../src/linalg/truncated_svd.ts";
import { loftq } from "../../src/api/loftq.ts";
import { type Matrix, matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";
import { wholeModelRows } from "./model_rows.ts";
import { networkRows } from "./network_rows.ts";
import type { Peer } from "./peer.ts";
import { int8Rows, quantizedProductRows } from "./quantized_rows.ts";
import { median, type Row, takeRow } from "./table.ts";

/** Settings of a run of the benchmark. */
export interface Settings {
  /** A fast subset with fewer rounds. */
  readonly quick: boolean;
  /** Path of the SmolLM2 GGUF file, where it is here. */
  readonly smollm?: string;
  /** The peers, where their environment is here. */
  readonly peer?: Peer;
  /** Most threads to measure with. */
  readonly threads: number;
  /** Takes each row as it is done. */
  readonly onRow: (row: Row) => void;
}

const NAME = "wasm";
const FILL = 0.2;

/** Measures everything, in rows that reach `onRow` one by one. */
export async function measureAll(settings: Settings): Promise<void> {
  const counts = settings.threads > 1 ? [1, settings.threads] : [1];
  const peaks = new Map<number, number>();
  for (const threads of counts) {
    peaks.set(threads, await peakRow(settings, threads));
  }
  const copy = 1 / copySecondsPerByte() / 1e9;
  for (const threads of counts) {
    using device = await openDevice(NAME, { threads });
    await productRows(settings, device, peaks.get(threads)!);
    await quantRows(settings, device, copy * threads);
    await quantizedProductRows(device, settings);
    await int8Rows(device, settings);
    await svdRows(settings, device);
    await networkRows(settings, device, {
      peak: peaks.get(threads)!,
      copy: copy * threads,
    });
  }
  if (settings.smollm) {
    using device = await openDevice(NAME, { threads: settings.threads });
    await modelRows(settings, device, peaks.get(settings.threads)!);
    await wholeModelRows(settings);
  }
}

function plural(threads: number): string {
  return threads === 1 ? "1 thread" : `${threads} threads`;
}

async function peakRow(settings: Settings, threads: number): Promise<number> {
  using work = await preparePeak(threads);
  const row = await takeRow({
    figure: `FMA peak, 128-bit, ${plural(threads)}`,
    unit: "GFLOP/s",
    ours: async () => work.flops / await work.run(FILL) / 1e9,
    rounds: 9,
  });
  settings.onRow(row);
  return Math.max(...row.runs);
}

async function productRows(
  { quick, peer, onRow }: Settings,
  device: Device,
  peak: number,
): Promise<void> {
  const { threads } = device;
  const square = quick ? [512] : [512, 1024, 2048];
  const shapes: ProductShape[] = square.map((n) => ({ m: n, n, k: n }));
  // The products of a randomised SVD of a 1536 x 576 layer at rank 16, and of a larger one at rank 64.
  const skinny: ProductShape[] = [
    { m: 1536, n: 24, k: 576 },
    { m: 576, n: 24, k: 1536 },
    { m: 4096, n: 72, k: 4096 },
  ];
  shapes.push(...(quick ? skinny.slice(0, 1) : skinny));
  for (const shape of shapes) {
    const { m, n, k } = shape;
    using work = prepareGemm(device, shape);
    const rate = (seconds: number) => work.flops / seconds / 1e9;
    onRow(
      await takeRow({
        figure: `gemm ${m} x ${n} x ${k}, ${plural(threads)}`,
        unit: "GFLOP/s",
        ours: async () => rate(await work.run(FILL)),
        ...(peer && {
          peer: {
            name: "torch",
            take: async () =>
              rate(
                await peer.seconds({ op: "matmul", m, n, k, threads }),
              ),
          },
        }),
        limit: { is: "FMA peak", value: peak },
        rounds: quick ? 3 : 5,
      }),
    );
  }
}

async function quantRows(
  { quick, peer, onRow }: Settings,
  device: Device,
  copy: number,
): Promise<void> {
  const { threads } = device;
  const shape: Shape = { rows: 2048, cols: 2048 };
  const values = 4 * shape.rows * shape.cols;
  const works = {
    quantize: prepareQuantize(device, { ...shape, name: "nf4" }),
    dequantize: prepareDequantize(device, { ...shape, name: "nf4" }),
  };
  for (const op of ["quantize", "dequantize"] as const) {
    using work: Workload = works[op];
    // The rate counts the f32 side; the limit, the copying of all that is read and written.
    const rate = (seconds: number) => values / seconds / 1e9;
    onRow(
      await takeRow({
        figure: `nf4 ${op}, packed, f32 side, ${plural(threads)}`,
        unit: "GB/s",
        ours: async () => rate(await work.run(FILL)),
        ...(peer && {
          peer: {
            name: "bitsandbytes",
            take: async () =>
              rate(await peer.seconds({ op, ...shape, threads })),
          },
        }),
        limit: { is: "copy", value: copy * values / work.bytes },
        rounds: quick ? 3 : 5,
      }),
    );
  }
}

function prepareTruncated(
  device: Device,
  { rows, cols, rank }: Shape & { readonly rank: number },
): { seconds(): Promise<number> } & Disposable {
  const memory = new DisposableStack();
  const alloc = (r: number, c: number) =>
    mat(memory.use(device.alloc(4 * r * c)), r, c);
  const e = alloc(rows, cols);
  device.write(e.buffer, new Random(0).normals(rows * cols));
  const target = { b: alloc(rows, rank), a: alloc(rank, cols) };
  return {
    async seconds() {
      const began = performance.now();
      using truncator = randomizedTruncator(device, { rows, cols, rank });
      await truncator.factor(e, target);
      await device.read(target.a.buffer, 0, 4);
      return (performance.now() - began) / 1000;
    },
    [Symbol.dispose]: () => memory.dispose(),
  };
}

async function svdRows(
  { quick, peer, onRow }: Settings,
  device: Device,
): Promise<void> {
  const { threads } = device;
  const rounds = quick ? 2 : 3;
  const sizes = quick ? [256] : [576, 1024];
  for (const n of sizes) {
    const shape = { rows: n, cols: n };
    using work = prepareSvd(device, shape);
    onRow(
      await takeRow({
        figure: `svd exact ${n} x ${n}, ${plural(threads)}`,
        unit: "s",
        ours: () => work.run(),
        ...(peer && {
          peer: {
            name: "torch.linalg.svd",
            take: () => peer.seconds({ op: "svd", ...shape, threads }),
          },
        }),
        rounds,
      }),
    );
  }
  const shape = { rows: 1536, cols: 576, rank: 16 };
  using work = prepareTruncated(device, shape);
  onRow(
    await takeRow({
      figure: `svd randomised 1536 x 576, r 16, ${plural(threads)}`,
      unit: "s",
      ours: () => work.seconds(),
      ...(peer && {
        peer: {
          name: "torch.svd_lowrank q 26, niter 2",
          take: () =>
            peer.seconds({ op: "svd_lowrank", ...shape, niter: 2, threads }),
        },
      }),
      warmUps: 3,
      rounds: 5,
    }),
  );
}

const LOFTQ = { rank: 16, iterations: 5 };

async function readLayers(path: string): Promise<Map<string, Matrix>> {
  await using checkpoint = await openCheckpoint(path);
  const layers = new Map<string, Matrix>();
  for (const { module, tensor } of findTargets(checkpoint)) {
    const [rows, cols] = tensor.shape;
    const data = await checkpoint.readF32(tensor.name);
    layers.set(module, matrix(rows, cols, data));
  }
  return layers;
}

async function initAll(
  device: Device,
  layers: ReadonlyMap<string, Matrix>,
): Promise<{ seconds: number; meanSquareError: number }> {
  const began = performance.now();
  let square = 0;
  for (const [name, weight] of layers) {
    const { error } = await loftq(weight, {
      format: "nf4",
      ...LOFTQ,
      earlyStop: false,
      name,
      device,
    });
    square += error ** 2;
  }
  return {
    seconds: (performance.now() - began) / 1000,
    meanSquareError: square / layers.size,
  };
}

async function modelRows(
  { quick, smollm, peer, onRow }: Settings,
  device: Device,
  peak: number,
): Promise<void> {
  const path = smollm!;
  let layers = await readLayers(path);
  if (quick) layers = new Map([...layers].slice(0, 14));
  if (peer) await peer.ask({ op: "load", path, most: layers.size });
  const counting = countFlops(device);
  await initAll(counting, layers);
  const limit = { is: "its flops at peak", value: counting.flops / peak / 1e9 };
  const errors: number[] = [];
  const theirErrors: number[] = [];
  const percent = (list: readonly number[]) =>
    (100 * Math.sqrt(median(list))).toFixed(3);
  const what = quick ? "SmolLM2, 14 of 210 layers" : "SmolLM2, 210 layers";
  const plan = (how: "lowrank" | "full", rounds: number) =>
    takeRow({
      figure: `LoftQ of ${what}, nf4 r 16 T 5, ${plural(device.threads)}`,
      unit: "s",
      ours: async () => {
        const { seconds, meanSquareError } = await initAll(device, layers);
        errors.push(meanSquareError);
        return seconds;
      },
      ...(peer && {
        peer: {
          name: how === "full"
            ? "torch, full SVD as in PEFT"
            : "torch, svd_lowrank q 26 niter 2",
          take: async () => {
            const request = { op: "loftq", path, ...LOFTQ, how };
            const { threads } = device;
            const answer = await peer.ask({ ...request, threads });
            theirErrors.push(Number(answer.meanSquareError));
            return Number(answer.seconds);
          },
        },
      }),
      limit,
      warmUps: 0,
      rounds,
      note: () => {
        const theirs = theirErrors.length > 0
          ? `, theirs ${percent(theirErrors)} %`
          : "";
        theirErrors.length = 0;
        return `error ${percent(errors)} %${theirs}`;
      },
    });
  onRow(await plan("lowrank", 2));
  if (peer) onRow(await plan("full", 1));
}
