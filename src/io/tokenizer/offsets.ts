/**
 * Character offsets of a text's tokens. The JavaScript library gives ids only, so its steps are taken here one by one,
 * and the characters of every token are found again.
 *
 * @module
 */

import type { LibraryTokenizer } from "./parts.ts";
import { byteText } from "./text.ts";

/** Tokens of a text with their offsets, in UTF-16 units. */
export interface TokenOffsets {
  /** Ids, as `encode` gives them. */
  readonly ids: Int32Array<ArrayBuffer>;
  /** For each token, where its characters begin in the text. */
  readonly starts: Int32Array;
  /** End of each token; a part of a character stands for the whole of it. */
  readonly ends: Int32Array;
  /**
   * Ranges of the text in which tokens have no offsets of their own: each token there has the whole range. Empty but for
   * normalisers that do more than change characters one by one.
   */
  readonly blurred: readonly (readonly [number, number])[];
}

/** A token of the library's configuration. */
interface AddedToken {
  readonly id: number;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

/** Members that the library's declarations hide. */
interface Internals {
  "splitter_unnormalized": { split(text: string): string[] };
  "splitter_normalized": { split(text: string): string[] };
  "added_tokens_map": ReadonlyMap<string, AddedToken>;
  normalizer: ((text: string) => string) | null;
  "pre_tokenizer":
    | ((text: string, options: { section_index: number }) => string[])
    | null;
  model: ((words: string[]) => string[]) & {
    "tokens_to_ids": ReadonlyMap<string, number>;
    "unk_token_id"?: number;
    "unk_token"?: string;
    "end_of_word_suffix"?: string;
  };
  "post_processor":
    | ((tokens: string[], pair: null, special: boolean) => { tokens: string[] })
    | null;
}

/** A part of a text and its offset. */
interface Part {
  text: string;
  from: number;
  to: number;
}

/** Tokens with their ranges. */
class Placed {
  readonly tokens: string[] = [];
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  readonly blurred: [number, number][] = [];

  add(token: string, from: number, to: number): void {
    this.tokens.push(token);
    this.starts.push(from);
    this.ends.push(to);
  }
}

/** Encodes texts with the place of each token. */
export class OffsetEncoder {
  readonly #library: Internals;
  #bytes = true;
  #frame?: { before: readonly string[]; after: readonly string[] };

  /** Begins with a tokenizer that `buildTokenizer` made. */
  constructor(library: LibraryTokenizer) {
    this.#library = library as unknown as Internals;
  }

  /** Tokens of `text` with their offsets; an id is undefined where a token is not in the vocabulary. */
  encode(
    text: string,
    { addSpecialTokens }: { addSpecialTokens: boolean },
  ): Omit<TokenOffsets, "ids"> & { readonly ids: (number | undefined)[] } {
    const placed = new Placed();
    const { before, after } = addSpecialTokens
      ? this.#frame ??= this.#findFrame()
      : NO_FRAME;
    for (const token of before) placed.add(token, 0, 0);
    this.#sections(text, placed);
    for (const token of after) placed.add(token, text.length, text.length);
    const { added_tokens_map: added, model } = this.#library;
    return {
      ids: placed.tokens.map((token) =>
        added.get(token)?.id ?? model.tokens_to_ids.get(token) ??
          model.unk_token_id
      ),
      starts: Int32Array.from(placed.starts),
      ends: Int32Array.from(placed.ends),
      blurred: placed.blurred,
    };
  }

  /** The special tokens around a text. */
  #findFrame() {
    const mark = "\0";
    const { tokens } = this.#library.post_processor?.([mark], null, true) ??
      { tokens: [mark] };
    const at = tokens.indexOf(mark);
    return { before: tokens.slice(0, at), after: tokens.slice(at + 1) };
  }

