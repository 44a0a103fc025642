/**
 * Vocabulary files from before `tokenizer.json`: GPT-2's `vocab.json` with `merges.txt`, BERT's `vocab.txt`.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import {
  decodeText,
  type JsonObject,
  MOST_TABLE,
  parseJsonObject,
} from "../files/json.ts";
import type { NamedBytes } from "../files/bytes.ts";
import type { TokenizerContents } from "./sentencepiece/model.ts";
import { template } from "./special.ts";

/** Tokens that RoBERTa and BART have and GPT-2 has not. */
const ROBERTA = ["<s>", "</s>", "<pad>", "<unk>", "<mask>"];

/**
 * Contents of `tokenizer.json` and `tokenizer_config.json` for a byte-level BPE (GPT-2; RoBERTa and BART, which are
 * recognised by their special tokens and put `<s>` and `</s>` around a text).
 *
 * @throws {SyntaxError} If a file is malformed.
 */
export function byteLevelTokenizer(
  vocab: NamedBytes,
  merges: NamedBytes,
): TokenizerContents {
  const ids = parseJsonObject(vocab.bytes, vocab.name, { most: MOST_TABLE });
  const lines = decodeText(merges.bytes, merges.name).split(/\r?\n/);
  const pairs = lines.flatMap((line, i) => {
    if (line === "" || (i === 0 && line.startsWith("#version"))) return [];
    const pair = line.split(" ");
    if (pair.length === 2 && pair[0] !== "" && pair[1] !== "") return [pair];
    throw new FormatError(
      `Cannot read ${quoted(merges.name)}: line ${
        i + 1
      } wants two parts with a space between, got ${quoted(line)}`,
    );
  });
  const roberta = ROBERTA.every((token) => Object.hasOwn(ids, token));
  const end = "<|endoftext|>";
  const around = { before: ["<s>"], between: ["</s>", "</s>"] };
  return {
    tokenizer: {
      version: "1.0",
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: {
        type: "ByteLevel",
        add_prefix_space: false,
        trim_offsets: true,
        use_regex: true,
      },
      post_processor: roberta
        ? template({ ...around, after: ["</s>"], types: [0, 0] }, ids)
        : null,
      decoder: { type: "ByteLevel" },
      model: {
        type: "BPE",
        unk_token: null,
        continuing_subword_prefix: "",
        end_of_word_suffix: "",
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: ids,
        merges: pairs,
      },
    },
    config: roberta
      ? {
        bos_token: "<s>",
        eos_token: "</s>",
        unk_token: "<unk>",
        sep_token: "</s>",
        pad_token: "<pad>",
        cls_token: "<s>",
        mask_token: "<mask>",
      }
      : Object.hasOwn(ids, end)
      ? { bos_token: end, eos_token: end, unk_token: end }
      : {},
  };
}

/**
 * Contents of `tokenizer.json` and `tokenizer_config.json` for BERT's WordPiece.
 *
 * @param file `vocab.txt`: a token a line.
 * @param given The folder's own configuration: `do_lower_case` (true), `strip_accents` (as lower case),
 *   `tokenize_chinese_chars` (true).
 * @throws {SyntaxError} If the file is malformed or lacks the special tokens.
 */
export function wordPieceTokenizer(
  file: NamedBytes,
  given: JsonObject,
): TokenizerContents {
  const lines = decodeText(file.bytes, file.name).split("\n");
  if (lines.at(-1) === "") lines.pop();
  const ids: Record<string, number> = Object.create(null);
  // A token that occurs twice has its last id, as in transformers.
  lines.forEach((line, id) => ids[line.replace(/\r$/, "")] = id);
  for (const token of ["[UNK]", "[CLS]", "[SEP]"]) {
    if (!Object.hasOwn(ids, token)) {
      throw new FormatError(
        `Cannot read ${quoted(file.name)}: wanted BERT's tokens, it has no ${
          quoted(token)
        }`,
      );
    }
  }
  return {
    tokenizer: {
      version: "1.0",
      added_tokens: [],
      normalizer: {
        type: "BertNormalizer",
        clean_text: true,
        handle_chinese_chars: given.tokenize_chinese_chars ?? true,
        strip_accents: given.strip_accents ?? null,
        lowercase: given.do_lower_case ?? true,
      },
      pre_tokenizer: { type: "BertPreTokenizer" },
      post_processor: template({
        before: ["[CLS]"],
        between: ["[SEP]"],
        after: ["[SEP]"],
        types: [0, 1],
      }, ids),
      decoder: { type: "WordPiece", prefix: "##", cleanup: true },
      model: {
        type: "WordPiece",
        unk_token: "[UNK]",
        continuing_subword_prefix: "##",
        max_input_chars_per_word: 100,
        vocab: ids,
      },
    },
    config: {
      unk_token: "[UNK]",
      sep_token: "[SEP]",
      pad_token: "[PAD]",
      cls_token: "[CLS]",
      mask_token: "[MASK]",
    },
  };
}
