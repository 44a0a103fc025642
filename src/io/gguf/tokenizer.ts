/**
 * `tokenizer.json` and `tokenizer_config.json` from the vocabulary in a GGUF file.
 *
 * A GGUF file holds tokens, merges or scores, and the name of the rule by which llama.cpp cuts text into words. The
 * same rule is written out here in the terms of Hugging Face's tokenizers library.
 *
 * @module
 */

// deno-lint-ignore-file camelcase -- the keys are those of Hugging Face's files
import { FormatError, KindError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import type { GgufFile } from "./file.ts";
import { Metadata } from "./config.ts";
import { scoredMerges } from "../tokenizer/sentencepiece/scored_merges.ts";
import type { JsonObject } from "../files/json.ts";
import { DEFAULT } from "../files/named_templates.ts";

/** Types of tokens that are matched whole in text: unknown, control (3), user-defined. */
const UNKNOWN = 2;
const USER_DEFINED = 4;

const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const QWEN2 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const TEKKEN =
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Pre-tokenisation: the rule by which text is cut before the merges apply. */
export interface WordRule {
  /** Regular expression of a word; GPT-2's own without it. */
  readonly split?: string;
  /** Every digit is a word. */
  readonly digits?: boolean;
  /** Unicode normal form C first. */
  readonly nfc?: boolean;
  /** A word that is a token stays whole, whatever the merges say. */
  readonly ignoreMerges?: boolean;
  /** True if text begins with the BOS token where the file does not say. */
  readonly addBos?: boolean;
}

const llama3: WordRule = { split: LLAMA3, ignoreMerges: true, addBos: true };
const qwen2: WordRule = { split: QWEN2, nfc: true };
const gpt2: WordRule = {};
const digits: WordRule = { digits: true };

/** Rules by `tokenizer.ggml.pre`. */
export const RULES: Readonly<Record<string, WordRule>> = {
  "gpt-2": gpt2,
  "phi-2": gpt2,
  "olmo": gpt2,
  "smollm": digits,
  "starcoder": digits,
  "refact": digits,
  "command-r": digits,
  "llama3": llama3,
  "llama-v3": llama3,
  "llama-bpe": llama3,
  "falcon3": llama3,
  "qwen2": qwen2,
  "deepseek-r1-qwen": qwen2,
  "tekken": { split: TEKKEN, ignoreMerges: true },
};

/** The vocabulary of a file, checked. */
interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: ArrayLike<number>;
}

/**
 * Contents of the tokenizer's files by name.
 *
 * @throws {TypeError} If the file's kind of tokenizer has no equivalent here; its name is in the message.
 * @throws {SyntaxError} If its metadata is incomplete.
 */
export function ggufTokenizer(file: GgufFile): Record<string, JsonObject> {
  const meta = new Metadata(file);
  const bad = (reason: string) =>
    new FormatError(
      `Cannot read the tokenizer of ${quoted(file.name)}: ${reason}`,
    );
  const tokens = meta.texts("tokenizer.ggml.tokens");
  if (tokens === undefined) throw bad("it has no tokenizer.ggml.tokens");
  const types = meta.numbers("tokenizer.ggml.token_type") ??
    new Int32Array(tokens.length).fill(1);
  if (types.length !== tokens.length) {
    throw bad(`${tokens.length} tokens, but ${types.length} token types`);
  }
  const vocabulary = { tokens, types };
  const token = (key: string): string | undefined => {
    const id = meta.token(key);
    if (id === undefined) return undefined;
    if (id >= tokens.length) {
      // Padding is masked everywhere; llama.cpp takes such an id for none, too.
      if (key === "padding") return undefined;
      throw bad(`${key}_token_id ${id} is not among ${tokens.length} tokens`);
    }
    return tokens[id];
  };
  const special = {
    bos: token("bos"),
    eos: token("eos"),
    unk: token("unknown"),
    pad: token("padding"),
  };
  const kind = meta.text("tokenizer.ggml.model");
  let body: JsonObject;
  let addBos: boolean;
  if (kind === "gpt2") {
    const pre = meta.text("tokenizer.ggml.pre") ?? "";
    if (!Object.hasOwn(RULES, pre)) {
      throw new KindError(
        `Cannot make a tokenizer from ${quoted(file.name)}: wanted ${
          Object.keys(RULES).join(", ")
        } for tokenizer.ggml.pre, got ${quoted(pre)}`,
      );
    }
    addBos = RULES[pre].addBos ?? false;
    body = byteLevel(vocabulary, {
      rule: RULES[pre],
      merges: meta.texts("tokenizer.ggml.merges") ?? [],
      prefixSpace: meta.flag("tokenizer.ggml.add_space_prefix") ?? false,
      bad,
    });
  } else if (kind === "llama") {
    addBos = true;
    const scores = meta.numbers("tokenizer.ggml.scores");
    if (scores?.length !== tokens.length) {
      throw bad("its scores do not match its tokens");
    }
    body = sentencePiece(vocabulary, {
      merges: meta.texts("tokenizer.ggml.merges") ??
        scoredMerges(tokens, scores, file.name),
      prefixSpace: meta.flag("tokenizer.ggml.add_space_prefix") ?? true,
      unk: special.unk,
    });
  } else {
    throw new KindError(
      `Cannot make a tokenizer from ${
        quoted(file.name)
      }: wanted tokenizer.ggml.model gpt2 or llama, got ${quoted(kind ?? "")}`,
    );
  }
  addBos = meta.flag("tokenizer.ggml.add_bos_token") ?? addBos;
  const addEos = meta.flag("tokenizer.ggml.add_eos_token") ?? false;
  const templates = chatTemplates(file, meta);
  return {
    "tokenizer.json": {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: addedTokens(vocabulary),
      ...body,
      post_processor: postProcessor(tokens, {
        bos: addBos ? special.bos : undefined,
        eos: addEos ? special.eos : undefined,
        byteLevel: kind === "gpt2",
      }),
    },
    "tokenizer_config.json": {
      tokenizer_class: "PreTrainedTokenizerFast",
      ...(special.bos === undefined ? {} : { bos_token: special.bos }),
      ...(special.eos === undefined ? {} : { eos_token: special.eos }),
      ...(special.unk === undefined ? {} : { unk_token: special.unk }),
      ...(special.pad === undefined ? {} : { pad_token: special.pad }),
      add_bos_token: addBos,
      add_eos_token: addEos,
      clean_up_tokenization_spaces: false,
      model_max_length: meta.whole(
        `${meta.text("general.architecture")}.context_length`,
      ) ?? null,
      ...(templates === undefined ? {} : { chat_template: templates }),
    },
  };
}

