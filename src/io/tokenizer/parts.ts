/**
 * The JavaScript tokenizers library, with the parts replaced that give other ids than the Rust one.
 *
 * Differences of version 0.2.0: spaces, digits and word characters are JavaScript's instead of Unicode's; most
 * behaviours of `Split` and `Punctuation` are missing; lower case knows a final sigma; BERT's ideographs end at U+FFFF;
 * precompiled character maps are taken for NFKC; an empty text gets a prefix; Metaspace does not split; Unigram has no
 * byte fallback and overflows the stack on long words.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { messageOf, quoted } from "../files/errors.ts";
import { isObject, type JsonObject } from "../files/json.ts";
import { loadPackage } from "../files/package.ts";
import { parsePattern, type PatternCost, patternCost } from "../../pattern.ts";
import { Charsmap } from "./sentencepiece/charsmap.ts";
import { longWordCuts, safeCuts } from "./cut.ts";
import {
  type Behavior,
  bertNormalize,
  bertWords,
  byteText,
  GPT2_WORDS,
  lowerCase,
  NUMERIC,
  punctuationWords,
  spaceWords,
  splitText,
  trimSpaces,
  WORDS,
} from "./text.ts";

/** Words in a cache at most, and characters of one. */
const MOST_WORDS = 1 << 16;
const LONGEST_WORD = 64;

/** The library's tokenizer. */
export type LibraryTokenizer = InstanceType<
  typeof import("npm:@huggingface/tokenizers@0.2.0").Tokenizer
>;

/** Common members of the library's parts and their replacements; its declarations hide most of them. */
interface Part {
  normalizers?: Part[];
  tokenizers?: Part[];
  readonly pattern?: RegExp;
  readonly config?: JsonObject;
  normalize(text: string): string;
  "pre_tokenize_text"(text: string, options?: Section): string[];
}

/** The part of a text, between special tokens, that is being cut. */
interface Section {
  "section_index"?: number;
}

/** Words that were seen lately. */
class WordCache<T> {
  readonly #words = new Map<string, T>();

  get(word: string): T | undefined {
    return this.#words.get(word);
  }

