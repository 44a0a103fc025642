/**
 * Contents of the small files that travel with a model.
 *
 * @module
 */

import {
  type FileSet,
  isSideFile,
  readFile,
  type SideFile,
} from "./files/files.ts";
import { decodeText, parseJsonObject } from "./files/json.ts";
import { modelConfigText } from "./packed/config.ts";

/** Contents of the side files of a set; of a packed model's config.json, the model's own config. */
export async function readSideFiles(files: FileSet): Promise<SideFile[]> {
  const side: SideFile[] = [];
  for (const name of files.names.filter(isSideFile)) {
    const bytes = await readFile(files, name);
    side.push({
      name,
      bytes: name === "config.json"
        ? ownConfig(bytes, `${files.name}/${name}`)
        : bytes,
    });
  }
  return side;
}

function ownConfig(bytes: Uint8Array<ArrayBuffer>, name: string) {
  const text = decodeText(bytes, name);
  const own = modelConfigText(parseJsonObject(text, name), text);
  return own === text ? bytes : new TextEncoder().encode(own);
}
