/**
 * `loqa init`.
 *
 * @module
 */

import { openInstead } from "../../backend/fallback.ts";
import { init } from "../../init/run.ts";
import {
  BACKBONES,
  INIT_METHODS,
  type InitOptions,
  SAFE_INTERVAL,
  SCALE_DTYPES,
  SVDS,
} from "../../init/options.ts";
import { SCALE_RULES } from "../../device/quant_mat.ts";
import { METRICS } from "../../loftq/metric.ts";
import { WEIGHT_DTYPES } from "../../tensor/dtype.ts";
import { calibrate, calibrationInputs } from "../../calibrate/run.ts";
import { openMoments } from "../../calibrate/moments.ts";
import { openInitOutput } from "../../init/output.ts";
import { joinPath } from "../../io/files/deno.ts";
import { openCheckpoint } from "../../io/open.ts";
import { findModel } from "../../models/load/locate.ts";
import { BASE_QUANTIZERS } from "../../qalora/quantizer.ts";
import { FORMAT_NAMES } from "../../quant/formats.ts";
import type { Args } from "../args.ts";
import { COMMON } from "../common.ts";
import {
  choice,
  flag,
  integer,
  list,
  number,
  numbers,
  oneOf,
  path,
  text,
  UsageError,
} from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { openChosen, readDeviceOptions } from "../device.ts";
import { interruptible } from "../interrupt.ts";
import { tellNotes } from "../place.ts";
import { Progress } from "../text/progress.ts";
import { initTable } from "../text/tables.ts";
import { print, printFitted } from "../output.ts";
import { terminalWidth } from "../text/wrap.ts";

/** Scale rules, and quantizers of QA-LoRA's bases. */
const SCALES = [...new Set([...SCALE_RULES, ...BASE_QUANTIZERS])];

const OPTIONS = {
  out: path({
    short: "o",
    value: "DIR",
    needed: true,
    help: "output folder",
  }),
  method: choice(INIT_METHODS, {
    default: "loftq",
    notes: {
      qlora: "default initialisation, A at random, B zero",
      qalora: "an adapter that merges into int5 … int2 exactly",
    },
    help: "LoRA initialisation",
  }),
  format: choice(FORMAT_NAMES, {
    otherwise: "nf4; qalora: MODEL's own affine groups, else int4",
    help: "quantisation format",
  }),
  block: integer({
    least: 0,
    otherwise: "64 (nf), 32 (int)",
    help:
      "quantisation group size: weights that share a scale; 0: the whole matrix or row; qalora: 32, 64 or 128",
  }),
  scale: choice(SCALES, {
    value: "RULE",
    otherwise: "absmax (nf), minmax (int)",
    notes: {
      mse: "searched",
      hqq: "qalora",
      gptq: "qalora, needs --metric full",
    },
    help: "scale rule",
  }),
  biases: flag({
    help: "calibrate the groups' biases (qalora, needs --metric diag or full)",
  }),
  rank: integer({ value: "R", least: 1, default: 16, help: "LoRA rank" }),
  alpha: number({
    value: "A",
    above: 0,
    otherwise: "the rank",
    help: "LoRA alpha",
  }),
  rslora: flag({ help: "rank-stabilised LoRA: scale alpha / sqrt(rank)" }),
  iters: integer({
    value: "T",
    least: 0,
    otherwise: "5; qalora: 0",
    help: "number of LoftQ iterations; 0: default LoRA initialisation, B zero",
  }),
  svd: choice(SVDS, {
    otherwise: "randomized",
    notes: { exact: "slow: a check" },
    help: "SVD (not for qalora)",
  }),
  metric: choice(METRICS, {
    default: "identity",
    notes: {
      identity: "of the weights",
      diag: "of the layers' outputs, calibrated",
      full: "likewise, with correlations",
    },
    help: "error metric",
  }),
  calib: list({
    files: true,
    value: "FILE,…",
    help:
      "calibration text, for the inputs' second moments that --metric uses; source/target pairs for BART",
  }),
  "calib-tokens": integer({
    when: { calib: true },
    least: 1,
    default: 16384,
    help: "number of calibration tokens at the most",
  }),
  "calib-seq-len": integer({
    also: ["calib-block"],
    when: { calib: true },
    least: 1,
    otherwise: "512, or the model's context",
    help: "sequence length of the calibration, in tokens",
  }),
  moments: path({
    value: "FILE",
    help: "file of stored moments, in place of --calib; with it, written",
  }),
  mixed: text({
    value: "PLAN",
    help:
      'mixed precision by layer: "first=4:nf4,rest=nf2" or "bits=2.5"; by side: "encoder.bits=3,decoder.bits=2"',
  }),
  "rank-pattern": numbers({
    value: "NAME=R",
    help: "LoRA rank of modules by name or pattern, as in PEFT",
  }),
  "alpha-pattern": numbers({
    value: "NAME=A",
    help: "LoRA alpha of modules by name or pattern, as in PEFT",
  }),
  target: list({
    value: "NAME,…",
    otherwise: "all linear layers but heads, routers, experts, towers",
    help: "target modules, by name or pattern: quantised, with an adapter",
  }),
  base: path({
    value: "MODEL",
    help:
      "pre-quantised base, a quantised form of MODEL or a folder of init: keep its weights, fit only the adapter",
  }),
  "quant-embedding": flag({
    help:
      "quantise an encoder's token embedding too, with LoRA factors of its own (packed or dense backbone)",
  }),
  backbone: choice(BACKBONES, {
    value: "KIND",
    otherwise: "bnb for nf4, else packed",
    notes: {
      packed: "loqa alone reads it",
      bnb: "Python too",
      dense: "Python too",
    },
    help: "storage of the quantised model",
  }),
  dtype: choice(WEIGHT_DTYPES, {
    otherwise:
      "packed: as stored; else the model's own, of several bf16 if all fits, else f32",
    help: "type of tensors that are not quantised",
  }),
  "scale-dtype": choice(SCALE_DTYPES, {
    value: "TYPE",
    otherwise: "f16 in a packed backbone",
    help: "type of scales and biases",
  }),
  "double-quant": flag({
    help: "double quantisation: scales of a bnb backbone in 8 bits",
  }),
  seed: integer({ default: 0, help: "random seed" }),
  resume: flag({
    help: "resume an interrupted run; of a finished one, print its result",
  }),
  force: flag({
    help:
      "replace earlier output of loqa at DIR, training included, or an interrupted run",
  }),
  "safe-interval": number({
    value: "SECONDS",
    least: 0,
    default: SAFE_INTERVAL / 1000,
    help: "time between points that --resume can continue from",
  }),
  ...COMMON,
};

