/**
 * Functions that every chat template may call.
 *
 * @module
 */

import { bind, intArg } from "../args.ts";
import { spend } from "../budget.ts";
import { str } from "./text.ts";
import {
  Dict,
  fault,
  Fn,
  iterate,
  lack,
  listOf,
  Namespace,
  Range,
  refuseUndefined,
  textOf,
  typeName,
  type Value,
} from "../values.ts";
import { KindError, ValueError } from "../../../errors.ts";

/** Numbers that one `range` gives at most, as in Jinja2's sandbox. */
const MOST_NUMBERS = 100_000;

/** A dict of pairs or of another dict, and of named values. */
function dict(from: Value | undefined, named: Iterable<[string, Value]>): Dict {
  const made = new Dict();
  if (from instanceof Dict) {
    for (const [key, value] of from.entries()) made.set(key, value);
  } else if (from !== undefined) {
    refuseUndefined(from);
    for (const pair of iterate(from)) {
      const [key, value, ...rest] = listOf(pair);
      if (value === undefined || rest.length > 0) {
        throw fault("a dict wants pairs");
      }
      made.set(key, value);
    }
  }
  for (const [key, value] of named) made.set(key, value);
  spend(made.size);
  return made;
}

const functions: Fn[] = [
  new Fn("range", (args) => {
    const bounds = bind(args, "a", "b", "c").filter((n) => n !== undefined)
      .map((n) => intArg(n));
    const [start, stop, step = 1] = bounds.length === 1
      ? [0, ...bounds]
      : bounds;
    if (bounds.length === 0) throw fault("range expected at least 1 argument");
    if (step === 0) throw new ValueError("range() arg 3 must not be zero");
    const count = Math.max(0, Math.ceil((stop - start) / step));
    if (count > MOST_NUMBERS) {
      throw new ValueError(
        `Range too big: it may have ${MOST_NUMBERS} numbers, as in transformers`,
      );
    }
    spend(count);
    return new Range(
      Array.from({ length: count }, (_, i) => start + i * step),
      `range(${start}, ${stop}${step === 1 ? "" : `, ${step}`})`,
    );
  }),
  new Fn("dict", ({ list, named }) => {
    const [from] = bind({ list, named: new Map() }, "from");
    return dict(from, named);
  }),
  new Fn("namespace", ({ list, named }) => {
    const [from] = bind({ list, named: new Map() }, "from");
    const attributes = new Map<string, Value>();
    for (const [key, value] of dict(from, named).entries()) {
      const name = str(key);
      if (name.startsWith("_")) {
        throw fault(`a namespace has no attributes like '${name}'`);
      }
      attributes.set(name, value);
    }
    return new Namespace(attributes);
  }),
  new Fn("joiner", (args) => {
    const [mark = ", "] = bind(args, "sep");
    let used = false;
    return new Fn("joiner", () => {
      if (used) return mark;
      used = true;
      return "";
    });
  }),
  new Fn("cycler", () => {
    throw lack("cycler()");
  }),
  new Fn("lipsum", () => {
    throw lack("lipsum()");
  }),
  new Fn("raise_exception", (args) => {
    const [message = null] = bind(args, "message");
    throw new KindError(
      `it refuses the conversation: ${
        str(message).replace(/\s+/g, " ").trim().slice(0, 1000)
      }`,
    );
  }),
  new Fn("strftime_now", (args) => {
    const [format = null] = bind(args, "format");
    const text = textOf(format);
    if (text === undefined) {
      throw fault(`strftime() wants a str, not ${typeName(format)}`);
    }
    return strftime(text, new Date());
  }),
];

/** Every one by its name. */
export const GLOBALS: ReadonlyMap<string, Value> = new Map<string, Value>([
  ...functions.map((fn) => [fn.name, fn] as const),
  ["self", new Namespace(new Map(), "TemplateReference", () => undefined)],
]);

/** Python's `strftime` in English, for the directives that templates use. */
export function strftime(format: string, date: Date): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const name = (options: Intl.DateTimeFormatOptions) =>
    date.toLocaleDateString("en-US", options);
  const clock = () => ["H", "M", "S"].map((key) => values[key]()).join(":");
  const values: Record<string, () => string> = {
    Y: () => String(date.getFullYear()),
    y: () => two(date.getFullYear() % 100),
    m: () => two(date.getMonth() + 1),
    d: () => two(date.getDate()),
    e: () => String(date.getDate()).padStart(2, " "),
    j: () => {
      const day = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
      return String((day - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000)
        .padStart(3, "0");
    },
    B: () => name({ month: "long" }),
    b: () => name({ month: "short" }),
    A: () => name({ weekday: "long" }),
    a: () => name({ weekday: "short" }),
    H: () => two(date.getHours()),
    I: () => two((date.getHours() + 11) % 12 + 1),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    p: () => date.getHours() < 12 ? "AM" : "PM",
    F: () => `${values.Y()}-${values.m()}-${values.d()}`,
    T: clock,
    X: clock,
    D: () => `${values.m()}/${values.d()}/${values.y()}`,
    x: () => `${values.m()}/${values.d()}/${values.y()}`,
    R: () => `${values.H()}:${values.M()}`,
    u: () => String((date.getDay() + 6) % 7 + 1),
    w: () => String(date.getDay()),
    // A time without a zone.
    Z: () => "",
    z: () => "",
    n: () => "\n",
    t: () => "\t",
    "%": () => "%",
  };
  return format.replace(/%(-?)(.)/gs, (whole, minus, letter) => {
    const text = Object.hasOwn(values, letter) ? values[letter]() : whole;
    return minus && text !== whole ? text.replace(/^[0 ]+(?=.)/, "") : text;
  });
}
