/**
 * `loqa export`.
 *
 * @module
 */

import { exportModel, type ExportResult, TARGETS } from "../../export/run.ts";
import { AFFINE_BLOCKS } from "../../io/ggml/affine_blocks.ts";
import { WEIGHT_DTYPES } from "../../tensor/dtype.ts";
import { VERSION } from "../../version.ts";
import { PLAIN } from "../common.ts";
import { choice, path } from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { interruptible } from "../interrupt.ts";
import { PLACE, readPlace } from "../place.ts";
import { Progress } from "../text/progress.ts";
import { bytes } from "../text/tables.ts";
import { print, printFitted } from "../output.ts";

/** ggml's names of blocks. */
const BLOCKS = AFFINE_BLOCKS.map((name) => name.toLowerCase());

/** `loqa export`. */
export const verb: Verb = defineVerb({
  name: "export",
  takes: "DIR",
  about: `
DIR is a folder that loqa wrote, with its adapter merged, or a model. Codes of int5 … int2 are exported bit for bit;
the rounding error of their scales and biases is printed. PATH must be new; it appears whole or not at all.

${
    Object.entries(TARGETS).map(([name, { summary }]) =>
      `  ${name.padEnd(6)} ${summary}`
    ).join("\n")
  }
`,
  examples: [
    "loqa export smol-merged --to gguf -o smol.gguf",
    "loqa export smol-merged --to onnx -o smol-onnx",
  ],
  options: {
    to: choice(Object.keys(TARGETS), { needed: true, help: "target" }),
    out: path({
      short: "o",
      value: "PATH",
      needed: true,
      help: "output file or folder",
    }),
    dtype: choice(WEIGHT_DTYPES, {
      otherwise: "the target's own",
      help: "type of plain tensors, and of scales where the target allows",
    }),
    blocks: choice(BLOCKS, {
      otherwise: "the narrowest that holds a weight",
      when: { to: ["gguf"] },
      help: "GGUF type of quantised weights",
    }),
    ...PLACE,
    ...PLAIN,
  },
  async run({ positionals: [path], values }) {
    const { to, out, dtype, blocks } = values;
    const began = performance.now();
    using progress = new Progress({ quiet: values.quiet });
    return await interruptible(async (signal, started) => {
      const { adapters, ...chosen } = await readPlace(values);
      started();
      const result = await exportModel(path, {
        ...chosen,
        adapter: Object.values(adapters ?? {})[0],
        onNote: (line) => progress.warn(`loqa: ${line}`),
        to,
        out,
        dtype,
        blocks: AFFINE_BLOCKS.find((name) => name.toLowerCase() === blocks),
        signal,
        onProgress: (done, text) => progress.update(done, text),
      });
      progress[Symbol.dispose]();
      if (!values.json) {
        printFitted(exportText(result, out));
        return;
      }
      print(JSON.stringify(
        {
          verb: "export",
          version: VERSION,
          to,
          out,
          ...result,
          seconds: (performance.now() - began) / 1000,
        },
        null,
        2,
      ));
    }, { resumes: false });
  },
});

function exportText(result: ExportResult, out: string): string {
  const { exact, rounding, layers, notes } = result;
  const quantised = layers.length === 0
    ? "no quantised layers"
    : exact
    ? `${layers.length} quantised layers, exact to the bit`
    : `${layers.length} quantised layers, ${rounding.layers} of them rounded: by ${
      percent(rounding.mean)
    } of a step in the mean, ${percent(rounding.max)} at most`;
  return [quantised, ...notes, `written: ${out} (${bytes(result.bytes)})`]
    .join("\n");
}

function percent(share: number): string {
  return `${(100 * share).toPrecision(2)} %`;
}
