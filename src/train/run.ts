/**
 * `loqa train`: a training from files to files, which can be interrupted and resumed.
 *
 * @module
 */

import { checkCounts, checkOptions } from "../arguments.ts";
import { KindError, ValueError } from "../errors.ts";
import {
  absolutePath,
  joinPath,
  listFolder,
  makeFolder,
  peakMemory,
  remove,
} from "../io/files/deno.ts";
import { fingerprint } from "../io/checkpoint/fingerprint.ts";
import type { JsonObject } from "../io/files/json.ts";
import { type Lock, lockFolder } from "../io/output/lock.ts";
import { fileMarks } from "../io/output/marks.ts";
import { replaceFolder } from "../io/output/replace.ts";
import { openCheckpoint } from "../io/open.ts";
import { checkpointTokenizer } from "../io/open_tokenizer.ts";
import { familyOf } from "../models/families.ts";
import {
  findUnfinished,
  type FoundRun,
  readReport,
  runFolder,
  START_RUN,
} from "../models/load/runs.ts";
import { VERSION } from "../version.ts";
import { planSteps } from "./steps.ts";
import { type OpenedExamples, openExamples } from "./examples.ts";
import {
  TRAIN_DEFAULTS,
  TRAIN_OPTIONS,
  TRAIN_RUN,
  type TrainOptions,
  type TrainReport,
  type TrainRequest,
  type TrainRun,
  writes,
} from "./options.ts";
import {
  keepStart,
  modelEntries,
  nextRun,
  prepareOut,
  publish,
  resultName,
  startPath,
  startPlace,
  storedStart,
  writeReport,
} from "./output.ts";
import {
  chooseRun,
  type DataRecord,
  differences,
  recordKey,
  refuseResume,
  resumedSteps,
  type RunRecord,
} from "./record.ts";
import { findSubject, type FoundSubject, type Subject } from "./trainable.ts";
import { guessing } from "./warnings.ts";
import { TrainingLoop } from "./work.ts";

export { TRAIN_DEFAULTS, TRAIN_TASKS } from "./options.ts";
export { METRICS_FILE } from "./output.ts";
export type {
  TrainOptions,
  TrainReport,
  TrainRequest,
  TrainRun,
  TrainTask,
} from "./options.ts";
export type { LabelledSetName } from "../data/tasks/glue.ts";
export type { TrainedBiases } from "../io/peft/whole.ts";
export { readExamples } from "../data/tasks/sft.ts";
export type {
  RecordOptions,
  RecordsSource,
  SftOptions,
} from "../data/tasks/sft.ts";
export type {
  AnyExample,
  ClassExample,
  Example,
  ExampleSet,
  PairExample,
  SpanExample,
} from "../data/example.ts";
export type {
  ChatOptions,
  ChatRecord,
  ChatTemplate,
  RenderedChat,
  TokenOffsets,
} from "../io/tokenizer/tokenizer.ts";
export type { ByteSource } from "../io/files/bytes.ts";
export type { Learn } from "../data/chat/labels.ts";
export type { TextCodec } from "../data/codec.ts";
export type { ListedSet } from "../data/list.ts";
export type { OrderKind } from "./order.ts";
export type { DataRecord as FileRecord } from "../data/records/record.ts";
export type { Overflow } from "../data/list.ts";
export type { TemplateName } from "../data/tasks/templates.ts";
export type { ScheduleName } from "./step/schedule.ts";
export type { TextUnit } from "../data/records/records.ts";

/** The opened files of a training. */
interface Opened {
  readonly found: FoundSubject;
  readonly data: OpenedExamples;
  readonly evaluation?: OpenedExamples;
  /** Starting point of the training. */
  readonly from: string;
  /** The run to resume. */
  readonly chosen?: FoundRun;
  readonly record: RunRecord;
}

/** @throws {TypeError | RangeError} If a program without types passes wrong options. */
function checkCall(options: TrainRequest, run: TrainRun): void {
  checkOptions("train", options, TRAIN_OPTIONS);
  checkOptions("train", run, TRAIN_RUN);
  const { data, evaluation = [], saveEvery, keep, logEvery, evaluateEvery } =
    run;
  for (const [name, paths] of Object.entries({ data, evaluation })) {
    if (!Array.isArray(paths) || paths.some((p) => typeof p !== "string")) {
      throw new KindError(`Cannot train: ${name} must be a list of paths`);
    }
  }
  checkCounts("train", { saveEvery, keep, logEvery, evaluateEvery });
}

