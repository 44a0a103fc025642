/**
 * A question and a long text as inputs of a limited length: windows that overlap, as BERT's run_squad.py cuts them.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { recordError } from "../records/record.ts";
import { DocumentEncoder } from "./document.ts";
import type { DocumentTokens } from "./document.ts";
import type { Framed, Framer } from "../frame.ts";
import type { QaRecord } from "./squad.ts";

/** Options of cutting questions and texts into windows. */
export interface WindowOptions {
  /** Tokens of a window at most, question and special tokens included (384). */
  readonly context?: number;
  /** Tokens from the start of one window to that of the next (128). */
  readonly stride?: number;
  /** Tokens of a question at most; longer ones lose their end (64). */
  readonly maxQuestion?: number;
}

/** A piece of a text beside its question. */
export interface QaWindow {
  /** Number of the text's token that it begins with. */
  readonly from: number;
  /** Tokens of the text that it has. */
  readonly count: number;
}

/** A question cut into windows. */
export interface QaWindows {
  /** Tokens of the question after truncation. */
  readonly question: Int32Array;
  /** Tokens of the text. */
  readonly document: DocumentTokens;
  /** The windows in order: one or more. */
  readonly windows: readonly QaWindow[];
  /** Position in every window of the first token of the text. */
  readonly offset: number;
  /** Special tokens behind the text in every window. */
  readonly after: number;
}

/** Cuts questions into windows; texts that several questions share are tokenised once. */
export class WindowCutter {
  readonly #framer: Framer;
  readonly #encoder: DocumentEncoder;
  readonly #documents = new Map<string, DocumentTokens>();
  readonly #options: Required<WindowOptions>;

  /** @throws {RangeError} If a length is no whole number of 1 or more. */
  constructor(
    framer: Framer,
    { context = 384, stride = 128, maxQuestion = 64 }: WindowOptions = {},
  ) {
    for (const value of [context, stride, maxQuestion]) {
      if (Number.isInteger(value) && value >= 1) continue;
      throw new ValueError(
        `Cannot cut windows: wanted lengths of 1 token or more, got ${value}`,
      );
    }
    this.#framer = framer;
    this.#encoder = new DocumentEncoder(framer);
    this.#options = { context, stride, maxQuestion };
  }

  /**
   * Cuts a question and its text.
   *
   * @throws {SyntaxError} If the text is empty, or the question leaves no room for it; it names file and line.
   */
  cut({ question, context: text, record }: QaRecord): QaWindows {
    const { context, stride, maxQuestion } = this.#options;
    const asked = this.#framer.plain(question.trimStart())
      .slice(0, maxQuestion);
    let document = this.#documents.get(text);
    if (!document) {
      this.#documents.set(text, document = this.#encoder.encode(text));
    }
    const total = document.ids.length;
    if (total === 0) {
      throw recordError(record, 'field "context": wanted a text, got none');
    }
    const room = context - asked.length - this.#framer.specials(2);
    if (room < 1) {
      throw recordError(
        record,
        `wanted room for the text beside the question in ${context} tokens, got a question of ${asked.length} and ${
          this.#framer.specials(2)
        } special ones`,
      );
    }
    const windows: QaWindow[] = [];
    for (let from = 0;; from += Math.min(room, stride)) {
      const count = Math.min(room, total - from);
      windows.push({ from, count });
      if (from + count === total) break;
    }
    const offset = this.#framer.secondAt(asked.length);
    const after = this.#framer.specials(2) + asked.length - offset;
    return { question: asked, document, windows, offset, after };
  }

  /** The input that a window is. */
  frame({ question, document }: QaWindows, { from, count }: QaWindow): Framed {
    return this.#framer.pair(
      question,
      document.ids.subarray(from, from + count),
    );
  }
}

/**
 * True if `window`, of those that hold the token `position` of the text, has the most context around it; of several
 * with as much, it is the first of the longest.
 */
export function hasMostContext(
  windows: readonly QaWindow[],
  window: QaWindow,
  position: number,
): boolean {
  let best: QaWindow | undefined;
  let most = -Infinity;
  for (const each of windows) {
    const left = position - each.from;
    const right = each.from + each.count - 1 - position;
    if (left < 0 || right < 0) continue;
    const score = Math.min(left, right) + 0.01 * each.count;
    if (score > most) {
      most = score;
      best = each;
    }
  }
  return best === window;
}
