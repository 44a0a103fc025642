/**
 * An evaluation as the runner of the model sees it: requests by number, and scores from the answers.
 *
 * A task knows no model. It gives request 0, 1, … (built on demand), the model answers, and the task computes figures
 * from the answers in the same order.
 *
 * @module
 */

import { FormatError, ValueError } from "../../errors.ts";
import { promptTokens } from "../../io/tokenizer/prompt.ts";

/** A tokenizer, as far as a task needs one. */
export interface TokenEncoder {
  /** Token ids of a text; with the tokenizer's special tokens around it unless `addSpecialTokens` is false. */
  encode(
    text: string,
    options?: { addSpecialTokens?: boolean },
  ): ArrayLike<number>;
  /** Id of the token that begins a text, where there is one. */
  readonly bosId?: number;
  /** Id of the token that ends a text, where there is one. */
  readonly eosId?: number;
}

/** Tokens of a prompt: with the special tokens that the tokenizer puts before a text, no EOS behind. */
export function encodeText(encoder: TokenEncoder, text: string): Int32Array {
  return promptTokens(encoder, text);
}

/** An encoder with a cache: a question's choices come with the same long context each. */
export function remembering(encoder: TokenEncoder): TokenEncoder {
  const known = new Map<string, ArrayLike<number>>();
  return {
    bosId: encoder.bosId,
    eosId: encoder.eosId,
    encode(text, { addSpecialTokens = true } = {}) {
      const key = `${addSpecialTokens} ${text}`;
      const ids = known.get(key) ?? encoder.encode(text, { addSpecialTokens });
      known.set(key, ids);
      return ids;
    },
  };
}

/** A record of a data file, as far as a task needs one. */
export interface EvalRecord {
  /** Values by name. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** File that it came from. */
  readonly file: string;
  /** Its number among the records of the file, from 1. */
  readonly row: number;
  /** Line of the file, from 1, in files with lines. */
  readonly line?: number;
}

/** A text of which the end is scored. */
export interface ScoreRow {
  /** Tokens before it: one or more. */
  readonly context: Int32Array;
  /** Tokens to score: one or more. */
  readonly continuation: Int32Array;
}

/**
 * Asks for `Σ log p(token | all tokens before it)` over the continuation of each row, natural logarithm. Rows with
 * one and the same `context` object share it, so that it need be computed only once.
 */
export interface ScoreRequest {
  /** The rows: one for each choice, or a single one. */
  readonly rows: readonly ScoreRow[];
}

/** One number for each row of a {@linkcode ScoreRequest}. */
export type ScoreAnswer = ArrayLike<number>;

/** Asks for a greedy continuation, up to the end-of-text token. */
export interface GenerateRequest {
  /** Tokens of the prompt. */
  readonly prompt: Int32Array;
  /** New tokens at most. */
  readonly maxNewTokens: number;
}

/** Asks an encoder's head about one input. */
export interface EncodeRequest {
  /** Tokens, special ones included. */
  readonly tokens: Int32Array;
  /** Token type (segment) ids; all 0 without it. */
  readonly typeIds?: Int32Array;
}

/** The scores of every token as an answer's first and as its last. */
export interface SpanAnswer {
  /** Scores as the first token: one for each token of the request, more where it was padded. */
  readonly start: ArrayLike<number>;
  /** Scores as the last. */
  readonly end: ArrayLike<number>;
}

/** Asks for a target of a source: by beam search, with the runner's settings. */
export interface WriteRequest {
  /** Tokens of the source, special ones included. */
  readonly source: Int32Array;
}

/** Figures by name; a standard error stands beside its figure under `…StdErr` where it is defined. */
export type Metrics = Readonly<Record<string, number>>;

/** Result of a task. */
export interface TaskResult {
  /** The figures. */
  readonly metrics: Metrics;
  /** Number of questions, or of a perplexity's tokens. */
  readonly count: number;
  /** Figures of parts, by name (`subjects`, `categories`). */
  readonly groups?: Readonly<Record<string, Readonly<Record<string, Metrics>>>>;
}

