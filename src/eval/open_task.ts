/**
 * Tasks from the files that their authors publish.
 *
 * @module
 */

import { OptionError, ValueError } from "../errors.ts";
import {
  exists,
  fileSource,
  joinPath,
  kindOf,
  listFolder,
} from "../io/files/deno.ts";
import { IoError, quoted } from "../io/files/errors.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { tokenizeTexts } from "../data/tasks/lm.ts";
import { readRecords } from "../data/records/records.ts";
import type { DataRecord } from "../data/records/record.ts";
import {
  COMMONSENSE,
  type CommonsenseName,
  commonsenseTask,
} from "./tasks/commonsense.ts";
import { type Gsm8kProblem, gsm8kProblem, gsm8kTask } from "./tasks/gsm8k.ts";
import { type MmluQuestion, mmluQuestions, mmluTask } from "./tasks/mmlu.ts";
import { perplexityTask } from "./tasks/perplexity.ts";
import { ANLI_ROUNDS, anliFiles, anliTask } from "./tasks/anli.ts";
import { GLUE, GLUE_FILES, type GlueName, glueTask } from "./tasks/glue.ts";
import { SQUAD_FILES, squadTask } from "./tasks/squad.ts";
import { g2pTask, summarizeTask } from "./tasks/summarize.ts";
import type { Task } from "./tasks/task.ts";
import { pairsIn } from "../data/pair_files.ts";

/** Names of the tasks. */
export const TASKS = [
  "ppl",
  "gsm8k",
  "mmlu",
  "commonsense",
  "glue",
  "anli",
  "squad",
  "summarize",
  "g2p",
] as const;

/** Name of a task. */
export type TaskName = typeof TASKS[number];

/** Settings of tasks; each one's name says which it is for. */
export interface TaskSettings {
  /** Sequence length: tokens of a window (`ppl`); 1024, or the model's context if that is less, without it. */
  readonly block?: number;
  /** Stride from one window to the next, in tokens (`ppl`); windows on their own without it. */
  readonly stride?: number;
  /** Length of the text: only its first characters (`ppl`). */
  readonly characters?: number;
  /** Number of few-shot examples before a question (`mmlu`). */
  readonly shots?: number;
  /** Maximum number of generated tokens of an answer (`gsm8k`). */
  readonly maxNewTokens?: number;
  /** Data set (`glue`); by the path's own folders and file without it. */
  readonly glue?: GlueName;
  /** Treatment of inputs beyond the context (`glue`, `anli`, `summarize`, `g2p`): cut, as is usual, or an error. */
  readonly overflow?: "truncate" | "error";
}

/** Tokens of a window of perplexity at the most, unless told. */
export const WINDOW = 1024;

/** Options of opening a task: settings, and the model's side. */
export interface TaskOptions extends TaskSettings {
  readonly tokenizer: Tokenizer;
  /** The model's context. */
  readonly context: number;
  /** Names of the model's classes in its order (`glue`, `anli`). */
  readonly labels?: readonly string[];
  /** Size of the model's vocabulary, against which the tokenizer's ids are checked. */
  readonly vocabSize?: number;
}

/**
 * Opens a task over the data at `path`:
 *
 * - `ppl`: a text, or records with a field `text`;
 * - `gsm8k`: `test.jsonl`, or its folder;
 * - `mmlu`: a folder with `dev` and `test`, a CSV file a subject;
 * - `commonsense`: a folder named for its data set with `test.json`, such a file, or a folder of such folders;
 * - `glue`: a file of one of its data sets, or the folder of one, named for it;
 * - `anli`: the folder with `R1`, `R2` and `R3`;
 * - `squad`: its JSON file, or the folder of it;
 * - `summarize`, `g2p`: records of two texts; `FILE.source`, with `FILE.target` beside it; a dictionary of words.
 *
 * Resolves to several tasks where the data are several sets.
 *
 * @throws {IoError} If a file is not there.
 * @throws {SyntaxError} At the first record that cannot be used; it names file and line.
 */
export async function openTasks(
  name: TaskName,
  path: string,
  options: TaskOptions,
): Promise<Task[]> {
  const { tokenizer: encoder, context: contextLength } = options;
  switch (name) {
    case "ppl": {
      const { block = Math.min(WINDOW, contextLength), stride } = options;
      if (block > contextLength) {
        throw new OptionError(
          `Cannot measure perplexity in windows of ${block} tokens: the model's context is ${contextLength}`,
        );
      }
      const tokens = await readTokens(path, options);
      return [perplexityTask(tokens, { block, stride, name: quoted(path) })];
    }
    case "gsm8k": {
      const file = await fileIn(path, "test.jsonl");
      const problems: Gsm8kProblem[] = [];
      for await (const record of recordsOf(file)) {
        problems.push(gsm8kProblem(record));
      }
      const { maxNewTokens } = options;
      return [gsm8kTask(problems, { encoder, maxNewTokens })];
    }
    case "mmlu": {
      const subjects = await readSubjects(path);
      const { shots } = options;
      return [mmluTask(subjects, { encoder, contextLength, shots })];
    }
    case "commonsense": {
      const tasks = [];
      for (const { set, file } of await commonsenseFiles(path)) {
        const records = recordsOf(file);
        tasks.push(
          await commonsenseTask(set, { records, encoder, contextLength }),
        );
      }
      return tasks;
    }
    case "glue": {
      const set = options.glue ?? glueOf(path);
      const file = await firstFile(path, GLUE_FILES[set]);
      await using source = await fileSource(file);
      return [
        await glueTask(set, { ...classes(options), sources: [source] }),
      ];
    }
    case "anli": {
      const tasks = [];
      for (const round of ANLI_ROUNDS) {
        const file = await firstFile(path, anliFiles(round));
        await using source = await fileSource(file);
        tasks.push(
          await anliTask(round, { ...classes(options), sources: [source] }),
        );
      }
      return tasks;
    }
    case "squad": {
      const file = await firstFile(path, SQUAD_FILES);
      await using source = await fileSource(file);
      const { vocabSize } = options;
      return [
        await squadTask({
          ...{ encoder, vocabSize },
          sources: [source],
          contextLength: Math.min(384, contextLength),
        }),
      ];
    }
    case "summarize":
    case "g2p": {
      const open = name === "g2p" ? g2pTask : summarizeTask;
      const { vocabSize, overflow } = options;
      const pairs = pairsIn(path);
      return [
        await open({ pairs, encoder, contextLength, vocabSize, overflow }),
      ];
    }
  }
}

