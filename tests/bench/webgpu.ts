/**
 * The WebGPU device's part of the benchmark, beside jax-js on the same adapter.
 *
 * @module
 */

import {
  prepareGemm,
  type ProductShape,
  type Workload,
} from "../../src/bench/measure.ts";
import { openDevice } from "../../src/backend/open.ts";
import { Random } from "../../src/tensor/random.ts";
import { quantizedProductRows } from "./quantized_rows.ts";
import { type Row, takeRow } from "./table.ts";

/** Settings of the measurement. */
export interface WebGpuSettings {
  /** A fast subset with fewer rounds. */
  readonly quick: boolean;
  /** Measures jax-js too, which comes from npm. */
  readonly peers: boolean;
  /** Takes each row as it is done. */
  readonly onRow: (row: Row) => void;
}

const FILL = 0.2;

/** Measures products on WebGPU; gives the adapter, or why there are no rows. */
export async function measureWebGpu(
  { quick, peers, onRow }: WebGpuSettings,
): Promise<string> {
  let device;
  try {
    device = await openDevice("webgpu");
  } catch (error) {
    return `left out: ${error instanceof Error ? error.message : error}`;
  }
  using open = device;
  using jax = peers ? await JaxJs.open() : undefined;
  const square = quick ? [512] : [512, 1024, 2048];
  const shapes: ProductShape[] = square.map((n) => ({ m: n, n, k: n }));
  if (!quick) {
    shapes.push({ m: 1536, n: 24, k: 576 }, { m: 4096, n: 72, k: 4096 });
  }
  for (const shape of shapes) {
    const { m, n, k } = shape;
    using work = prepareGemm(open, shape);
    using theirs = jax?.prepareGemm(shape);
    const rate = async (w: Workload) => w.flops / await w.run(FILL) / 1e9;
    onRow(
      await takeRow({
        figure: `gemm ${m} x ${n} x ${k}, webgpu`,
        unit: "GFLOP/s",
        ours: () => rate(work),
        ...(theirs && {
          peer: { name: "jax-js, webgpu", take: () => rate(theirs) },
        }),
        rounds: quick || work.flops > 1e10 ? 3 : 5,
      }),
    );
  }
  await quantizedProductRows(open, { quick, onRow });
  return device.description;
}

type Library = typeof import("npm:@jax-js/jax@0.1.25");

/** jax-js on WebGPU. */
class JaxJs implements Disposable {
  readonly #jax: Library;

  private constructor(jax: Library) {
    this.#jax = jax;
  }

  static async open(): Promise<JaxJs | undefined> {
    const jax = await import("npm:@jax-js/jax@0.1.25");
    const devices = await jax.init();
    if (!devices.includes("webgpu")) return undefined;
    jax.defaultDevice("webgpu");
    return new JaxJs(jax);
  }

  /** As `prepareGemm`, of as many products between two waits. */
  prepareGemm({ m, n, k }: ProductShape): Workload {
    const { numpy, blockUntilReady } = this.#jax;
    const random = new Random(0);
    const matrix = (rows: number, cols: number) =>
      numpy.array(new Float32Array(random.normals(rows * cols)))
        .reshape([rows, cols]);
    const a = matrix(m, k);
    const b = matrix(k, n);
    return {
      flops: 2 * m * n * k,
      bytes: 0,
      async run(least = 0) {
        await blockUntilReady([a.ref, b.ref]);
        const began = performance.now();
        let runs = 0;
        let queued = 1;
        for (;;) {
          const products = Array.from(
            { length: queued },
            () => numpy.matmul(a.ref, b.ref),
          );
          await blockUntilReady(products);
          for (const product of products) product.dispose();
          runs += queued;
          const spent = (performance.now() - began) / 1000;
          if (spent >= least) return spent / runs;
          queued = Math.min(64, runs);
        }
      },
      [Symbol.dispose]() {
        a.dispose();
        b.dispose();
      },
    };
  }

  [Symbol.dispose](): void {
    this.#jax.getWebGPUDevice().destroy();
  }
}
