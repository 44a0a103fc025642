/**
 * Tokenizers: from text to ids and back, as Hugging Face's libraries do it for the same files.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import type {
  ChatMessage,
  ChatOptions,
  ChatTemplate,
} from "../chat/template.ts";
import { quoted } from "../files/errors.ts";
import type { Side } from "./chars.ts";
import { decodeTokens, type TokenDecoder, TokenStream } from "./decode.ts";
import { type Encode, encodeLong, LONG_TEXT } from "./long.ts";
import { OffsetEncoder, type TokenOffsets } from "./offsets.ts";
import type { LibraryTokenizer } from "./parts.ts";
export type {
  ChatMessage,
  ChatOptions,
  ChatRecord,
  ChatTemplate,
  RenderedChat,
} from "../chat/template.ts";
export type { Side } from "./chars.ts";
export type { TokenOffsets } from "./offsets.ts";

/** Options of encoding. */
export interface EncodeOptions {
  /** Puts the tokens around the text that its model expects: BOS, EOS, CLS, SEP (true). */
  readonly addSpecialTokens?: boolean;
}

/** Options of decoding. */
export interface DecodeOptions {
  /** Leaves out special tokens (false). */
  readonly skipSpecialTokens?: boolean;
}

/** Options of decoding ids one by one. */
export interface StreamOptions extends DecodeOptions {
  /** Ids before the first one: with them, the space between two words is there, which decoders drop before a text. */
  readonly after?: Iterable<number>;
}

/** Decodes ids as they are generated. */
export interface TextStream {
  /** Text that is complete with this token: none while only a part of a character is there. */
  push(id: number): string;
  /** The rest: U+FFFD where a character never became whole. */
  end(): string;
}

/** Options of opening a model's tokenizer. */
export interface TokenizerOptions {
  /** Source or target, where the two have their own vocabularies (`source`). */
  readonly side?: Side;
}

/** Two texts as one input. */
export interface EncodedPair {
  /** Ids of both with the special tokens around and between them. */
  readonly ids: Int32Array<ArrayBuffer>;
  /** Token type (segment) id of each id, 0 or 1: the model's `token_type_ids`. */
  readonly typeIds: Int32Array<ArrayBuffer>;
}

/** Turns text into ids and back. */
export interface Tokenizer {
  /** Its name in errors. */
  readonly name: string;
  /** One more than the highest id. */
  readonly vocabSize: number;
  /** Id of the token that begins a text; undefined where the model has none. */
  readonly bosId: number | undefined;
  /** Id of the token that ends one. */
  readonly eosId: number | undefined;
  /** Id that fills short rows of a batch. */
  readonly padId: number | undefined;
  /** Id of the unknown token (UNK). */
  readonly unkId: number | undefined;
  /** Ids of all special tokens by role (`cls_token`, `mask_token`). */
  readonly specialIds: ReadonlyMap<string, number>;
  /** True if {@linkcode Tokenizer.encode} puts BOS before a text. */
  readonly addsBos: boolean;
  /** True if it has a chat template. */
  readonly hasChatTemplate: boolean;
  /** Its chat template, where it has one. */
  readonly chatTemplate: ChatTemplate | undefined;
  /** Ids of a text. Special tokens that are written out in it are taken for such. */
  encode(text: string, options?: EncodeOptions): Int32Array<ArrayBuffer>;
  /** Ids of a text, as of {@linkcode Tokenizer.encode}, with the offsets of each token. */
  encodeOffsets(text: string, options?: EncodeOptions): TokenOffsets;
  /** Ids of two texts as one input, with special tokens. */
  encodePair(first: string, second: string): EncodedPair;
  /** Text of ids; an id without a token has none. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /** A decoder for ids that come one by one. */
  stream(options?: StreamOptions): TextStream;
  /** True if a token is a special one, which {@linkcode DecodeOptions.skipSpecialTokens} leaves out. */
  isSpecial(id: number): boolean;
  /** Id of a token; undefined if there is none. */
  idOf(token: string): number | undefined;
  /** Token of an id, as the vocabulary has it; undefined if there is none. */
  tokenOf(id: number): string | undefined;
  /**
   * A conversation as the text that the model was trained on; encode it without special tokens.
   *
   * @throws {TypeError} If there is no chat template.
   * @throws {Error} If the template refuses the conversation.
   */
  applyChatTemplate(
    messages: readonly ChatMessage[],
    options?: ChatOptions,
  ): string;
}

/** @throws {RangeError} If a token has no id. */
export function idsOf(
  ids: readonly (number | undefined)[],
): Int32Array<ArrayBuffer> {
  const at = ids.indexOf(undefined);
  if (at >= 0) {
    throw new ValueError(`token ${at} of a text is not in the vocabulary`);
  }
  return Int32Array.from(ids as number[]);
}