  #sections(text: string, placed: Placed): void {
    const { added_tokens_map: added, normalizer } = this.#library;
    const parts = this.#split(text, this.#library.splitter_unnormalized);
    for (const [index, part] of parts.entries()) {
      if (part.text === "") continue;
      if (added.has(part.text)) placed.add(part.text, part.from, part.to);
      else if (normalizer === null) {
        this.#section(part.text, index, placed, (at) => part.from + at);
      } else {
        const made = normalizer(part.text);
        if (made === "") continue;
        const place = placesOf(part.text, made, normalizer);
        if (place === undefined) placed.blurred.push([part.from, part.to]);
        this.#section(
          made,
          index,
          placed,
          place
            ? (at, end) => part.from + place(at, end)
            : (_, end) => end ? part.to : part.from,
        );
      }
    }
  }

  /** Ranges of the tokens of a text; the way to find them is the same for all texts, but for odd ones. */
  #ranges(text: string, tokens: readonly string[]): Ranges | undefined {
    const ways = [
      () => byteRanges(text, tokens),
      () => pieceRanges(text, tokens, this.#library.model),
    ];
    const first = this.#bytes ? 0 : 1;
    const found = ways[first]();
    if (found) return found;
    const other = ways[1 - first]();
    if (other) this.#bytes = !this.#bytes;
    return other;
  }

  /** A text cut at added tokens, without the spaces that those take. */
  #split(text: string, splitter: { split(text: string): string[] }): Part[] {
    let at = 0;
    const parts = splitter.split(text).map((piece): Part => {
      const from = at;
      return { text: piece, from, to: at += piece.length };
    });
    for (const [i, part] of parts.entries()) {
      const token = this.#library.added_tokens_map.get(part.text);
      if (token === undefined) continue;
      const { text } = part;
      if (token.lstrip && i > 0) {
        const before = parts[i - 1];
        before.text = before.text.trimEnd();
        part.from = before.to = before.from + before.text.length;
      }
      if (token.rstrip && i < parts.length - 1) {
        const behind = parts[i + 1];
        behind.text = behind.text.trimStart();
        part.to = behind.from = behind.to - behind.text.length;
      }
      part.text = text;
    }
    return parts;
  }

  /** Tokens of a normalised text; `place` leads back to the text that it was. */
  #section(
    text: string,
    index: number,
    placed: Placed,
    place: (at: number, end: boolean) => number,
  ): void {
    const { added_tokens_map: added, pre_tokenizer, model } = this.#library;
    for (const part of this.#split(text, this.#library.splitter_normalized)) {
      if (part.text === "") continue;
      if (added.has(part.text)) {
        placed.add(part.text, place(part.from, false), place(part.to, true));
        continue;
      }
      const tokens = model(
        pre_tokenizer?.(part.text, { section_index: index }) ?? [part.text],
      );
      const ranges = this.#ranges(part.text, tokens);
      if (ranges === undefined) {
        placed.blurred.push([place(part.from, false), place(part.to, true)]);
      }
      for (const [i, token] of tokens.entries()) {
        const [from, to] = ranges?.[i] ?? [0, part.text.length];
        placed.add(
          token,
          place(part.from + from, false),
          from === to
            ? place(part.from + from, false)
            : place(part.from + to, true),
        );
      }
    }
  }
}

const NO_FRAME = { before: [], after: [] };

type Ranges = (readonly [from: number, to: number])[];

/** Ranges of byte-level BPE's tokens, whose characters are the text's bytes; undefined if these are none. */
function byteRanges(
  text: string,
  tokens: readonly string[],
): Ranges | undefined {
  const made = tokens.join("");
  const bytes = byteText(text);
  // A space may have been put before the text.
  const skipped = made.length - bytes.length;
  if (skipped === 0 ? made !== bytes : made !== `Ġ${bytes}`) return undefined;
  const ascii = bytes.length === text.length;
  const from: number[] = [];
  const to: number[] = [];
  if (!ascii) {
    let at = 0;
    for (const char of text) {
      const end = at + char.length;
      for (let i = utf8Length(char.codePointAt(0)!); i > 0; i--) {
        from.push(at);
        to.push(end);
      }
      at = end;
    }
  }
  let next = -skipped;
  return tokens.map(({ length }) => {
    const first = Math.max(0, next);
    next += length;
    if (next <= 0) return [0, ascii ? 1 : to[0]];
    return ascii ? [first, next] : [from[first], to[next - 1]];
  });
}