/** The key of the default chat template, and with a point and a name behind it of another. */
export const TEMPLATE_KEY = "tokenizer.chat_template";

/** The chat templates as tokenizer_config.json holds them: one, or several with names. */
function chatTemplates(
  { metadata }: GgufFile,
  meta: Metadata,
): string | JsonObject[] | undefined {
  const keys = [...metadata.keys()].filter((key) =>
    key.startsWith(`${TEMPLATE_KEY}.`)
  );
  const plain = meta.text(TEMPLATE_KEY);
  if (keys.length === 0) return plain;
  return [
    ...(plain === undefined ? [] : [{ name: DEFAULT, template: plain }]),
    ...keys.map((key) => ({
      name: key.slice(TEMPLATE_KEY.length + 1),
      template: meta.text(key)!,
    })),
  ];
}

function addedTokens({ tokens, types }: Vocabulary): JsonObject[] {
  return tokens.flatMap((content, id) =>
    types[id] >= UNKNOWN && types[id] <= USER_DEFINED
      ? [{
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: types[id] !== USER_DEFINED,
      }]
      : []
  );
}

function vocab(tokens: readonly string[]): Record<string, number> {
  return Object.fromEntries(tokens.map((token, id) => [token, id]));
}

const byteLevelParts = { add_prefix_space: false, trim_offsets: true };

function byteLevel(
  { tokens }: Vocabulary,
  { rule, merges, prefixSpace, bad }: {
    rule: WordRule;
    merges: readonly string[];
    prefixSpace: boolean;
    bad: (reason: string) => SyntaxError;
  },
): JsonObject {
  const known = new Set(tokens);
  for (const merge of merges) {
    const [left, right, ...rest] = merge.split(" ");
    if (rest.length > 0 || !known.has(left) || !known.has(left + right)) {
      throw bad(`the merge ${quoted(merge)} does not make a token`);
    }
  }
  const words = {
    type: "ByteLevel",
    add_prefix_space: prefixSpace,
    trim_offsets: true,
    use_regex: rule.split === undefined,
  };
  const before = rule.split !== undefined
    ? [{
      type: "Split",
      pattern: { Regex: rule.split },
      behavior: "Isolated",
      invert: false,
    }]
    : rule.digits
    ? [{ type: "Digits", individual_digits: true }]
    : [];
  return {
    normalizer: rule.nfc ? { type: "NFC" } : null,
    pre_tokenizer: before.length === 0
      ? words
      : { type: "Sequence", pretokenizers: [...before, words] },
    decoder: { type: "ByteLevel", ...byteLevelParts, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: rule.ignoreMerges ?? false,
      vocab: vocab(tokens),
      merges,
    },
  };
}

function sentencePiece(
  { tokens }: Vocabulary,
  { merges, prefixSpace, unk }: {
    merges: readonly string[];
    prefixSpace: boolean;
    unk: string | undefined;
  },
): JsonObject {
  const spaces = { type: "Replace", pattern: { String: " " }, content: "▁" };
  return {
    normalizer: prefixSpace
      ? {
        type: "Sequence",
        normalizers: [{ type: "Prepend", prepend: "▁" }, spaces],
      }
      : spaces,
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(prefixSpace
          ? [{ type: "Strip", content: " ", start: 1, stop: 0 }]
          : []),
      ],
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: unk ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: vocab(tokens),
      merges,
    },
  };
}

/** Puts BOS before and EOS behind each text where the file asks for it. */
function postProcessor(
  tokens: readonly string[],
  { bos, eos, byteLevel }: {
    bos: string | undefined;
    eos: string | undefined;
    byteLevel: boolean;
  },
): JsonObject | null {
  const added = [bos, eos].filter((t) => t !== undefined);
  if (added.length === 0) {
    return byteLevel
      ? { type: "ByteLevel", ...byteLevelParts, use_regex: true }
      : null;
  }
  const around = (id: "A" | "B", type: number): JsonObject[] => [
    ...(bos === undefined
      ? []
      : [{ SpecialToken: { id: bos, type_id: type } }]),
    { Sequence: { id, type_id: type } },
    ...(eos === undefined
      ? []
      : [{ SpecialToken: { id: eos, type_id: type } }]),
  ];
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(
      added.map((
        token,
      ) => [token, {
        id: token,
        ids: [tokens.indexOf(token)],
        tokens: [token],
      }]),
    ),
  };
}
