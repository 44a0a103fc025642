/**
 * Helpers of tests of interrupted trainings: a small model with a real tokenizer, and its runs.
 *
 * @module
 */

import assert from "node:assert/strict";
import { inFolder, readTree, writeModel } from "../helpers/model.ts";
import { smallConfig, smallWeights } from "../helpers/llama.ts";
import { succeeds } from "./work.ts";

const EXAMPLE = new URL("../../examples/model", import.meta.url).pathname;

/** Writes a small model with the tokenizer and a text of the project's own model. */
export async function writeTrainable(
  folder: string,
  changes: Record<string, unknown> = {},
): Promise<void> {
  const config = smallConfig({
    vocab_size: 768,
    hidden_size: 32,
    intermediate_size: 48,
    head_dim: 8,
    max_position_embeddings: 64,
    tie_word_embeddings: true,
    bos_token_id: 0,
    eos_token_id: 0,
    ...changes,
  });
  await writeModel(folder, { config, tensors: smallWeights(config) });
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    await Deno.copyFile(`${EXAMPLE}/${name}`, `${folder}/${name}`);
  }
}

/** Runs `work` with a folder that holds `model/` and `data.txt`. */
export function withTrainable(
  work: (folder: string) => Promise<void>,
): Promise<void> {
  return inFolder(async (folder) => {
    await writeTrainable(`${folder}/model`);
    const text = await Deno.readTextFile(`${EXAMPLE}/train-sample.txt`);
    await Deno.writeTextFile(`${folder}/data.txt`, text.slice(0, 6000));
    await work(folder);
  });
}

/** Arguments with others behind them, which take the place of those that name the same option with a value. */
export function overridden(
  args: readonly string[],
  more: readonly string[],
): string[] {
  const given = new Set(more.filter((arg) => arg.startsWith("-")));
  const left = args.filter((arg, i) =>
    !given.has(arg) && !(i > 0 && given.has(args[i - 1]))
  );
  return [...left, ...more];
}

/** Arguments of a training of a new adapter, or all weights, that saves every tenth of its 200 steps. */
export function trainArgs(
  folder: string,
  out: string,
  ...more: string[]
): string[] {
  // Only a new adapter has a rank to be chosen.
  const rank = more.includes("--method") ? [] : ["--rank", "4"];
  return overridden([
    ...["train", `${folder}/model`, "--data", `${folder}/data.txt`],
    ...["-o", out, "--device", "wasm", "--threads", "1"],
    ...["--block", "16", "--batch", "2", ...rank, "--lr", "1e-3"],
    ...["--steps", "200", "--save-every", "20", "--quiet"],
  ], more);
}

/** Prepares `DIR` in which an adapter is to be trained: QLoRA's start on the model in nf4. */
export async function initInto(folder: string, out: string): Promise<void> {
  await succeeds([
    ...["init", `${folder}/model`, "-o", out, "--method", "qlora"],
    ...["--rank", "4", "--quiet", "--device", "wasm"],
  ]);
}

/** Steps of the whole checkpoints of the first run of a folder, or of another. */
export async function savedSteps(out: string, run = 1): Promise<number[]> {
  try {
    const names = await Array.fromAsync(
      Deno.readDir(`${out}/runs/${run}/checkpoints`),
    );
    return names.flatMap(({ name }) => /^step-(\d+)$/.exec(name)?.[1] ?? [])
      .map(Number).sort((a, b) => a - b);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Resolves when a run has saved a checkpoint of `step` or later, or has ended. */
export async function untilSaved(
  child: Deno.ChildProcess,
  out: string,
  step: number,
): Promise<void> {
  let ended = false;
  child.status.then(() => ended = true);
  const last = async () => (await savedSteps(out)).at(-1) ?? 0;
  while (!ended && await last() < step) {
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

/** Comparable outputs of a training: tensors to the byte, and the figures of each step. */
export async function trained(out: string): Promise<Map<string, unknown>> {
  const found = new Map<string, unknown>();
  for (const [path, bytes] of await readTree(out)) {
    const text = () => new TextDecoder().decode(bytes);
    if (path.endsWith("loqa.json")) {
      found.set(path, JSON.parse(text()).train?.loss);
    } else if (path.endsWith("state.json")) {
      // The key tells models apart by the time of their files.
      const { seconds: _, key: __, ...state } = JSON.parse(text());
      found.set(path, state);
    } else if (path.endsWith("adapter_config.json")) {
      found.set(path, text().replaceAll(out, "OUT"));
    } else if (path.endsWith("metrics.jsonl")) {
      found.set(path, text());
    } else {
      const hash = await crypto.subtle.digest("SHA-256", bytes);
      found.set(path, new Uint8Array(hash).toHex());
    }
  }
  assert.ok(found.has("runs/1/metrics.jsonl"));
  return found;
}
