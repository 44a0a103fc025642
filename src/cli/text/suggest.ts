/**
 * What was meant by a word that is not known: one that is written alike, or the name that other tools have for it.
 *
 * @module
 */

/** Options of mlx-lm, PEFT, transformers and llama.cpp, and what they are called here: the first that a verb has. */
const OPTIONS_ELSEWHERE: Readonly<Record<string, readonly string[]>> = {
  "adapter-path": ["adapter"],
  "batch-size": ["batch"],
  bits: ["format", "bits"],
  "bf16": ["dtype"],
  "context-length": ["block"],
  "ctx-size": ["block"],
  "data-path": ["data"],
  "dataset": ["data"],
  "eval-steps": ["eval-every"],
  fp16: ["dtype"],
  "grad-accumulation-steps": ["accumulation"],
  "grad-checkpoint": ["checkpointing"],
  "gradient-accumulation-steps": ["accumulation"],
  "gradient-checkpointing": ["checkpointing"],
  "group-size": ["block", "group"],
  "init-lora-weights": ["method"],
  iters: ["steps"],
  "learning-rate": ["lr"],
  "load-in-4bit": ["format"],
  "logging-steps": ["log-every"],
  "lora-alpha": ["alpha"],
  "lora-dropout": ["dropout"],
  "lora-r": ["rank"],
  "lora-rank": ["rank"],
  "lr-schedule": ["schedule"],
  "lr-scheduler-type": ["schedule"],
  "mask-prompt": ["task"],
  "max-grad-norm": ["clip"],
  "max-length": ["block"],
  "max-seq-length": ["block"],
  "max-steps": ["steps"],
  "max-tokens": ["max-new-tokens"],
  "n-predict": ["max-new-tokens"],
  "num-beams": ["beams"],
  "num-epochs": ["epochs"],
  "num-fewshot": ["shots"],
  "num-train-epochs": ["epochs"],
  "output": ["out"],
  "output-dir": ["out"],
  "per-device-train-batch-size": ["batch"],
  "q-bits": ["format"],
  "q-group-size": ["block"],
  quantization: ["format"],
  r: ["rank"],
  "resume-adapter-file": ["resume"],
  "resume-from-checkpoint": ["resume"],
  "save-path": ["out"],
  "save-steps": ["save-every"],
  "save-total-limit": ["keep"],
  scheduler: ["schedule"],
  "steps-per-eval": ["eval-every"],
  "steps-per-report": ["log-every"],
  "system-prompt": ["system"],
  "target-modules": ["target"],
  tasks: ["task"],
  temp: ["temperature"],
  "train-batch-size": ["batch"],
  "use-rslora": ["rslora"],
  "val-batches": ["eval"],
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

/** The option that was meant by one of another name, without its dashes. */
export function suggestOption(
  name: string,
  known: readonly string[],
): string | undefined {
  const usual = name.toLowerCase().replaceAll("_", "-");
  if (known.includes(usual)) return usual;
  const elsewhere = Object.hasOwn(OPTIONS_ELSEWHERE, usual)
    ? OPTIONS_ELSEWHERE[usual].find((n) => known.includes(n))
    : undefined;
  return elsewhere ?? nearest(usual, known);
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
