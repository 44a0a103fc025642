/**
 * `loqa init`: streams a checkpoint through LoftQ or QA-LoRA into a backbone and a PEFT adapter.
 *
 * Tensors go one by one from the source to the files; one weight and its workspace are in memory at any time. All is
 * written into `OUT.partial`, from where it takes its place at `OUT` when it is whole.
 *
 * @module
 */

import { checkOptions, describe } from "../arguments.ts";
import { KindError, ValueError } from "../errors.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { brokenSideFiles, checkSideFiles } from "../io/safetensors/copy.ts";
import {
  absolutePath,
  exists,
  fileSink,
  fileSize,
  joinPath,
  makeFolder,
  partPath,
  peakMemory,
  rename,
} from "../io/files/deno.ts";
import { digest } from "../io/files/digest.ts";
import {
  type Fingerprints,
  fingerprints,
} from "../io/checkpoint/fingerprint.ts";
import { adapterEntries } from "../io/peft/adapter.ts";
import { adapterConfig } from "../io/peft/config.ts";
import { wholeTensorName } from "../io/peft/whole.ts";
import {
  safetensorsHeader,
  SafetensorsWriter,
} from "../io/safetensors/write.ts";
import { checkWhole } from "../models/load/whole.ts";
import { checkRanks } from "../nn/ranks.ts";
import { VERSION } from "../version.ts";
import { asBuilt } from "./architecture.ts";
import { planBackbone } from "./backbone.ts";
import { areSame, type JournalState, readJournal } from "./journal.ts";
import {
  chooseBackbone,
  chooseScaleDType,
  planTargets,
  storedBits,
  withScaleTypes,
} from "./layers.ts";
import {
  INIT_OPTIONS,
  type InitOptions,
  RUN_OPTIONS,
  type RunOptions,
} from "./options.ts";
import { adapterGroups, checkQaloraOptions } from "./qalora.ts";
import { JOURNAL_FILE } from "../io/output/output.ts";
import { finish, openInitOutput, wholeResult } from "./output.ts";
import { type InitReport, mean } from "./report.ts";
import {
  autoClass,
  headTensors,
  modulePaths,
  targetModuleNames,
  taskType,
} from "./targets.ts";
import { InitPass } from "./work.ts";

export type { BackboneKind, InitOptions, RunOptions } from "./options.ts";
export type { Output } from "../io/output/output.ts";
export type { InitReport, LayerReport } from "./report.ts";
export type { PlainDType } from "./plain_dtype.ts";
export type { Metric } from "../loftq/metric.ts";
export type { BaseQuantizer } from "../qalora/quantizer.ts";
export type { FormatName } from "../quant/formats.ts";
export type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
export type { Device } from "../device/device.ts";
export type { ScaleRule } from "../device/quant_mat.ts";
export type { DeviceFailure } from "../device/errors.ts";
export { openInstead } from "../backend/fallback.ts";

/**
 * Initialises `checkpoint` into the folder `run.out`.
 *
 * @throws {RangeError} If options do not go together, or not with the layers.
 * @throws {SyntaxError} If the checkpoint lacks tensors of its config, or has others in its layers.
 * @throws {DOMException} `AbortError` if the signal came; the run can be resumed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openDevice } from "@loqa/loqa";
 * import { openCheckpoint } from "@loqa/loqa/files";
 * import { init } from "@loqa/loqa/init";
 *
 * using device = await openDevice("wasm");
 * await using checkpoint = await openCheckpoint("examples/model");
 * const out = `${await Deno.makeTempDir()}/small`;
 * const { summary } = await init(checkpoint, {
 *   method: "loftq",
 *   format: "nf2",
 *   rank: 4,
 *   alpha: 4,
 *   iterations: 1,
 *   seed: 0,
 * }, { device, out });
 * assert.ok(summary.meanError < summary.meanPlainError);
 * ```
 */
