/**
 * The `tokenizer.*` metadata of a GGUF file from the tokenizer of a Hugging Face folder: the inverse of
 * `tokenizer.ts`.
 *
 * Byte-level BPE becomes the model `gpt2` of llama.cpp, BPE with byte fallback (SentencePiece, in whichever file) the
 * model `llama`. The latter merges by scores, not by rank: a token's score is the negated rank of the first merge that
 * makes it, which gives the same order.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import { RULES, TEMPLATE_KEY } from "./tokenizer.ts";
import { ggufPair } from "./write.ts";
import { isObject, type JsonObject } from "../files/json.ts";
import { DEFAULT, type NamedTemplates } from "../files/named_templates.ts";
import type { TokenizerFiles } from "../tokenizer/contents.ts";
import { tokenText, vocabulary } from "../tokenizer/special.ts";

/** llama.cpp's types of tokens. */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;
const BYTE = 6;

/** Rules of words by the name that newer files use, of several names for one rule. */
const PREFERRED = ["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken"];

/** Keys of special tokens, and of the configuration that names them. */
const ROLES = {
  bos: "bos_token",
  eos: "eos_token",
  unknown: "unk_token",
  padding: "pad_token",
};

/**
 * Metadata pairs of a tokenizer.
 *
 * @param files What `readTokenizerFiles` read.
 * @param size Rows of the embedding: ids without a token up to it become unused ones.
 * @throws {TypeError} If llama.cpp has no such tokenizer: it is no BPE, or cuts words by a rule that is not known.
 * @throws {RangeError} If an id is beyond the embedding.
 */
export function ggufTokenizerPairs(
  files: TokenizerFiles,
  size: number,
): Uint8Array<ArrayBuffer>[] {
  const { name, tokenizer, config, chatTemplates } = files;
  const model = tokenizer.model as JsonObject;
  if (model.type !== "BPE") {
    throw new KindError(
      `Cannot write the tokenizer ${
        quoted(name)
      } to GGUF: wanted a BPE, got ${model.type}`,
    );
  }
  const ids = vocabulary(tokenizer);
  const words = byteLevel(tokenizer.pre_tokenizer);
  const vocab = tokensOf(tokenizer, { ids, size, name, scored: !words });
  const merges = mergesOf(model);
  const pairs = words
    ? [
      ggufPair("tokenizer.ggml.model", "string", "gpt2"),
      ggufPair("tokenizer.ggml.pre", "string", wordRule(tokenizer, name)),
      ggufPair("tokenizer.ggml.tokens", "string", vocab.tokens),
      ggufPair("tokenizer.ggml.token_type", "i32", vocab.types),
      ggufPair(
        "tokenizer.ggml.merges",
        "string",
        merges.map((pair) => pair.join(" ")),
      ),
      prefixPair(words.add_prefix_space === true),
    ]
    : [
      ggufPair("tokenizer.ggml.model", "string", "llama"),
      ggufPair("tokenizer.ggml.pre", "string", "default"),
      ggufPair("tokenizer.ggml.tokens", "string", vocab.tokens),
      ggufPair("tokenizer.ggml.scores", "f32", scoresOf(vocab, merges)),
      ggufPair("tokenizer.ggml.token_type", "i32", vocab.types),
      prefixPair(addsSpace(tokenizer)),
    ];
  for (const [role, key] of Object.entries(ROLES)) {
    const id = ids.get(tokenText(config[key]) ?? "");
    if (id !== undefined) {
      pairs.push(ggufPair(`tokenizer.ggml.${role}_token_id`, "u32", id));
    }
  }
  const around = addedAround(tokenizer.post_processor);
  pairs.push(
    ggufPair("tokenizer.ggml.add_bos_token", "bool", around.before),
    ggufPair("tokenizer.ggml.add_eos_token", "bool", around.after),
  );
  pairs.push(...templatePairs(chatTemplates));
  return pairs;
}

/** Chat templates, as llama.cpp's converter writes those that have names. */
function templatePairs(templates: NamedTemplates): Uint8Array<ArrayBuffer>[] {
  const others = new Map(
    [...templates].filter(([name]) => name !== DEFAULT)
      .map(([name, { text }]) => [name.replace(/[^A-Za-z0-9]/gu, "_"), text]),
  );
  const pairs = Array.from(
    others,
    ([name, text]) => ggufPair(`${TEMPLATE_KEY}.${name}`, "string", text),
  );
  if (others.size > 0) {
    pairs.push(
      ggufPair("tokenizer.chat_templates", "string", [...others.keys()]),
    );
  }
  const plain = templates.get(DEFAULT);
  if (plain) pairs.push(ggufPair(TEMPLATE_KEY, "string", plain.text));
  return pairs;
}

