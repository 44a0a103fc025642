/**
 * `loqa bench`.
 *
 * @module
 */

import {
  copySecondsPerByte,
  prepareDequantize,
  prepareGemm,
  preparePeak,
  prepareQuantize,
  type Workload,
} from "../../bench/measure.ts";
import { COMMON } from "../common.ts";
import type { Values } from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { openChosen, readDeviceOptions } from "../device.ts";
import { columnsWithin } from "../text/tables.ts";
import { print, printFitted } from "../output.ts";
import { terminalWidth } from "../text/wrap.ts";

const ROUNDS = 5;
/** Seconds of one round, long enough for the engine's compiler to have settled after the first. */
const FILL = 0.15;

async function median(work: Workload): Promise<number> {
  await work.run(FILL);
  const runs: number[] = [];
  for (let i = 0; i < ROUNDS; i++) runs.push(await work.run(FILL));
  return runs.sort((a, b) => a - b)[ROUNDS >> 1];
}

interface Figure {
  readonly figure: string;
  readonly value: number;
  readonly unit: "GFLOP/s" | "GB/s";
  readonly limit?: number;
}

/** `loqa bench`. */
export const verb: Verb = defineVerb({
  name: "bench",
  about: `
It takes some seconds. The limit of products is a loop of fused multiply-adds, that of the rest a copy in memory, both measured
in the same run; the medians of five runs are shown. With peers, in the project's own folder: deno task bench.
`,
  examples: ["loqa bench"],
  options: COMMON,
  run: ({ values }) => bench(values),
});

async function bench(
  { json, quiet, ...devices }: Values<typeof COMMON>,
): Promise<number> {
  const line = (text: string) => console.error(text);
  using device = await openChosen(
    readDeviceOptions(devices, { note: line, warn: line }),
  );
  const figures: Figure[] = [];
  const take = async (
    figure: string,
    prepared: Workload,
    limit?: number,
  ): Promise<number> => {
    using work = prepared;
    const seconds = await median(work);
    const unit = work.flops > 0 ? "GFLOP/s" : "GB/s";
    const value = (work.flops || work.bytes) / seconds / 1e9;
    figures.push({ figure, value, unit, limit });
    if (!quiet) console.error(figure);
    return value;
  };
  const copy = device.threads / copySecondsPerByte() / 1e9;
  const peak = device.name === "wasm"
    ? await take("fused multiply-adds", await preparePeak(device.threads))
    : undefined;
  // The plain device is an oracle: sizes that it takes seconds for tell no more than small ones.
  const n = device.name === "reference" ? 128 : 1024;
  await take(
    `matrix product ${n}`,
    prepareGemm(device, { m: n, n, k: n }),
    peak,
  );
  for (const name of ["nf4", "nf2", "int4", "int2"] as const) {
    const shape = { rows: n, cols: n, name };
    await take(`quantise ${name}`, prepareQuantize(device, shape), copy);
    await take(`dequantise ${name}`, prepareDequantize(device, shape), copy);
  }
  if (json) {
    print(JSON.stringify(
      {
        verb: "bench",
        device: device.description,
        threads: device.threads,
        figures,
      },
      null,
      2,
    ));
    return 0;
  }
  printFitted(`${device.description}

${
    columnsWithin(
      [
        ["", "value", "", "of the limit"],
        ...figures.map(({ figure, value, unit, limit }) => [
          figure,
          value.toFixed(value < 10 ? 2 : 1),
          unit,
          limit ? `${Math.round((100 * value) / limit)} %` : "",
        ]),
      ],
      [1, 3],
      terminalWidth(Deno.stdout),
    )
  }`);
  return 0;
}
