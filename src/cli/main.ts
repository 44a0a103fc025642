/**
 * The command line: `deno task loqa VERB …`.
 *
 * @module
 */

import { isMeant, OptionError } from "../errors.ts";
import { VERSION } from "../version.ts";
import { UsageError } from "./options.ts";
import { print, ReaderGone } from "./output.ts";
import {
  DRIVERS,
  flagsOf,
  lacksPermission,
  permissionHelp,
  READS,
  WRITES,
} from "./permissions.ts";
import { suggestVerb } from "./text/suggest.ts";
import { terminalWidth, wrapped } from "./text/wrap.ts";
import { type Verb, verbPage } from "./verb.ts";

export type { Verb } from "./verb.ts";
export type { Taken } from "./args.ts";
export type {
  NumberRange,
  Option,
  OptionRow,
  Options,
  When,
} from "./options.ts";

/** A row of the table of verbs. */
export interface VerbEntry {
  /** Summary in a line. */
  readonly summary: string;
  /** Least flags of `deno run` for it. */
  readonly permissions: readonly string[];
  /** Loads its file, which holds its options and its work. */
  load(): Promise<{ readonly verb: Verb }>;
}

/** Every verb: a file, loaded only when it is called. */
export const VERBS: Readonly<Record<string, VerbEntry>> = {
  init: {
    summary:
      "quantise a model and initialise its LoRA adapter (LoftQ, QLoRA, QA-LoRA)",
    permissions: WRITES,
    load: () => import("./verbs/init.ts"),
  },
  train: {
    summary: "fine-tune a model's LoRA adapter, a new one, or all weights",
    permissions: WRITES,
    load: () => import("./verbs/train.ts"),
  },
  data: {
    summary:
      "show and count the training examples and learnt tokens of a data file",
    permissions: ["--allow-read"],
    load: () => import("./verbs/data.ts"),
  },
  merge: {
    summary: "merge an adapter into the weights of its base model",
    permissions: WRITES,
    load: () => import("./verbs/merge.ts"),
  },
  eval: {
    summary:
      "evaluate a model (perplexity, GSM8K, MMLU, GLUE, SQuAD, summaries)",
    permissions: READS,
    load: () => import("./verbs/eval.ts"),
  },
  generate: {
    summary: "generate text from a prompt",
    permissions: READS,
    load: () => import("./verbs/generate.ts"),
  },
  export: {
    summary: "export a model to the format of another runtime (GGUF, ONNX, …)",
    permissions: ["--allow-read", "--allow-write"],
    load: () => import("./verbs/export.ts"),
  },
  inspect: {
    summary: "describe a model, adapter or tensor file",
    permissions: ["--allow-read"],
    load: () => import("./verbs/inspect.ts"),
  },
  plan: {
    summary:
      "trainable parameters, memory and FLOPs of fine-tuning a model, without its weights",
    permissions: ["--allow-read"],
    load: () => import("./verbs/plan.ts"),
  },
  bench: {
    summary: "benchmark this machine, throughput beside its limits",
    permissions: [DRIVERS],
    load: () => import("./verbs/bench.ts"),
  },
};

const HELP =
  `loqa ${VERSION}: low-bit quantisation and LoRA fine-tuning of language models

Usage: loqa VERB [ARGUMENTS] [OPTIONS]

${
    Object.entries(VERBS).map(([name, { summary }]) =>
      `  ${name.padEnd(9)} ${summary}`
    ).join("\n")
  }

loqa VERB --help, or loqa help VERB, lists a verb's options; --version prints the version.

  loqa init SmolLM2-135M.gguf --format nf4 --rank 16 -o smol-nf4
  loqa train smol-nf4 --data wiki.txt --steps 120 --seq-len 128
  loqa eval smol-nf4 --task ppl --data wikitext2-test.txt
  loqa generate smol-nf4 --prompt "Once upon a time"
  loqa train minilm-nf2 --task classify --data-set sst2 --data sst2/train.tsv
  loqa eval minilm-nf2 --task glue --data sst2

Environment: HF_TOKEN and HF_ENDPOINT for models of the hub (hf:owner/name),
LOQA_CACHE for their cache folder (~/.cache/loqa by default).

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
`;

/** Exit code of a program that wrote to a closed pipe. */
const READER_GONE = 141;

/** Prints a page in the width of the terminal. */
function page(text: string): void {
  print(wrapped(text, terminalWidth(Deno.stdout)));
}

/**
 * Runs the command line `args` and resolves to its exit code.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { main } from "@loqa/loqa/cli";
 *
 * const code = await main(["inspect", "examples/model"]); // prints, and gives the exit code
 * assert.equal(code, 0);
 * ```
 */
export async function main(args: readonly string[]): Promise<number> {
  // `help VERB` is `VERB --help`.
  const [name = "", ...rest] = args[0] === "help" && args.length > 1
    ? [args[1], "--help"]
    : args;
  const verb = Object.hasOwn(VERBS, name) ? name : undefined;
  try {
    if (verb !== undefined) return await runVerb(verb, rest);
    if (["--version", "-V", "-v", "version"].includes(name)) print(VERSION);
    else if (["", "--help", "-h", "help"].includes(name)) page(HELP);
    else {
      const names = Object.keys(VERBS);
      const meant = suggestVerb(name, names);
      throw new UsageError(
        `there is no verb "${name}"; ${
          meant === undefined
            ? `wanted one of ${names.join(", ")}`
            : `did you mean ${meant}?`
        }`,
      );
    }
    return name === "" ? 2 : 0;
  } catch (error) {
    if (error instanceof ReaderGone) return READER_GONE;
    if (error instanceof UsageError || error instanceof OptionError) {
      console.error(
        `loqa: ${error.message}\nTry: loqa ${verb ? `${verb} ` : ""}--help`,
      );
      return 2;
    }
    console.error(`loqa: ${describe(error)}${lacking(error, verb, rest)}`);
    return 1;
  }
}

async function runVerb(
  name: string,
  args: readonly string[],
): Promise<number> {
  const { summary, permissions, load } = VERBS[name];
  const { verb } = await load();
  if (!args.includes("--help") && !args.includes("-h")) {
    return await verb.run(args);
  }
  page(`${verbPage(verb, summary)}\n${permissionHelp(permissions)}\n`);
  return 0;
}

/** One line for a person; a fault of this program keeps its trace. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message, stack } = error;
  if (lacksPermission(error)) {
    return message.replace(/, run again with the \S+ flag/, "");
  }
  // A message may quote the lines of a malformed file.
  if (isMeant(error)) return message.replaceAll(/\s*\n\s*/g, " ");
  return stack ?? message;
}

/** Advice about a missing permission. */
function lacking(
  error: unknown,
  verb: string | undefined,
  args: readonly string[],
): string {
  return verb && lacksPermission(error)
    ? `; ${verb} needs deno run ${flagsOf(VERBS[verb].permissions, args)}`
    : "";
}

if (import.meta.main) Deno.exit(await main(Deno.args));