/**
 * Trains, and writes into a run of `run.out` (`runs/1`, `runs/2`, …): `metrics.jsonl`, `checkpoints`, `loqa.json`, and at
 * the end `adapter` (or `backbone`, for a full training), which then stands in `run.out` too. The content of `run.out`
 * before the first run is retained as `runs/0`.
 *
 * @throws {RangeError} If the loss is not finite, or several steps learn nothing any more; the message names the step and
 * the last good checkpoint. If the run to resume had other options, data or another model; the message names them.
 * @throws {IoError} If another training writes into the folder.
 * @throws {DOMException} `AbortError` if the signal came; a checkpoint was written, the run can be resumed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openDevice } from "@loqa/loqa";
 * import { openCheckpoint } from "@loqa/loqa/files";
 * import { init } from "@loqa/loqa/init";
 * import { train, TRAIN_DEFAULTS } from "@loqa/loqa/train";
 *
 * using device = await openDevice("wasm");
 * await using checkpoint = await openCheckpoint("examples/model");
 * const out = `${await Deno.makeTempDir()}/small`;
 * await init(checkpoint, {
 *   method: "qlora",
 *   format: "nf4",
 *   rank: 4,
 *   alpha: 4,
 *   iterations: 0,
 *   seed: 0,
 * }, { device, out });
 * const { steps } = await train({
 *   ...TRAIN_DEFAULTS,
 *   method: "adapter",
 *   steps: 2,
 *   block: 32,
 * }, {
 *   device,
 *   path: out,
 *   out,
 *   data: ["examples/model/train-sample.txt"],
 *   saveEvery: 2,
 *   keep: 1,
 *   logEvery: 1,
 * });
 * assert.equal(steps, 2);
 * ```
 */
export async function train(
  request: TrainRequest,
  run: TrainRun,
): Promise<TrainReport> {
  const began = performance.now();
  checkCall(request, run);
  const { device, out } = run;
  let from = await startPath(run);
  let place = await startPlace(from, run);
  await using file = await openCheckpoint(place.model);
  const options: TrainOptions = {
    ...request,
    block: request.block ??
      Math.min(TRAIN_DEFAULTS.block, familyOf(file).config(file).maxLength),
  };
  const chosen = run.resume ? await chooseRun(out, options) : undefined;
  if (chosen) {
    from = await startPath(run, chosen);
    place = await startPlace(from, run);
  }
  await using found = await findSubject(place, {
    ...{ options, file },
    path: run.path,
    data: run.data,
  });
  const { checkpoint, head } = found;
  const { maxLength, vocabSize } = familyOf(checkpoint).config(checkpoint);
  const codecs = {
    codec: run.codec ?? await checkpointTokenizer(checkpoint),
    // A model of characters has its own tokens for the targets.
    targetCodec: run.codec || options.task !== "seq2seq"
      ? undefined
      : await checkpointTokenizer(checkpoint, { side: "target" }),
    vocabSize: options.task === "lm" || options.task === "sft"
      ? undefined
      : vocabSize,
    labels: head?.labels,
  };
  const { codec } = codecs;
  if (options.block > maxLength) {
    throw new ValueError(
      `Cannot train on sequences of ${options.block} tokens: the model's context is ${maxLength}`,
    );
  }
  const data = await openExamples(run.data, options, codecs);
  for (const note of data.notes ?? []) run.onNote?.(note);
  const evaluation = run.evaluation?.length
    ? await openExamples(run.evaluation, options, {
      ...codecs,
      evaluation: true,
    })
    : undefined;
  const { steps: planned } = planSteps({
    examples: data.order.draws ?? data.set.size,
    batch: options.batch,
    accumulation: options.accumulation,
    steps: options.steps,
    epochs: options.epochs ?? (options.steps === undefined ? 1 : undefined),
  });
  const record: RunRecord = {
    version: VERSION,
    options,
    device: device.name,
    threads: device.threads,
    fingerprint: await fingerprint(found.file),
    weights: await fileMarks(found.file.name),
    data: dataRecord(run.data, data),
    ...(evaluation && {
      evaluation: dataRecord(run.evaluation!, evaluation),
    }),
    steps: chosen ? resumedSteps(chosen, options, planned) : planned,
  };
  if (chosen) {
    const reasons = differences(chosen.report, record);
    if (reasons.length > 0) refuseResume(chosen.path, reasons);
  }
  // Only now: the memory of reading the texts is free again.
  await using subject = await found.load(device, run.onProgress);
  const made = await prepareOut(out, place, options);
  let lock: Lock;
  try {
    lock = await lockFolder(out, "train");
  } catch (error) {
    if (made && (await listFolder(out)).length === 0) await remove(out);
    throw error;
  }
  await using _lock = lock;
  const opened = { found, data, evaluation, from, chosen, record };
  const { folder, number, entries } = await openRun(opened, run);
  const work = new TrainingLoop({
    ...{ folder, subject, options, run, data, evaluation },
    steps: record.steps,
    key: await recordKey(record),
    vocabSize,
    // Padding counts for nothing, but must be a token: one that was added to the tokenizer alone is none of the model's.
    padId: [codec.padId, codec.eosId].find((id) =>
      id !== undefined && id < subject.model.config.vocabSize
    ) ?? 0,
  });
  using _ = work;
  await work.begin();
  await writeReport(folder, entries);
  const last = await work.go();
  return await finish({
    ...{ found, subject, options, run, work, last, began, vocabSize },
    ...{ folder, number, entries },
  });
}