function prefixPair(adds: boolean): Uint8Array<ArrayBuffer> {
  return ggufPair("tokenizer.ggml.add_space_prefix", "bool", adds);
}

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
}

/** Name of an id without a token in llama.cpp's converter. */
function unused(id: number): string {
  return `[PAD${id}]`;
}

function tokensOf(
  tokenizer: JsonObject,
  { ids, size, name, scored }: {
    ids: ReadonlyMap<string, number>;
    size: number;
    name: string;
    scored: boolean;
  },
): Vocabulary {
  const tokens = Array.from({ length: size }, (_, id) => unused(id));
  const types = new Array<number>(size).fill(UNUSED);
  for (const [token, id] of ids) {
    if (id >= size) {
      throw new ValueError(
        `Cannot write the tokenizer ${quoted(name)} to GGUF: token ${
          quoted(token)
        } has the id ${id}, the embedding ${size} rows`,
      );
    }
    tokens[id] = token;
    if (token === unused(id)) continue;
    types[id] = scored && /^<0x[0-9A-F]{2}>$/.test(token) ? BYTE : NORMAL;
  }
  for (const token of tokenizer.added_tokens as JsonObject[]) {
    types[Number(token.id)] = token.special ? CONTROL : USER_DEFINED;
  }
  const unknown = ids.get(String((tokenizer.model as JsonObject).unk_token));
  if (scored && unknown !== undefined) types[unknown] = UNKNOWN;
  return { tokens, types };
}

function mergesOf(model: JsonObject): (readonly [string, string])[] {
  return (model.merges as (string | [string, string])[]).map((merge) =>
    typeof merge === "string" ? merge.split(" ") as [string, string] : merge
  );
}

/** Scores in whose order SentencePiece merges as the list does. */
function scoresOf(
  { tokens, types }: Vocabulary,
  merges: readonly (readonly [string, string])[],
): Float32Array {
  const ranks = new Map<string, number>();
  for (const [left, right] of merges) {
    const made = left + right;
    if (!ranks.has(made)) ranks.set(made, ranks.size);
  }
  return Float32Array.from(
    tokens,
    (token, id) => types[id] === NORMAL ? -(ranks.get(token) ?? ranks.size) : 0,
  );
}

/** The parts of a pre-tokenizer or normalizer, in order. */
function partsOf(part: unknown, list: string): JsonObject[] {
  if (!isObject(part)) return [];
  if (part.type !== "Sequence") return [part];
  return (Array.isArray(part[list]) ? part[list] : []).filter(isObject);
}

/** The byte-level part of a pre-tokenizer, if it has one. */
function byteLevel(preTokenizer: unknown): JsonObject | undefined {
  return partsOf(preTokenizer, "pretokenizers").find((p) =>
    p.type === "ByteLevel"
  );
}

/** llama.cpp's name of the rule that cuts text into words. */
function wordRule(tokenizer: JsonObject, name: string): string {
  const before = partsOf(tokenizer.pre_tokenizer, "pretokenizers")
    .filter((part) => part.type !== "ByteLevel");
  const split = before.flatMap((part) =>
    part.type === "Split" && isObject(part.pattern) ? [part.pattern.Regex] : []
  );
  const digits = before.filter((part) =>
    part.type === "Digits" && part.individual_digits === true
  );
  const known = before.length === split.length + digits.length &&
    before.length <= 1;
  const rule = PREFERRED.find((key) =>
    known && RULES[key].split === split[0] &&
    (RULES[key].digits ?? false) === digits.length > 0
  );
  if (rule === undefined) {
    throw new KindError(
      `Cannot write the tokenizer ${
        quoted(name)
      } to GGUF: wanted the words of ${
        PREFERRED.join(", ")
      }, got the pre-tokenizer ${
        quoted(JSON.stringify(tokenizer.pre_tokenizer))
      }`,
    );
  }
  return rule;
}

/** True if a space is put before a text. */
function addsSpace(tokenizer: JsonObject): boolean {
  return partsOf(tokenizer.normalizer, "normalizers").some((part) =>
    part.type === "Prepend"
  ) || partsOf(tokenizer.pre_tokenizer, "pretokenizers").some((part) =>
    part.type === "Metaspace" && part.prepend_scheme !== "never"
  );
}

/** True if a token is put before a text, and behind it. */
function addedAround(post: unknown): { before: boolean; after: boolean } {
  const template = partsOf(post, "processors").find((part) =>
    part.type === "TemplateProcessing"
  );
  const single = Array.isArray(template?.single) ? template.single : [];
  const special = (item: unknown) =>
    isObject(item) && item.SpecialToken !== undefined;
  return { before: special(single[0]), after: special(single.at(-1)) };
}
