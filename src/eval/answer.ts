/**
 * Predictions of encoders: classes, numbers, spans.
 *
 * @module
 */

import { KindError } from "../errors.ts";
import { Tape } from "../autograd/tape.ts";
import { readF32 } from "../device/device.ts";
import type { EncoderModel, TokenBatch } from "../models/model.ts";
import { padRight } from "../models/parts/token_input.ts";
import type { EncodeRequest, SpanAnswer } from "./tasks/task.ts";

/** Requests as one batch, padded on the right. */
function batchOf(requests: readonly EncodeRequest[]): TokenBatch {
  const tokens = padRight(requests.map((request) => request.tokens));
  if (!requests.some((request) => request.typeIds)) return tokens;
  const typeIds = new Int32Array(tokens.batch * tokens.time);
  requests.forEach((request, b) => {
    if (request.typeIds) typeIds.set(request.typeIds, b * tokens.time);
  });
  return { ...tokens, typeIds };
}

/** Logits of requests, `[rows, cols]`. */
async function scoresOf(
  model: EncoderModel,
  tokens: TokenBatch,
): Promise<Float32Array> {
  using tape = new Tape(model.device);
  const { value } = model.logits(tape, tokens);
  const count = value.rows * value.cols;
  return await readF32(model.device, value.buffer, value.offset, count);
}

/**
 * Logits of each request's classes, or its regression value.
 *
 * @throws {TypeError} If the model's head answers otherwise.
 * @throws {RangeError} If a request is longer than the model's context.
 */
export async function answerClasses(
  model: EncoderModel,
  requests: readonly EncodeRequest[],
): Promise<Float32Array[]> {
  if (model.head.kind !== "classify") wrongHead(model, "for classes");
  const all = await scoresOf(model, batchOf(requests));
  const width = all.length / requests.length;
  return requests.map((_, i) => all.slice(i * width, (i + 1) * width));
}

/**
 * Scores of the tokens of each request as the first and the last of an answer.
 *
 * @throws As {@linkcode answerClasses}.
 */
export async function answerSpans(
  model: EncoderModel,
  requests: readonly EncodeRequest[],
): Promise<SpanAnswer[]> {
  if (model.head.kind !== "span") wrongHead(model, "for spans");
  const tokens = batchOf(requests);
  const all = await scoresOf(model, tokens);
  const part = (row: number, b: number) => {
    const from = row * tokens.batch * tokens.time + b * tokens.time;
    return all.slice(from, from + requests[b].tokens.length);
  };
  return requests.map((_, b) => ({ start: part(0, b), end: part(1, b) }));
}

function wrongHead({ head }: EncoderModel, wanted: string): never {
  const has = {
    classify: "one for classes",
    span: "one for spans",
    none: "none",
  }[head.kind];
  throw new KindError(
    `Cannot run the task: wanted a model with a head ${wanted}, got ${has}`,
  );
}
