/**
 * One text or two as one input of a model: the special tokens around and between them, and truncation.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import { quoted } from "../io/files/errors.ts";
import type { TextCodec } from "./codec.ts";

/** A tokenizer, as far as inputs of one text or two need it. */
export interface PairCodec extends TextCodec {
  /** Its name in errors. */
  readonly name?: string;
  /** Token ids of two texts with the special tokens around and between them, and their token type (segment) ids. */
  encodePair?(
    first: string,
    second: string,
  ): { readonly ids: ArrayLike<number>; readonly typeIds: ArrayLike<number> };
  /** Id of the unknown token (UNK). */
  readonly unkId?: number;
  /** The token of an id, as the vocabulary has it. */
  tokenOf?(id: number): string | undefined;
}

/** An input of a model. */
export interface Framed {
  /** Token ids, special ones included. */
  readonly tokens: Int32Array;
  /** Token type (segment) ids; undefined for one text. */
  readonly typeIds?: Int32Array;
}

/** An input that fits, and its length before truncation. */
export interface Fitted extends Framed {
  /** Tokens before truncation. */
  readonly length: number;
}

/** Options of a {@linkcode Framer}. */
export interface FramerOptions {
  /** Tokens of the model's vocabulary; every id is checked against it where it is given. */
  readonly vocabSize?: number;
}

/** Special tokens before, between and after, and the type ids of all. */
interface Frame {
  readonly before: Int32Array;
  readonly between: Int32Array;
  readonly after: Int32Array;
  /** Type ids of the tokens before and of the first text, of those between, of the second text, of those after. */
  readonly types: {
    readonly before: Int32Array;
    readonly first: number;
    readonly between: Int32Array;
    readonly second: number;
    readonly after: Int32Array;
  };
}

/** Index of `part` in `ids`, the first from `from` on; -1 if there is none. */
function find(ids: Int32Array, part: Int32Array, from = 0): number {
  for (let at = from; at + part.length <= ids.length; at++) {
    if (part.every((id, i) => ids[at + i] === id)) return at;
  }
  return -1;
}

/** Puts texts into the form that a model's inputs have. */
export class Framer {
  /** The tokenizer. */
  readonly codec: PairCodec;
  readonly #vocabSize: number;
  #single?: { before: Int32Array; after: Int32Array };
  #pair?: Frame;

  /** Begins with a tokenizer, and the size of the model's vocabulary to hold its ids against. */
  constructor(codec: PairCodec, { vocabSize = Infinity }: FramerOptions = {}) {
    this.codec = codec;
    this.#vocabSize = vocabSize;
  }

  /**
   * Tokens of a text without special ones.
   *
   * @throws {RangeError} If the model has no such token: the tokenizer is another model's.
   */
  plain(text: string): Int32Array {
    return this.#checked(this.codec.encode(text, { addSpecialTokens: false }));
  }

