/**
 * A toy tokenizer for tests: words and single characters, ids from a hash. tests/golden/eval/make.py has it too.
 *
 * @module
 */

import type { ByteSource } from "../../../src/io/files/bytes.ts";
import type { ChatTemplate } from "../../../src/io/chat/template.ts";
import type { JsonObject } from "../../../src/io/files/json.ts";
import { bytesSource } from "../../../src/io/files/sources.ts";
import type { TextCodec } from "../../../src/data/codec.ts";
import type { PairCodec } from "../../../src/data/frame.ts";

/** The ids of the toy tokenizer's special tokens. */
export const BOS = 1;
export const EOS = 2;
export const PAD = 0;

/** The pieces that a text is cut into. */
export function piecesOf(text: string): string[] {
  return text.match(/ ?[A-Za-z]+| ?[0-9]|[^]/gu) ?? [];
}

/** The id of a piece. */
export function idOf(piece: string): number {
  let state = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(piece)) {
    state = Math.imul(state ^ byte, 0x01000193) >>> 0;
  }
  return state % 50000 + 10;
}

/** A chat template that a function is. */
export function templateOf(
  write: (messages: readonly JsonObject[], prompt: boolean) => string,
): ChatTemplate {
  return {
    marksAnswers: false,
    render: ({ messages }, { addGenerationPrompt = false } = {}) => ({
      text: write(messages as readonly JsonObject[], addGenerationPrompt),
    }),
  };
}

/** The toy tokenizer, with ChatML's form of conversations. */
export function toyCodec(overrides: Partial<TextCodec> = {}): TextCodec {
  const pieces = new Map<number, string>();
  return {
    encode(text, { addSpecialTokens = true } = {}) {
      const ids = piecesOf(text).map((piece) => {
        const id = idOf(piece);
        pieces.set(id, piece);
        return id;
      });
      return addSpecialTokens ? [BOS, ...ids] : ids;
    },
    decode: (ids) =>
      Array.from(ids, (id) => pieces.get(id) ?? `<${id}>`).join(""),
    bosId: BOS,
    eosId: EOS,
    padId: PAD,
    encodeOffsets(text, { addSpecialTokens = true } = {}) {
      const parts = piecesOf(text);
      const ids = this.encode!(text, { addSpecialTokens: false });
      const ends = parts.map(() => 0);
      parts.reduce((at, part, i) => ends[i] = at + part.length, 0);
      const starts = [0, ...ends].slice(0, parts.length);
      const before = addSpecialTokens ? [0] : [];
      return {
        ids: Int32Array.from([...before.map(() => BOS), ...Array.from(ids)]),
        starts: Int32Array.from([...before, ...starts]),
        ends: Int32Array.from([...before, ...ends]),
        blurred: [],
      };
    },
    chatTemplate: templateOf((messages, prompt) =>
      messages.map(({ role, content }) => `|${role}|\n${content}~\n`)
        .join("") + (prompt ? "|assistant|\n" : "")
    ),
    ...overrides,
  };
}

/** The toy tokenizer as BERT's: with a token before, between and after texts, and the text of each token. */
export function pairCodec(overrides: Partial<PairCodec> = {}): PairCodec {
  const toy = toyCodec();
  const pieces = new Map<number, string>();
  const plain = (text: string) => {
    for (const piece of piecesOf(text)) pieces.set(idOf(piece), piece);
    return Array.from(toy.encode(text, { addSpecialTokens: false }));
  };
  return {
    ...toy,
    name: "toy",
    encode: (text, { addSpecialTokens = true } = {}) =>
      addSpecialTokens ? [BOS, ...plain(text), EOS] : plain(text),
    encodePair(first, second) {
      const [a, b] = [plain(first), plain(second)];
      return {
        ids: [BOS, ...a, EOS, ...b, EOS],
        typeIds: [...a.map(() => 0), 0, 0, ...b.map(() => 1), 1],
      };
    },
    tokenOf: (id) => pieces.get(id)?.replace(/^ /, "▁"),
    ...overrides,
  };
}

/** A file of these bytes. */
export function file(name: string, text: string): ByteSource {
  return bytesSource(new TextEncoder().encode(text), name);
}
