/**
 * The models that interop tests run on: the project's own, and real ones where they are.
 *
 * @module
 */

import type { Subject } from "./run.ts";

const ROOT = new URL("../../", import.meta.url);
const cache = Deno.env.get("LOQA_MODELS") ??
  `${Deno.env.get("HOME")}/.cache/loqa-models`;
const data = new URL("../shared/data/models/", ROOT).pathname;

/** A model on disk. */
export interface Model extends Subject {
  /** Input of `loqa init`. */
  readonly path: string;
  /** Class that Python loads it with. */
  readonly kind: "causal" | "seq2seq" | "encoder";
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function model(label: string, path: string, kind: Model["kind"]): Model {
  const missing = exists(path) ? undefined : "its files are not here";
  return { label, path, kind, missing };
}

/** The project's own LLaMA, always there. */
export const own: Model = model(
  "own LLaMA",
  new URL("examples/model", ROOT).pathname,
  "causal",
);

/** A trained LLaMA of 260 K parameters. */
export const stories: Model = model(
  "stories260K",
  `${data}stories260K-hf`,
  "causal",
);

/** A trained BART, grapheme to phoneme. */
export const bart: Model = model("g2p BART", `${data}g2p-bart/us`, "seq2seq");

/** A trained BERT of 22 M parameters. */
export const bert: Model = model(
  "MiniLM BERT",
  `${cache}/all-minilm-l6-v2`,
  "encoder",
);

/** A trained LLaMA of 135 M parameters, as GGUF. */
export const smollm: Model = model(
  "SmolLM2 GGUF",
  `${cache}/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`,
  "causal",
);

/** All of them. */
export const MODELS: readonly Model[] = [own, stories, bart, bert, smollm];
