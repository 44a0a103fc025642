/**
 * `loqa eval`.
 *
 * @module
 */

import type { Compute } from "../../autograd/linear_weight.ts";
import { openTasks, TASKS } from "../../eval/open_task.ts";
import { GLUE } from "../../eval/tasks/glue.ts";
import { checkTask, evenLimits, runTask } from "../../eval/run.ts";
import type { TaskResult } from "../../eval/tasks/task.ts";
import { checkpointTokenizer } from "../../io/open_tokenizer.ts";
import { labelNames } from "../../models/encoder/head_config.ts";
import { openModel } from "../../models/load/load.ts";
import { stopTokens } from "../../models/generate/stop.ts";
import { VERSION } from "../../version.ts";
import {
  COMMON,
  COMPUTE,
  COMPUTES,
  optionHelp,
  type Options,
  parse,
  UsageError,
} from "../args.ts";
import { computeHasEffect, openChosen, readDeviceOptions } from "../device.ts";
import { readWriting, refuseWriting, WRITING } from "../beam_options.ts";
import { PLACE, readPlace, tellNotes } from "../place.ts";
import { Progress } from "../text/progress.ts";
import { columnsWithin } from "../text/tables.ts";
import { print, printFitted } from "../output.ts";
import { terminalWidth } from "../text/wrap.ts";

const OPTIONS: Options = {
  task: { value: "NAME", help: `task: ${TASKS.join(", ")}; needed` },
  data: { value: "PATH", help: "the task's data, as published; needed" },
  limit: {
    value: "N",
    default: "all",
    help:
      "number of examples (windows for ppl) at the most: of several sets or subjects as many of each",
  },
  batch: {
    value: "N",
    default: "8",
    help: "batch size: examples run together",
  },
  "seq-len": {
    also: ["block"],
    when: { task: ["ppl"] },
    value: "N",
    default: "1024, or the model's context",
    help: "sequence length: tokens of a window (ppl)",
  },
  stride: {
    when: { task: ["ppl"] },
    value: "N",
    default: "--seq-len, each window on its own",
    help: "stride from one window to the next, in tokens (ppl)",
  },
  characters: {
    when: { task: ["ppl"] },
    value: "N",
    default: "all",
    help: "length of the text: only its first N characters (ppl)",
  },
  shots: {
    when: { task: ["mmlu"] },
    value: "N",
    default: "5",
    help: "number of few-shot examples (mmlu)",
  },
  "max-new-tokens": {
    when: { task: ["gsm8k"] },
    value: "N",
    default: "256",
    help: "maximum number of generated tokens (gsm8k)",
  },
  "data-set": {
    also: ["glue-task"],
    when: { task: ["glue"] },
    value: "NAME",
    default: "by the path",
    help: `data set (glue): ${GLUE.join(", ")}`,
  },
  overflow: {
    when: { task: ["glue", "anli", "summarize", "g2p"] },
    value: "NAME",
    default: "truncate",
    help:
      "inputs longer than the model's context: truncate, error (glue, anli, summarize, g2p)",
  },
  ...WRITING,
  ...PLACE,
  compute: COMPUTE,
  ...COMMON,
};

/** The page of `loqa eval --help`. */
export const help = `loqa eval DIR --task NAME --data PATH: evaluate a model

DIR is a folder that loqa wrote, a run or a checkpoint in it (DIR/runs/2), an adapter, or a model.

  loqa eval smol-nf4 --task ppl --data wikitext2-test.txt --seq-len 512 --limit 8
  loqa eval smol-nf4 --task gsm8k --data gsm8k/test.jsonl --limit 100
  loqa eval smol-nf4 --task mmlu --data mmlu --json
  loqa eval minilm-sst2 --task glue --data glue/sst2
  loqa eval bart-xsum --task summarize --data test.jsonl --beams 6

Options:
${optionHelp(OPTIONS)}
`;