interface Parts {
  readonly name: string;
  readonly library: LibraryTokenizer;
  readonly decoder: TokenDecoder;
  readonly ids: ReadonlyMap<string, number>;
  readonly special: ReadonlySet<number>;
  readonly roles: readonly (readonly [string, string])[];
  readonly chat: ChatTemplate | undefined;
}

/** A tokenizer of Hugging Face's library, with decoding and offsets of our own. */
export class LoadedTokenizer implements Tokenizer {
  readonly name: string;
  readonly vocabSize: number;
  readonly specialIds: ReadonlyMap<string, number>;
  readonly addsBos: boolean;
  readonly #parts: Parts;
  readonly #tokens: ReadonlyMap<number, string>;
  readonly #offsets: OffsetEncoder;

  constructor(parts: Parts) {
    this.name = parts.name;
    this.#parts = parts;
    this.#offsets = new OffsetEncoder(parts.library);
    this.#tokens = new Map(Array.from(parts.ids, ([token, id]) => [id, token]));
    let size = 0;
    for (const id of parts.ids.values()) size = Math.max(size, id + 1);
    this.vocabSize = size;
    this.specialIds = new Map(
      parts.roles.map(([role, token]) => [role, parts.ids.get(token)!]),
    );
    this.addsBos = this.bosId !== undefined &&
      this.encode("")[0] === this.bosId;
  }

  get bosId(): number | undefined {
    return this.specialIds.get("bos_token");
  }

  get eosId(): number | undefined {
    return this.specialIds.get("eos_token");
  }

  get padId(): number | undefined {
    return this.specialIds.get("pad_token");
  }

  get unkId(): number | undefined {
    return this.specialIds.get("unk_token");
  }

  get hasChatTemplate(): boolean {
    return this.#parts.chat !== undefined;
  }

  get chatTemplate(): ChatTemplate | undefined {
    return this.#parts.chat;
  }

  encode(
    text: string,
    { addSpecialTokens = true }: EncodeOptions = {},
  ): Int32Array<ArrayBuffer> {
    return text.length > 2 * LONG_TEXT
      ? encodeLong(text, this.#encode, { addSpecialTokens })
      : this.#encode(text, { addSpecialTokens });
  }

  readonly #encode: Encode = (text, { addSpecialTokens }) =>
    idsOf(
      this.#parts.library.encode(text, {
        add_special_tokens: addSpecialTokens,
      }).ids,
    );

  encodeOffsets(
    text: string,
    { addSpecialTokens = true }: EncodeOptions = {},
  ): TokenOffsets {
    const made = this.#offsets.encode(text, { addSpecialTokens });
    return { ...made, ids: idsOf(made.ids) };
  }

  encodePair(first: string, second: string): EncodedPair {
    const made = this.#parts.library.encode(first, {
      // The library takes an empty string for no text, but not an object that holds one.
      text_pair: second || new String("") as string,
      return_token_type_ids: true,
    });
    const ids = idsOf(made.ids);
    return {
      ids,
      typeIds: made.token_type_ids
        ? Int32Array.from(made.token_type_ids)
        : new Int32Array(ids.length),
    };
  }

  decode(
    ids: Iterable<number>,
    { skipSpecialTokens = false }: DecodeOptions = {},
  ): string {
    const tokens: string[] = [];
    for (const id of ids) {
      const token = this.#visible(id, skipSpecialTokens);
      if (token !== undefined) tokens.push(token);
    }
    return decodeTokens(this.#parts.decoder, tokens);
  }

  stream(
    { skipSpecialTokens = false, after = [] }: StreamOptions = {},
  ): TextStream {
    const stream = new TokenStream(this.#parts.decoder);
    const push = (id: number): string => {
      const token = this.#visible(id, skipSpecialTokens);
      return token === undefined ? "" : stream.push(token);
    };
    for (const id of after) push(id);
    return { push, end: () => stream.end() };
  }

  isSpecial(id: number): boolean {
    return this.#parts.special.has(id);
  }

  #visible(id: number, skip: boolean): string | undefined {
    return skip && this.#parts.special.has(id)
      ? undefined
      : this.#tokens.get(id);
  }

  idOf(token: string): number | undefined {
    return this.#parts.ids.get(token);
  }

  tokenOf(id: number): string | undefined {
    return this.#tokens.get(id);
  }

  applyChatTemplate(
    messages: readonly ChatMessage[],
    options?: ChatOptions,
  ): string {
    const { chat, name } = this.#parts;
    if (chat === undefined) {
      throw new KindError(
        `Cannot lay out a conversation: ${quoted(name)} has no chat template`,
      );
    }
    return chat.render({ messages }, options).text;
  }
}
