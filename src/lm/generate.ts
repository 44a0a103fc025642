/**
 * Text from a causal LM as an async iterator.
 *
 * @module
 */

import type { ChatRecord } from "../io/chat/template.ts";
import { chatTokens, promptTokens } from "../io/tokenizer/prompt.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { generate } from "../models/generate/causal.ts";
import type { SamplingOptions } from "../models/generate/sampling.ts";
import type { CausalModel } from "../models/model.ts";

/** A conversation to be answered: messages with role and content, and the chat template's other variables. */
export interface ChatPrompt {
  /** Messages in order, the last one to be answered. */
  readonly messages: ChatRecord["messages"];
  /** Tools that may be called, as JSON schemas. */
  readonly tools?: ChatRecord["tools"];
  /** Further variables of the chat template: `{ enable_thinking: false }`. */
  readonly kwargs?: ChatRecord["kwargs"];
}

/** A text to continue, or a conversation to answer. */
export type Prompt = string | ChatPrompt;

/** Options of `generate`. */
export interface GenerateTextOptions
  extends Pick<SamplingOptions, "temperature" | "topK" | "topP"> {
  /** New tokens at the most (128). */
  readonly maxNewTokens?: number;
  /** Seed of the sampling, where `temperature` is above 0 (0). */
  readonly seed?: number;
  /** Tokens that end the text besides those of the model's files. */
  readonly stop?: readonly number[];
  /** Ends the text with the signal's reason as an error. */
  readonly signal?: AbortSignal;
}

/** Milliseconds of work after which timers, events and a page's drawing get their turn. */
const REST = 15;

/** Pieces of text as they are generated. */
export async function* generateText(
  { model, tokenizer, stop }: {
    model: CausalModel;
    tokenizer: Tokenizer;
    stop: readonly number[];
  },
  prompt: Prompt,
  { maxNewTokens = 128, stop: more = [], signal, ...sampling }:
    GenerateTextOptions,
): AsyncGenerator<string, void, void> {
  signal?.throwIfAborted();
  const ids = typeof prompt === "string"
    ? promptTokens(tokenizer, prompt)
    : chatTokens(tokenizer, prompt);
  const stream = tokenizer.stream({
    skipSpecialTokens: true,
    ...(typeof prompt === "string" && { after: ids }),
  });
  const { readable, writable } = new TransformStream<string, string>();
  const writer = writable.getWriter();
  let rested = performance.now();
  const write = async () => {
    await generate(model, [ids], {
      ...{ ...sampling, maxNewTokens },
      stop: [...stop, ...more],
      onToken: async (_, token) => {
        // Waits until the piece before is taken: nobody's text is not generated.
        await writer.write(stream.push(token));
        if (performance.now() - rested > REST) {
          await new Promise((resolve) => setTimeout(resolve));
          rested = performance.now();
        }
        signal?.throwIfAborted();
      },
    });
    await writer.write(stream.end());
    await writer.close();
  };
  const work = write().catch((error) => writer.abort(error).catch(() => {}));
  const reader = readable.getReader();
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) break;
      if (value !== "") yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
    await work;
  }
}
