/**
 * Records of one text or two with a label, in the layouts of GLUE, ANLI and their kin, recognised by the columns.
 *
 * @module
 */

import type { ByteSource } from "../../io/files/bytes.ts";
import { quoted } from "../../io/files/errors.ts";
import { recordError, someOf, textField } from "../records/record.ts";
import type { DataRecord } from "../records/record.ts";
import { formatOfFile, readRecords } from "../records/records.ts";
import type { DataFormat } from "../records/records.ts";

/** A text or two with a label. */
export interface LabelledText {
  /** The text. */
  readonly first: string;
  /** The other, where there are two. */
  readonly second?: string;
  /** The label as the file has it. */
  readonly label: unknown;
  /** Its record, for errors. */
  readonly record: DataRecord;
}

/** Columns of a file. */
export interface LabelledColumns {
  /** Of the text, or of both. */
  readonly texts: readonly string[];
  /** Of the label. */
  readonly label: string;
}

/** Names that columns of texts have: MNLI, ANLI, QNLI, QQP, MRPC (the authors' and others'), SST-2 and CoLA. */
const TEXTS: readonly (readonly string[])[] = [
  ["premise", "hypothesis"],
  ["context", "hypothesis"],
  ["question", "sentence"],
  ["question1", "question2"],
  ["#1 String", "#2 String"],
  ["sentence1", "sentence2"],
  ["text1", "text2"],
  ["sentence"],
  ["text"],
];

/** Names that the column of the label has; of several that are there, the first. */
const LABELS = ["gold_label", "label", "Quality", "is_duplicate", "score"];

/** Columns of a file without a header: a text and its label, or CoLA's source, label, mark and sentence. */
const BARE: ReadonlyMap<number, LabelledColumns> = new Map([
  [2, { texts: ["0"], label: "1" }],
  [4, { texts: ["3"], label: "1" }],
]);

/** Options of {@linkcode readLabelled}. */
export interface LabelledOptions {
  /** Its columns; by default recognised. */
  readonly columns?: LabelledColumns;
  /** Number of texts of a record; by default one or two. */
  readonly texts?: 1 | 2;
  /** Format, where the extension does not say it; a `.txt` is a TSV, as MRPC's authors have it. */
  readonly format?: DataFormat;
  /** Called with the line of each TSV record with too few fields, which is skipped; an error without it. */
  readonly onShort?: (line: number) => void;
}

const either = (names: readonly string[]) => names.map(quoted).join(" and ");

/** The columns of a file that has these. @throws {SyntaxError} If they are none that are known; it names the file. */
function columnsOf(
  record: DataRecord,
  { columns, texts }: LabelledOptions,
): LabelledColumns {
  const names = Object.keys(record.fields);
  const has = (name: string) => names.includes(name);
  const known = columns
    ? [columns.texts]
    : TEXTS.filter((t) => texts === undefined || t.length === texts);
  const found = known.find((wanted) => wanted.every(has));
  const label = (columns ? [columns.label] : LABELS).find(has);
  if (found && label !== undefined) return { texts: found, label };
  const wanted = found
    ? `a column ${
      (columns ? [columns.label] : LABELS).map(quoted).join(" or ")
    }`
    : `the columns ${known.map(either).join(", or ")}`;
  // Without known names, the first line says more than the numbers of its fields.
  const got = names.every((name, i) => name === `${i}`)
    ? Object.values(record.fields).map(String)
    : names;
  throw recordError(
    record,
    `wanted ${wanted}, got ${
      got.slice(0, 20).map(quoted).join(", ") || "none"
    }`,
  );
}

/**
 * The labelled texts of a data file.
 *
 * @throws {SyntaxError} If its columns are not known, or a record lacks a text; it names file and line.
 * @throws {RangeError} If its format is not known.
 */
export function readLabelled(
  source: ByteSource,
  options: LabelledOptions = {},
): AsyncGenerator<LabelledText> {
  return someOf(textsOf(source, options), source.name);
}

async function* textsOf(
  source: ByteSource,
  options: LabelledOptions,
): AsyncGenerator<LabelledText> {
  const named = options.format ?? formatOfFile(source.name);
  const format = named === "text" ? "tsv" : named;
  const table = format === "tsv" || format === "csv";
  const records = readRecords(source, {
    format,
    header: false,
    onShort: options.onShort,
  });
  let columns: LabelledColumns | undefined;
  for await (const record of table ? withHeader(records, options) : records) {
    columns ??= bareColumns(record, options) ?? columnsOf(record, options);
    const [first, second] = columns.texts.map((name) =>
      textField(record, name)
    );
    yield { first, second, label: record.fields[columns.label], record };
  }
}

/** The columns of a file without names for them. */
function bareColumns(
  { fields }: DataRecord,
  { columns, texts }: LabelledOptions,
): LabelledColumns | undefined {
  const names = Object.keys(fields);
  if (columns || texts === 2 || names.some((name, i) => name !== `${i}`)) {
    return undefined;
  }
  return BARE.get(names.length);
}

/** Records with the names of their fields from the first one, where it has such. */
async function* withHeader(
  records: AsyncIterable<DataRecord>,
  { columns }: LabelledOptions,
): AsyncGenerator<DataRecord> {
  let names: string[] | undefined;
  let plain = false;
  for await (const record of records) {
    const values = Object.values(record.fields) as string[];
    if (!names && !plain) {
      const known = columns ? [columns.texts] : TEXTS;
      plain = !known.some((wanted) => wanted.some((n) => values.includes(n))) &&
        !LABELS.some((name) => values.includes(name));
      if (!plain) {
        const twice = values.find((name, i) => values.indexOf(name) !== i);
        if (twice !== undefined) {
          throw recordError(record, `the field ${quoted(twice)} occurs twice`);
        }
        names = values;
        continue;
      }
    }
    yield names
      ? {
        ...record,
        row: record.row - 1,
        fields: Object.fromEntries(names.map((name, i) => [name, values[i]])),
      }
      : record;
  }
}
