/**
 * Copying of a model's unchanged parts: plain tensors and the files beside them.
 *
 * @module
 */

import { type DType, isFloat, narrow } from "../../tensor/dtype.ts";
import { isMeant, KindError } from "../../errors.ts";
import type { Checkpoint, TensorInfo } from "../checkpoint/checkpoint.ts";
import { isSideFile, type SideFile } from "../files/files.ts";
import { joinPath, makeFolder, writeFileAtomic } from "../files/deno.ts";
import { quoted } from "../files/errors.ts";
import {
  type JsonObject,
  MOST_TABLE,
  parseJsonObject,
  stringifyLike,
} from "../files/json.ts";
import type { SafetensorsWriter } from "./write.ts";

/** Values of a tensor that are held at a time. */
const CHUNK = 2 ** 20;

/** Rows of a tensor of this shape to hold at a time: first and end of each part. */
export function* chunks(
  [rows = 1, ...rest]: readonly number[],
): Generator<[number, number]> {
  const width = rest.reduce((a, b) => a * b, 1);
  const step = Math.max(1, Math.floor(CHUNK / Math.max(1, width)));
  for (let from = 0; from < rows; from += step) {
    yield [from, Math.min(rows, from + step)];
  }
}

/** Name in `writer` of a tensor that is not quantised: its own, or that of its blocks in the packed layout. */
export function writtenName(writer: SafetensorsWriter, name: string): string {
  const blocks = `${name}.blocks`;
  return writer.declares(blocks) ? blocks : name;
}

/** Writes a tensor of `checkpoint` in the element type `dtype`, or in its blocks where the file declares those, some rows at a time. */
export async function copyTensor(
  checkpoint: Checkpoint,
  writer: SafetensorsWriter,
  { name, shape, dtype: stored, as: dtype = stored }: TensorInfo & {
    /** Element type to write; as stored without it. */
    readonly as?: DType;
  },
): Promise<void> {
  const key = writtenName(writer, name);
  for (const [from, to] of chunks(shape)) {
    if (key !== name) {
      await writer.write(key, await checkpoint.readBlocks!(name, from, to));
      continue;
    }
    await writer.write(
      name,
      dtype === stored || !isFloat(dtype)
        ? await checkpoint.readRaw(name, from, to)
        : narrow(await checkpoint.readF32(name, from, to), dtype, name),
    );
  }
}

/**
 * Refuses a model with side files that are not in its folder: a link in a stranger's folder would carry any file of this
 * machine into the output.
 *
 * @throws {TypeError} That names the first.
 */
export function checkSideFiles({ name, outside }: Checkpoint): void {
  for (const [file, place] of outside ?? []) {
    if (!isSideFile(file)) continue;
    throw new KindError(
      `Cannot take ${file} of ${name} along: it is a link to ${
        quoted(place)
      }, outside of the model's folder; put the file itself there`,
    );
  }
}

/** Faults of those of `files` that every reader takes for a JSON object, one sentence each. */
export function brokenSideFiles(
  files: readonly SideFile[],
  where: string,
): string[] {
  const objects = /^(tokenizer|tokenizer_config|generation_config)\.json$/;
  const found: string[] = [];
  for (const { name, bytes } of files) {
    if (!objects.test(name)) continue;
    try {
      parseJsonObject(bytes, `${where}/${name}`, { most: MOST_TABLE });
    } catch (error) {
      if (!isMeant(error)) throw error;
      found.push(error.message);
    }
  }
  return found;
}

/** The files beside a model's weights, to be written elsewhere. @throws {TypeError} As {@linkcode checkSideFiles}. */
export async function travellingFiles(
  checkpoint: Checkpoint,
): Promise<SideFile[]> {
  checkSideFiles(checkpoint);
  return await checkpoint.sideFiles();
}

/** Writes the files beside a model's weights into a folder, with `config` as its config.json, written as the model's is. */
export async function copySideFiles(
  checkpoint: Checkpoint,
  folder: string,
  config: JsonObject,
): Promise<void> {
  await writeSideFiles(await travellingFiles(checkpoint), folder, config);
}

/** As {@linkcode copySideFiles}, of files that were read before. */
export async function writeSideFiles(
  files: readonly SideFile[],
  folder: string,
  config: JsonObject,
): Promise<void> {
  let original = "";
  for (const { name, bytes } of files) {
    if (name === "config.json") original = new TextDecoder().decode(bytes);
    else {
      const inner = name.slice(0, Math.max(0, name.lastIndexOf("/")));
      if (inner !== "") await makeFolder(joinPath(folder, inner));
      await writeFileAtomic(joinPath(folder, name), bytes);
    }
  }
  await writeFileAtomic(
    joinPath(folder, "config.json"),
    `${stringifyLike(config, original)}\n`,
  );
}
