/**
 * `loqa merge`.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { Device } from "../../device/device.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { checkSideFiles } from "../../io/safetensors/copy.ts";
import {
  joinPath,
  readTextFile,
  writeFileAtomic,
} from "../../io/files/deno.ts";
import { openOutput } from "../../io/output/output.ts";
import { compareModels, type ForwardDifference } from "../../merge/compare.ts";
import { mergeDense } from "../../merge/dense.ts";
import { mergeExact, mergesExactly } from "../../merge/exact.ts";
import { familyOf, whyNotRun } from "../../models/families.ts";
import { findModel, type ModelPlace } from "../../models/load/locate.ts";
import { checkTensors } from "../../models/parts/tensor_check.ts";
import { openTuned } from "../../models/load/with_adapters.ts";
import type { AdapterModuleFactors } from "../../nn/adapter.ts";
import { WEIGHT_DTYPES } from "../../tensor/dtype.ts";
import { VERSION } from "../../version.ts";
import type { Args } from "../args.ts";
import { COMMON } from "../common.ts";
import { choice, list, path, UsageError } from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { openChosen, readDeviceOptions } from "../device.ts";
import { interruptible } from "../interrupt.ts";
import { PLACE, readPlace, tellNotes } from "../place.ts";
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
    default: "bf16",
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

/** Inputs of a merge. */
interface Job {
  readonly place: ModelPlace;
  readonly checkpoint: Checkpoint;
  readonly factors: readonly AdapterModuleFactors[];
  readonly device: Device;
  /** Folder to build the result in. */
  readonly partial: string;
  readonly out: string;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, text: string) => void;
}

/** A merge that is on the disk. */
interface Done {
  /** Entries of the `--json` document. */
  readonly told: Readonly<Record<string, unknown>>;
  /** The line printed for a person. */
  readonly line: string;
}

async function mergeGroups(job: Job): Promise<Done> {
  const { place, checkpoint, out, partial } = job;
  const { layers, base } = await mergeExact(checkpoint, {
    ...job,
    out: joinPath(partial, "backbone"),
  });
  const report = place.report ?? { model: place.model };
  await writeFileAtomic(
    joinPath(partial, "loqa.json"),
    `${
      JSON.stringify(
        { ...report, out, base, merged: { version: VERSION, of: place.model } },
        null,
        2,
      )
    }\n`,
  );
  return {
    told: { exact: true, base, layers },
    line:
      `exact: ${layers.length} layers merged into the biases of their groups, codes and scales are as they were`,
  };
}

async function mergeWeights(
  job: Job,
  dtype: "bf16" | "f16" | "f32",
): Promise<Done> {
  const { checkpoint, partial } = job;
  const layers = await mergeDense(checkpoint, { ...job, out: partial, dtype });
  const error = Math.max(...layers.map((l) => l.error));
  return {
    told: { dtype, exact: false, layers },
    line: `${layers.length} layers merged and rounded to ${dtype}: at most ${
      (error * 100).toPrecision(2)
    } % of a layer's weights lost`,
  };
}

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
  { positionals: [path], values, given }: Args<typeof OPTIONS>,
): Promise<number> {
  const out = values.out.replace(/[\\/]+$/, "");
  const { dtype } = values;
  const began = performance.now();
  using progress = new Progress({ quiet: values.quiet });
  return await interruptible(async (signal, started) => {
    const chosen = await readPlace(values);
    const named = Object.values(chosen.adapters ?? {});
    if (named.length > 1) {
      throw new UsageError(
        `merge takes one --adapter, got ${named.length}; merge the result again`,
      );
    }
    const place = await findModel(path, chosen);
    tellNotes(place, progress);
    const adapter = named[0] ?? place.adapter;
    if (!adapter) {
      throw new UsageError(`${path} has no adapter; name one by --adapter`);
    }
    started();
    await using output = await openOutput(out, {
      verb: "merge",
      kind: "folder",
    });
    const textFile = values.text;
    // Before anything is written: it may not be there.
    const text = textFile === undefined
      ? undefined
      : await readTextFile(textFile);
    if (text?.trim() === "") {
      throw new ValueError(`Cannot compare by ${textFile}: it has no text`);
    }
    await using tuned = await openTuned(place, { default: adapter });
    const { checkpoint } = tuned;
    checkSideFiles(checkpoint);
    const whyNot = whyNotRun(checkpoint);
    if (text !== undefined && whyNot) {
      throw new UsageError(`--text is for models that loqa runs: ${whyNot}`);
    }
    if (!whyNot) {
      const wanted = familyOf(checkpoint).tensors(checkpoint);
      checkTensors(checkpoint, wanted, /^/);
    }
    const factors = tuned.adapters.get("default")!;
    const exact = await mergesExactly(checkpoint, factors);
    if (exact && given("dtype")) {
      throw new UsageError(
        `--dtype rounds, and ${path} is merged exactly; leave it out`,
      );
    }
    using device = await openChosen(readDeviceOptions(values, progress));
    await output.begin();
    const partial = output.result;
    const job: Job = {
      place,
      checkpoint,
      factors,
      device,
      partial,
      out,
      signal,
      onProgress: (done, text) => progress.update(done, text),
    };
    const { told, line } = exact
      ? await mergeGroups(job)
      : await mergeWeights(job, dtype);
    // What cannot be run again is no result, and leaves none.
    const forward = whyNot ? undefined : await compareModels(device, {
      ...{ before: path, after: partial, adapter, text },
      ...{ model: chosen.model, checkpoint: chosen.checkpoint },
    });
    signal.throwIfAborted();
    await output.settle();
    const report = {
      verb: "merge",
      version: VERSION,
      out,
      maxDifference: forward?.maxDifference,
      forward,
      ...told,
      seconds: (performance.now() - began) / 1000,
    };
    progress[Symbol.dispose]();
    if (values.json) print(JSON.stringify(report, null, 2));
    else {
      printFitted([
        line,
        forward ? forwardLine(forward) : `not compared: ${whyNot}`,
        `written: ${out}`,
      ].join("\n"));
    }
  }, { resumes: false });
}
