/**
 * Labels of data files as the classes of a model: by name or by number, in the order of either.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import { quoted } from "../../io/files/errors.ts";
import { recordError } from "../records/record.ts";
import type { DataRecord } from "../records/record.ts";

/** Classes of a data set. */
export interface ClassLabels {
  /** Their names, in the order of the numbers that its files write. */
  readonly names: readonly string[];
  /** Other names of them in its files. */
  readonly aliases?: Readonly<Record<string, string>>;
}

/** Numbers of a data set, for regression. */
export interface NumberLabels {
  /** The smallest and the largest that it has. */
  readonly range: readonly [from: number, to: number];
}

/** Reads the labels of records. */
export interface LabelReader {
  /** Classes; 1 where the label is a number. */
  readonly count: number;
  /** True if the label is a number. */
  readonly regression: boolean;
  /** Names of the classes in the model's order; none for regression. */
  readonly names: readonly string[];
  /** For each class of the data set its place in the model's order; none for regression. */
  readonly order: readonly number[];
  /**
   * The class, in the model's order, or the number that `value` of `record` says.
   *
   * @throws {SyntaxError} If it is none of them; it names file and line.
   */
  read(record: DataRecord, value: unknown): number;
}

/** Names without case and punctuation: a model's NOT_ENTAILMENT is a data set's not_entailment. */
function plainName(name: string): string {
  return name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "");
}

/** True if names are placeholders: a config has LABEL_0, LABEL_1 for classes that nobody has named. */
export function areNumbers(names: readonly string[]): boolean {
  return names.every((name, i) =>
    /^(label)?0*(\d+)$/.exec(plainName(name))?.[2] === `${i}`
  );
}

function numberOf(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  const text = typeof value === "string" ? value.trim() : "";
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)
    ? Number(text)
    : undefined;
}

function listed(names: readonly string[]): string {
  return names.slice(0, 20).join(", ") + (names.length > 20 ? ", …" : "");
}

/**
 * A reader of the labels of a data set.
 *
 * @param labels The data set's labels.
 * @param options `what`: name of the data set in errors. `model`: names of the model's classes in its own order;
 * placeholders (LABEL_0, …), and none, stand for the data set's order.
 * @throws {RangeError} If the model has another number of classes.
 * @throws {TypeError} If it names them otherwise.
 */
export function labelReader(
  labels: ClassLabels | NumberLabels,
  { what, model }: { what: string; model?: readonly string[] },
): LabelReader {
  if ("range" in labels) return numberReader(labels, { what, model });
  const { names, aliases = {} } = labels;
  const { length: count } = names;
  if (model && model.length !== count) {
    throw new ValueError(
      `Cannot use ${what} with this model: wanted ${count} labels (${
        listed(names)
      }), the model has ${model.length} (${listed(model)})`,
    );
  }
  let order = names.map((_, i) => i);
  if (model && !areNumbers(model) && !areNumbers(names)) {
    const found = model.map(plainName);
    order = names.map((name) => found.indexOf(plainName(name)));
    if (order.includes(-1)) {
      throw new KindError(
        `Cannot use ${what} with this model: wanted the labels ${
          listed(names)
        }, the model calls its own ${listed(model)}`,
      );
    }
  }
  const exact = new Map(names.map((name, i) => [name, order[i]]));
  const byName = new Map(names.map((name, i) => [plainName(name), order[i]]));
  for (const [alias, name] of Object.entries(aliases)) {
    byName.set(plainName(alias), byName.get(plainName(name))!);
  }
  const range = `0..${count - 1}`;
  const wanted = areNumbers(names) ? range : `${range} or ${listed(names)}`;
  return {
    count,
    regression: false,
    names: model && !areNumbers(model)
      ? model
      : order.map((_, i) => names[order.indexOf(i)]),
    order,
    read(record, value) {
      const text = typeof value === "string" ? value.trim() : `${value}`;
      const number = numberOf(value);
      // A name that is a number ("1" for one star) is that class, not the one at the place.
      const label = exact.get(text) ??
        (number === undefined ? byName.get(plainName(text)) : order[number]);
      if (label !== undefined) return label;
      throw recordError(
        record,
        `label ${shown(value)}: wanted one of ${wanted}`,
      );
    },
  };
}

function shown(value: unknown): string {
  return value === undefined ? "none" : JSON.stringify(value).slice(0, 60);
}

function numberReader(
  { range: [from, to] }: NumberLabels,
  { what, model }: { what: string; model?: readonly string[] },
): LabelReader {
  if (model && model.length !== 1) {
    throw new ValueError(
      `Cannot use ${what} with this model: wanted 1 label, a number, the model has ${model.length} (${
        listed(model)
      })`,
    );
  }
  return {
    count: 1,
    regression: true,
    names: [],
    order: [],
    read(record, value) {
      const number = numberOf(value);
      if (number !== undefined && number >= from && number <= to) return number;
      const wanted = Number.isFinite(from) && Number.isFinite(to)
        ? `a number of ${from} to ${to}`
        : "a number";
      throw recordError(record, `label ${shown(value)}: wanted ${wanted}`);
    },
  };
}

/**
 * The classes of a label column: 0 to the highest where all are whole numbers, else the different texts in the order of
 * their characters.
 *
 * @throws {RangeError} If there are fewer than two, or more than 10 000.
 */
export function classesOf(values: Iterable<unknown>): ClassLabels {
  const different = new Set<string>();
  for (const value of values) different.add(String(value).trim());
  const texts = [...different];
  const numbers = texts.map((text) => /^\d+$/.test(text) ? Number(text) : NaN);
  const whole = numbers.every((number) => !Number.isNaN(number));
  const count = whole ? Math.max(-1, ...numbers) + 1 : texts.length;
  if (count < 2 || count > 10_000) {
    throw new ValueError(
      `Cannot find the classes of the labels ${
        listed(texts.sort().map(quoted))
      }: wanted 2 to 10000, got ${count}`,
    );
  }
  return {
    names: whole
      ? Array.from({ length: count }, (_, i) => `${i}`)
      : texts.sort((a, b) => a < b ? -1 : 1),
  };
}