/** `loqa init`. */
export const verb: Verb = defineVerb({
  name: "init",
  takes: "MODEL",
  about: `
MODEL is a folder in the Hugging Face layout, a .safetensors or .gguf file, or hf:owner/name[@revision].
The adapter makes up for the quantisation error. Writes DIR/backbone (the quantised model), DIR/adapter (for PEFT) and
DIR/loqa.json (options and errors by layer). The last line printed says which tools load the result, and how.
An existing DIR is refused; --force names what loqa wrote there before and replaces it once the new output is whole. The
work is done in DIR.partial, which an interruption leaves: --resume continues it, --force starts anew, else it is refused.
`,
  examples: [
    "loqa init SmolLM2-135M.gguf --format nf4 --rank 16 -o smol-nf4",
    "loqa init ./llama --format int2 --scale mse --rank 64 -o llama-2bit",
    "loqa init ./llama --format nf4 --metric full --calib wiki.txt -o llama-calibrated",
    "loqa init SmolLM2-135M.Q4_1.gguf --method qalora -o smol-int4",
    "loqa init ./llama --method qalora --format int3 --scale mse --biases --metric full --calib wiki.txt -o llama-int3",
    'loqa init hf:HuggingFaceTB/SmolLM2-135M --mixed "first=8:nf4,rest=nf2" -o smol-mixed',
  ],
  options: OPTIONS,
  run,
});

