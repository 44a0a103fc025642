import assert from "node:assert/strict";
import type { Checkpoint } from "../../../src/io/checkpoint/checkpoint.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { Llama } from "../../../src/models/decoder/model.ts";
import { quantize } from "../../../src/api/matrices.ts";
import { matrix } from "../../../src/tensor/matrix.ts";
import { collate, IGNORED } from "../../../src/data/example.ts";
import { schedule } from "../../../src/train/step/schedule.ts";
import { Trainer } from "../../../src/train/step/trainer.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { golden } from "../../helpers/golden.ts";
import { allParameters, trainedAdapter } from "../../helpers/llama.ts";
import { networkTest } from "../../helpers/network.ts";
import {
  type GoldenAdapter,
  goldenCheckpoint,
  goldenFactors,
  type GoldenModel,
} from "./data.ts";

interface Training {
  kind: "lora" | "full" | "qlora";
  model: string;
  examples: { ids: number[]; skip: number }[];
  /** Of the start; `qlora` has options of its own. */
  seed: number;
  options: GoldenAdapter;
  steps: number;
  warmup: number;
  batch: number;
  accumulation: number;
  learningRate: number;
  weightDecay: number;
  clip: number;
  losses: number[];
  norms: number[];
  rates: number[];
}

type Named = GoldenModel & {
  name: string;
  lora: { options: GoldenAdapter; seed: number };
};

const { models } = golden<{ models: Named[] }>(import.meta, "models.json");
const { trainings } = golden<{ trainings: Training[] }>(
  import.meta,
  "training.json",
);

/** Steps that are run: fewer where they are slow, as on a GPU that the CPU plays. */
const STEPS = {
  wasm: { lora: Infinity, full: Infinity, qlora: Infinity },
  reference: { lora: Infinity, full: Infinity, qlora: 5 },
  webgpu: { lora: 10, full: 10, qlora: 5 },
};

const EXAMPLE = new URL("../../../examples/model", import.meta.url).pathname;

/** The linear layers of a checkpoint's blocks in nf4, as a bitsandbytes checkpoint would have them. */
function inNf4(checkpoint: Checkpoint): Checkpoint {
  return {
    ...checkpoint,
    async readQuantized(name) {
      if (!name.endsWith("_proj.weight")) return undefined;
      const [rows, cols] = checkpoint.tensors.get(name)!.shape;
      const weight = matrix(rows, cols, await checkpoint.readF32(name));
      return await quantize(weight, { format: "nf4", block: 64 });
    },
  };
}

const open = {
  lora: (name: string) =>
    goldenCheckpoint(models.find((row) => row.name === name)!),
  full: (name: string) =>
    goldenCheckpoint(models.find((row) => row.name === name)!),
  qlora: () => openCheckpoint(EXAMPLE),
};

for (const training of trainings) {
  const { kind, model: name, batch, accumulation, steps } = training;
  networkTest(
    (device) =>
      `${kind} of ${name}: steps of transformers' Trainer on ${device}`,
    async (device) => {
      const most = Math.min(steps, STEPS[device.name][kind]);
      await using checkpoint = await open[kind](name);
      using trained = kind === "full"
        ? allParameters(device, checkpoint.config)
        : undefined;
      using model = await Llama.load(
        device,
        kind === "qlora" ? inNf4(checkpoint) : checkpoint,
        { trained },
      );
      const start = kind === "lora"
        ? models.find((row) => row.name === name)!.lora
        : training;
      using adapter = kind === "full" ? undefined : trainedAdapter(
        model,
        goldenFactors(model, start.options, {
          seed: start.seed,
          scale: kind === "qlora" ? 0.25 : 1,
        }),
      );
      using trainer = new Trainer({
        model,
        parameters: adapter?.parameters ?? trained!,
        learningRate: training.learningRate,
        schedule: schedule({ name: "linear", steps, warmup: training.warmup }),
        optimizer: { weightDecay: training.weightDecay, clip: training.clip },
      });
      for (let step = 0; step < most; step++) {
        trainer.step(Array.from({ length: accumulation }, (_, i) => {
          const from = (step * accumulation + i) * batch;
          const rows = training.examples.slice(from, from + batch);
          return collate(
            rows.map(({ ids, skip }) => ({
              tokens: Int32Array.from(ids),
              labels: Int32Array.from(ids).fill(IGNORED, 0, skip),
            })),
            { padId: 0 },
          );
        }));
      }
      const reports = await trainer.read();
      const column = (key: "loss" | "gradientNorm" | "learningRate") =>
        reports.map((report) => report[key]!);
      assert.equal(reports.length, most);
      assertAllClose(column("loss"), training.losses.slice(0, most), {
        atol: 1e-4,
        what: "losses",
      });
      assertAllClose(column("gradientNorm"), training.norms.slice(0, most), {
        rtol: 2e-4,
        what: "norms",
      });
      assertAllClose(column("learningRate"), training.rates.slice(0, most), {
        rtol: 1e-12,
        what: "learning rates",
      });
    },
  );
}
