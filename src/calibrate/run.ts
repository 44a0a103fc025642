/**
 * Second moments of the inputs of a model's linear layers, from text.
 *
 * The moments go into a file, from which `init` reads one layer's at a time.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { exists, fileSink, fileSource } from "../io/files/deno.ts";
import { digest } from "../io/files/digest.ts";
import { fingerprint } from "../io/checkpoint/fingerprint.ts";
import { openSafetensors } from "../io/safetensors/read.ts";
import {
  safetensorsHeader,
  SafetensorsWriter,
} from "../io/safetensors/write.ts";
import { familyOf } from "../models/families.ts";
import { layerConfig, layerMoments, LayerPass } from "./layers.ts";
import { type ModelInputs, modelMoments } from "./model.ts";
import type { WriteMoments } from "./sums.ts";
import { ALIASES, momentsName } from "./moments.ts";

export { type CalibrationAmount, calibrationInputs } from "./inputs.ts";
export { calibrationSequences } from "./text.ts";
export type { CalibrationPair } from "./model.ts";

/** Metadata entry of the hash of everything that the moments depend on. */
const KEY = "loqa.calibration";

/** Options of {@linkcode calibrate}. */
export interface CalibrateOptions extends ModelInputs {
  readonly device: Device;
  /** `diag`: `E[x_j²]`; `full`: `E[x xᵀ]`. */
  readonly kind: "diag" | "full";
  /** File to write. A whole one that an interrupted run left for the same model and text is used as it is. */
  readonly path: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, text: string) => void;
}

/**
 * Runs a model on `sequences`, or an encoder-decoder on `pairs`, and writes the moments of the inputs of all linear layers
 * of its blocks, in f32; `openMoments` reads them. A LLaMA is run layer by layer, any other as a whole.
 *
 * @throws {RangeError} If there is no sequence or pair, or sequences differ in length, or one exceeds the model's context.
 * @throws {TypeError} If the model is of a kind that is not run here.
 */
export async function calibrate(
  checkpoint: Checkpoint,
  options: CalibrateOptions,
): Promise<void> {
  const { kind, path } = options;
  const inputs = checkInputs(checkpoint, options);
  const key = await digest(
    JSON.stringify([
      kind,
      await fingerprint(checkpoint),
      // Sequences have one length, pairs any.
      ...(options.pairs ? inputs.map((s) => s.length) : []),
    ]),
    ...inputs,
  );
  if (await isWhole(path, key)) return;
  if (familyOf(checkpoint).kind !== "causal") {
    using moments = await modelMoments(checkpoint, options);
    await writeMoments(
      { path, key, kind, inputs: moments.inputs },
      (write) => moments.write(write),
    );
    return;
  }
  const config = layerConfig(checkpoint);
  const pass = new LayerPass(checkpoint, config, {
    ...options,
    sequences: options.sequences!,
  });
  await writeMoments(
    { path, key, kind, ...layerMoments(config) },
    (write) => pass.run(write),
  );
}

/** The sequences that the model is run on, in their order. */
function checkInputs(
  checkpoint: Checkpoint,
  { sequences = [], pairs = [] }: ModelInputs,
): Int32Array[] {
  const family = familyOf(checkpoint);
  const most = family.config(checkpoint).maxLength;
  if (family.kind === "seq2seq") {
    const all = pairs.flatMap(({ source, target }) => [source, target]);
    if (all.length === 0 || all.some(({ length: n }) => n < 1 || n > most)) {
      throw new ValueError(
        `Cannot calibrate: wanted source/target pairs of 1 to ${most} tokens each, got ${
          all.length === 0 ? "none" : Math.max(...all.map((s) => s.length))
        }`,
      );
    }
    return all;
  }
  const lengths = [...new Set(sequences.map((s) => s.length))];
  if (lengths.length !== 1 || lengths[0] < 1 || lengths[0] > most) {
    throw new ValueError(
      `Cannot calibrate: wanted sequences of one length from 1 to ${most}, got ${
        lengths.join(", ") || "none"
      }`,
    );
  }
  return [...sequences];
}

async function isWhole(path: string, key: string): Promise<boolean> {
  if (!await exists(path)) return false;
  await using source = await fileSource(path);
  const found = (await openSafetensors(source)).metadata.get(KEY);
  if (found === undefined) {
    throw new ValueError(
      `Cannot write moments to ${path}: it is there already and holds something else`,
    );
  }
  return found === key;
}

/** Writes a file of moments as `run` finds them, in the order of `inputs`. */
async function writeMoments(
  { path, key, kind, inputs, aliases = {} }: {
    path: string;
    key: string;
    kind: "diag" | "full";
    /** Sizes of the layers' inputs. */
    inputs: ReadonlyMap<string, number>;
    aliases?: Readonly<Record<string, string>>;
  },
  run: (write: WriteMoments) => Promise<void>,
): Promise<void> {
  const layout = safetensorsHeader(
    [...inputs].map(([module, cols]) => ({
      name: momentsName(module),
      dtype: "f32",
      shape: kind === "diag" ? [cols] : [cols, cols],
    })),
    { [KEY]: key, [ALIASES]: JSON.stringify(aliases) },
  );
  await using sink = await fileSink(path);
  const writer = await SafetensorsWriter.open(sink, layout);
  await run((module, moments) =>
    writer.write(momentsName(module), new Uint8Array(moments.buffer))
  );
  await writer.close();
}
