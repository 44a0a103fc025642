/**
 * Suggestions for unknown words: one that is written alike, or our name for what another tool calls so.
 *
 * @module
 */

/** Options of mlx-lm, PEFT, transformers and llama.cpp, and what they are called here: the first that a verb has. */
const OPTIONS_ELSEWHERE: Readonly<Record<string, readonly string[]>> = {
  "adapter-file": ["adapter", "from"],
  "adapter-path": ["adapter", "out"],
  "base-model": ["model"],
  "batch-size": ["batch"],
  bf16: ["dtype"],
  bias: ["train-biases"],
  bits: ["format", "bits"],
  "block-size": ["seq-len", "block"],
  "bnb-4bit-quant-type": ["format"],
  "bnb-4bit-use-double-quant": ["double-quant"],
  "calibration-data": ["calib"],
  "context-length": ["seq-len"],
  "ctx-size": ["seq-len"],
  "data-path": ["data"],
  dataset: ["data"],
  epoch: ["epochs"],
  "eval-batch-size": ["batch"],
  "eval-data": ["eval"],
  "eval-steps": ["eval-every"],
  "evaluation-strategy": ["eval-every"],
  "fine-tune-type": ["method"],
  fp16: ["dtype"],
  "grad-accumulation-steps": ["accumulation"],
  "grad-checkpoint": ["checkpointing"],
  "gradient-accumulation-steps": ["accumulation"],
  "gradient-checkpointing": ["checkpointing"],
  "group-size": ["block"],
  "init-lora-weights": ["method"],
  iters: ["steps"],
  "layers-to-transform": ["target"],
  "learning-rate": ["lr"],
  "load-in-4bit": ["format"],
  "loftq-bits": ["format"],
  "loftq-iter": ["iters"],
  "logging-steps": ["log-every"],
  "lora-alpha": ["alpha"],
  "lora-dropout": ["dropout"],
  "lora-layers": ["target"],
  "lora-r": ["rank"],
  "lora-rank": ["rank"],
  "lora-target-modules": ["target"],
  "lr-schedule": ["schedule"],
  "lr-scheduler-type": ["schedule"],
  "mask-prompt": ["task"],
  "max-gen-toks": ["max-new-tokens"],
  "max-grad-norm": ["clip"],
  "max-length": ["seq-len"],
  "max-seq-len": ["seq-len"],
  "max-seq-length": ["seq-len"],
  "max-source-length": ["seq-len"],
  "max-steps": ["steps"],
  "max-tokens": ["max-new-tokens"],
  "mlx-path": ["out"],
  "model-max-length": ["seq-len"],
  "model-name-or-path": ["model"],
  "n-predict": ["max-new-tokens"],
  "no-repeat-ngram-size": ["no-repeat-ngram"],
  "num-beams": ["beams"],
  "num-bits": ["format", "bits"],
  "num-epochs": ["epochs"],
  "num-fewshot": ["shots"],
  "num-iter": ["iters"],
  "num-layers": ["target"],
  "num-train-epochs": ["epochs"],
  output: ["out"],
  "output-dir": ["out"],
  "per-device-eval-batch-size": ["batch"],
  "per-device-train-batch-size": ["batch"],
  "q-bits": ["format"],
  "q-group-size": ["block"],
  quantization: ["format"],
  quantize: ["format"],
  r: ["rank"],
  "resume-adapter-file": ["from"],
  "resume-from-checkpoint": ["resume"],
  "save-path": ["out"],
  "save-steps": ["save-every"],
  "save-total-limit": ["keep"],
  scheduler: ["schedule"],
  "sequence-length": ["seq-len"],
  "steps-per-eval": ["eval-every"],
  "steps-per-report": ["log-every"],
  "system-prompt": ["system"],
  "target-modules": ["target"],
  tasks: ["task"],
  temp: ["temperature"],
  "test-data": ["data"],
  "train-batch-size": ["batch"],
  "train-data": ["data"],
  "train-file": ["data"],
  "use-gradient-checkpointing": ["checkpointing"],
  "use-rslora": ["rslora"],
  "val-batches": ["eval"],
  "validation-file": ["eval"],
  "warmup-ratio": ["warmup"],
  "warmup-steps": ["warmup"],
};

/** Verbs of other tools. */
const VERBS_ELSEWHERE: Readonly<Record<string, string>> = {
  benchmark: "bench",
  chat: "generate",
  complete: "generate",
  convert: "init",
  evaluate: "eval",
  finetune: "train",
  "fine-tune": "train",
  fuse: "merge",
  info: "inspect",
  lora: "train",
  loftq: "init",
  perplexity: "eval",
  ppl: "eval",
  quantise: "init",
  quantize: "init",
  run: "generate",
  sft: "train",
  show: "inspect",
  test: "eval",
};

/** Letters put in, left out, changed, or changed with their neighbour, from one word to the other. */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(
        rows[i - 1][j] + 1,
        row[j - 1] + 1,
        rows[i - 1][j - 1] + same,
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2][j - 2] + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length][b.length];
}

/** The word that is written most alike, or the only one that begins so; undefined where none is near. */
export function nearest(
  word: string,
  words: readonly string[],
): string | undefined {
  const lower = word.toLowerCase();
  const begun = words.filter((w) => w.startsWith(lower));
  if (lower.length >= 3 && begun.length === 1) return begun[0];
  let best: string | undefined;
  let least = Math.min(2, Math.floor(word.length / 3)) + 0.5;
  for (const w of words) {
    const d = distance(lower, w.toLowerCase());
    if (d < least) [best, least] = [w, d];
  }
  return best;
}

/**
 * The option that was meant by one of another name, without its dashes.
 *
 * @param known A verb's options by every name that they are taken by; what is suggested is never an alias.
 */
export function suggestOption(
  name: string,
  known: ReadonlyMap<string, string>,
): string | undefined {
  const usual = name.toLowerCase().replaceAll("_", "-");
  const elsewhere = Object.hasOwn(OPTIONS_ELSEWHERE, usual)
    // An alias may be another option's name in another verb.
    ? OPTIONS_ELSEWHERE[usual].find((n) => known.get(n) === n)
    : undefined;
  return known.get(usual) ?? elsewhere ??
    known.get(nearest(usual, [...known.keys()]) ?? "");
}

/** The verb that was meant by one of another name. */
export function suggestVerb(
  name: string,
  known: readonly string[],
): string | undefined {
  const usual = name.toLowerCase();
  if (known.includes(usual)) return usual;
  return Object.hasOwn(VERBS_ELSEWHERE, usual)
    ? VERBS_ELSEWHERE[usual]
    : nearest(usual, known);
}
