/**
 * `loqa init`.
 *
 * @module
 */

import { openInstead } from "../../backend/fallback.ts";
import { init } from "../../init/run.ts";
import type { InitOptions } from "../../init/options.ts";
import { calibrate } from "../../calibrate/run.ts";
import { openMoments } from "../../calibrate/moments.ts";
import { openInitOutput } from "../../init/output.ts";
import { joinPath } from "../../io/files/deno.ts";
import { openCheckpoint } from "../../io/open.ts";
import { findModel } from "../../models/load/locate.ts";
import { BASE_QUANTIZERS } from "../../qalora/quantizer.ts";
import { FORMAT_NAMES } from "../../quant/formats.ts";
import {
  COMMON,
  numbersByName,
  optionHelp,
  type Options,
  parse,
  type Parsed,
  UsageError,
} from "../args.ts";
import { calibrationInputs } from "../calibration.ts";
import { openChosen, readDeviceOptions } from "../device.ts";
import { interruptible } from "../interrupt.ts";
import { tellNotes } from "../place.ts";
import { Progress } from "../text/progress.ts";
import { initTable } from "../text/tables.ts";
import { print, printFitted } from "../output.ts";
import { terminalWidth } from "../text/wrap.ts";

const OPTIONS: Options = {
  out: { short: "o", value: "DIR", help: "output folder; needed" },
  method: {
    value: "NAME",
    default: "loftq",
    help:
      "LoRA initialisation: loftq; qlora: default initialisation, A at random, B zero; qalora: an adapter that merges into int5 … int2 exactly",
  },
  format: {
    value: "NAME",
    default: "nf4; qalora: MODEL's own affine groups, else int4",
    help:
      "quantisation format: nf4 nf3 nf2, int5 int4 int3 int2, or LoftQ's uniform4..2, clip4..2",
  },
  block: {
    value: "N",
    default: "64 (nf), 32 (int)",
    help:
      "quantisation group size: weights that share a scale; 0: the whole matrix or row; qalora: 32, 64 or 128",
  },
  scale: {
    value: "RULE",
    default: "absmax (nf), minmax (int)",
    help:
      "scale rule: absmax, minmax, mse (searched), std, clip; qalora: minmax, mse, hqq, gptq (needs --metric full)",
  },
  biases: {
    help: "calibrate the groups' biases (qalora, needs --metric diag or full)",
  },
  rank: { value: "R", default: "16", help: "LoRA rank" },
  alpha: { value: "A", default: "the rank", help: "LoRA alpha" },
  rslora: { help: "rank-stabilised LoRA: scale alpha / sqrt(rank)" },
  iters: {
    value: "T",
    default: "5; qalora: 0",
    help: "number of LoftQ iterations; 0: default LoRA initialisation, B zero",
  },
  svd: {
    value: "NAME",
    default: "randomized",
    help: "SVD: randomized, or exact (slow: a check); not for qalora",
  },
  metric: {
    value: "NAME",
    default: "identity",
    help:
      "error metric: identity (of the weights), diag or full (of the layers' outputs, calibrated)",
  },
  calib: {
    files: true,
    value: "FILE,…",
    multiple: true,
    help:
      "calibration text, for the inputs' second moments that --metric uses; source/target pairs for BART",
  },
  "calib-tokens": {
    when: { calib: true },
    value: "N",
    default: "16384",
    help: "number of calibration tokens at the most",
  },
  "calib-block": {
    when: { calib: true },
    value: "N",
    default: "512, or the model's context",
    help: "sequence length of the calibration, in tokens",
  },
  moments: {
    value: "FILE",
    help: "file of stored moments, in place of --calib; with it, written",
  },
  mixed: {
    value: "PLAN",
    help:
      'mixed precision by layer: "first=4:nf4,rest=nf2" or "bits=2.5"; by side: "encoder.bits=3,decoder.bits=2"',
  },
  "rank-pattern": {
    value: "NAME=R",
    multiple: true,
    help: "LoRA rank of modules by name or pattern, as in PEFT",
  },
  "alpha-pattern": {
    value: "NAME=A",
    multiple: true,
    help: "LoRA alpha of modules by name or pattern, as in PEFT",
  },
  target: {
    value: "NAME,…",
    multiple: true,
    default: "all linear layers but heads, routers, experts, towers",
    help: "target modules, by name or pattern: quantised, with an adapter",
  },
  base: {
    value: "MODEL",
    help:
      "pre-quantised base, a quantised form of MODEL or a folder of init: keep its weights, fit only the adapter",
  },
  "quant-embedding": {
    help:
      "quantise an encoder's token embedding too, with LoRA factors of its own (packed or dense backbone)",
  },
  backbone: {
    value: "KIND",
    default: "bnb for nf4, else packed",
    help:
      "storage of the quantised model: packed (loqa alone reads it), bnb, dense (Python too) or none",
  },
  dtype: {
    value: "NAME",
    default: "the model's own; of several bf16 if all fits, else f32",
    help:
      "type of tensors that are not quantised: f32, f16 or bf16; packed: as stored",
  },
  "scale-dtype": {
    value: "TYPE",
    default: "f16 in a packed backbone",
    help: "type of scales and biases: f16 or f32",
  },
  "double-quant": {
    help: "double quantisation: scales of a bnb backbone in 8 bits",
  },
  seed: { value: "N", default: "0", help: "random seed" },
  resume: {
    help: "resume an interrupted run; of a finished one, print its result",
  },
  force: {
    help:
      "replace earlier output of loqa at DIR, training included, or an interrupted run",
  },
  "safe-interval": {
    value: "SECONDS",
    default: "5",
    help: "time between points that --resume can continue from",
  },
  ...COMMON,
};