function readOptions(
  { values, given }: Args<typeof OPTIONS>,
): InitOptions {
  const { method, metric, block, scale, biases, rank } = values;
  const { iters: iterations } = values;
  const qalora = method === "qalora";
  const calibrated = metric !== "identity";
  if (method === "qlora" && iterations) {
    throw new UsageError("--method qlora has no iterations, got --iters");
  }
  const moments = (["calib", "moments"] as const).find(given);
  if (calibrated && !moments) {
    throw new UsageError(`--metric ${metric} needs --calib or --moments FILE`);
  }
  if (!calibrated && moments) {
    throw new UsageError(`--${moments} needs --metric diag or full`);
  }
  for (const name of ["format", "block", "scale", "mixed"] as const) {
    if (given("base") && given(name)) {
      throw new UsageError(`--base keeps its formats, got --${name}`);
    }
  }
  if (qalora) {
    if (values.quantEmbedding) {
      throw new UsageError("--quant-embedding is not for qalora");
    }
    if (block !== undefined && ![32, 64, 128].includes(block)) {
      throw new UsageError(
        `--method qalora takes --block 32, 64 or 128, got ${block}`,
      );
    }
    if (biases && !calibrated) {
      throw new UsageError("--biases needs --metric diag or full");
    }
    if (biases && iterations) {
      throw new UsageError(
        "--biases leaves nothing for iterations to find, got --iters",
      );
    }
    if (given("svd")) {
      throw new UsageError("--svd is for loftq, got --method qalora");
    }
    if (scale === "gptq" && metric !== "full") {
      throw new UsageError("--scale gptq needs --metric full");
    }
  } else if (biases) {
    throw new UsageError("--biases needs --method qalora");
  }
  return {
    method,
    format: values.format ?? (qalora ? undefined : "nf4"),
    block,
    scale: scale &&
      oneOf<typeof scale>(
        "scale",
        scale,
        qalora ? BASE_QUANTIZERS : SCALE_RULES,
      ),
    ...(qalora && { biases }),
    rank,
    alpha: values.alpha ?? rank,
    rslora: values.rslora,
    iterations: method === "qlora" ? 0 : iterations ?? (qalora ? 0 : 5),
    svd: values.svd,
    metric: given("metric") ? metric : undefined,
    mixed: values.mixed,
    rankPattern: values.rankPattern,
    alphaPattern: values.alphaPattern,
    targets: values.target,
    ...(values.quantEmbedding && { quantEmbedding: true }),
    backbone: values.backbone,
    dtype: values.dtype,
    doubleQuant: values.doubleQuant,
    scaleDType: values.scaleDtype,
    seed: values.seed,
  };
}

async function run(args: Args<typeof OPTIONS>): Promise<number> {
  const { positionals: [model], values } = args;
  const { out, resume, force, calib, base } = values;
  const options = readOptions(args);
  return await interruptible(async (signal, started) => {
    using progress = new Progress({ quiet: values.quiet });
    const choice = readDeviceOptions(values, progress, {
      network: calib !== undefined,
    });
    await using stack = new AsyncDisposableStack();
    started();
    const output = stack.use(
      await openInitOutput(out, {
        ...{ resume, force },
        reads: [model, base, values.moments, ...calib ?? []].flatMap((path) =>
          path ?? []
        ),
        onWarning: (line) => progress.warn(line),
      }),
    );
    const device = stack.use(await openChosen(choice));
    const checkpoint = stack.use(await openCheckpoint(model));
    const metric = options.metric ?? "identity";
    let metricOf;
    if (metric !== "identity") {
      const moments = values.moments ??
        joinPath(output.work, "moments.safetensors");
      if (calib) {
        await calibrate(checkpoint, {
          device,
          kind: metric,
          path: moments,
          ...await calibrationInputs(checkpoint, calib, {
            tokens: values.calibTokens,
            block: values.calibSeqLen,
          }),
          signal,
          onProgress: (done, text) => progress.update(done / 2, text),
        });
      }
      metricOf = stack.use(await openMoments(moments, metric)).metricOf;
    }
    const place = base ? await findModel(base) : undefined;
    if (place) tellNotes({ ...place, notes: [] }, progress);
    const given = {
      base: place ? stack.use(await openCheckpoint(place.model)) : undefined,
      metricOf,
    };
    const report = await init(checkpoint, options, {
      device,
      fallback: async (failure) =>
        stack.use(await openInstead(failure, choice)),
      out,
      output,
      ...given,
      ...{ resume, force },
      safeInterval: values.safeInterval * 1000,
      signal,
      onWarning: (line) => progress.warn(line),
      onProgress: (done, text) => progress.update(done, text),
    });
    progress[Symbol.dispose]();
    if (values.json) print(JSON.stringify(report, null, 2));
    else printFitted(initTable(report, terminalWidth(Deno.stdout)));
  }, { resumes: true });
}
