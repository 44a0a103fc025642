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
import { COMMON, COMPUTE } from "../common.ts";
import { choice, integer, path, UsageError, type Values } from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { computeHasEffect, openChosen, readDeviceOptions } from "../device.ts";
import { readWriting, refuseWriting, WRITING } from "../beam_options.ts";
import { PLACE, readPlace, tellNotes } from "../place.ts";
import { Progress } from "../text/progress.ts";
import { columnsWithin } from "../text/tables.ts";
import { print, printFitted } from "../output.ts";
import { terminalWidth } from "../text/wrap.ts";

const OPTIONS = {
  task: choice(TASKS, { needed: true, help: "task" }),
  data: path({
    value: "PATH",
    needed: true,
    help: "the task's data, as published",
  }),
  limit: integer({
    least: 1,
    otherwise: "all",
    help:
      "number of examples (windows for ppl) at the most: of several sets or subjects as many of each",
  }),
  batch: integer({
    least: 1,
    default: 8,
    help: "batch size: examples run together",
  }),
  "seq-len": integer({
    also: ["block"],
    when: { task: ["ppl"] },
    least: 2,
    otherwise: "1024, or the model's context",
    help: "sequence length: tokens of a window",
  }),
  stride: integer({
    when: { task: ["ppl"] },
    least: 1,
    otherwise: "--seq-len, each window on its own",
    help: "stride from one window to the next, in tokens",
  }),
  characters: integer({
    when: { task: ["ppl"] },
    least: 1,
    otherwise: "all",
    help: "length of the text: only its first N characters",
  }),
  shots: integer({
    when: { task: ["mmlu"] },
    least: 0,
    default: 5,
    help: "number of few-shot examples",
  }),
  "max-new-tokens": integer({
    when: { task: ["gsm8k"] },
    least: 1,
    default: 256,
    help: "maximum number of generated tokens",
  }),
  "data-set": choice(GLUE, {
    also: ["glue-task"],
    when: { task: ["glue"] },
    otherwise: "by the path",
    help: "data set",
  }),
  overflow: choice(["truncate", "error"], {
    when: { task: ["glue", "anli", "summarize", "g2p"] },
    default: "truncate",
    help: "inputs longer than the model's context",
  }),
  ...WRITING,
  ...PLACE,
  compute: COMPUTE,
  ...COMMON,
};

/** `loqa eval`. */
export const verb: Verb = defineVerb({
  name: "eval",
  takes: "DIR",
  about:
    "DIR is a folder that loqa wrote, a run or a checkpoint in it (DIR/runs/2), an adapter, or a model.",
  examples: [
    "loqa eval smol-nf4 --task ppl --data wikitext2-test.txt --seq-len 512 --limit 8",
    "loqa eval smol-nf4 --task gsm8k --data gsm8k/test.jsonl --limit 100",
    "loqa eval smol-nf4 --task mmlu --data mmlu --json",
    "loqa eval minilm-sst2 --task glue --data glue/sst2",
    "loqa eval bart-xsum --task summarize --data test.jsonl --beams 6",
  ],
  options: OPTIONS,
  run: ({ positionals: [path], values }) => evaluate(path, values),
});

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

async function evaluate(
  path: string,
  values: Values<typeof OPTIONS>,
): Promise<number> {
  const { task: name, data, limit, batch, compute } = values;
  const { stride, characters, shots, maxNewTokens } = values;
  const began = performance.now();
  using progress = new Progress({ quiet: values.quiet });
  const devices = readDeviceOptions(values, progress, { network: true });
  await using opened = await openModel(path, await readPlace(values));
  tellNotes(opened.place, progress);
  // Tokenizer, data and options are looked at before the weights are read.
  const { checkpoint, head } = opened;
  const tokenizer = await checkpointTokenizer(checkpoint);
  const { maxLength: context, vocabSize } = opened.config;
  const writes = opened.kind === "seq2seq";
  if (!writes) refuseWriting(values, path);
  const decoder = writes
    ? await checkpointTokenizer(checkpoint, { side: "target" })
    : tokenizer;
  const tasks = await openTasks(name, data, {
    tokenizer,
    context,
    block: blockWithin(values.seqLen, context),
    ...{ stride, characters, shots, maxNewTokens },
    glue: values.dataSet,
    overflow: values.overflow,
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
  const writing = writes ? await readWriting(values, checkpoint) : undefined;
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
  if (values.json) print(JSON.stringify(report, null, 2));
  else printFitted(table(report, terminalWidth(Deno.stdout)));
  return 0;
}

/** Tokens of a window. @throws {UsageError} If the model sees fewer together. */
function blockWithin(given: number | undefined, context: number): number {
  if (given === undefined) return Math.min(1024, context);
  if (given <= context) return given;
  throw new UsageError(
    `--seq-len must be a whole number from 2 to ${context}, the model's context, got ${given}`,
  );
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
