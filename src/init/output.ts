/**
 * The folder that a run writes: built beside its place, put there when it is whole.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { SideFile } from "../io/checkpoint.ts";
import { writeSideFiles } from "../io/copy.ts";
import {
  exists,
  joinPath,
  kindOf,
  listFolder,
  makeFolder,
  remove,
  writeFileAtomic,
} from "../io/deno.ts";
import { recoverFolder, replaceFolder } from "../io/replace.ts";
import type { InitReport } from "./report.ts";

/** The file that marks a folder as loqa's own. */
export const REPORT_FILE = "loqa.json";

/** The file that tells how far an unfinished run is safe. */
export const JOURNAL_FILE = "journal.json";

function placeOf(out: string): string {
  return out.replace(/[\\/]+$/, "");
}

/**
 * The folder to write in until `out` is whole, `OUT.partial`; emptied unless `resume`.
 *
 * @throws {RangeError} If `out` has no name of its own, or holds something that loqa did not write.
 */
export async function prepareOutput(
  out: string,
  resume: boolean,
): Promise<string> {
  const place = placeOf(out);
  if (/(^|[\\/])\.{0,2}$/.test(place)) {
    throw new ValueError(
      `Cannot write to ${out}: wanted the name of a folder`,
    );
  }
  await recoverFolder(place);
  const kind = await kindOf(place);
  if (kind !== undefined) {
    const ours = kind === "folder" &&
      ((await listFolder(place)).length === 0 ||
        await exists(joinPath(place, REPORT_FILE)));
    if (!ours) {
      throw new ValueError(
        `Cannot write to ${out}: it is there already and no loqa output; wanted a new folder or one with ${REPORT_FILE}`,
      );
    }
  }
  const partial = `${place}.partial`;
  if (!resume) await remove(partial);
  await makeFolder(partial);
  return partial;
}

/** What {@linkcode finish} writes beside the tensors. */
export interface Finish {
  readonly out: string;
  readonly report: InitReport;
  /** The files beside the model's weights. */
  readonly side: readonly SideFile[];
  /** config.json of the backbone; none where no backbone is written. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly adapterConfig: Readonly<Record<string, unknown>>;
}

/** Writes the small files and puts the folder in its place. */
export async function finish(
  partial: string,
  { out, report, side, config, adapterConfig }: Finish,
): Promise<void> {
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  const backbone = joinPath(partial, "backbone");
  if (config) {
    await writeSideFiles(side, backbone, config);
  }
  await writeFileAtomic(
    joinPath(partial, "adapter/adapter_config.json"),
    json(adapterConfig),
  );
  await writeFileAtomic(joinPath(partial, REPORT_FILE), json(report));

  const place = placeOf(out);
  await replaceFolder(
    partial,
    place,
    () => remove(joinPath(place, JOURNAL_FILE)),
  );
}