/** The page of `loqa init --help`. */
export const help =
  `loqa init MODEL -o DIR: quantise a model and initialise a LoRA adapter that makes up for the error

MODEL is a folder in the Hugging Face layout, a .safetensors or .gguf file, or hf:owner/name[@revision].
Writes DIR/backbone (the quantised model), DIR/adapter (for PEFT) and DIR/loqa.json (options and errors by layer).
The last line printed says which tools load the result, and how.
An existing DIR is refused; --force names what loqa wrote there before and replaces it once the new output is whole. The
work is done in DIR.partial, which an interruption leaves: --resume continues it, --force starts anew, else it is refused.

  loqa init SmolLM2-135M.gguf --format nf4 --rank 16 -o smol-nf4
  loqa init ./llama --format int2 --scale mse --rank 64 -o llama-2bit
  loqa init ./llama --format nf4 --metric full --calib wiki.txt -o llama-calibrated
  loqa init SmolLM2-135M.Q4_1.gguf --method qalora -o smol-int4
  loqa init ./llama --method qalora --format int3 --scale mse --biases --metric full --calib wiki.txt -o llama-int3
  loqa init hf:HuggingFaceTB/SmolLM2-135M --mixed "first=8:nf4,rest=nf2" -o smol-mixed

Options:
${optionHelp(OPTIONS)}
`;

