/**
 * SentencePiece's precompiled character maps: a double-array trie over UTF-8 and the replacements of its keys.
 *
 * There are two rules for applying one. SentencePiece replaces the longest key at each position; Hugging Face's
 * tokenizers replaces a grapheme by the value of the *shortest* key that begins it, and maps characters one by one only
 * where that finds nothing. A `tokenizer.json` is applied by the second rule, a `.model` file by the first.
 *
 * @module
 */

import { FormatError } from "../../../errors.ts";
import { quoted } from "../../files/errors.ts";

/** A key found at a position. */
interface Found {
  /** Bytes of the key. */
  readonly length: number;
  /** Offset of its replacement among the texts. */
  readonly at: number;
}

/** Graphemes of at most this many bytes of UTF-8 are looked up as a whole by Hugging Face. */
const MOST_GRAPHEME_BYTES = 5;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A character map. */
export class Charsmap {
  readonly #trie: Uint32Array;
  readonly #texts: Uint8Array;
  readonly #graphemes = new Intl.Segmenter("und", { granularity: "grapheme" });

  /**
   * Reads a map; an empty one replaces nothing.
   *
   * @param bytes A u32 with the size of the trie, the trie (u32 each), the texts, each ended by a zero byte.
   * @param name Name of the file in errors.
   * @throws {SyntaxError} If the sizes do not fit.
   */
  constructor(bytes: Uint8Array, name: string) {
    const copy = bytes.slice();
    const size = copy.length < 4
      ? 0
      : new DataView(copy.buffer).getUint32(0, true);
    if (size % 4 !== 0 || (copy.length > 0 && size > copy.length - 4)) {
      throw new FormatError(
        `Cannot read the precompiled_charsmap of ${
          quoted(name)
        }: a trie of ${size} bytes in ${copy.length}`,
      );
    }
    const view = new DataView(copy.buffer);
    this.#trie = Uint32Array.from(
      { length: size / 4 },
      (_, i) => view.getUint32(4 + 4 * i, true),
    );
    this.#texts = copy.subarray(4 + size);
  }

  /** Keys that begin `bytes` from `from` on, shortest first. */
  *#prefixes(bytes: Uint8Array, from: number): Generator<Found, void> {
    const trie = this.#trie;
    if (trie.length === 0) return;
    let node = offsetOf(trie[0]);
    for (let i = from; i < bytes.length && bytes[i] !== 0; i++) {
      node ^= bytes[i];
      // A trie that lies leads outside; there is nothing there to find.
      const unit = trie[node] ?? 0;
      if (((unit & 0x800000ff) >>> 0) !== bytes[i]) return;
      node ^= offsetOf(unit);
      if ((unit >>> 8 & 1) === 1) {
        yield { length: i + 1 - from, at: (trie[node] ?? 0) & 0x7fffffff };
      }
    }
  }

  #text(at: number): Uint8Array {
    const end = this.#texts.indexOf(0, at);
    return this.#texts.subarray(at, end < 0 ? undefined : end);
  }

  #first(text: string): string | undefined {
    const found = this.#prefixes(encoder.encode(text), 0).next();
    return found.done ? undefined : decoder.decode(this.#text(found.value.at));
  }

  /** `text` as SentencePiece normalises it: the longest key wins. */
  longest(text: string): string {
    if (this.#trie.length === 0) return text;
    const bytes = encoder.encode(text);
    const parts: Uint8Array[] = [];
    let copied = 0;
    for (let at = 0; at < bytes.length;) {
      let best: Found | undefined;
      for (const found of this.#prefixes(bytes, at)) best = found;
      if (best === undefined) {
        at++;
        while ((bytes[at] & 0xc0) === 0x80) at++;
        continue;
      }
      parts.push(bytes.subarray(copied, at), this.#text(best.at));
      at += best.length;
      copied = at;
    }
    parts.push(bytes.subarray(copied));
    return decoder.decode(joined(parts));
  }

  /** `text` as Hugging Face's tokenizers normalises it: by graphemes, then by characters. */
  graphemes(text: string): string {
    const known = new Map<string, string>();
    // An ASCII character is a grapheme unless a mark follows it, or it is the CR of a line's end.
    return text.replace(/\r\n|\p{ASCII}?\P{ASCII}+|\p{ASCII}/gu, (part) => {
      let made = known.get(part);
      if (made === undefined) {
        made = part.length === 1 ? this.#grapheme(part) : Array.from(
          this.#graphemes.segment(part),
          ({ segment }) => this.#grapheme(segment),
        ).join("");
        known.set(part, made);
      }
      return made;
    });
  }

  #grapheme(text: string): string {
    const whole = encoder.encode(text).length <= MOST_GRAPHEME_BYTES
      ? this.#first(text)
      : undefined;
    return whole ??
      Array.from(text, (char) => this.#first(char) ?? char).join("");
  }
}

/** Offset of the children of a unit of the trie, relative to it. */
function offsetOf(unit: number): number {
  return unit >>> 10 << ((unit & 1 << 9) >>> 6);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(
    parts.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
