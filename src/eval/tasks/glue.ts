/**
 * GLUE: classification of sentences and pairs of sentences, and their similarity; each data set with its own figures
 * (Wang et al., GLUE, table 1).
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { ByteSource } from "../../io/files/bytes.ts";
import { recordError } from "../../data/records/record.ts";
import { Framer } from "../../data/frame.ts";
import type { PairCodec } from "../../data/frame.ts";
import {
  LABELLED_SETS,
  type LabelledSetName,
  readLabelledSet,
} from "../../data/tasks/glue.ts";
import type { LabelledText } from "../../data/tasks/labelled.ts";
import { labelReader } from "../../data/tasks/labels.ts";
import type { LabelReader } from "../../data/tasks/labels.ts";
import {
  accuracyOf,
  confusionOf,
  f1Of,
  matthewsOf,
} from "../metrics/classes.ts";
import { openCorrelations } from "../metrics/correlation.ts";
import { bestChoice } from "./choice.ts";
import { metric } from "./statistics.ts";
import { checkAnswers, requestAt } from "./task.ts";
import type { ClassifyTask, Metrics } from "./task.ts";

/** A data set of GLUE; `mnli-mm` are MNLI's questions from genres that its training set does not have. */
export type GlueName = Exclude<LabelledSetName, "anli"> | "mnli-mm";

/** Names of the file with published labels in a folder of each data set; the first that exists is read. */
export const GLUE_FILES: Readonly<Record<GlueName, readonly string[]>> = {
  cola: files("dev.tsv", "in_domain_dev.tsv", "validation"),
  sst2: files("dev.tsv", "validation"),
  mrpc: files("dev.tsv", "msr_paraphrase_test.txt", "validation"),
  stsb: files("dev.tsv", "validation"),
  qqp: files("dev.tsv", "validation"),
  mnli: files("dev_matched.tsv", "validation_matched"),
  "mnli-mm": files("dev_mismatched.tsv", "validation_mismatched"),
  qnli: files("dev.tsv", "validation"),
  rte: files("dev.tsv", "validation"),
};

function files(...names: string[]): string[] {
  return names.flatMap((name) =>
    name.includes(".") ? [name] : [
      `${name}.parquet`,
      `${name}-00000-of-00001.parquet`,
      `${name}.jsonl`,
      `${name}.json`,
    ]
  );
}

/** The names of {@linkcode GLUE_FILES}. */
export const GLUE: readonly GlueName[] = Object.keys(GLUE_FILES) as GlueName[];

/** Options of a classification task. */
export interface ClassifyTaskOptions {
  /** The tokenizer. */
  readonly encoder: PairCodec;
  /** Tokens of an input at most; longer ones lose their ends, the longer text first. */
  readonly contextLength: number;
  /** Treatment of longer inputs: cut, as is usual, or an error ("truncate"). */
  readonly overflow?: "truncate" | "error";
  /** Size of the model's vocabulary, against which the tokenizer's ids are checked. */
  readonly vocabSize?: number;
  /** Names of the model's classes, in its order (`id2label`); in the data set's order without it. */
  readonly labels?: readonly string[];
}

/** A classification task, with a count of truncated inputs. */
export interface LabelledTask extends ClassifyTask {
  /** Lines of a file that end early and were passed over (QQP's own file has some). */
  readonly skipped: number;
  /** Truncated inputs, of those requested so far. */
  readonly truncated: number;
}

/** Figures from the classes, or the numbers, that were wanted and found. */
type Figures = (wanted: readonly number[], found: readonly number[]) => Metrics;

/** A question with its answer read. */
interface Question extends LabelledText {
  readonly answer: number;
}

async function figuresOf(
  name: LabelledSetName,
  { count }: LabelReader,
): Promise<Figures> {
  if (name === "stsb") {
    const { pearson, spearman } = await openCorrelations();
    return (wanted, found) => ({
      ...metric("pearson", pearson(found, wanted)),
      ...metric("spearman", spearman(found, wanted)),
    });
  }
  return (wanted, found) => {
    const confusion = confusionOf(wanted, found, count);
    const accuracy = metric("accuracy", accuracyOf(confusion));
    if (name === "cola") {
      return { ...metric("matthews", matthewsOf(confusion)), ...accuracy };
    }
    return name === "mrpc" || name === "qqp"
      ? { ...accuracy, ...metric("f1", f1Of(confusion)) }
      : accuracy;
  };
}

/**
 * The task of the records in `sources`, of a data set of GLUE or of ANLI.
 *
 * Figures: `accuracy`; CoLA's `matthews`; MRPC's and QQP's `f1`; STS-B's `pearson` and `spearman`.
 *
 * @param name The data set.
 * @param called Name of the task; by default the data set's.
 * @throws {SyntaxError} At the first record that cannot be used; it names file and line.
 * @throws {RangeError} If there is none, or the model has another number of classes.
 * @throws {TypeError} If the model names its classes otherwise.
 */
export async function labelledTask(
  name: LabelledSetName,
  { sources, called = name, ...options }: ClassifyTaskOptions & {
    readonly sources: Iterable<ByteSource>;
    readonly called?: string;
  },
): Promise<LabelledTask> {
  const { encoder, contextLength, overflow = "truncate", vocabSize } = options;
  const labels = labelReader(LABELLED_SETS[name].labels, {
    what: called,
    model: options.labels,
  });
  const framer = new Framer(encoder, { vocabSize });
  const questions: Question[] = [];
  let skipped = 0;
  for (const source of sources) {
    const texts = readLabelledSet(name, source, { onShort: () => skipped++ });
    for await (const text of texts) {
      questions.push({ ...text, answer: labels.read(text.record, text.label) });
    }
  }
  if (questions.length === 0) {
    throw new ValueError(`Cannot ask ${called}: wanted records, got none`);
  }
  const figures = await figuresOf(name, labels);
  const truncated = new Set<number>();
  const task: LabelledTask = {
    kind: "classify",
    name: called,
    count: questions.length,
    labels: labels.count,
    skipped,
    get truncated() {
      return truncated.size;
    },
    request(index) {
      const question = requestAt(questions, index);
      const { length, ...input } = framer.fit(question, contextLength);
      if (length > contextLength) {
        if (overflow === "error") {
          throw recordError(
            question.record,
            `wanted at most ${contextLength} tokens, got ${length}`,
          );
        }
        truncated.add(index);
      }
      return input;
    },
    score(answers) {
      checkAnswers(task, answers);
      for (const answer of answers) {
        if (answer.length === labels.count) continue;
        throw new ValueError(
          `Cannot score ${called}: wanted ${labels.count} scores of an answer, got ${answer.length}`,
        );
      }
      const wanted = questions.slice(0, answers.length).map((q) => q.answer);
      // F1 is that of the data set's class 1, which may have another place in the model's order.
      const own = (label: number) => labels.order.indexOf(label);
      return {
        metrics: labels.regression
          ? figures(wanted, answers.map((answer) => answer[0]))
          : figures(wanted.map(own), answers.map((a) => own(bestChoice(a)))),
        count: answers.length,
      };
    },
  };
  return task;
}

/**
 * The task of a data set of GLUE from its files; see {@linkcode labelledTask}.
 *
 * @throws As {@linkcode labelledTask}.
 */
export async function glueTask(
  name: GlueName,
  options: ClassifyTaskOptions & { readonly sources: Iterable<ByteSource> },
): Promise<LabelledTask> {
  return await labelledTask(name === "mnli-mm" ? "mnli" : name, {
    ...options,
    called: name,
  });
}
