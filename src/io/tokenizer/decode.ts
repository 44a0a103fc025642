/**
 * From tokens back to text, all at once or token by token.
 *
 * The rules are those of Hugging Face's tokenizers in Rust. A token becomes a piece of text or bytes of UTF-8; bytes of
 * several tokens can make one character.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import { isObject, type JsonObject } from "../files/json.ts";
import { BYTE_CHARS } from "./text.ts";

/** Text of one token, or its bytes. */
type Piece = string | Uint8Array;

/** Changes the text of a token; `first` where no token is before it. */
type Step = (text: string, first: boolean) => string;

/** Turns tokens into text. */
export interface TokenDecoder {
  /** The piece of one token. */
  piece(token: string, first: boolean): Piece;
  /** True if all tokens are bytes, so that a broken character costs only itself; else a run of bytes is all or nothing. */
  readonly bytesOnly: boolean;
  /** Characters that are dropped from the start of a text, and their number at most. */
  readonly strip: { readonly content: string; readonly count: number };
}

/**
 * The decoder that a `tokenizer.json` describes; without one, tokens stand with spaces between.
 *
 * @param config Its `decoder`.
 * @param name Name of the file in errors.
 * @throws {TypeError} If it is of a kind that is not read here.
 */
export function makeDecoder(config: unknown, name: string): TokenDecoder {
  const steps: Step[] = [];
  let bytesOnly = false;
  let fallback = false;
  let fused = false;
  let strip = { content: "", count: 0 };
  const refuse = (what: string): never => {
    throw new KindError(
      `Cannot decode with ${
        quoted(name)
      }: wanted ByteLevel, WordPiece, Metaspace, or a Sequence of Replace, ByteFallback, Fuse and Strip, got ${what}`,
    );
  };
  const add = (part: unknown): void => {
    if (!isObject(part)) return refuse(quoted(String(part)));
    switch (part.type) {
      case "Sequence":
        if (!Array.isArray(part.decoders)) return refuse("no decoders");
        part.decoders.forEach(add);
        break;
      case "ByteLevel":
        bytesOnly = true;
        break;
      case "ByteFallback":
        fallback = true;
        break;
      case "Fuse":
        fused = true;
        break;
      case "WordPiece":
        steps.push(wordPiece(part));
        break;
      case "Metaspace":
        steps.push(metaspace(part));
        break;
      case "Replace": {
        const pattern = isObject(part.pattern) ? part.pattern.String : null;
        if (typeof pattern !== "string") return refuse("Replace by expression");
        steps.push((text) => text.replaceAll(pattern, () => `${part.content}`));
        break;
      }
      case "Strip": {
        const { content, start = 0, stop = 0 } = part;
        if (typeof content !== "string" || content.length !== 1 || stop !== 0) {
          return refuse("Strip at the end");
        }
        const count = Number(start);
        if (fused) strip = { content, count };
        else steps.push((text) => stripped(text, { content, count }).text);
        break;
      }
      default:
        refuse(quoted(String(part.type)));
    }
  };
  if (config === null || config === undefined) {
    steps.push((text, first) => first ? text : ` ${text}`);
  } else add(config);
  return {
    bytesOnly,
    strip,
    piece(token, first) {
      if (fallback && /^<0x[0-9A-Fa-f]{2}>$/.test(token)) {
        return Uint8Array.of(Number.parseInt(token.slice(3, 5), 16));
      }
      let text = token;
      for (const step of steps) text = step(text, first);
      return bytesOnly ? levelBytes(text) : text;
    },
  };
}

function wordPiece({ prefix, cleanup }: JsonObject): Step {
  return (text, first) => {
    const joined = first
      ? text
      : typeof prefix === "string" && prefix !== "" && text.startsWith(prefix)
      ? text.slice(prefix.length)
      : ` ${text}`;
    return cleanup === false ? joined : joined
      .replaceAll(/ ([.?!,])/g, "$1").replaceAll(" ' ", "'")
      .replaceAll(/ (n't|'m|'s|'ve|'re)/g, "$1").replaceAll(
        " do not",
        " don't",
      );
  };
}

function metaspace(config: JsonObject): Step {
  const mark = String(config.replacement ?? "▁");
  const scheme = config.prepend_scheme ??
    (config.add_prefix_space === false ? "never" : "always");
  return (text, first) =>
    text.replaceAll(mark, first && scheme !== "never" ? "" : " ");
}

/** Bytes by their characters in byte-level BPE. */
const LEVEL_BYTES: ReadonlyMap<string, number> = new Map(
  BYTE_CHARS.map((char, byte) => [char, byte]),
);

const encoder = new TextEncoder();

function levelBytes(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = LEVEL_BYTES.get(token[i]);
    // A token of other characters is an added one, and means itself.
    if (byte === undefined) return encoder.encode(token);
    bytes[i] = byte;
  }
  return bytes;
}

function stripped(
  text: string,
  { content, count }: TokenDecoder["strip"],
): { text: string; dropped: number } {
  let dropped = 0;
  while (dropped < count && text[dropped] === content) dropped++;
  return { text: text.slice(dropped), dropped };
}

/** The text of all of `tokens`. */
export function decodeTokens(
  decoder: TokenDecoder,
  tokens: readonly string[],
): string {
  const parts: string[] = [];
  let run: number[] = [];
  const flush = () => {
    if (run.length === 0) return;
    const bytes = Uint8Array.from(run);
    const lossy = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    parts.push(
      decoder.bytesOnly || isWhole(bytes) ? lossy : "\ufffd".repeat(run.length),
    );
    run = [];
  };
  tokens.forEach((token, i) => {
    const piece = decoder.piece(token, i === 0);
    if (typeof piece !== "string") {
      for (const byte of piece) run.push(byte);
      return;
    }
    flush();
    parts.push(piece);
  });
  flush();
  return stripped(parts.join(""), decoder.strip).text;
}

function isWhole(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Decodes tokens one by one and buffers the bytes of a character that is not whole yet. */
export class TokenStream {
  readonly #decoder: TokenDecoder;
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  #first = true;
  #strip: number;

  /** Begins a text. */
  constructor(decoder: TokenDecoder) {
    this.#decoder = decoder;
    this.#strip = decoder.strip.count;
  }

  /** Text that is complete with `token`; often none. */
  push(token: string): string {
    const piece = this.#decoder.piece(token, this.#first);
    this.#first = false;
    return this.#begin(
      typeof piece === "string"
        ? this.#utf8.decode() + piece
        : this.#utf8.decode(piece, { stream: true }),
    );
  }

  /** The rest: U+FFFD for a character that never became whole. */
  end(): string {
    return this.#begin(this.#utf8.decode());
  }

  #begin(text: string): string {
    if (this.#strip === 0 || text === "") return text;
    const { content } = this.#decoder.strip;
    const cut = stripped(text, { content, count: this.#strip });
    this.#strip = cut.text === "" ? this.#strip - cut.dropped : 0;
    return cut.text;
  }
}
