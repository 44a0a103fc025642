/**
 * Where a model is, by what a person writes: a folder that loqa wrote, a checkpoint, a hub id.
 *
 * @module
 */

import { FormatError, ValueError } from "../errors.ts";
import { exists, joinPath, kindOf, readTextFile } from "../io/deno.ts";
import { isObject, type JsonObject, parseJsonObject } from "../io/json.ts";
import { type Adapter, openAdapter } from "../io/open.ts";
import { recoverFolder } from "../io/replace.ts";
import type { AdapterModuleFactors } from "../nn/adapter.ts";

/** A model, and what belongs to it. */
export interface ModelPlace {
  /** What the model's weights are opened by. */
  readonly model: string;
  /** Folder of the adapter that belongs to them, where there is one. */
  readonly adapter?: string;
  /** Contents of loqa.json, where loqa wrote the folder. */
  readonly report?: JsonObject;
}

/**
 * Finds the weights and the adapter of `path`: in a folder with `loqa.json` they are `backbone` (or, where none was
 * written, the model that the run was made from) and `adapter`; anything else is a model without an adapter.
 *
 * @throws {SyntaxError} If `loqa.json` is malformed.
 */
export async function findModel(path: string): Promise<ModelPlace> {
  if (path.startsWith("hf:") || await kindOf(path) !== "folder") {
    return { model: path };
  }
  const file = joinPath(path, "loqa.json");
  if (!await exists(file)) return { model: path };
  const report = parseJsonObject(await readTextFile(file), file);
  const backbone = joinPath(path, "backbone");
  const adapter = joinPath(path, "adapter");
  await recoverFolder(adapter);
  if (!await exists(backbone) && typeof report.model !== "string") {
    throw new FormatError(
      `Cannot open ${path}: it has no backbone, and loqa.json names no model`,
    );
  }
  return {
    model: await exists(backbone) ? backbone : report.model as string,
    ...(await exists(adapter) && { adapter }),
    report,
  };
}

/** The options that a folder was made with, as far as they are in its loqa.json. */
export function reportOptions(place: ModelPlace): JsonObject {
  const options = place.report?.options;
  return isObject(options) ? options : {};
}

/** Reads all factors of an adapter; tensors that it holds in full are others' part (`heldTensors`). */
export async function readAdapterFactors(
  adapter: Adapter,
): Promise<AdapterModuleFactors[]> {
  const factors: AdapterModuleFactors[] = [];
  for (const module of adapter.modules.values()) {
    factors.push({
      module: module.module,
      rank: module.rank,
      scaling: module.scaling,
      a: await module.readA(),
      b: await module.readB(),
      ...(module.group && { group: module.group }),
      ...(module.embedding && { embedding: true }),
    });
  }
  return factors;
}

/**
 * Reads all factors of the adapter in a folder.
 *
 * @param place Where the model is that they are for: with it, an adapter of another base is refused.
 * @throws {RangeError} If the adapter belongs to other quantised weights than those of `place`.
 */
export async function readAdapterFolder(
  path: string,
  place?: ModelPlace,
): Promise<AdapterModuleFactors[]> {
  await using adapter = await openAdapter(path);
  if (place) checkBase(adapter, place);
  return await readAdapterFactors(adapter);
}

/**
 * Checks that an adapter which says what base it belongs to is put on that one, as far as `place` tells its own.
 *
 * @throws {RangeError} If it belongs to another one.
 */
export function checkBase(
  { name, settings }: Adapter,
  { model, report }: ModelPlace,
): void {
  const { base } = settings;
  const here = report?.base;
  if (base === undefined || here === undefined || base === here) return;
  throw new ValueError(
    `Cannot use the adapter ${name}: it belongs to the quantised weights with the fingerprint ${base}, those of ${model} have ${here}`,
  );
}
