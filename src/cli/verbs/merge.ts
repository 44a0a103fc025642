/**
 * `loqa merge`.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { readTextFile } from "../../io/files/deno.ts";
import {
  type ForwardDifference,
  merge,
  type MergeReport,
} from "../../merge/run.ts";
import { WEIGHT_DTYPES } from "../../tensor/dtype.ts";
import type { Args } from "../args.ts";
import { COMMON } from "../common.ts";
import { choice, list, path, UsageError } from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { openChosen, readDeviceOptions } from "../device.ts";
import { interruptible } from "../interrupt.ts";
import { notesTo, PLACE, readPlace } from "../place.ts";
import { Progress } from "../text/progress.ts";
import { print, printFitted } from "../output.ts";

const OPTIONS = {
  out: path({
    short: "o",
    value: "OUT",
    needed: true,
    help: "output folder",
  }),
  checkpoint: PLACE.checkpoint,
  adapter: list({
    value: "DIR",
    otherwise: "the model's own",
    help: "adapter to merge in place of the model's own",
  }),
  model: PLACE.model,
  dtype: choice(WEIGHT_DTYPES, {
    otherwise: "bf16",
    help: "type that merged weights (not QA-LoRA's) are rounded to",
  }),
  text: path({
    value: "FILE",
    otherwise: "text that the model generates, or random tokens",
    help: "text to compare the logits on, before and after the merge",
  }),
  ...COMMON,
};

/** `loqa merge`. */
export const verb: Verb = defineVerb({
  name: "merge",
  takes: "DIR",
  about: `
DIR is a folder that loqa wrote, a run or a checkpoint in it (DIR/runs/2), an adapter, or a model (with --adapter).
One adapter is merged at a time; the result can be merged again.
The difference of the logits before and after is printed: over --text, over text that the model generates, or over random
tokens where it generates none.
QA-LoRA on a base in affine groups: the adapter goes into the groups' biases. Codes and scales stay as they are, the merge is
exact, and OUT is a folder as loqa init writes it, with a backbone and no adapter.
Any other adapter: quantised weights are decoded, and OUT is a dense model in the Hugging Face layout. The rounding error
is printed. OUT must be new or empty; it appears when it is whole and was compared, or not at all.
`,
  examples: [
    "loqa merge smol-int4 -o smol-merged",
    "loqa merge smol-nf4 -o smol-dense",
    "loqa merge SmolLM2-135M.gguf --adapter ./lora --dtype f32 -o smol-merged",
  ],
  options: OPTIONS,
  run,
});

function forwardLine(forward: ForwardDifference): string {
  const tokens = {
    text: "tokens of the text",
    generated: "tokens of its own text",
    random: "random tokens",
  }[forward.of];
  return `over ${forward.tokens} ${tokens} the logits differ by at most ${
    forward.maxDifference.toPrecision(3)
  } (${(forward.relative * 100).toPrecision(2)} % of their spread); ${
    Math.round(forward.agreement * 100)
  } % of the most probable tokens agree`;
}

async function run(
  { positionals: [path], values }: Args<typeof OPTIONS>,
): Promise<number> {
  const { out, dtype, text: file } = values;
  using progress = new Progress({ quiet: values.quiet });
  return await interruptible(async (signal, started) => {
    const { adapters, ...chosen } = await readPlace(values);
    const named = Object.values(adapters ?? {});
    if (named.length > 1) {
      throw new UsageError(
        `merge takes one --adapter, got ${named.length}; merge the result again`,
      );
    }
    const text = file === undefined ? undefined : await readTextFile(file);
    if (text?.trim() === "") {
      throw new ValueError(`Cannot compare by ${file}: it has no text`);
    }
    using device = await openChosen(readDeviceOptions(values, progress));
    started();
    const report = await merge(path, {
      ...{ ...chosen, device, out, dtype, text, signal },
      adapter: named[0],
      onProgress: (done, text) => progress.update(done, text),
      ...notesTo(progress),
    });
    progress[Symbol.dispose]();
    if (values.json) print(JSON.stringify(report, null, 2));
    else printFitted(mergeText(report));
  }, { resumes: false });
}

function mergeText(report: MergeReport): string {
  const { exact, layers, forward, notCompared, out } = report;
  return [
    exact
      ? `exact: ${layers.length} layers merged into the biases of their groups, codes and scales are as they were`
      : `${layers.length} layers merged and rounded to ${report.dtype}: at most ${
        (Math.max(...layers.map((l) => l.error)) * 100).toPrecision(2)
      } % of a layer's weights lost`,
    forward ? forwardLine(forward) : `not compared: ${notCompared}`,
    `written: ${out}`,
  ].join("\n");
}
