/**
 * The tokenizer's interface for training data, and the arithmetic of tokens against text.
 *
 * @module
 */

import type { ChatTemplate } from "../io/chat/template.ts";
import type { TokenOffsets } from "../io/tokenizer/offsets.ts";

/** A tokenizer, as far as training data needs one. */
export interface TextCodec {
  /** Token ids of a text; with the tokenizer's special tokens around it unless `addSpecialTokens` is false. */
  encode(
    text: string,
    options?: { addSpecialTokens?: boolean },
  ): ArrayLike<number>;
  /** Text of token ids. */
  decode(ids: Iterable<number>): string;
  /** Id of the token that begins a text, where there is one. */
  readonly bosId?: number;
  /** Id of the token that ends a text, where there is one. */
  readonly eosId?: number;
  /** Id that fills short rows, where there is one. */
  readonly padId?: number;
  /** True if a token is a special one. */
  isSpecial?(id: number): boolean;
  /** Ids of a text and each token's character range; without it, borders are found by encoding the text before. */
  encodeOffsets?(
    text: string,
    options?: { addSpecialTokens?: boolean },
  ): TokenOffsets;
  /** The model's chat template, where it has one. */
  readonly chatTemplate?: ChatTemplate;
}

/** Length of the common prefix of two sequences, in tokens. */
export function commonPrefix(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
): number {
  const n = Math.min(a.length, b.length);
  let i = 0;
  while (i < n && a[i] === b[i]) i++;
  return i;
}

/** Tokens that grow as they are added to. */
export class TokenBuffer {
  #data = new Int32Array(1024);
  #size = 0;

  /** Tokens so far. */
  get size(): number {
    return this.#size;
  }

  /** Appends tokens. */
  push(ids: ArrayLike<number>): void {
    const size = this.#size + ids.length;
    if (size > this.#data.length) {
      const grown = new Int32Array(Math.max(2 * this.#data.length, size));
      grown.set(this.#data.subarray(0, this.#size));
      this.#data = grown;
    }
    this.#data.set(ids, this.#size);
    this.#size = size;
  }

  /** The last token, undefined while there is none. */
  get last(): number | undefined {
    return this.#size === 0 ? undefined : this.#data[this.#size - 1];
  }

  /** A copy of the tokens, as long as they are. */
  tokens(): Int32Array<ArrayBuffer> {
    return this.#data.slice(0, this.#size);
  }
}