/** Options of classification tasks. */
function classes(
  { tokenizer, context, labels, vocabSize, overflow }: TaskOptions,
) {
  return {
    encoder: tokenizer,
    contextLength: context,
    ...{ labels, vocabSize, overflow },
  };
}

/** Name of the data set, by folders and files: `glue/sst2/dev.tsv`, `MNLI`. */
function glueOf(path: string): GlueName {
  const parts = path.toLowerCase().replaceAll(/[^a-z0-9/\\]/g, "")
    .split(/[\\/]/).reverse();
  const found = GLUE.find((set) =>
    parts.some((part) => part.startsWith(set.replace("-", "")))
  );
  if (found) return found;
  throw new ValueError(
    `Cannot find the data set of ${path}: wanted one of ${
      GLUE.join(", ")
    } in its name, or by its own option`,
  );
}

/** A file, or the first of `names` that is in a folder. */
async function firstFile(
  path: string,
  names: readonly string[],
): Promise<string> {
  if (await kindOf(path) !== "folder") return path;
  for (const name of names) {
    const file = joinPath(path, name);
    if (await exists(file)) return file;
  }
  throw new IoError(
    `Cannot find data in ${path}: wanted ${names.join(", ")}`,
    path,
  );
}

async function* recordsOf(
  file: string,
  options: { header?: boolean } = {},
): AsyncGenerator<DataRecord> {
  await using source = await fileSource(file);
  yield* readRecords(source, options);
}

async function readTokens(
  path: string,
  { tokenizer, characters }: TaskOptions,
): Promise<Int32Array> {
  await using source = await fileSource(path);
  const records = readRecords(source, { unit: "file" });
  const cut = async function* (): AsyncGenerator<DataRecord> {
    let left = characters ?? Infinity;
    for await (const record of records) {
      const { text } = record.fields;
      if (left === Infinity || typeof text !== "string") {
        yield record;
        continue;
      }
      const kept = [...text.slice(0, 2 * left)].slice(0, left);
      yield { ...record, fields: { ...record.fields, text: kept.join("") } };
      left -= kept.length;
      if (left <= 0) return;
    }
  };
  return (await tokenizeTexts(cut(), { codec: tokenizer })).tokens;
}

async function fileIn(path: string, name: string): Promise<string> {
  return await kindOf(path) === "folder" ? joinPath(path, name) : path;
}

async function readSubjects(path: string): Promise<
  { name: string; dev: MmluQuestion[]; test: MmluQuestion[] }[]
> {
  const test = joinPath(path, "test");
  const names = (await listFolder(test)).flatMap(({ name }) =>
    name.endsWith("_test.csv") ? [name.slice(0, -"_test.csv".length)] : []
  ).sort();
  if (names.length === 0) {
    throw new IoError(
      `Cannot read MMLU from ${path}: its folder test has no SUBJECT_test.csv`,
      test,
    );
  }
  const read = (folder: string, name: string) =>
    mmluQuestions(
      recordsOf(joinPath(joinPath(path, folder), `${name}_${folder}.csv`), {
        header: false,
      }),
    );
  const subjects = [];
  for (const name of names) {
    subjects.push({
      name,
      dev: await read("dev", name),
      test: await read("test", name),
    });
  }
  return subjects;
}

/** Folders are named as their publishers do: `ARC-Challenge`, `boolq`. */
function setOf(path: string): CommonsenseName | undefined {
  const parts = path.toLowerCase().split(/[\\/]/).reverse();
  return COMMONSENSE.find((set) => parts.includes(set.toLowerCase()));
}

async function commonsenseFiles(
  path: string,
): Promise<{ set: CommonsenseName; file: string }[]> {
  const set = setOf(path);
  if (set) return [{ set, file: await fileIn(path, "test.json") }];
  const found = [];
  if (await kindOf(path) === "folder") {
    for (const { name } of await listFolder(path)) {
      const inner = setOf(name);
      const file = joinPath(joinPath(path, name), "test.json");
      if (inner && await exists(file)) found.push({ set: inner, file });
    }
  }
  if (found.length > 0) {
    return found.sort((a, b) => a.file < b.file ? -1 : 1);
  }
  throw new IoError(
    `Cannot read commonsense questions from ${path}: wanted a folder named ${
      COMMONSENSE.join(", ")
    }, or one with such folders`,
    path,
  );
}