export async function init(
  given: Checkpoint,
  options: InitOptions,
  asked: RunOptions,
): Promise<InitReport> {
  if (!(given?.tensors instanceof Map)) {
    throw new KindError(
      `Cannot initialise a model: wanted a checkpoint that is open (openCheckpoint), got ${
        describe(given)
      }`,
    );
  }
  checkOptions("initialise a model", options, INIT_OPTIONS);
  checkOptions("initialise a model", asked, RUN_OPTIONS);
  checkWhole(given);
  const { checkpoint, own } = asBuilt(given);
  const { metricOf } = asked;
  const run: RunOptions = {
    ...asked,
    ...(asked.base && { base: asBuilt(asked.base).checkpoint }),
    ...(metricOf && { metricOf: (module) => metricOf(own(module)) }),
  };
  const began = performance.now();
  const { out, device } = run;
  const qalora = options.method === "qalora";
  if (options.backbone !== "none") checkSideFiles(checkpoint);
  if (qalora) checkQaloraOptions(options);
  if (qalora && options.quantEmbedding) {
    throw new ValueError(
      "Cannot use qalora on an embedding: it has no inputs to sum",
    );
  }
  const planned = await planTargets(checkpoint, options, run.base);
  const { base } = planned;
  const groups = qalora ? adapterGroups(planned.layers) : undefined;
  const kind = chooseBackbone(checkpoint, planned.layers, options.backbone);
  const scaleDType = chooseScaleDType(kind, options.scaleDType);
  const layers = withScaleTypes(planned.layers, {
    scaleDType,
    kept: base !== undefined,
    biases: options.biases ?? false,
  });
  const widths = ({ cols }: { cols: number }) =>
    groups ? Math.ceil(cols / groups.group) : cols;
  const ranked = layers.map(({ module, plan: { rank }, shape }) => ({
    ...{ module, rank, rows: shape.rows },
    cols: widths(shape),
  }));
  const beyond = checkRanks(ranked, { surplus: qalora });
  if (beyond) run.onWarning?.(beyond);
  if (options.doubleQuant && kind !== "bnb") {
    throw new ValueError(
      `Cannot write scales in 8 bits: only a bnb backbone has them, got ${kind}`,
    );
  }
  if ((options.metric ?? "identity") !== "identity" && !run.metricOf) {
    throw new ValueError(
      `Cannot use the ${options.metric} metric: no moments are given`,
    );
  }
  const weights = new Map(layers.map((l) => [l.tensor.name, l.shape]));
  const backbone = kind === "none"
    ? undefined
    : await planBackbone(checkpoint, {
      kind,
      weights,
      dtype: options.dtype,
      doubleQuant: options.doubleQuant,
    });
  const factored = new Set(layers.map(({ tensor }) => tensor.name));
  const heads = headTensors(checkpoint).filter(({ name }) =>
    !factored.has(name)
  );
  const adapterLayout = safetensorsHeader([
    ...adapterEntries(layers.map(({ module, plan, shape, embedding }) => ({
      ...{ module, embedding },
      rank: plan.rank,
      inputs: widths(shape),
      outputs: shape.rows,
    }))),
    ...heads.map(({ name, shape }) => ({
      name: wholeTensorName(name),
      shape,
      dtype: "f32" as const,
    })),
  ]);
  const formats = new Set(layers.map(({ plan }) => plan.format));
  const stated = {
    ...options,
    ...(!options.mixed && formats.size === 1 && { format: [...formats][0] }),
    backbone: kind,
    ...(backbone?.dtype && { dtype: backbone.dtype }),
    scaleDType,
  };
  // One layer's moments stand for all in the key.
  const first = layers.find(({ embedding }) => !embedding)!;
  const metric = await run.metricOf?.(first.module);
  const models = base ? [checkpoint, base] : [checkpoint];
  const prints = new Map<Checkpoint, Fingerprints>();
  for (const model of new Set(models)) {
    prints.set(model, await fingerprints(model));
  }
  const moments = metric && metric.kind !== "identity" &&
    await digest(metric.moments);
  const keyOf = (kind: keyof Fingerprints, on: readonly unknown[]) =>
    digest(JSON.stringify([
      ...[VERSION, stated, ...on],
      ...models.map((model) => prints.get(model)![kind]),
      moments,
    ]));
  const same = await keyOf("content", []);
  const key = await keyOf("files", [device.name, device.threads]);

  await using output = run.output ?? await openInitOutput(out, {
    resume: run.resume,
    force: run.force,
    reads: [checkpoint.name, ...(base ? [base.name] : [])],
    onWarning: run.onWarning,
  });
  const { work: folder, result } = output;
  if (output.taken && !run.force) {
    const files = models.flatMap(({ files = [] }) => files);
    return await wholeResult(output, { key: same, out, files });
  }
  // Before the work: files for the end are read, or known not to be there.
  const side = await checkpoint.sideFiles({
    onLeftOut: ({ message }) =>
      run.onWarning?.(`the tokenizer is left out: ${message}`),
  });
  for (const problem of brokenSideFiles(side, checkpoint.name)) {
    run.onWarning?.(`goes along as it is, for no tool to read: ${problem}`);
  }
  const paths = {
    journal: joinPath(folder, JOURNAL_FILE),
    backbone: joinPath(result, "backbone/model.safetensors"),
    adapter: joinPath(result, "adapter/adapter_model.safetensors"),
  };
  const found = run.resume
    ? await usableJournal(paths, { key, hasBackbone: kind !== "none", run })
    : undefined;
  const state = found ??
    { key, backboneBytes: 0, adapterBytes: 0, parts: [], layers: [] };
  // Files of another run must not get into this one's result.
  await output.begin(found !== undefined);
  await makeFolder(joinPath(result, "adapter"));
  if (backbone) await makeFolder(joinPath(result, "backbone"));

  await using adapterSink = await fileSink(paths.adapter, {
    resumeAt: state.adapterBytes,
  });
  await using backboneSink = backbone
    ? await fileSink(paths.backbone, { resumeAt: state.backboneBytes })
    : undefined;
  const work = new InitPass({
    checkpoint,
    options,
    run,
    base,
    groups,
    heads,
    scaleDType,
    backbone,
    paths,
    key,
    parts: state.parts,
    adapterSink,
    backboneSink,
    adapter: await SafetensorsWriter.open(adapterSink, adapterLayout),
    writer: backbone
      ? await SafetensorsWriter.open(backboneSink!, backbone.layout)
      : undefined,
  });
  await work.restore(state.layers);
  await work.all(layers);

  const all = work.layers.map(({ report }) => report);
  const mark = await digest(...work.layers.map((l) => l.digest));
  const report: InitReport = {
    verb: "init",
    version: VERSION,
    model: absolutePath(checkpoint.name),
    out,
    key: same,
    base: mark,
    ...(base && { kept: base.name }),
    taskType: taskType(checkpoint),
    autoClass: autoClass(checkpoint.config),
    ...(groups && { group: groups.group }),
    options: stated,
    layers: all,
    summary: {
      layers: all.length,
      meanPlainError: mean(all.map((l) => l.plainError)),
      meanError: mean(all.map((l) => l.error)),
      seconds: (performance.now() - began) / 1000,
      layerSeconds: all.reduce((sum, l) => sum + l.seconds, 0),
      peakBytes: peakMemory(),
      bitsPerWeight: storedBits(layers, {
        kind,
        dtype: backbone?.dtype,
        doubleQuant: options.doubleQuant,
      }),
    },
  };
  await finish(output, {
    report,
    side,
    config: backbone?.config,
    adapterConfig: adapterConfig({
      baseModel: absolutePath(
        backbone ? joinPath(out, "backbone") : checkpoint.name,
      ),
      taskType: report.taskType,
      rank: options.rank,
      alpha: options.alpha,
      rslora: options.rslora,
      rankPattern: options.rankPattern,
      alphaPattern: options.alphaPattern,
      ...(groups && { qalora: groups, base: mark }),
      targetModules: targetModuleNames(
        layers.map(({ module }) => module),
        modulePaths(checkpoint),
      ),
      modulesToSave: heads.length > 0
        ? [...new Set(heads.map(({ name }) => name.split(".")[0]))]
        : null,
    }),
  });
  return report;
}