function utf8Length(code: number): number {
  return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

/** A byte that the vocabulary has no character for. */
const BYTE = /^<0x[\dA-F]{2}>$/;

/** Ranges of SentencePiece's and WordPiece's tokens; undefined if they are not found. */
function pieceRanges(
  text: string,
  tokens: readonly string[],
  { unk_token: unknown, end_of_word_suffix: suffix }: Internals["model"],
): Ranges | undefined {
  const plain = text.replaceAll("▁", " ");
  const ranges: [number, number][] = [];
  let at = 0;
  // Tokens before this one that are known to stand from `open` on, to wherever the next known one begins.
  let waiting: [number, number][] = [];
  let bytes = 0;
  for (const token of tokens) {
    const byte = token.length === 6 && BYTE.test(token);
    if (byte && !plain.startsWith(token, at)) {
      const code = plain.codePointAt(at);
      if (code === undefined) return undefined;
      const end = at + (code > 0xffff ? 2 : 1);
      ranges.push([at, end]);
      if (++bytes === utf8Length(code)) {
        at = end;
        bytes = 0;
      }
      continue;
    }
    if (bytes > 0) return undefined;
    if (token === unknown) {
      const range: [number, number] = [at, at];
      ranges.push(range);
      waiting.push(range);
      continue;
    }
    let piece = token.includes("▁") ? token.replaceAll("▁", " ") : token;
    if (suffix && piece.endsWith(suffix)) {
      piece = piece.slice(0, -suffix.length);
    }
    if (ranges.length > 0 && piece.startsWith("##")) piece = piece.slice(2);
    let from = at;
    if (waiting.length > 0) from = plain.indexOf(piece, at + 1);
    else if (!plain.startsWith(piece, at)) {
      // A space that was put before the text, or spaces that the tokens have not.
      if (
        at === 0 && piece.startsWith(" ") && plain.startsWith(piece.slice(1))
      ) {
        piece = piece.slice(1);
        // As in the Rust library, such a space stands for the first character.
        if (piece === "") {
          ranges.push([0, plain.codePointAt(0)! > 0xffff ? 2 : 1]);
          continue;
        }
      } else {
        while (/\s/.test(plain[from] ?? "")) from++;
        if (!plain.startsWith(piece, from)) return undefined;
      }
    }
    if (from < 0) return undefined;
    for (const range of waiting) range[1] = from;
    waiting = [];
    ranges.push([from, at = from + piece.length]);
  }
  for (const range of waiting) range[1] = at = plain.length;
  return bytes === 0 && plain.slice(at).trim() === "" ? ranges : undefined;
}

/** Graphemes: a letter with its marks, a syllable of Hangul in parts, which normalisers change together. */
const CLUSTERS = new Intl.Segmenter("en", { granularity: "grapheme" });

/** Clusters that are remembered. */
const MOST_CLUSTERS = 1 << 14;

/** A normaliser's prefix of a text, and its outputs for clusters of characters. */
interface Normalised {
  readonly prefix: string;
  readonly clusters: Map<string, string>;
}

const NORMALISED = new WeakMap<(text: string) => string, Normalised>();

function normalisedBy(normalizer: (text: string) => string): Normalised {
  let known = NORMALISED.get(normalizer);
  if (!known) {
    const one = normalizer("a");
    known = { prefix: one.slice(0, -1), clusters: new Map() };
    NORMALISED.set(normalizer, known);
  }
  return known;
}

/** Texts in which each character is a cluster. */
// deno-lint-ignore no-control-regex
const SINGLE = /^[\0-\x0c\x0e-\x7f]*$/;

/**
 * For each place in a normalised text, its place in the original; undefined if the normaliser does more than change
 * clusters of characters one by one and put a prefix before the text.
 */
function placesOf(
  text: string,
  made: string,
  normalizer: (text: string) => string,
): ((at: number, end: boolean) => number) | undefined {
  if (made === text) return (at) => at;
  const { prefix, clusters } = normalisedBy(normalizer);
  if (!made.startsWith(prefix)) return undefined;
  // The prefix stands for the text's first character, as in the Rust library.
  const [initial = ""] = text;
  const froms: number[] = new Array(prefix.length).fill(0);
  const tos: number[] = new Array(prefix.length).fill(initial.length);
  let at = 0;
  const parts = SINGLE.test(text)
    ? text
    : Array.from(CLUSTERS.segment(text), ({ segment }) => segment);
  for (const segment of parts) {
    let own = clusters.get(segment);
    if (own === undefined) {
      const whole = normalizer(segment);
      if (!whole.startsWith(prefix)) return undefined;
      own = whole.slice(prefix.length);
      if (clusters.size >= MOST_CLUSTERS) clusters.clear();
      clusters.set(segment, own);
    }
    if (!made.startsWith(own, froms.length)) return undefined;
    const same = own.length === segment.length;
    for (let i = 0; i < own.length; i++) {
      froms.push(same ? at + i : at);
      tos.push(same ? at + i + 1 : at + segment.length);
    }
    at += segment.length;
  }
  if (froms.length !== made.length) return undefined;
  return (place, end) =>
    end
      ? (place === 0 ? 0 : tos[place - 1])
      : place < froms.length
      ? froms[place]
      : text.length;
}
