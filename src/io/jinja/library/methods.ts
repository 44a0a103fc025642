/**
 * Methods of Python's values that a template may call: none that changes one.
 *
 * @module
 */

import { bind, intArg, textArg } from "../args.ts";
import { paid, spend } from "../budget.ts";
import { braceFormat } from "./format.ts";
import { isSpace, strip } from "../syntax/lexer.ts";
import {
  type Args,
  Dict,
  equals,
  fault,
  Float,
  float,
  Fn,
  int,
  isInt,
  isList,
  isWide,
  iterate,
  lack,
  Markup,
  MOST_DIGITS,
  Range,
  refuseUndefined,
  textLength,
  textOf,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "../values.ts";

type Method<T> = (self: T, args: Args) => Value;

/** The method `name` of `value`; undefined if it has none. */
export function methodOf(value: Value, name: string): Value | undefined {
  const kind = typeof value === "string"
    ? STR
    : value instanceof Dict
    ? DICT
    : isList(value)
    ? LIST
    : value instanceof Tuple
    ? TUPLE
    : value instanceof Markup
    ? STR
    : value instanceof Range
    ? RANGE
    : isInt(value) || typeof value === "boolean"
    ? INT
    : value instanceof Float || typeof value === "number"
    ? FLOAT
    : undefined;
  if (!kind) return undefined;
  if (kind.changing?.has(name)) {
    return new Undefined(
      `access to attribute '${name}' of '${
        typeName(value)
      }' object is unsafe: it would change it`,
    );
  }
  if (Object.hasOwn(kind.methods, name)) {
    if (value instanceof Markup) throw lack(`${name} of text marked as safe`);
    const method = kind.methods[name] as Method<Value>;
    return new Fn(name, (args) => method(value, args));
  }
  if (kind.others.has(name)) {
    throw lack(`the attribute "${name}" of a ${typeName(value)}`);
  }
  return undefined;
}

interface Kind {
  readonly methods: Readonly<Record<string, unknown>>;
  /** Mutating methods, which the sandbox forbids. */
  readonly changing?: ReadonlySet<string>;
  /** Those that are left out here. */
  readonly others: ReadonlySet<string>;
}

const words = (text: string) => new Set(text.split(" "));

function stripper(
  where: Parameters<typeof strip>[1],
): Method<string> {
  return (self, args) => {
    const [chars] = bind(args, "chars");
    spend(self.length / 64);
    return strip(
      self,
      where,
      chars === undefined || chars === null ? undefined : textArg(chars),
    );
  };
}

/** Part of a text between two places counted as Python does. */
function between(self: string, from?: Value, to?: Value): string {
  if ((from ?? null) === null && (to ?? null) === null) return self;
  const chars = Array.from(self);
  return chars.slice(
    (from ?? null) === null ? 0 : intArg(from),
    (to ?? null) === null ? chars.length : intArg(to),
  ).join("");
}

function affix(test: (text: string, part: string) => boolean): Method<string> {
  return (self, args) => {
    const [parts, from, to] = bind(args, "prefix", "start", "end");
    const text = between(self, from, to);
    return parts instanceof Tuple
      ? parts.items.some((part) => test(text, textArg(part)))
      : test(text, textArg(parts));
  };
}

function finder(last: boolean, strict: boolean): Method<string> {
  return (self, args) => {
    const [part, from, to] = bind(args, "sub", "start", "end");
    const text = between(self, from, to);
    spend(self.length / 64);
    const at = last
      ? text.lastIndexOf(textArg(part))
      : text.indexOf(textArg(part));
    if (at < 0) {
      if (strict) throw fault("substring not found");
      return -1;
    }
    const length = textLength(self);
    const first = intArg(from ?? 0);
    return textLength(text.slice(0, at)) +
      (first < 0 ? Math.max(0, first + length) : first);
  };
}

function splitter(fromEnd: boolean): Method<string> {
  return (self, args) => {
    const [mark, count] = bind(args, "sep", "maxsplit");
    const most = intArg(count, -1);
    const parts = (mark ?? null) === null
      ? splitSpaces(self, most, fromEnd)
      : splitMark(self, textArg(mark), most, fromEnd);
    spend(parts.length + self.length / 16);
    return parts;
  };
}

function splitMark(
  text: string,
  mark: string,
  most: number,
  fromEnd: boolean,
): string[] {
  if (mark === "") throw fault("empty separator");
  if (most < 0 && !fromEnd) return text.split(mark);
  const parts: string[] = [];
  let rest = text;
  for (let left = most < 0 ? Infinity : most; left > 0; left--) {
    const at = fromEnd ? rest.lastIndexOf(mark) : rest.indexOf(mark);
    if (at < 0) break;
    const [head, tail] = [rest.slice(0, at), rest.slice(at + mark.length)];
    parts.push(fromEnd ? tail : head);
    rest = fromEnd ? head : tail;
  }
  parts.push(rest);
  return fromEnd ? parts.reverse() : parts;
}

function splitSpaces(text: string, most: number, fromEnd: boolean): string[] {
  const parts: string[] = [];
  let rest = strip(text, fromEnd ? "end" : "start");
  for (let left = most < 0 ? Infinity : most; rest !== ""; left--) {
    let at = fromEnd ? rest.length - 1 : 0;
    while (at >= 0 && at < rest.length && !isSpace(rest[at])) {
      at += fromEnd ? -1 : 1;
    }
    if (left <= 0 || at < 0 || at >= rest.length) {
      parts.push(rest);
      break;
    }
    parts.push(fromEnd ? rest.slice(at + 1) : rest.slice(0, at));
    rest = fromEnd
      ? strip(rest.slice(0, at), "end")
      : strip(rest.slice(at), "start");
  }
  return fromEnd ? parts.reverse() : parts;
}

/** Python's line boundaries. */
const LINE_END = "\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029";
const LINE = new RegExp(
  `([^${LINE_END}]*)(\\r\\n|[${LINE_END}])|([^${LINE_END}]+)$`,
  "g",
);

/** Lines of a text, as Python parts them. */
export function splitLines(text: string, keepEnds = false): string[] {
  return Array.from(
    text.matchAll(LINE),
    ([whole, line, , rest]) => keepEnds ? whole : line ?? rest,
  );
}

/** `text.replace(old, by, count)`. */
export function replaceText(
  text: string,
  old: string,
  by: string,
  count = -1,
): string {
  spend(text.length / 4);
  if (count < 0) {
    if (old !== "" || !isWide(text)) {
      return paid(text.replaceAll(old, () => by));
    }
    count = Infinity;
  }
  let made = "";
  let rest = text;
  for (let left = count; left > 0; left--) {
    spend(1);
    if (old === "") {
      const [first] = rest;
      made += by + (first ?? "");
      if (first === undefined) return paid(made);
      rest = rest.slice(first.length);
      continue;
    }
    const at = rest.indexOf(old);
    if (at < 0) break;
    made += rest.slice(0, at) + by;
    rest = rest.slice(at + old.length);
  }
  return paid(made + rest);
}

/** Letters that are two in one: the second stays small at the head of a word (Dž). */
const DIGRAPHS = [
  "\u01c4\u01c5\u01c6",
  "\u01c7\u01c8\u01c9",
  "\u01ca\u01cb\u01cc",
  "\u01f1\u01f2\u01f3",
];

/** `text.capitalize()`. */
export function capitalize(text: string): string {
  const [first = ""] = text;
  const [head = "", ...more] = first.toUpperCase();
  const pair = DIGRAPHS.find((forms) => first !== "" && forms.includes(first));
  const rest = text.toLowerCase().slice(first.toLowerCase().length);
  return (pair?.[1] ?? head + more.join("").toLowerCase()) + rest;
}

/** `text.center(width, fill)`, and its like. */
export function justify(
  text: string,
  width: number,
  fill: string,
  where: "left" | "right" | "center",
): string {
  if (textLength(fill) !== 1) {
    throw fault("The fill character must be exactly one character long");
  }
  const count = Math.max(0, width - textLength(text));
  spend(count / 16);
  // Python puts the odd one left where the width is odd.
  const before = where === "left"
    ? 0
    : where === "right"
    ? count
    : (count >> 1) + (count & width & 1);
  return fill.repeat(before) + text + fill.repeat(count - before);
}

function justifier(where: Parameters<typeof justify>[3]): Method<string> {
  return (self, args) => {
    const [width, fill] = bind(args, "width", "fillchar");
    return justify(self, intArg(width), textArg(fill ?? " "), where);
  };
}

function parter(fromEnd: boolean): Method<string> {
  return (self, args) => {
    const mark = textArg(bind(args, "sep")[0]);
    if (mark === "") throw fault("empty separator");
    const at = fromEnd ? self.lastIndexOf(mark) : self.indexOf(mark);
    return new Tuple(
      at < 0
        ? (fromEnd ? ["", "", self] : [self, "", ""])
        : [self.slice(0, at), mark, self.slice(at + mark.length)],
    );
  };
}

function plain(make: (self: string) => Value): Method<string> {
  return (self, args) => {
    bind(args);
    spend(self.length / 64);
    return make(self);
  };
}

const STR: Kind = {
  methods: {
    upper: plain((self) => self.toUpperCase()),
    lower: plain((self) => self.toLowerCase()),
    // Letter by letter through the other case, which ß, ligatures and ς do not survive.
    casefold: plain((self) =>
      Array.from(
        self,
        (c) => c === "ı" ? c : c.toLowerCase().toUpperCase().toLowerCase(),
      ).join("")
    ),
    capitalize: plain(capitalize),
    title: plain((self) =>
      self.replace(/\p{Cased}+/gu, (word) => capitalize(word))
    ),
    swapcase: plain((self) =>
      Array.from(
        self,
        (c) => c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase(),
      ).join("")
    ),
    isdigit: plain((self) => /^[\p{Nd}²³¹⁰⁴-⁹₀-₉]+$/u.test(self)),
    isdecimal: plain((self) => /^\p{Nd}+$/u.test(self)),
    isnumeric: plain((self) => /^\p{N}+$/u.test(self)),
    isalpha: plain((self) => /^\p{L}+$/u.test(self)),
    isalnum: plain((self) => /^[\p{L}\p{N}]+$/u.test(self)),
    isspace: plain((self) => self !== "" && Array.from(self).every(isSpace)),
    isupper: plain(isUpper),
    islower: plain(isLower),
    isascii: plain((self) => /^[\0-\x7f]*$/.test(self)),
    strip: stripper("both"),
    lstrip: stripper("start"),
    rstrip: stripper("end"),
    startswith: affix((text, part) => text.startsWith(part)),
    endswith: affix((text, part) => text.endsWith(part)),
    split: splitter(false),
    rsplit: splitter(true),
    find: finder(false, false),
    index: finder(false, true),
    rfind: finder(true, false),
    rindex: finder(true, true),
    partition: parter(false),
    rpartition: parter(true),
    ljust: justifier("left"),
    rjust: justifier("right"),
    center: justifier("center"),
    format: braceFormat,
    splitlines: (self, args) =>
      splitLines(self, Boolean(bind(args, "keepends")[0] ?? false)),
    count: (self, args) => {
      const [part, from, to] = bind(args, "sub", "start", "end");
      const text = between(self, from, to);
      spend(text.length / 16);
      return textArg(part) === ""
        ? textLength(text) + 1
        : text.split(textArg(part)).length - 1;
    },
    replace: (self, args) => {
      const [old, by, count] = bind(args, "old", "new", "count");
      return replaceText(self, textArg(old), textArg(by), intArg(count, -1));
    },
    join: (self, args) => {
      const parts = Array.from(iterate(need(bind(args, "iterable")[0])));
      return paid(parts.map(textArg).join(self));
    },
    removeprefix: (self, args) => {
      const part = textArg(bind(args, "prefix")[0]);
      return self.startsWith(part) ? self.slice(part.length) : self;
    },
    removesuffix: (self, args) => {
      const part = textArg(bind(args, "suffix")[0]);
      return part !== "" && self.endsWith(part)
        ? self.slice(0, -part.length)
        : self;
    },
    zfill: (self, args) => {
      const count = intArg(bind(args, "width")[0]) - textLength(self);
      spend(Math.max(0, count) / 16);
      const [, head, rest] = /^([+-]?)(.*)$/s.exec(self)!;
      return head + "0".repeat(Math.max(0, count)) + rest;
    },
  } satisfies Record<string, Method<string>>,
  others: words(
    "encode expandtabs format_map isidentifier isprintable istitle maketrans translate",
  ),
};

/** `text.isupper()`. */
export function isUpper(text: string): boolean {
  return /\p{Lu}/u.test(text) && !/[\p{Ll}\p{Lt}]/u.test(text);
}

/** `text.islower()`. */
export function isLower(text: string): boolean {
  return /\p{Ll}/u.test(text) && !/[\p{Lu}\p{Lt}]/u.test(text);
}

function need(value: Value | undefined): Value {
  if (value === undefined) throw fault("an argument is missing");
  return value;
}

/** `index` and `count` of an item. */
function placing<T>(items: (self: T) => readonly Value[]) {
  const search = (self: T, args: Args) => {
    const [value, from, to] = bind(args, "value", "start", "stop");
    const list = items(self);
    spend(list.length);
    return { value: need(value), list, from: intArg(from, 0), to };
  };
  return {
    index: (self: T, args: Args): Value => {
      const { value, list, from, to } = search(self, args);
      const end = to === undefined ? list.length : intArg(to);
      for (let i = Math.max(0, from < 0 ? from + list.length : from);; i++) {
        if (i >= (end < 0 ? end + list.length : end) || i >= list.length) {
          throw fault("the value is not in the list");
        }
        if (equals(list[i], value)) return i;
      }
    },
    count: (self: T, args: Args): Value => {
      const { value, list } = search(self, args);
      return list.filter((item) => equals(item, value)).length;
    },
  };
}

const LIST: Kind = {
  methods: {
    ...placing<readonly Value[]>((self) => self),
    copy: (self: readonly Value[]) => self,
  },
  changing: words("append clear pop reverse insert sort extend remove"),
  others: new Set(),
};

const TUPLE: Kind = {
  methods: placing<Tuple>((self) => self.items),
  others: new Set(),
};

function view(kind: View["kind"]): Method<Dict> {
  return (self, args) => {
    bind(args);
    return new View(kind, self);
  };
}

const DICT: Kind = {
  methods: {
    keys: view("keys"),
    values: view("values"),
    items: view("items"),
    copy: (self) => self,
    get: (self, args) => {
      const [key, or = null] = bind(args, "key", "default");
      const value = self.get(need(key));
      return value === undefined ? or : value;
    },
  } satisfies Record<string, Method<Dict>>,
  changing: words("clear pop popitem setdefault update"),
  others: words("fromkeys"),
};

const RANGE: Kind = {
  methods: {},
  others: words("count index start stop step"),
};

const INT: Kind = {
  methods: {},
  others: words(
    "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag is_integer numerator real to_bytes",
  ),
};

const FLOAT: Kind = {
  methods: {
    is_integer: (self: Value) => self instanceof Float,
  },
  others: words("as_integer_ratio conjugate fromhex hex imag real"),
};

/** `int(value, base)`; undefined where Python refuses, as it does most bases. */
export function toInt(value: Value, base = 10): Value | undefined {
  const text = textOf(value);
  if (text === undefined) {
    refuseUndefined(value);
    if (isInt(value)) return value;
    if (typeof value === "boolean") return Number(value);
    const number = value instanceof Float ? value.value : value;
    if (typeof number !== "number" || !Number.isFinite(number)) {
      return undefined;
    }
    const cut = BigInt(Math.trunc(number));
    return Number.isSafeInteger(Number(cut)) ? Number(cut) : cut;
  }
  const digits = strip(text).replace(/(?<=[\da-z])_(?=[\da-z])/gi, "");
  if (base === 10) {
    if (!/^[+-]?\d+$/.test(digits)) return undefined;
    if (digits.replace(/^[+-]/, "").length > MOST_DIGITS) return undefined;
    const number = Number(digits);
    return Number.isSafeInteger(number)
      ? number === 0 ? 0 : number
      : BigInt(digits.replace("+", ""));
  }
  const parts = /^([+-]?)(?:0([box])_?(?=[\da-z]))?([\da-z]+)$/i.exec(digits);
  if (!parts) return undefined;
  const [, sign, mark = ""] = parts;
  const own = { b: 2, o: 8, x: 16 }[mark.toLowerCase()];
  // A mark of another base is made of digits, as b is in 16.
  const isMark = own !== undefined && (base === 0 || base === own);
  const number = mark === "" || isMark ? parts[3] : `0${mark}${parts[3]}`;
  const radix = base !== 0 ? base : own ?? 10;
  if (base === 0 && own === undefined && /^0+[^0]/.test(number)) {
    return undefined;
  }
  if (radix & (radix - 1) && number.length > MOST_DIGITS) return undefined;
  spend(number.length + number.length ** 2 / 1000);
  let made = 0n;
  for (const c of number) {
    const digit = parseInt(c, 36);
    if (!(digit < radix)) return undefined;
    made = made * BigInt(radix) + BigInt(digit);
  }
  return int(sign === "-" ? -made : made);
}

/** `float(value)`; undefined where Python refuses. */
export function toFloat(value: Value): Value | undefined {
  const text = textOf(value);
  if (text === undefined) {
    refuseUndefined(value);
    return value instanceof Float
      ? value
      : typeof value === "number" || typeof value === "bigint" ||
          typeof value === "boolean"
      ? float(Number(value))
      : undefined;
  }
  const digits = strip(text).replace(/(?<=\d)_(?=\d)/g, "").toLowerCase();
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(digits)) {
    return float(Number(digits));
  }
  const special = /^([+-]?)(?:(inf(?:inity)?)|nan)$/.exec(digits);
  return special
    ? special[2] ? (special[1] === "-" ? -Infinity : Infinity) : NaN
    : undefined;
}
