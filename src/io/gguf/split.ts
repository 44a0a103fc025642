/**
 * A GGUF model in several files, as llama.cpp's `gguf-split` cuts it: the first holds the metadata, each some of the
 * tensors.
 *
 * @module
 */

import type { ByteSource } from "../files/bytes.ts";
import { Problems, quoted } from "../files/errors.ts";
import { type GgufFile, type GgufTensor, openGguf } from "./file.ts";
import { type Part, partOf } from "../files/split.ts";

/** Part of a split model that a file is, by its metadata or its name; undefined for a whole one. */
export function ggufPart(
  { name, metadata }: Pick<GgufFile, "name" | "metadata">,
): Pick<Part, "number" | "of"> | undefined {
  const of = metadata.get("split.count");
  const number = metadata.get("split.no");
  if (typeof of === "number" && of > 1) {
    return { of, number: typeof number === "number" ? number + 1 : 1 };
  }
  return partOf(name.replace(/^.*[\\/]/, ""));
}

/**
 * Opens the files of a split model, all parts in order, as one file; a single file as it is. Sources stay the caller's.
 * Tensors of unknown types are listed.
 *
 * @throws {SyntaxError} If a file is malformed, or they are not the parts of one model.
 */
export async function openGgufParts(
  sources: readonly ByteSource[],
): Promise<GgufFile> {
  const [first, ...others] = await Promise.all(
    sources.map((source) => openGguf(source, { unread: true })),
  );
  if (others.length === 0) return first;
  const files = [first, ...others];
  const problems = new Problems(
    `read ${quoted(first.name)} as a split GGUF model`,
  );
  const owners = new Map<GgufTensor, GgufFile>();
  const tensors = new Map<string, GgufTensor>();
  for (const [i, file] of files.entries()) {
    const { name, metadata } = file;
    const count = metadata.get("split.count");
    const no = metadata.get("split.no");
    if (count !== files.length || no !== i) {
      problems.add(
        `${quoted(name)} says it is part ${
          Number(no ?? NaN) + 1
        } of ${count}, wanted part ${i + 1} of ${files.length}`,
      );
    }
    for (const [key, tensor] of file.tensors) {
      if (tensors.has(key)) {
        problems.add(`tensor ${quoted(key)} is in more than one part`);
      }
      tensors.set(key, tensor);
      owners.set(tensor, file);
    }
  }
  const wanted = first.metadata.get("split.tensors.count");
  if (typeof wanted === "number" && wanted !== tensors.size) {
    problems.add(`wanted ${wanted} tensors, the parts have ${tensors.size}`);
  }
  problems.throwIfAny();
  return {
    ...first,
    tensors,
    readRows: (tensor, from, to) =>
      owners.get(tensor)!.readRows(tensor, from, to),
  };
}
