/**
 * Vocabularies of single characters in a `config.json`, as the grapheme-to-phoneme models of Misaki have them: one for
 * the source, one for the target.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import type { JsonObject } from "../files/json.ts";
import type { TokenizerContents } from "./sentencepiece/model.ts";
import { template } from "./special.ts";

/** Side of an encoder-decoder. */
export type Side = "source" | "target";

/** Tokens of the first ids, for which the lists of characters have placeholders. */
const SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"];

const KEYS = { source: "grapheme_chars", target: "phoneme_chars" } as const;

/** True if a `config.json` holds vocabularies of characters. */
export function hasCharacters(config: JsonObject): boolean {
  return Object.values(KEYS).every((key) => typeof config[key] === "string");
}

/**
 * Contents of `tokenizer.json` and `tokenizer_config.json` for one side of such a model: `<s>`, an id for each character,
 * `</s>`.
 *
 * @param config A `config.json` for which {@linkcode hasCharacters} holds.
 * @throws {SyntaxError} If a character has two ids, or there are fewer than the placeholders.
 */
export function characterTokenizer(
  config: JsonObject,
  { side, name }: { side: Side; name: string },
): TokenizerContents {
  const chars = Array.from(config[KEYS[side]] as string).slice(SPECIAL.length);
  const tokens = [...SPECIAL, ...chars];
  const ids = Object.fromEntries(tokens.map((token, id) => [token, id]));
  if (chars.length === 0 || Object.keys(ids).length !== tokens.length) {
    throw new FormatError(
      `Cannot read ${
        quoted(name)
      }: wanted four placeholders and characters of one id each for ${
        KEYS[side]
      }, got ${quoted(String(config[KEYS[side]]))}`,
    );
  }
  return {
    tokenizer: {
      normalizer: null,
      "pre_tokenizer": null,
      "post_processor": template({
        before: ["<s>"],
        between: ["</s>"],
        after: ["</s>"],
        types: [0, 0],
      }, ids),
      decoder: { type: "Fuse" },
      model: { type: "BPE", vocab: ids, merges: [], "unk_token": "<unk>" },
    },
    config: {
      "pad_token": "<pad>",
      "bos_token": "<s>",
      "eos_token": "</s>",
      "unk_token": "<unk>",
    },
  };
}
