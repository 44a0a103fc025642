/**
 * Checks of a `tokenizer.json` before anything is built from it.
 *
 * @module
 */

import { FormatError, KindError } from "../../errors.ts";
import { Problems, quoted } from "../files/errors.ts";
import { isObject, type JsonObject } from "../files/json.ts";

/** Ids are below this: no vocabulary is near it, and tables by id stay small. */
const MOST_IDS = 1 << 24;

/** Characters of a regular expression at most; those of real tokenizers have some hundreds. */
const LONGEST_EXPRESSION = 10_000;

function isId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 &&
    value < MOST_IDS;
}

/**
 * `json` with the parts that may be absent filled in.
 *
 * @param name Its name in errors.
 * @throws {SyntaxError} If the vocabulary, the merges or the added tokens are malformed; all of it is listed.
 * @throws {TypeError} If its model is none of BPE, WordPiece and Unigram, or a regular expression in it is too long.
 */
export function checkTokenizer(json: JsonObject, name: string): JsonObject {
  const problems = new Problems(`read the tokenizer ${quoted(name)}`);
  const model = isObject(json.model) ? json.model : {};
  const type = model.type ?? guessType(model);
  if (!isObject(json.model)) problems.add("it has no model");
  problems.throwIfAny();
  if (type === "BPE") checkBpe(model, problems);
  else if (type === "WordPiece") checkWordPiece(model, problems);
  else if (type === "Unigram") checkUnigram(model, problems);
  else {
    throw new KindError(
      `Cannot make a tokenizer from ${
        quoted(name)
      }: wanted a model of type BPE, WordPiece or Unigram, got ${
        quoted(String(type))
      }`,
    );
  }
  const added = json.added_tokens ?? [];
  if (!Array.isArray(added)) problems.add("added_tokens is no array");
  else {for (const token of added) {
      if (
        !isObject(token) || typeof token.content !== "string" ||
        token.content === "" || !isId(token.id)
      ) problems.add(`the added token ${quoted(JSON.stringify(token))}`);
    }}
  problems.throwIfAny();
  for (const part of ["normalizer", "pre_tokenizer", "decoder"]) {
    checkPatterns(json[part], name);
  }
  return {
    ...json,
    added_tokens: added,
    normalizer: json.normalizer ?? null,
    pre_tokenizer: json.pre_tokenizer ?? null,
    post_processor: json.post_processor ?? null,
    decoder: json.decoder ?? null,
    model: { ...model, type },
  };
}

/** Kind of the model in files of the first versions, which do not name it. */
function guessType(model: JsonObject): string | undefined {
  if (Array.isArray(model.vocab)) return "Unigram";
  if (Array.isArray(model.merges)) return "BPE";
  return isObject(model.vocab) ? "WordPiece" : undefined;
}

function checkVocab(vocab: unknown, problems: Problems): void {
  if (!isObject(vocab)) return problems.add("its vocabulary is no object");
  const tokens = Object.entries(vocab);
  if (tokens.length === 0) problems.add("its vocabulary is empty");
  const seen = new Set<unknown>();
  for (const [token, id] of tokens) {
    if (!isId(id)) problems.add(`token ${quoted(token)} has the id ${id}`);
    else if (seen.has(id)) problems.add(`two tokens have the id ${id}`);
    seen.add(id);
  }
}

function checkBpe(model: JsonObject, problems: Problems): void {
  checkVocab(model.vocab, problems);
  if (!Array.isArray(model.merges)) return problems.add("it has no merges");
  const pairs = Array.isArray(model.merges[0]);
  for (const [i, merge] of model.merges.entries()) {
    const parts = pairs ? merge : String(merge).split(" ");
    if (
      !Array.isArray(parts) || parts.length !== 2 ||
      parts.some((part) => typeof part !== "string" || part === "")
    ) problems.add(`merge ${i} is ${quoted(JSON.stringify(merge))}`);
  }
}

function checkWordPiece(model: JsonObject, problems: Problems): void {
  checkVocab(model.vocab, problems);
  const { unk_token: unk, vocab } = model;
  if (
    typeof unk !== "string" || !isObject(vocab) || !Object.hasOwn(vocab, unk)
  ) problems.add(`its unknown token ${quoted(String(unk))} is no token`);
}

function checkUnigram(model: JsonObject, problems: Problems): void {
  const { vocab, unk_id: unk } = model;
  if (!Array.isArray(vocab)) return problems.add("its vocabulary is no array");
  for (const [id, entry] of vocab.entries()) {
    if (
      !Array.isArray(entry) || typeof entry[0] !== "string" ||
      typeof entry[1] !== "number"
    ) problems.add(`token ${id} is ${quoted(JSON.stringify(entry))}`);
  }
  if (!isId(unk) || unk >= vocab.length) {
    problems.add(`its unknown token has the id ${unk}`);
  }
}

/** Looks at each pattern in a part, however deep. */
function checkPatterns(part: unknown, name: string): void {
  const open = [part];
  while (open.length > 0) {
    const value = open.pop();
    if (Array.isArray(value)) { for (const item of value) open.push(item); }
    if (!isObject(value)) continue;
    for (const item of Object.values(value)) open.push(item);
    if (value.type !== "Split" && value.type !== "Replace") continue;
    const pattern = isObject(value.pattern) ? value.pattern : {};
    const { String: text, Regex: regex } = pattern;
    if (typeof text !== "string" && typeof regex !== "string") {
      throw new FormatError(
        `Cannot read the tokenizer ${
          quoted(name)
        }: wanted a pattern with String or Regex, got ${
          quoted(JSON.stringify(value))
        }`,
      );
    }
    if (typeof regex === "string" && regex.length > LONGEST_EXPRESSION) {
      throw new KindError(
        `Cannot make a tokenizer from ${quoted(name)}: its expression ${
          quoted(regex)
        } has more than ${LONGEST_EXPRESSION} characters`,
      );
    }
  }
}
