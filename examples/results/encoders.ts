/**
 * LoftQ's comparisons of the encoder and of the encoder-decoder at a size that a laptop can check: MiniLM on SST-2 and CoLA
 * (the shape of the paper's GLUE table), and a BART that turns words into sounds, from American to British pronunciation
 * (the shape of its table of summaries). Writes `encoders.md`, `encoders.svg` and `encoders.json` beside this file.
 *
 *     deno run -A examples/results/encoders.ts MINILM GLUE BART WORDS.json [--only "NAME;…"]
 *
 * GLUE: folder with `sst2` and `cola`. WORDS: a dictionary of British pronunciations. A run that was interrupted goes on
 * where it was: what is in `encoders.json` for the same settings is kept.
 */

import { parseArgs } from "node:util";
import { openChosen } from "../../src/cli/device.ts";
import { openTasks } from "../../src/eval/open_task.ts";
import { runTask } from "../../src/eval/run_task.ts";
import { init } from "../../src/init/run.ts";
import { openCheckpoint } from "../../src/io/open.ts";
import { checkpointTokenizer } from "../../src/io/open_tokenizer.ts";
import { labelNames } from "../../src/models/encoder/head_config.ts";
import { loadModel, writeOptions } from "../../src/models/load/load.ts";
import { Random } from "../../src/tensor/random.ts";
import {
  train,
  TRAIN_DEFAULTS,
  type TrainOptions,
} from "../../src/train/run.ts";
import { plot } from "./plot.ts";
import { here, markdown, Rows } from "./study.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string" },
    work: { type: "string", default: here("../../out/encoders") },
  },
});
const [minilm, glue, bart, dictionary] = positionals;
if (!dictionary) {
  console.error("wanted MINILM GLUE BART WORDS.json");
  Deno.exit(2);
}

/** Sizes that every row is made with. */
const SETTINGS = {
  sst2: { steps: 80, batch: 16, block: 48, learningRate: 1e-3, full: 2e-4 },
  cola: { steps: 800, batch: 16, block: 48, learningRate: 5e-4, full: 5e-5 },
  words: {
    ...{ steps: 600, batch: 32, block: 40, learningRate: 2e-3, full: 5e-4 },
    ...{ train: 8000, test: 1000 },
  },
  iterations: 5,
};

/** One row of a table. */
interface Row {
  readonly name: string;
  /** Before training, where the model can be asked then, and after. */
  readonly before?: Readonly<Record<string, number>>;
  readonly after: Readonly<Record<string, number>>;
  readonly losses: readonly number[];
}

type TaskKey = "sst2" | "cola" | "words";
type Start = "full" | "lora" | "qlora" | "loftq";

interface Way {
  readonly name: string;
  readonly task: TaskKey;
  readonly start: Start;
  readonly format?: "nf4" | "nf2" | "uniform2";
  readonly rank?: number;
}

const LABEL = {
  full: "full fine-tuning",
  lora: "LoRA",
  qlora: "QLoRA",
  loftq: "LoftQ",
};

function waysOf(
  task: TaskKey,
  formats: readonly NonNullable<Way["format"]>[],
  ranks: readonly number[],
): Way[] {
  const way = (rest: Omit<Way, "name" | "task">): Way => ({
    ...{ task, ...rest },
    name: [
      task,
      LABEL[rest.start],
      rest.format,
      rest.rank !== undefined && `r ${rest.rank}`,
    ].filter(Boolean).join(", "),
  });
  return [
    way({ start: "full" }),
    ...ranks.map((rank) => way({ start: "lora", rank })),
    ...formats.flatMap((format) =>
      ranks.flatMap((rank) =>
        (["qlora", "loftq"] as const).map((start) =>
          way({ start, format, rank })
        )
      )
    ),
  ];
}

const ways = [
  ...waysOf("words", ["nf4", "nf2"], [8, 16]),
  ...(["sst2", "cola"] as const).flatMap((task) =>
    waysOf(task, ["nf4", "uniform2", "nf2"], [16, 32])
  ),
];
const names = ways.map(({ name }) => name);