/** A task of log-likelihoods. */
export interface ScoreTask {
  /** Kind of the requests. */
  readonly kind: "score";
  /** Name of the task. */
  readonly name: string;
  /** Requests in all. */
  readonly count: number;
  /** The request `index`, from 0. */
  request(index: number): ScoreRequest;
  /** Figures from the answers to requests 0, 1, …; fewer than all where the run was limited. */
  score(answers: readonly ScoreAnswer[]): TaskResult;
}

/** A task of generated texts. */
export interface GenerateTask {
  /** Kind of the requests. */
  readonly kind: "generate";
  /** Name of the task. */
  readonly name: string;
  /** Requests in all. */
  readonly count: number;
  /** The request `index`, from 0. */
  request(index: number): GenerateRequest;
  /** Figures from the texts generated for requests 0, 1, …, without their prompts. */
  score(answers: readonly string[]): TaskResult;
}

/** A task of classes, or of one number. */
export interface ClassifyTask {
  /** Kind of the requests. */
  readonly kind: "classify";
  /** Name of the task. */
  readonly name: string;
  /** Requests in all. */
  readonly count: number;
  /** Number of logits of an answer: one for each class, 1 for regression. */
  readonly labels: number;
  /** The request `index`, from 0. */
  request(index: number): EncodeRequest;
  /** Figures from the scores for requests 0, 1, …. */
  score(answers: readonly ArrayLike<number>[]): TaskResult;
}

/** A task of extractive question answering: each request is a window of a text. */
export interface SpanTask {
  /** Kind of the requests. */
  readonly kind: "span";
  /** Name of the task. */
  readonly name: string;
  /** Requests in all: windows, of which a question may have several. */
  readonly count: number;
  /** The request `index`, from 0. */
  request(index: number): EncodeRequest;
  /** Figures from the scores for requests 0, 1, …; of the questions whose windows are all answered. */
  score(answers: readonly SpanAnswer[]): TaskResult;
}

/** A sequence-to-sequence task: summaries, pronunciations. */
export interface WriteTask {
  /** Kind of the requests. */
  readonly kind: "write";
  /** Name of the task. */
  readonly name: string;
  /** Requests in all. */
  readonly count: number;
  /** The request `index`, from 0. */
  request(index: number): WriteRequest;
  /** Figures from the texts written for requests 0, 1, …, without special tokens. */
  score(answers: readonly string[]): TaskResult;
}

/** Any task. */
export type Task =
  | ScoreTask
  | GenerateTask
  | ClassifyTask
  | SpanTask
  | WriteTask;

/** Place of a record, for errors: `"test.json", line 3`. */
export function placeOfRecord({ file, line, row }: EvalRecord): string {
  const place = line === undefined ? `row ${row}` : `line ${line}`;
  return `${JSON.stringify(file)}, ${place}`;
}

/** The error for a record that cannot be used. */
export function badRecord(record: EvalRecord, reason: string): SyntaxError {
  return new FormatError(`Cannot use ${placeOfRecord(record)}: ${reason}`);
}

/** The text in field `name`. @throws {SyntaxError} If there is none; it names file and line. */
export function textOf(record: EvalRecord, name: string): string {
  const value = record.fields[name];
  if (typeof value === "string") return value;
  throw badRecord(
    record,
    `field ${JSON.stringify(name)}: wanted a text, got ${
      value === undefined ? "none" : JSON.stringify(value).slice(0, 60)
    }`,
  );
}

/** The request `index` of so many. @throws {RangeError} If there is none. */
export function requestAt<T>(items: readonly T[], index: number): T {
  if (Number.isInteger(index) && index >= 0 && index < items.length) {
    return items[index];
  }
  throw new ValueError(
    `Cannot take request ${index}: wanted one of 0 to ${items.length - 1}`,
  );
}

/** Refuses answers that are none, or more than were asked for. @throws {RangeError} If they are. */
export function checkAnswers(
  task: { readonly name: string; readonly count: number },
  answers: readonly unknown[],
): void {
  if (answers.length >= 1 && answers.length <= task.count) return;
  throw new ValueError(
    `Cannot score ${task.name}: wanted 1 to ${task.count} answers, got ${answers.length}`,
  );
}