function dataRecord(
  files: readonly string[],
  { set, digest }: OpenedExamples,
): DataRecord {
  return { files: files.map(absolutePath), examples: set.size, digest };
}

/** The folder of the run, new or resumed, and the entries of its loqa.json. The folder is locked. */
async function openRun(
  { found: { place, head, file }, from, chosen, record }: Opened,
  { path, out, from: wanted, onNote }: TrainRun,
): Promise<{ folder: string; number: number; entries: JsonObject }> {
  await keepStart(out);
  const number = chosen?.number ?? await nextRun(out);
  const unfinished = chosen
    ? undefined
    : await findUnfinished(out, await readReport(out));
  if (unfinished) {
    const { run, step, steps } = unfinished;
    onNote?.(
      `${
        run === undefined ? "the training before" : `run ${run}`
      } of ${out} is unfinished, saved at step ${step}${
        steps === undefined ? "" : ` of ${steps}`
      }, and stays; --resume continues it`,
    );
  }
  const folder = runFolder(out, number);
  await makeFolder(folder);
  if (chosen && chosen.steps !== record.steps) {
    onNote?.(
      `run ${number} is extended from ${chosen.steps} to ${record.steps} steps; the learning rate follows the schedule of ${record.steps}`,
    );
  }
  // The first run of a folder starts from the content before it, now in runs/0.
  const start = absolutePath(from) === absolutePath(out)
    ? runFolder(out, START_RUN)
    : from;
  const starts = storedStart(start, folder, out);
  if (!chosen && number > START_RUN + 1 && wanted === undefined) {
    onNote?.(
      `run ${number} of ${out} starts from ${
        absolutePath(path) === absolutePath(out)
          ? starts === `../${START_RUN}`
            ? "what was there before the first (runs/0)"
            : `run ${starts.slice(3)}`
          : path
      }; --from N starts from another run`,
    );
  }
  const entries = {
    verb: "train",
    run: number,
    ...await modelEntries(place, {
      ...{ at: folder, home: out },
      weights: file.name,
    }),
    ...(head && { head: head.info }),
    from: starts,
    ...record,
    // The result that there is stays until there is another.
    ...(chosen?.report.train !== undefined && { train: chosen.report.train }),
  };
  return { folder, number, entries };
}

async function finish(
  {
    found: { place, head, file },
    subject,
    options,
    run,
    work,
    last,
    began,
    vocabSize,
    folder,
    number,
    entries,
  }: {
    found: FoundSubject;
    subject: Subject;
    options: TrainOptions;
    run: TrainRun;
    work: TrainingLoop;
    /** Folder of the last checkpoint. */
    last: string;
    began: number;
    vocabSize: number;
    /** Folder of the run. */
    folder: string;
    number: number;
    /** Contents of its loqa.json so far. */
    entries: JsonObject;
  },
): Promise<TrainReport> {
  const { state } = work;
  const name = resultName(options);
  const partial = joinPath(folder, `${name}.partial`);
  await remove(partial);
  await subject.write(partial);
  await replaceFolder(partial, joinPath(folder, name));
  const tail = state.losses.slice(-Math.ceil(state.losses.length / 10));
  const loss = tail.reduce((a, b) => a + b, 0) / tail.length;
  const warnings = [
    ...work.gradients.warnings,
    ...writes(options) ? guessing(loss, vocabSize) : [],
  ];
  const [, before, accuracyBefore] = state.evaluations[0] ?? [];
  const [, after, accuracyAfter] = state.evaluations.at(-1) ?? [];
  const report: TrainReport = {
    verb: "train",
    version: VERSION,
    out: run.out,
    run: number,
    method: options.method,
    steps: state.step,
    loss,
    ...(before !== undefined && after !== undefined && {
      evaluation: {
        before,
        after,
        ...(writes(options) && {
          perplexityBefore: Math.exp(before),
          perplexityAfter: Math.exp(after),
        }),
        ...(accuracyAfter !== undefined && { accuracyBefore, accuracyAfter }),
      },
    }),
    tokensPerSecond: state.tokens / state.seconds,
    trainableParameters: subject.parameters.count,
    seconds: (performance.now() - began) / 1000,
    peakBytes: peakMemory(),
    checkpoint: last,
    ...(warnings.length > 0 && { warnings }),
  };
  const train = { ...report, options };
  await publish(run.out, folder, {
    ...{ place, options, train, weights: file.name },
    head: head && { ...head.info },
  });
  // Last: until here the run counts as one that has not ended, and --resume puts it in its place.
  await writeReport(folder, { ...entries, train: report });
  for (const line of warnings) run.onWarning?.(line);
  return report;
}