const rows = await Rows.open<Row>(here("encoders.json"), SETTINGS);
const only = values.only?.split(";");
using device = await openChosen({ name: "wasm" });
await Deno.mkdir(values.work, { recursive: true });
const words = await splitWords();

for (const way of ways) {
  if (rows.get(way.name)) continue;
  if (only && !only.some((part) => way.name.includes(part))) continue;
  console.error(`${way.name} …`);
  const row = await runWay(way);
  await rows.add(row, names);
  await writePage();
  console.error(`${way.name}: ${JSON.stringify(row.after)}`);
}
await writePage();

/** Writes the words to learn and those to ask, no word in both. */
async function splitWords(): Promise<{ train: string; test: string }> {
  const all = Object.entries(JSON.parse(await Deno.readTextFile(dictionary)))
    .flatMap(([word, value]): [string, string][] => {
      const sounds = typeof value === "string"
        ? value
        : (value as Record<string, string>).DEFAULT;
      // What the model has characters for, of its length.
      return /^[A-Za-z'-]{2,30}$/.test(word) && sounds && sounds.length < 36
        ? [[word, sounds]]
        : [];
    });
  const random = new Random(0, "words");
  for (let i = all.length - 1; i > 0; i--) {
    const j = random.uint32() % (i + 1);
    [all[i], all[j]] = [all[j], all[i]];
  }
  const { train, test } = SETTINGS.words;
  const write = async (name: string, some: typeof all): Promise<string> => {
    const path = `${values.work}/${name}.json`;
    await Deno.writeTextFile(path, JSON.stringify(Object.fromEntries(some)));
    return path;
  };
  return {
    train: await write("train", all.slice(0, train)),
    test: await write("test", all.slice(-test)),
  };
}

async function runWay(way: Way): Promise<Row> {
  const { name, task, start, format, rank = 16 } = way;
  const out = `${values.work}/${name.replaceAll(/[^\w]+/g, "-")}`;
  const model = task === "words" ? bart : minilm;
  const sizes = SETTINGS[task];
  if (format) {
    await using checkpoint = await openCheckpoint(model);
    await init(checkpoint, {
      ...{ format, rank, alpha: rank, seed: 0 },
      ...(start === "qlora"
        ? { method: "qlora" as const, iterations: 0 }
        : { method: "loftq" as const, iterations: SETTINGS.iterations }),
    }, { device, out, force: true });
  }
  const path = format ? out : model;
  const before = task === "words" ? await ask(way, path) : undefined;
  const options: Pick<TrainOptions, "method" | "task"> = {
    method: format ? "adapter" : start === "full" ? "full" : "lora",
    task: task === "words" ? "seq2seq" : "classify",
  };
  const { run } = await train({
    ...{ ...TRAIN_DEFAULTS, ...options, rank, alpha: rank },
    ...(task !== "words" && { dataSet: task }),
    ...{ steps: sizes.steps, batch: sizes.batch, block: sizes.block },
    schedule: "linear",
    warmup: 10,
    learningRate: start === "full" ? sizes.full : sizes.learningRate,
  }, {
    ...{ device, path, out },
    data: [task === "words" ? words.train : `${glue}/${task}/train.tsv`],
    ...{ saveEvery: sizes.steps, keep: 1, logEvery: 10 },
  });
  const losses = (await Deno.readTextFile(`${out}/runs/${run}/metrics.jsonl`))
    .trim()
    .split("\n").map((line) => Number(JSON.parse(line).loss.toFixed(4)));
  const after = await ask(way, out);
  await Deno.remove(out, { recursive: true });
  return { name, before, after, losses };
}

/** Figures of the model at `path` on its task. */
async function ask(
  { task: key }: Way,
  path: string,
): Promise<Record<string, number>> {
  await using loaded = await loadModel(device, path);
  const { model, checkpoint } = loaded;
  const tokenizer = await checkpointTokenizer(checkpoint);
  const writes = model.kind === "seq2seq";
  const target = writes
    ? await checkpointTokenizer(checkpoint, { side: "target" })
    : tokenizer;
  const [task] = await openTasks(
    key === "words" ? "g2p" : "glue",
    key === "words" ? words.test : `${glue}/${key}`,
    {
      tokenizer,
      ...{ context: model.config.maxLength, block: 512 },
      ...(key !== "words" && { glue: key }),
      labels: model.kind === "encoder" && model.head.kind === "classify"
        ? labelNames(checkpoint.config, model.head.labels)
        : undefined,
    },
  );
  const { metrics } = await runTask(model, task, {
    batch: 32,
    decode: (ids) => target.decode(ids, { skipSpecialTokens: true }),
    stop: [],
    ...(writes && {
      writing: { ...writeOptions(checkpoint), maxLength: 40 },
    }),
  });
  return metrics;
}

async function writePage(): Promise<void> {
  const done = names.flatMap((name) => rows.get(name) ?? []);
  if (done.length === 0) return;
  const of = (task: TaskKey) =>
    done.filter(({ name }) => name.startsWith(`${task}, `));
  const bare = (name: string) => name.slice(name.indexOf(", ") + 2);
  const percent = (x: number) => (100 * x).toFixed(1);
  const sounds = markdown([
    ["start", "exact before", "exact after", "error before", "error after"],
    ...of("words").map(({ name, before, after }) => [
      bare(name),
      percent(before!.exactMatch),
      percent(after.exactMatch),
      percent(before!.phonemeErrorRate),
      percent(after.phonemeErrorRate),
    ]),
  ]);
  const cola = new Map(of("cola").map((row) => [bare(row.name), row.after]));
  const answers = markdown([
    ["start", "SST-2 accuracy", "CoLA Matthews", "CoLA accuracy"],
    ...of("sst2").map(({ name, after }) => {
      const other = cola.get(bare(name));
      return [
        bare(name),
        percent(after.accuracy),
        other ? percent(other.matthews) : "-",
        other ? percent(other.accuracy) : "-",
      ];
    }),
  ]);
  await Deno.writeTextFile(
    here("encoders.svg"),
    plot(
      of("words").map(({ name, losses }) => ({
        name: bare(name),
        values: losses,
      })),
      { title: "Training loss of the words, by step", smooth: 20 },
    ),
  );
  const { sst2: g, cola: c, words: w, iterations } = SETTINGS;
  await Deno.writeTextFile(
    here("encoders.md"),
    `# An encoder and an encoder-decoder at 4 and 2 bits

All figures in percent. LoftQ: ${iterations} iterations; alpha equal to the rank; AdamW with 10
steps of warm-up, then linear to 0, clipping at 1; one run each, so that
differences of a point or two mean little.

## Words to sounds: a BART from American to British pronunciation

A BART of one layer a side, trained on American pronunciations, fine-tuned on
${w.train} British ones, ${w.steps} steps of ${w.batch} (learning rate ${w.learningRate}, all weights ${w.full}), and
asked ${w.test} words that it has not seen, greedily: words whose sounds are all right,
and edits for each sound. All linear layers of both sides are quantised.

${sounds}

![Training loss](encoders.svg)

## Sentences: all-MiniLM-L6-v2 on SST-2 and CoLA

${g.steps} steps of ${g.batch} sentences of up to ${g.block} tokens (learning rate ${g.learningRate}, all weights
${g.full}), of CoLA ${c.steps} (${c.learningRate}, ${c.full}), the classifier new and trained in full; asked
on the development sets. All linear layers of the encoder are quantised;
uniform2 is LoftQ's own uniform quantiser. A row that was not made is a dash.

${answers}

Made by \`encoders.ts\`; the figures of each step are in \`encoders.json\`.
`,
  );
}