/** The document of `--json`. */
interface EvalReport extends TaskResult {
  readonly verb: "eval";
  readonly version: string;
  readonly model: string;
  readonly task: string;
  /** How products with quantised weights were computed. */
  readonly compute: Compute;
  readonly seconds: number;
}

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<number> {
  const args = parse(argv, OPTIONS);
  const path = args.one("eval", "DIR");
  const name = args.choice("task", TASKS);
  const data = args.text("data");
  if (!name || !data) throw new UsageError("eval needs --task and --data");
  const settings = {
    stride: args.number("stride", { least: 1 }),
    characters: args.number("characters", { least: 1 }),
    shots: args.number("shots", { least: 0 }),
    maxNewTokens: args.number("max-new-tokens", { least: 1 }),
  };
  const limit = args.number("limit", { least: 1 });
  const batch = args.number("batch", { least: 1 });
  const began = performance.now();
  using progress = new Progress({ quiet: args.on("quiet") });
  const devices = readDeviceOptions(args, progress, { network: true });
  const compute = args.choice("compute", COMPUTES);
  await using opened = await openModel(path, await readPlace(args));
  tellNotes(opened.place, progress);
  // Tokenizer, data and options are looked at before the weights are read.
  const { checkpoint, head } = opened;
  const tokenizer = await checkpointTokenizer(checkpoint);
  const { maxLength: context, vocabSize } = opened.config;
  const writes = opened.kind === "seq2seq";
  if (!writes) refuseWriting(args, path);
  const decoder = writes
    ? await checkpointTokenizer(checkpoint, { side: "target" })
    : tokenizer;
  const tasks = await openTasks(name, data, {
    tokenizer,
    context,
    block: args.number("seq-len", { least: 2, most: context }) ??
      Math.min(1024, context),
    ...settings,
    glue: args.choice("data-set", GLUE),
    overflow: args.choice("overflow", ["truncate", "error"]),
    vocabSize,
    labels: head?.kind === "classify"
      ? labelNames(checkpoint.config, head.labels)
      : undefined,
  });
  for (const task of tasks) checkTask(opened, task);
  const limits = evenLimits(tasks.map(({ count }) => count), limit);
  if (limits.includes(0)) {
    throw new UsageError(
      `--limit must be at least ${tasks.length} here, a question of each set (${
        tasks.map((task) => task.name).join(", ")
      }), got ${limit}`,
    );
  }
  const writing = writes ? await readWriting(args, checkpoint) : undefined;
  const stop = await stopTokens(checkpoint, tokenizer);
  using device = await openChosen(devices);
  await using loaded = await opened.load(device, {
    compute,
    onProgress: (done) => progress.update(done / 100, "loading the model"),
  });
  const { model } = loaded;
  computeHasEffect(compute, loaded.compute, progress);
  const results: Record<string, TaskResult> = {};
  for (const [i, task] of tasks.entries()) {
    results[task.name] = await runTask(model, task, {
      limit: limits[i],
      batch,
      writing,
      decode: (ids) => decoder.decode(ids, { skipSpecialTokens: true }),
      stop,
      onProgress: (done, text) =>
        progress.update((i + done) / tasks.length, text),
    });
  }
  progress[Symbol.dispose]();
  const parts = Object.values(results);
  const report: EvalReport = {
    verb: "eval",
    version: VERSION,
    model: path,
    task: name,
    compute: loaded.compute,
    ...(parts.length === 1 ? parts[0] : {
      metrics: meanAccuracy(parts),
      count: parts.reduce((sum, { count }) => sum + count, 0),
      groups: {
        sets: Object.fromEntries(
          Object.entries(results).map(([set, { metrics }]) => [set, metrics]),
        ),
      },
    }),
    seconds: (performance.now() - began) / 1000,
  };
  if (args.on("json")) print(JSON.stringify(report, null, 2));
  else printFitted(table(report, terminalWidth(Deno.stdout)));
  return 0;
}

/** The mean over data sets, as the papers give it. */
function meanAccuracy(parts: readonly TaskResult[]): Record<string, number> {
  const sum = parts.reduce((total, { metrics }) => total + metrics.accuracy, 0);
  const squares = parts.reduce(
    (total, { metrics }) => total + (metrics.accuracyStdErr ?? 0) ** 2,
    0,
  );
  return {
    accuracy: sum / parts.length,
    accuracyStdErr: Math.sqrt(squares) / parts.length,
  };
}

function table(
  { metrics, groups, count, compute, seconds }: EvalReport,
  width?: number,
): string {
  const line = (name: string, of: Readonly<Record<string, number>>) =>
    Object.entries(of).filter(([key]) => !/StdErr$|^count$/.test(key)).map(
      ([key, value]) => [
        name,
        key,
        value.toPrecision(5),
        `${key}StdErr` in of ? `± ${of[`${key}StdErr`].toPrecision(2)}` : "",
      ],
    );
  const rows = [
    ...Object.values(groups ?? {}).flatMap((group) =>
      Object.entries(group).flatMap(([name, of]) => line(name, of))
    ),
    ...line("", metrics),
  ];
  // Of one task alone there is no name to tell.
  const named = rows.some(([name]) => name !== "");
  const shown = named ? rows : rows.map((row) => row.slice(1));
  return `${columnsWithin(shown, [named ? 2 : 1], width)}\n${count} counted, ${
    seconds.toFixed(1)
  } s, ${compute === "int8" ? "integer arithmetic (int8)" : "f32 arithmetic"}`;
}
