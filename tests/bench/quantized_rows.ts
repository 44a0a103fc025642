/**
 * Rows of the benchmark for products with a quantised matrix: one operation beside the same in two, and in 8 bits beside
 * their limit.
 *
 * @module
 */

import {
  prepareGemmInt8,
  prepareGemmQuantized,
  preparePeak,
  type Workload,
} from "../../src/bench/measure.ts";
import type { Device } from "../../src/device/device.ts";
import { type Row, takeRow } from "./table.ts";

const FILL = 0.2;

/** Measures products of the size of a SmolLM2 layer on any device. */
export async function quantizedProductRows(
  device: Device,
  { quick, onRow }: {
    /** Fewer rows and rounds. */
    readonly quick: boolean;
    /** Takes each row as it is done. */
    readonly onRow: (row: Row) => void;
  },
): Promise<void> {
  const where = device.name === "webgpu"
    ? "webgpu"
    : `${device.threads} thread${device.threads === 1 ? "" : "s"}`;
  for (const m of quick ? [128] : [1, 8, 128]) {
    const shape = { m, n: 576, k: 1536, name: "nf4" } as const;
    using fused = prepareGemmQuantized(device, { ...shape, how: "fused" });
    using steps = prepareGemmQuantized(device, {
      ...shape,
      how: "dequantize, gemm",
    });
    const rate = async (w: Workload) => w.flops / await w.run(FILL) / 1e9;
    onRow(
      await takeRow({
        figure: `nf4 gemmQuantized ${m} x 576 x 1536, ${where}`,
        unit: "GFLOP/s",
        ours: () => rate(fused),
        peer: { name: "ours, dequantize, gemm", take: () => rate(steps) },
        rounds: quick ? 3 : 5,
      }),
    );
  }
}

/** Measures products in 8 bits beside their limit, a loop of dot products of bytes. */
export async function int8Rows(
  device: Device,
  { quick, onRow }: {
    /** Fewer rows and rounds. */
    readonly quick: boolean;
    /** Takes each row as it is done. */
    readonly onRow: (row: Row) => void;
  },
): Promise<void> {
  const { threads } = device;
  const where = `${threads} thread${threads === 1 ? "" : "s"}`;
  const rounds = quick ? 3 : 9;
  const rate = async (w: Workload) => w.flops / await w.run(FILL) / 1e9;
  using loop = await preparePeak(threads, "int8");
  const peak = await takeRow({
    figure: `int8 dot peak, 128-bit, ${where}`,
    unit: "GOP/s",
    ours: () => rate(loop),
    rounds,
  });
  onRow(peak);
  const limit = { is: "int8 dot peak", value: Math.max(...peak.runs) };
  for (const backward of [false, true]) {
    for (const block of quick ? [32] : [32, 64, 128]) {
      const shape = { m: 512, n: 1536, k: 576 };
      using work = prepareGemmInt8(device, { ...shape, block, backward });
      onRow(
        await takeRow({
          figure: `int4 b${block} gemmInt8 512 x 1536 x 576${
            backward ? ", gradient" : ""
          }, ${where}`,
          unit: "GOP/s",
          ours: () => rate(work),
          limit,
          rounds,
        }),
      );
    }
  }
}
