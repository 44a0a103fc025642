/**
 * Options that choose the model a verb works with, the same for all verbs.
 *
 * @module
 */

import { kindOf } from "../io/files/deno.ts";
import {
  findAdapter,
  type ModelPlace,
  type PlaceOptions,
  tellPlace,
} from "../models/load/locate.ts";
import { flag, list, path, UsageError, type Values } from "./options.ts";
import type { Progress } from "./text/progress.ts";

/** Options of verbs that work with a model as it was trained. */
export const PLACE = {
  checkpoint: path({
    value: "STEP|last|PATH",
    help:
      "training checkpoint in DIR, in place of the final result; last: of the run that --resume would continue",
  }),
  adapter: list({
    value: "[NAME=]DIR",
    otherwise: "the model's own",
    help:
      "adapter to load in place of the model's own; several are applied together",
  }),
  "no-adapter": flag({ help: "base model alone, without any adapter" }),
  /** Weights of a model that were moved. */
  model: path({
    value: "PATH",
    otherwise: "the one that DIR names",
    help: "base model of DIR's adapter, where it was moved",
  }),
};

/** Values of {@linkcode PLACE}. */
export interface ChosenPlace extends PlaceOptions {
  /** Folders of adapters by name, in the place of the model's own. */
  readonly adapters?: Readonly<Record<string, string>>;
  /** True if the model's own adapter is put on. */
  readonly own: boolean;
}

/** Reads the values of {@linkcode PLACE}. @throws {UsageError} If the options do not go together. */
export async function readPlace(
  { adapter: given = [], noAdapter: none = false, model, checkpoint }:
    & Omit<Values<typeof PLACE>, "noAdapter">
    & { readonly noAdapter?: boolean },
): Promise<ChosenPlace> {
  if (none && given.length > 0) {
    throw new UsageError("--no-adapter and --adapter exclude each other");
  }
  const adapters: Record<string, string> = {};
  for (const text of given) {
    const named = /^([\w.-]+)=(.+)$/s.exec(text);
    // A folder may have such a sign in its name.
    const whole = !named || await kindOf(text) === "folder";
    const name = whole
      ? Object.keys(adapters).length === 0
        ? "default"
        : `adapter${Object.keys(adapters).length + 1}`
      : named[1];
    const folder = await findAdapter(whole ? text : named[2]);
    if (name in adapters) {
      throw new UsageError(`--adapter names ${name} twice`);
    }
    if (Object.values(adapters).includes(folder)) {
      throw new UsageError(`--adapter ${folder} is given twice`);
    }
    adapters[name] = folder;
  }
  return {
    model,
    checkpoint,
    own: !none && given.length === 0,
    ...(given.length > 0 && { adapters }),
  };
}

/** Outputs of notes about the model: choices that were not made by name, and warnings. */
export function notesTo(progress: Progress): {
  onNote: (line: string) => void;
  onWarning: (line: string) => void;
} {
  return {
    onNote: (line) => progress.note(`loqa: ${line}`),
    onWarning: (line) => progress.warn(`loqa: ${line}`),
  };
}

/**
 * Prints warnings about the model: a training that has not ended, weights that changed; and, unless that is not wanted,
 * its checkpoint, and its weights outside of the folder.
 */
export function tellNotes(
  place: ModelPlace,
  progress: Progress,
): void {
  tellPlace(place, notesTo(progress));
}