function readOptions(args: Parsed): InitOptions {
  const method = args.choice("method", ["loftq", "qlora", "qalora"]) ?? "loftq";
  const qalora = method === "qalora";
  const rank = args.number("rank", { least: 1 }) ?? 16;
  const iterations = args.number("iters", { least: 0 });
  if (method === "qlora" && iterations) {
    throw new UsageError("--method qlora has no iterations, got --iters");
  }
  const metric = args.choice("metric", ["identity", "diag", "full"]);
  const given = ["calib", "moments"].find((name) => args.list(name));
  if ((metric ?? "identity") !== "identity" && !given) {
    throw new UsageError(`--metric ${metric} needs --calib or --moments FILE`);
  }
  if ((metric ?? "identity") === "identity" && given) {
    throw new UsageError(`--${given} needs --metric diag or full`);
  }
  for (const name of ["format", "block", "scale", "mixed"]) {
    if (args.text("base") && args.text(name)) {
      throw new UsageError(`--base keeps its formats, got --${name}`);
    }
  }
  const block = args.number("block", { least: 0 });
  const biases = args.on("biases");
  if (qalora) {
    if (args.on("quant-embedding")) {
      throw new UsageError("--quant-embedding is not for qalora");
    }
    if (block !== undefined && ![32, 64, 128].includes(block)) {
      throw new UsageError(
        `--method qalora takes --block 32, 64 or 128, got ${block}`,
      );
    }
    if (biases && (metric ?? "identity") === "identity") {
      throw new UsageError("--biases needs --metric diag or full");
    }
    if (biases && iterations) {
      throw new UsageError(
        "--biases leaves nothing for iterations to find, got --iters",
      );
    }
    if (args.text("svd")) {
      throw new UsageError("--svd is for loftq, got --method qalora");
    }
    if (args.text("scale") === "gptq" && metric !== "full") {
      throw new UsageError("--scale gptq needs --metric full");
    }
  } else if (biases) {
    throw new UsageError("--biases needs --method qalora");
  }
  return {
    method,
    format: args.choice("format", FORMAT_NAMES) ??
      (qalora ? undefined : "nf4"),
    block,
    scale: qalora
      ? args.choice("scale", BASE_QUANTIZERS)
      : args.choice("scale", ["absmax", "minmax", "mse", "std", "clip"]),
    ...(qalora && { biases }),
    rank,
    alpha: args.number("alpha", { above: 0, fraction: true }) ??
      rank,
    rslora: args.on("rslora"),
    iterations: method === "qlora" ? 0 : iterations ?? (qalora ? 0 : 5),
    svd: args.choice("svd", ["randomized", "exact"]),
    metric,
    mixed: args.text("mixed"),
    rankPattern: numbersByName(args, "rank-pattern"),
    alphaPattern: numbersByName(args, "alpha-pattern"),
    targets: args.list("target"),
    ...(args.on("quant-embedding") && { quantEmbedding: true }),
    backbone: args.choice("backbone", ["packed", "bnb", "dense", "none"]),
    dtype: args.choice("dtype", ["f32", "f16", "bf16"]),
    doubleQuant: args.on("double-quant"),
    scaleDType: args.choice("scale-dtype", ["f16", "f32"]),
    seed: args.number("seed") ?? 0,
  };
}

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<number> {
  const args = parse(argv, OPTIONS);
  const model = args.one("init", "MODEL");
  const out = args.text("out");
  if (!out) throw new UsageError("init needs -o DIR");
  const options = readOptions(args);
  const interval = args.number("safe-interval", { least: 0, fraction: true });

  return await interruptible(async (signal, started) => {
    using progress = new Progress({ quiet: args.on("quiet") });
    const choice = readDeviceOptions(args, progress, {
      network: args.list("calib") !== undefined,
    });
    await using stack = new AsyncDisposableStack();
    started();
    const output = stack.use(
      await openInitOutput(out, {
        resume: args.on("resume"),
        force: args.on("force"),
        reads: [
          model,
          ...[args.text("base"), args.text("moments")].flatMap((x) => x ?? []),
          ...args.list("calib") ?? [],
        ],
        onWarning: (line) => progress.warn(line),
      }),
    );
    const device = stack.use(await openChosen(choice));
    const checkpoint = stack.use(await openCheckpoint(model));
    const base = args.text("base");
    const metric = options.metric ?? "identity";
    let metricOf;
    if (metric !== "identity") {
      const calib = args.list("calib");
      const moments = args.text("moments") ??
        joinPath(output.work, "moments.safetensors");
      if (calib) {
        const tokens = args.number("calib-tokens", { least: 1 }) ?? 16384;
        await calibrate(checkpoint, {
          device,
          kind: metric,
          path: moments,
          ...await calibrationInputs(checkpoint, calib, {
            tokens,
            block: args.number("calib-block", { least: 1 }),
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
      resume: args.on("resume"),
      force: args.on("force"),
      safeInterval: interval === undefined ? undefined : interval * 1000,
      signal,
      onWarning: (line) => progress.warn(line),
      onProgress: (done, text) => progress.update(done, text),
    });
    progress[Symbol.dispose]();
    if (args.on("json")) print(JSON.stringify(report, null, 2));
    else printFitted(initTable(report, terminalWidth(Deno.stdout)));
  }, { resumes: true });
}
