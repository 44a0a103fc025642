/**
 * Questions with a text that holds their answers: SQuAD v1.1 as its authors publish it, and flattened to records.
 *
 * @module
 */

import type { ByteSource } from "../../io/files/bytes.ts";
import { isObject } from "../../io/files/json.ts";
import { wholeObject } from "../records/object.ts";
import { kindOf, recordError, someOf, textField } from "../records/record.ts";
import type { DataRecord } from "../records/record.ts";
import { formatOfFile, readRecords } from "../records/records.ts";

/** An answer to a question. */
export interface QaAnswer {
  /** Its text, as it stands in the context. */
  readonly text: string;
  /** Its begin there, in code points as the files have it. */
  readonly start: number;
}

/** A question. */
export interface QaRecord {
  /** Its id in the file. */
  readonly id: string;
  /** The question. */
  readonly question: string;
  /** The text that holds the answer. */
  readonly context: string;
  /** Answers that people gave: one or more. */
  readonly answers: readonly QaAnswer[];
  /** Its record, for errors; in the authors' layout its number, for want of lines. */
  readonly record: DataRecord;
}

/**
 * The questions of a file: SQuAD's own JSON, or records with `id`, `question`, `context` and `answers` of `text` and
 * `answer_start`, each a list.
 *
 * @throws {SyntaxError} If a question cannot be used, one without an answer included; it names file and line.
 */
export async function* readSquad(source: ByteSource): AsyncGenerator<QaRecord> {
  const nested = formatOfFile(source.name) === "json"
    ? await wholeObject(source)
    : undefined;
  if (nested && Array.isArray(nested.data)) {
    const records = flatten(nested.data, source.name);
    for await (const record of someOf(records, source.name)) {
      yield questionOf(record);
    }
    return;
  }
  for await (const record of readRecords(source)) yield questionOf(record);
}

/** The records of SQuAD's own layout. @throws {SyntaxError} If something is no list where one is wanted. */
function* flatten(
  data: readonly unknown[],
  file: string,
): Generator<DataRecord> {
  let row = 0;
  const list = (value: unknown, name: string): unknown[] => {
    const found = isObject(value) ? value[name] : value;
    if (Array.isArray(found)) return found;
    throw recordError(
      { file, row: row + 1 },
      `${name}: wanted a list, got ${kindOf(found)}`,
    );
  };
  for (const article of data) {
    for (const paragraph of list(article, "paragraphs")) {
      for (const question of list(paragraph, "qas")) {
        const { context } = paragraph as { context: unknown };
        const fields = { ...question as object, context };
        yield { fields, file, row: ++row };
      }
    }
  }
}

/** The answers of a record: a list of `{ text, answer_start }`, or an object of two lists. */
function answersOf(record: DataRecord): QaAnswer[] {
  const { answers } = record.fields;
  const wrong = (got: string) =>
    recordError(
      record,
      `field "answers": wanted one or more of text and answer_start, got ${got}`,
    );
  let rows: unknown[] = [];
  if (Array.isArray(answers)) rows = answers;
  else if (isObject(answers) && Array.isArray(answers.text)) {
    const starts = Array.isArray(answers.answer_start)
      ? answers.answer_start
      : [];
    rows = answers.text.map((text, i) => ({ text, "answer_start": starts[i] }));
  } else throw wrong(kindOf(answers));
  if (rows.length === 0) throw wrong("none");
  return rows.map((row) => {
    const { text, answer_start: start } = isObject(row) ? row : {};
    if (typeof text === "string" && Number.isInteger(start)) {
      return { text, start: start as number };
    }
    throw wrong(JSON.stringify(row).slice(0, 60));
  });
}

function questionOf(record: DataRecord): QaRecord {
  const question = textField(record, "question");
  const context = textField(record, "context");
  const { id } = record.fields;
  return {
    id: typeof id === "string" || typeof id === "number" ? `${id}` : "",
    question,
    context,
    answers: answersOf(record),
    record,
  };
}

/**
 * Range of an answer in its context, `[from, to)` in UTF-16 units; undefined if another text stands there.
 */
export function placeOfAnswer(
  context: string,
  { text, start }: QaAnswer,
): [from: number, to: number] | undefined {
  // The files count code points, which differ from units only behind characters beyond the first plane.
  let from = start;
  if (/[\ud800-\udbff]/.test(context.slice(0, 2 * start))) {
    from = Array.from(context).slice(0, start).join("").length;
  }
  return start >= 0 && text !== "" && context.startsWith(text, from)
    ? [from, from + text.length]
    : undefined;
}