  /**
   * One text or two as one input.
   *
   * @throws {RangeError} As {@linkcode Framer.plain}.
   * @throws {TypeError} If there are two, and the tokenizer takes one.
   */
  whole(first: string, second?: string): Framed {
    if (second === undefined) {
      return { tokens: this.#checked(this.codec.encode(first)) };
    }
    const { ids, typeIds } = this.#encodePair(first, second);
    return { tokens: this.#checked(ids), typeIds: Int32Array.from(typeIds) };
  }

  /**
   * One text or two as an input of at most `context` tokens. Where it is longer, texts lose their ends, the longer of
   * two first (`longest_first` of Hugging Face's tokenizers).
   *
   * @throws {RangeError} As {@linkcode Framer.plain}, or if the special tokens alone leave no room.
   * @throws {TypeError} As {@linkcode Framer.whole}.
   */
  fit(
    { first, second }: { first: string; second?: string },
    context: number,
  ): Fitted {
    const whole = this.whole(first, second);
    const { length } = whole.tokens;
    if (length <= context) return { ...whole, length };
    const a = this.plain(first);
    if (second === undefined) {
      const room = context - this.specials(1);
      this.#checkRoom(room, context);
      const { before, after } = this.#singleFrame();
      return { tokens: join(before, a.subarray(0, room), after), length };
    }
    const b = this.plain(second);
    const room = context - this.specials(2);
    this.#checkRoom(room, context);
    const [p, q] = longestFirst(a.length, b.length, room);
    return { ...this.pair(a.subarray(0, p), b.subarray(0, q)), length };
  }

  /** Number of special tokens around one text, or around and between two. */
  specials(texts: 1 | 2): number {
    if (texts === 1) {
      const { before, after } = this.#singleFrame();
      return before.length + after.length;
    }
    const { before, between, after } = this.#pairFrame();
    return before.length + between.length + after.length;
  }

  /** Index of the second text's first token in {@linkcode Framer.pair}'s result, for a first text of so many tokens. */
  secondAt(first: number): number {
    const { before, between } = this.#pairFrame();
    return before.length + first + between.length;
  }

  /** Tokens of two texts as one input. */
  pair(first: Int32Array, second: Int32Array): Required<Framed> {
    const { before, between, after, types } = this.#pairFrame();
    return {
      tokens: join(before, first, between, second, after),
      typeIds: join(
        types.before,
        new Int32Array(first.length).fill(types.first),
        types.between,
        new Int32Array(second.length).fill(types.second),
        types.after,
      ),
    };
  }

  #encodePair(first: string, second: string) {
    const { codec } = this;
    if (codec.encodePair) return codec.encodePair(first, second);
    throw new KindError(
      `Cannot put two texts into one input: wanted a tokenizer that takes pairs, got ${
        quoted(codec.name ?? "one that does not")
      }`,
    );
  }

  #checkRoom(room: number, context: number): void {
    if (room >= 1) return;
    throw new ValueError(
      `Cannot cut an input to ${context} tokens: ${
        context - room
      } are special ones; wanted room for a text`,
    );
  }

  #checked(ids: ArrayLike<number>): Int32Array {
    const tokens = Int32Array.from(ids);
    for (const id of tokens) {
      if (id < this.#vocabSize) continue;
      throw new ValueError(
        `Cannot use the tokenizer${
          this.codec.name === undefined ? "" : ` ${quoted(this.codec.name)}`
        } with this model: wanted ids below ${this.#vocabSize}, the size of the model's vocabulary, got ${id}; is it another model's?`,
      );
    }
    return tokens;
  }

  #singleFrame(): { before: Int32Array; after: Int32Array } {
    if (this.#single) return this.#single;
    const text = this.plain("a");
    const ids = this.whole("a").tokens;
    const at = find(ids, text);
    if (at < 0) throw this.#unknownFrame("one text");
    const before = ids.slice(0, at);
    const after = ids.slice(at + text.length);
    return this.#single = { before, after };
  }

  #pairFrame(): Frame {
    if (this.#pair) return this.#pair;
    const [a, b] = [this.plain("a"), this.plain("b")];
    const { tokens, typeIds } = this.whole("a", "b") as Required<Framed>;
    const first = find(tokens, a);
    const middle = first + a.length;
    const second = first < 0 ? -1 : find(tokens, b, middle);
    if (second < 0) throw this.#unknownFrame("two texts");
    const end = second + b.length;
    return this.#pair = {
      before: tokens.slice(0, first),
      between: tokens.slice(middle, second),
      after: tokens.slice(end),
      types: {
        before: typeIds.slice(0, first),
        first: typeIds[first],
        between: typeIds.slice(middle, second),
        second: typeIds[second],
        after: typeIds.slice(end),
      },
    };
  }

  #unknownFrame(what: string): TypeError {
    return new KindError(
      `Cannot cut inputs of ${what}: the tokenizer gives a text other tokens when special ones stand around it`,
    );
  }
}

function join(...parts: readonly Int32Array[]): Int32Array {
  const joined = new Int32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Lengths of two texts after truncation: the longer loses its end until both are as long, then both do. */
export function longestFirst(
  first: number,
  second: number,
  room: number,
): [first: number, second: number] {
  if (first + second <= room) return [first, second];
  const short = Math.min(first, second);
  const half = Math.floor(room / 2);
  const kept = 2 * short > room ? [half, room - half] : [short, room - short];
  return first > second ? [kept[1], kept[0]] : [kept[0], kept[1]];
}
