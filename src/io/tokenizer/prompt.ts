/**
 * Token ids of a prompt: a text to continue, or a conversation to answer.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import type { ChatRecord } from "../chat/template.ts";
import { quoted } from "../files/errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A tokenizer, as far as a prompt needs one. */
export interface PromptEncoder {
  /** Token ids of a text; with the tokenizer's special tokens around it unless `addSpecialTokens` is false. */
  encode(
    text: string,
    options?: { addSpecialTokens?: boolean },
  ): ArrayLike<number>;
  /** Id of the token that ends a text, where there is one. */
  readonly eosId?: number | undefined;
}

/** Number of ids at the end that are `id`. */
function atEnd(ids: ArrayLike<number>, id: number): number {
  let count = 0;
  while (count < ids.length && ids[ids.length - 1 - count] === id) count++;
  return count;
}

/**
 * Tokens of `text` with the special tokens that the tokenizer puts before one, but without an EOS behind: a model begins
 * a new text there. An EOS that is written out in the text stays.
 */
export function promptTokens(
  encoder: PromptEncoder,
  text: string,
): Int32Array<ArrayBuffer> {
  const ids = Int32Array.from(encoder.encode(text, { addSpecialTokens: true }));
  const { eosId } = encoder;
  const ends = eosId === undefined ? 0 : atEnd(ids, eosId);
  if (ends === 0) return ids;
  const plain = encoder.encode(text, { addSpecialTokens: false });
  // Of an empty text the BOS may be the same token, with which a model begins.
  const own = Math.max(atEnd(plain, eosId!), ids.length === ends ? 1 : 0);
  return ids.slice(0, ids.length - Math.max(0, ends - own));
}

/**
 * Token ids of a conversation as the model's chat template lays it out, up to where the answer begins.
 *
 * @throws {TypeError} If there is no chat template, or it refuses the conversation.
 */
export function chatTokens(
  tokenizer: Tokenizer,
  chat: ChatRecord,
): Int32Array<ArrayBuffer> {
  const { chatTemplate, name } = tokenizer;
  if (!chatTemplate) {
    throw new KindError(
      `Cannot lay out a conversation: ${quoted(name)} has no chat template`,
    );
  }
  const { text } = chatTemplate.render(chat, { addGenerationPrompt: true });
  return tokenizer.encode(text, { addSpecialTokens: false });
}
