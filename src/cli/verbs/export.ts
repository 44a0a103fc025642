/**
 * `loqa export`.
 *
 * @module
 */

import { exportModel, type ExportResult, TARGETS } from "../../export/run.ts";
import { AFFINE_BLOCKS } from "../../io/gguf/affine_blocks.ts";
import { VERSION } from "../../version.ts";
import {
  COMMON,
  optionHelp,
  type Options,
  parse,
  UsageError,
} from "../args.ts";
import { interruptible } from "../interrupt.ts";
import { PLACE, readPlace } from "../place.ts";
import { Progress } from "../text/progress.ts";
import { bytes } from "../text/tables.ts";
import { print, printFitted } from "../output.ts";

/** ggml's names of blocks. */
const BLOCKS = AFFINE_BLOCKS.map((name) => name.toLowerCase());

const OPTIONS: Options = {
  to: {
    value: "NAME",
    help: `target: ${Object.keys(TARGETS).join(", ")}; needed`,
  },
  out: { short: "o", value: "PATH", help: "output file or folder; needed" },
  dtype: {
    value: "NAME",
    default: "the target's own",
    help:
      "type of plain tensors, and of scales where the target allows: f16, bf16 or f32",
  },
  blocks: {
    value: "NAME",
    default: "the narrowest that holds a weight",
    help: `GGUF type of quantised weights: ${BLOCKS.join(" or ")}`,
  },
  ...PLACE,
  json: COMMON.json,
  quiet: COMMON.quiet,
  help: COMMON.help,
};

/** The page of `loqa export --help`. */
export const help =
  `loqa export DIR --to NAME -o PATH: export a model to the format of another runtime

DIR is a folder that loqa wrote, with its adapter merged, or a model. Codes of int5 … int2 are exported bit for bit;
the rounding error of their scales and biases is printed. PATH must be new; it appears whole or not at all.

${
    Object.entries(TARGETS).map(([name, { summary }]) =>
      `  ${name.padEnd(6)} ${summary}`
    ).join("\n")
  }

  loqa export smol-merged --to gguf -o smol.gguf
  loqa export smol-merged --to onnx -o smol-onnx

Options:
${optionHelp(OPTIONS)}
`;

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<number> {
  const args = parse(argv, OPTIONS);
  const path = args.one("export", "DIR");
  const to = args.choice("to", Object.keys(TARGETS));
  if (!to) {
    throw new UsageError(
      `export needs --to, one of ${Object.keys(TARGETS).join(", ")}`,
    );
  }
  const out = args.text("out");
  if (!out) throw new UsageError("export needs -o PATH");
  const dtype = args.choice("dtype", ["f16", "bf16", "f32"]);
  const blocks = args.choice("blocks", BLOCKS);
  if (blocks && to !== "gguf") {
    throw new UsageError(`--blocks is for --to gguf, got --to ${to}`);
  }
  const began = performance.now();
  using progress = new Progress({ quiet: args.on("quiet") });
  return await interruptible(async (signal, started) => {
    const { adapters, ...chosen } = await readPlace(args);
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
    if (!args.on("json")) {
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
}

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
