/**
 * Extractive question answering: questions as windows with the place of the answer in each.
 *
 * @module
 */

import { recordError } from "../records/record.ts";
import type { SpanExample } from "../example.ts";
import type { Framer } from "../frame.ts";
import { ExampleList, type ListedSet, type Overflow } from "../list.ts";
import { placeOfAnswer } from "./squad.ts";
import type { QaRecord } from "./squad.ts";
import { WindowCutter } from "./windows.ts";
import type { QaWindows, WindowOptions } from "./windows.ts";

/** Options of {@linkcode readSpanExamples}. */
export interface QaOptions extends WindowOptions {
  /** The tokenizer, held against the model's vocabulary. */
  readonly framer: Framer;
  /**
   * Treatment of a text of several windows: "truncate" makes an example of each (the usual way), "drop" leaves the
   * question out, "error" refuses it.
   */
  readonly overflow?: Overflow;
}

/** The tokens of the document that hold the characters `[from, to)`: the first and the last. */
function tokensAround(
  { document: { starts, ends } }: QaWindows,
  [from, to]: readonly [number, number],
): [first: number, last: number] | undefined {
  const first = ends.findIndex((end) => end > from);
  const last = starts.findLastIndex((start) => start < to);
  return first >= 0 && first <= last ? [first, last] : undefined;
}

/**
 * Reads questions into examples, one for each window of each; a window that does not hold the whole answer points to
 * the first token, as BERT's run_squad.py has it. The first answer of a question is learnt.
 *
 * @throws {SyntaxError} If an answer does not stand where the record says, a context is empty, or, with `overflow`
 * "error", longer than one window; it names file and line.
 * @throws {RangeError} If there is no example, or the tokenizer is another model's.
 */
export async function readSpanExamples(
  records: AsyncIterable<QaRecord> | Iterable<QaRecord>,
  { framer, overflow = "truncate", ...options }: QaOptions,
): Promise<ListedSet<SpanExample>> {
  const list = new ExampleList<SpanExample>(overflow);
  const cutter = new WindowCutter(framer, options);
  const { context: most = 384 } = options;
  for await (const item of records) {
    const [answer] = item.answers;
    const place = placeOfAnswer(item.context, answer);
    const cut = cutter.cut(item);
    const tokens = place && tokensAround(cut, place);
    if (!tokens) {
      throw recordError(
        item.record,
        `wanted the answer ${
          JSON.stringify(answer.text)
        } at character ${answer.start} of the context, got ${
          JSON.stringify(
            Array.from(item.context).slice(Math.max(0, answer.start))
              .slice(0, Math.max(1, answer.text.length)).join(""),
          )
        }`,
      );
    }
    const [first, last] = tokens;
    const { windows, offset, document } = cut;
    if (overflow !== "truncate") {
      const length = cut.question.length + document.ids.length +
        framer.specials(2);
      if (!list.takes(item.record, { length, most })) continue;
    }
    for (const window of windows) {
      const { from, count } = window;
      const whole = first >= from && last < from + count;
      list.add({
        kind: "span",
        ...cutter.frame(cut, window),
        start: whole ? first - from + offset : 0,
        end: whole ? last - from + offset : 0,
      });
    }
  }
  return list.set();
}