/** The journal of an interrupted run with the same options, if it fits the files. */
async function usableJournal(
  paths: { journal: string; backbone: string; adapter: string },
  { key, hasBackbone, run }: {
    key: string;
    hasBackbone: boolean;
    run: RunOptions;
  },
): Promise<JournalState | undefined> {
  const damaged = () => {
    run.onWarning?.(
      `starts anew: ${paths.journal} and the files beside it are not as the interrupted run left them`,
    );
    return undefined;
  };
  const state = await readJournal(paths.journal);
  if (!state) return await exists(paths.journal) ? damaged() : undefined;
  if (state.key !== key) {
    throw new ValueError(
      `Cannot resume: ${paths.journal} is of a run with other options, another model, device or version; run with --force, without --resume, to start anew`,
    );
  }
  const held = async (path: string) => {
    // A run that came to its end but for the small files has whole files here.
    if (await exists(path)) await rename(path, partPath(path));
    return await fileSize(partPath(path)) ?? 0;
  };
  const holds = await held(paths.adapter) >= state.adapterBytes &&
    (!hasBackbone || await held(paths.backbone) >= state.backboneBytes) &&
    await areSame(state.parts, {
      backbone: partPath(paths.backbone),
      adapter: partPath(paths.adapter),
    });
  return holds ? state : damaged();
}
