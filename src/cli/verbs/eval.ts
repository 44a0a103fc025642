/**
 * `loqa eval`.
 *
 * @module
 */

import { TASKS, WINDOW } from "../../eval/open_task.ts";
import { type EvalReport, evaluate } from "../../eval/run.ts";
import { GLUE } from "../../eval/tasks/glue.ts";
import type { Args } from "../args.ts";
import { WRITING, writingOf } from "../beam_options.ts";
import { COMMON, COMPUTE } from "../common.ts";
import { openChosen, readDeviceOptions } from "../device.ts";
import { choice, integer, path } from "../options.ts";
import { print, printFitted } from "../output.ts";
import { notesTo, PLACE, readPlace } from "../place.ts";
import { Progress } from "../text/progress.ts";
import { columnsWithin } from "../text/tables.ts";
import { terminalWidth } from "../text/wrap.ts";
import { defineVerb, type Verb } from "../verb.ts";

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
    otherwise: `${WINDOW}, or the model's context`,
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
  run,
});

async function run(
  { positionals: [path], values }: Args<typeof OPTIONS>,
): Promise<number> {
  const { task, data, limit, batch, compute, overflow } = values;
  const { seqLen, stride, characters, shots, maxNewTokens } = values;
  using progress = new Progress({ quiet: values.quiet });
  const place = await readPlace(values);
  using device = await openChosen(
    readDeviceOptions(values, progress, { network: true }),
  );
  const report = await evaluate(path, {
    ...{ ...place, device, task, data, limit, batch, compute, overflow },
    ...{ stride, characters, shots, maxNewTokens },
    block: seqLen,
    glue: values.dataSet,
    writing: writingOf(values),
    onProgress: (done, text) => progress.update(done, text),
    ...notesTo(progress),
  });
  progress[Symbol.dispose]();
  if (values.json) print(JSON.stringify(report, null, 2));
  else printFitted(table(report, terminalWidth(Deno.stdout)));
  return 0;
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
