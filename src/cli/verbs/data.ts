/**
 * `loqa data`.
 *
 * @module
 */

import { isMeant } from "../../errors.ts";
import { fileSource } from "../../io/files/deno.ts";
import { messageOf } from "../../io/files/errors.ts";
import { openCheckpoint } from "../../io/open.ts";
import { type DataRecord, placeOf } from "../../data/records/record.ts";
import { readRecords } from "../../data/records/records.ts";
import { checkpointTokenizer } from "../../io/open_tokenizer.ts";
import type { Tokenizer } from "../../io/tokenizer/tokenizer.ts";
import { familyOf } from "../../models/families.ts";
import { IGNORED } from "../../data/example.ts";
import { OVERFLOWS } from "../../data/list.ts";
import {
  type LabelledExample,
  LEARNS,
  RecordReader,
} from "../../data/tasks/sft.ts";
import { TEMPLATES } from "../../data/tasks/templates.ts";
import { TRAIN_DEFAULTS } from "../../train/options.ts";
import { startPlace } from "../../train/output.ts";
import { VERSION } from "../../version.ts";
import { PLAIN } from "../common.ts";
import { choice, flag, integer, path, type Values } from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { type DataReport, DataTally } from "../data_tally.ts";
import { print } from "../output.ts";
import { Progress } from "../text/progress.ts";
import { type Run, shortened, shown, tallyText } from "../text/data.ts";
import { terminalWidth } from "../text/wrap.ts";

const OPTIONS = {
  model: path({
    value: "DIR",
    needed: true,
    help: "the model that would be trained, for its tokenizer",
  }),
  template: choice(TEMPLATES, {
    otherwise: "by the fields",
    help: "prompt template of a record",
  }),
  learn: choice(LEARNS, {
    default: "all",
    help: "answers of a conversation that are trained on",
  }),
  "seq-len": integer({
    also: ["block"],
    least: 2,
    otherwise: `${TRAIN_DEFAULTS.block}, or the model's context`,
    help: "maximum sequence length, in tokens",
  }),
  overflow: choice(OVERFLOWS, {
    default: "drop",
    help: "examples longer than --seq-len",
  }),
  show: integer({ least: 0, default: 3, help: "number of records to print" }),
  ids: flag({ help: "print their token ids too" }),
  ...PLAIN,
};

/** `loqa data`. */
export const verb: Verb = defineVerb({
  name: "data",
  takes: "FILE…",
  about: `
FILE is a file of conversations or of prompts and answers, as train --task sft takes it; DIR a model, or a folder that loqa wrote.
The first records are shown as the model sees them, tokens with a loss (learnt) in colour on a terminal (which gets beginning
and end of long ones) and between ⟦ and ⟧ elsewhere; then all are counted: tokens, the share that is learnt, lengths, examples
dropped, truncated or refused, and why.
`,
  examples: [
    "loqa data train.jsonl --model smol-nf4",
    "loqa data train.jsonl --model smol-nf4 --learn last --seq-len 1024 --show 1 --ids",
  ],
  options: OPTIONS,
  run: ({ positionals, values }) => showData(positionals, values),
});

async function showData(
  files: readonly string[],
  { model: path, template, learn, overflow, ...values }: Values<typeof OPTIONS>,
): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const sources = [];
  for (const file of files) sources.push(stack.use(await fileSource(file)));
  const place = await startPlace(path, { path, model: undefined });
  await using checkpoint = await openCheckpoint(place.model);
  const codec = await checkpointTokenizer(checkpoint);
  const block = values.seqLen ??
    Math.min(TRAIN_DEFAULTS.block, contextOf(checkpoint) ?? Infinity);
  const reader = new RecordReader({ codec, template, learn });
  const tally = new DataTally({ block, overflow });
  using progress = new Progress({ quiet: values.quiet });
  const look = {
    width: terminalWidth(Deno.stdout),
    colour: terminalWidth(Deno.stdout) !== undefined && !Deno.noColor,
    ids: values.ids,
  };
  let left = values.json ? 0 : values.show;
  for (const source of sources) {
    const fail = (error: unknown) => {
      if (!isMeant(error)) throw error;
      tally.refuse(messageOf(error));
    };
    try {
      const records = readRecords(source, { onBad: fail });
      for await (const record of records) {
        const examples: LabelledExample[] = [];
        try {
          for (const example of reader.examples(record)) {
            examples.push(example);
          }
        } catch (error) {
          fail(error);
          continue;
        }
        tally.add(record, examples);
        if (left > 0) {
          left--;
          progress[Symbol.dispose]();
          print(textOf(record, examples, { codec, ...look }));
        }
        if (tally.records % 1000 === 0) {
          progress.update(0, `${tally.records} records`);
        }
      }
    } catch (error) {
      // The rest of such a file cannot be read.
      fail(error);
    }
  }
  progress[Symbol.dispose]();
  const report: DataReport = tally.report(reader.notes);
  print(
    values.json
      ? JSON.stringify(
        { verb: "data", version: VERSION, files, model: path, ...report },
        null,
        2,
      )
      : tallyText(report, look.width),
  );
  return 0;
}

/** Tokens that a model may see together, where it is one that can be trained. */
function contextOf(
  checkpoint: Parameters<typeof familyOf>[0],
): number | undefined {
  try {
    return familyOf(checkpoint).config(checkpoint).maxLength;
  } catch (error) {
    if (isMeant(error)) return undefined;
    throw error;
  }
}

/** Characters of a text that are shown on a terminal. */
const MOST_SHOWN = 5000;

/** The examples of a record for a person. */
function textOf(
  record: DataRecord,
  examples: readonly LabelledExample[],
  { codec, width, colour, ids }: {
    codec: Tokenizer;
    width: number | undefined;
    colour: boolean;
    ids: boolean;
  },
): string {
  return examples.map((example, i) => {
    const place = placeOf(record);
    const head = examples.length === 1
      ? place
      : `${place}, answer ${i + 1} of ${examples.length}`;
    const parts: Run[] = example.filled.segments.map(({ text, learnt }) => ({
      text,
      learnt,
    }));
    const { tokens, labels } = example;
    const end = tokens.at(-1);
    const { addEnd, complete } = example.filled;
    if ((addEnd ?? !complete) && end !== undefined && end === codec.eosId) {
      parts.push({ text: codec.tokenOf(end) ?? "", learnt: true });
    }
    const show = (runs: readonly Run[]) =>
      shown(width === undefined ? runs : shortened(runs, MOST_SHOWN), {
        width,
        colour,
      });
    const lines = [head, show(parts)];
    if (ids) {
      const each = Array.from(tokens).flatMap((id, t): Run[] => {
        const learnt = labels[t] !== IGNORED;
        const joined = learnt && t > 0 && labels[t - 1] !== IGNORED;
        return [
          { text: t === 0 ? "" : " ", learnt: joined },
          { text: `${id}`, learnt },
        ];
      });
      lines.push(show(each));
    }
    return lines.join("\n") + "\n";
  }).join("\n");
}
