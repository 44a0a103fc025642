/**
 * Openings of doc comments: the noun comes first, the explanation after.
 *
 * @module
 */

/** Folders and files whose comments are not rewritten yet. */
export const NOT_YET: readonly string[] = [
  "gpu/",
  "src/backend/",
  "src/device/",
  "src/export/",
  "src/families/",
  "src/init/",
  "src/io/affine/",
  "src/io/bnb/",
  "src/io/checkpoint/",
  "src/io/gguf/",
  "src/io/layouts.ts",
  "src/io/packed/",
  "src/linalg/",
  "src/loftq/",
  "src/models/decoder/",
  "src/pattern.ts",
  "src/qalora/",
  "src/quant/",
  "src/tensor/",
  "src/arguments.ts",
  "wasm/",
];

/** A doc comment's first word that is no noun. */
const BANNED = /\/\*\*\s+(?:\*\s+)?(What|How|Whether)\s/g;

/** Doc comments of a source that begin with What, How or Whether, each with its line from 1 on. */
export function badOpenings(text: string): { line: number; word: string }[] {
  return [...text.matchAll(BANNED)].map((
    { 0: { length }, 1: word, index },
  ) => ({
    line: text.slice(0, index + length - 1).split("\n").length,
    word,
  }));
}
