/**
 * The command line: `deno task loqa VERB …`.
 *
 * @module
 */

import { isMeant } from "../errors.ts";
import { VERSION } from "../version.ts";
import { UsageError } from "./args.ts";

/** What a verb's module exports. */
export interface Verb {
  /** The page of `loqa VERB --help`. */
  readonly help: string;
  /** Runs the verb and resolves to the exit code. */
  run(args: readonly string[]): Promise<number>;
}

interface Entry {
  readonly summary: string;
  load(): Promise<Verb>;
}

/** Each verb is a file, loaded only when it is called. */
const VERBS: Readonly<Record<string, Entry>> = {
  init: {
    summary: "quantise a model and find its LoRA start (LoftQ, QLoRA, QA-LoRA)",
    load: () => import("./init.ts"),
  },
  train: {
    summary: "fine-tune a model or its adapter",
    load: () => import("./train.ts"),
  },
  merge: {
    summary: "add an adapter to the weights of a model",
    load: () => import("./merge.ts"),
  },
  eval: {
    summary: "measure a model: perplexity, questions, GLUE, SQuAD, summaries",
    load: () => import("./eval.ts"),
  },
  generate: {
    summary: "let a model write",
    load: () => import("./generate.ts"),
  },
  export: {
    summary: "write a model in the format of another runtime: GGUF, ONNX, …",
    load: () => import("./export.ts"),
  },
  inspect: {
    summary: "tell what a model, adapter or tensor file holds",
    load: () => import("./inspect.ts"),
  },
  plan: {
    summary: "parameters, bytes and work of fine-tuning a model of any size",
    load: () => import("./plan.ts"),
  },
  bench: {
    summary: "this machine's figures beside its limits",
    load: () => import("./bench.ts"),
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

loqa VERB --help tells a verb's options; --version the version.

  loqa init SmolLM2-135M.gguf --format nf4 --rank 16 -o smol-nf4
  loqa train smol-nf4 --data wiki.txt --steps 120 --block 128
  loqa eval smol-nf4 --task ppl --data wikitext2-test.txt
  loqa generate smol-nf4 --prompt "Once upon a time"
  loqa train minilm-nf2 --task classify --data-set sst2 --data sst2/train.tsv
  loqa eval minilm-nf2 --task glue --data sst2

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
`;

/** Runs the command line `args` and resolves to its exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h") {
    console.log(HELP);
    return name === undefined ? 2 : 0;
  }
  if (name === "--version" || name === "-V") {
    console.log(VERSION);
    return 0;
  }
  try {
    if (!Object.hasOwn(VERBS, name)) {
      throw new UsageError(
        `there is no verb "${name}"; wanted one of ${
          Object.keys(VERBS).join(", ")
        }`,
      );
    }
    const verb = await VERBS[name].load();
    if (rest.includes("--help") || rest.includes("-h")) {
      console.log(verb.help);
      return 0;
    }
    return await verb.run(rest);
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(
        `loqa: ${error.message}\nTry: loqa ${
          Object.hasOwn(VERBS, name) ? `${name} ` : ""
        }--help`,
      );
      return 2;
    }
    console.error(`loqa: ${describe(error)}`);
    return 1;
  }
}

/** One line for a person; a fault of this program keeps its trace. */
function describe(error: unknown): string {
  // A message may quote the lines of a malformed file.
  if (isMeant(error)) return error.message.replaceAll(/\s*\n\s*/g, " ");
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