  put(word: string, value: T): void {
    if (word.length > LONGEST_WORD) return;
    if (this.#words.size === MOST_WORDS) this.#words.clear();
    this.#words.set(word, value);
  }
}

interface Model {
  encode(words: string[]): string[];
  cache?: WordCache<string[]>;
  tokenize?(word: string): string[];
  "tokens_to_ids": Map<string, number>;
}

/**
 * Loads the library and builds a tokenizer from checked contents.
 *
 * @param json A checked `tokenizer.json`.
 * @param name Its name in errors.
 * @throws {Error} Whatever the library throws at contents that it does not know.
 */
export async function buildTokenizer(
  json: JsonObject,
  name: string,
): Promise<LibraryTokenizer> {
  const { Tokenizer } = await loadPackage(
    "@huggingface/tokenizers",
    () => import("npm:@huggingface/tokenizers@0.2.0"),
  );
  // Decoding is not left to the library, and of configurations it knows options for decoding only.
  const tokenizer = new Tokenizer({ ...json, decoder: null }, {});
  const { normalizer, pre_tokenizer: cutter, model } =
    tokenizer as unknown as Record<string, unknown>;
  if (isObject(json.normalizer)) {
    repairNormalizer(normalizer as Part, json.normalizer, name);
  }
  if (isObject(json.pre_tokenizer)) {
    repairPreTokenizer(cutter as Part, json.pre_tokenizer);
  }
  repairModel(model as Model, json.model as JsonObject);
  for (const part of [normalizer, cutter]) {
    if (part) checkExpressions(part as Part, name);
  }
  return tokenizer;
}

/** Limits of an expression: those of real tokenizers have fifty ways and two repeats one after the other. */
const MOST_WAYS = 1000;
const MOST_DEGREE = 3;

/**
 * Checks the expressions that the library has made of the file's.
 *
 * @throws {TypeError} If one could take exponential time.
 */
function checkExpressions(part: Part, name: string): void {
  for (const child of part.normalizers ?? part.tokenizers ?? []) {
    checkExpressions(child, name);
  }
  const { pattern, config } = part;
  if (!(pattern instanceof RegExp) || !isObject(config?.pattern)) return;
  const { Regex: written = pattern.source } = config.pattern;
  const bad = (reason: string) =>
    new KindError(
      `Cannot make a tokenizer from ${quoted(name)}: its expression ${
        quoted(String(written))
      } ${reason}`,
    );
  let cost: PatternCost;
  try {
    cost = patternCost(parsePattern(pattern.source));
  } catch (cause) {
    throw bad(`is not read here: ${messageOf(cause)}`);
  }
  if (cost.ways > MOST_WAYS || cost.degree > MOST_DEGREE) {
    throw bad("repeats so much that it can take exponential time");
  }
}

function repairNormalizer(part: Part, config: JsonObject, name: string): void {
  const replace = (normalize: (text: string) => string) => {
    part.normalize = normalize;
  };
  switch (config.type) {
    case "Sequence":
      (config.normalizers as JsonObject[]).forEach((child, i) =>
        repairNormalizer(part.normalizers![i], child, name)
      );
      break;
    case "BertNormalizer": {
      const lower = config.lowercase === true;
      const rules = {
        cleanText: config.clean_text === true,
        splitIdeographs: config.handle_chinese_chars === true,
        stripAccents: (config.strip_accents ?? lower) === true,
        lowerCase: lower,
      };
      replace((text) => bertNormalize(text, rules));
      break;
    }
    case "Precompiled": {
      const map = new Charsmap(
        Uint8Array.fromBase64(String(config.precompiled_charsmap ?? "")),
        name,
      );
      const own = config.sentencepiece;
      if (!isObject(own)) replace((text) => map.graphemes(text));
      else if (own.removeExtraSpaces !== true) {
        replace((text) => map.longest(text));
      } else {
        replace((text) =>
          map.longest(text).replace(/ {2,}/g, " ").replace(/^ | $/g, "")
        );
      }
      break;
    }
    case "Lowercase":
      replace(lowerCase);
      break;
    case "Prepend":
      replace((text) => text === "" ? "" : `${config.prepend}${text}`);
      break;
    case "Strip":
      replace((text) =>
        trimSpaces(text, {
          left: config.strip_left === true,
          right: config.strip_right === true,
        })
      );
  }
}

function repairPreTokenizer(part: Part, config: JsonObject): void {
  const replace = (cut: (text: string, section?: Section) => string[]) => {
    part.pre_tokenize_text = cut;
  };
  const behavior = String(config.behavior ?? "Isolated")
    .toLowerCase() as Behavior;
  switch (config.type) {
    case "Sequence":
      (config.pretokenizers as JsonObject[]).forEach((child, i) =>
        repairPreTokenizer(part.tokenizers![i], child)
      );
      break;
    case "ByteLevel":
      replace(byteLevel(config));
      break;
    case "Digits":
      replace((text) =>
        splitText(text, NUMERIC, {
          behavior: config.individual_digits === true
            ? "isolated"
            : "contiguous",
        })
      );
      break;
    case "Split": {
      const { pattern } = part;
      const invert = config.invert === true;
      if (pattern) {
        replace((text) => splitText(text, pattern, { behavior, invert }));
      }
      break;
    }
    case "Punctuation":
      replace((text) => punctuationWords(text, behavior));
      break;
    case "BertPreTokenizer":
      replace(bertWords);
      break;
    case "WhitespaceSplit":
      replace(spaceWords);
      break;
    case "Whitespace":
      replace((text) => text.match(WORDS) ?? []);
      break;
    case "Metaspace":
      replace(metaspace(config));
  }
}

function byteLevel(config: JsonObject): (text: string) => string[] {
  const made = new WordCache<string>();
  return (text) => {
    if (config.add_prefix_space === true && !text.startsWith(" ")) {
      text = ` ${text}`;
    }
    const words = config.use_regex === false
      ? [text]
      : text.match(GPT2_WORDS) ?? [];
    return words.map((word) => {
      const known = made.get(word);
      if (known !== undefined) return known;
      const bytes = byteText(word);
      made.put(word, bytes);
      return bytes;
    });
  };
}

function metaspace(
  config: JsonObject,
): (text: string, section?: Section) => string[] {
  const mark = String(config.replacement ?? "▁");
  const scheme = config.prepend_scheme ??
    (config.add_prefix_space === false ? "never" : "always");
  const marks = new RegExp(mark.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "gu");
  return (text, section) => {
    const marked = text.replaceAll(" ", mark);
    const first = scheme === "always" ||
      (scheme === "first" && (section?.section_index ?? 0) === 0);
    const whole = first && !marked.startsWith(mark) ? mark + marked : marked;
    return config.split === false
      ? [whole]
      : splitText(whole, marks, { behavior: "mergedwithnext" });
  };
}

function repairModel(model: Model, config: JsonObject): void {
  const cutSpaces = safeCuts(config);
  const cutLong = longWordCuts(config);
  const cut = (words: string[]) =>
    cutLong(cutSpaces ? words.flatMap(cutSpaces) : words);
  if (config.type === "BPE") {
    const encode = model.encode.bind(model);
    // The library's own cache moves a word to its end each time, which takes most of the time of all.
    model.cache = new WordCache();
    model.encode = (words) => encode(cut(words));
  } else if (config.type === "Unigram") {
    const pieces = unigramPieces(model, config.byte_fallback === true);
    const known = new WordCache<string[]>();
    model.encode = (words) => {
      const out: string[] = [];
      for (const word of cut(words)) {
        let made = known.get(word);
        if (made === undefined) known.put(word, made = pieces(word));
        for (const piece of made) out.push(piece);
      }
      return out;
    };
  }
}

function unigramPieces(
  model: Model,
  byteFallback: boolean,
): (word: string) => string[] {
  const ids = model.tokens_to_ids;
  return (word) => {
    const pieces = model.tokenize!(word);
    if (!byteFallback) return pieces;
    return pieces.flatMap((piece) => {
      if (ids.has(piece)) return [piece];
      const bytes = byteTokens(piece);
      return bytes.every((token) => ids.has(token)) ? bytes : [piece];
    });
  };
}

/** The tokens of the bytes of one character. */
function byteTokens(char: string): string[] {
  return Array.from(
    new TextEncoder().encode(char),
    (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
}
