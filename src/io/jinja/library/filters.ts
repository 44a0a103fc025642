/**
 * Filters of Jinja2, with the `tojson` of transformers.
 *
 * @module
 */

import { bind, intArg, textArg } from "../args.ts";
import { paid, spend } from "../budget.ts";
import { percentFormat } from "./format.ts";
import { SPACE, strip } from "../syntax/lexer.ts";
import {
  capitalize,
  justify,
  replaceText,
  splitLines,
  toFloat,
  toInt,
} from "./methods.ts";
import { attribute, binary, escapeHtml, item, sign } from "../operators.ts";
import { jsonText, str } from "./text.ts";
import { runTest } from "./tests.ts";
import {
  type Args,
  compare,
  Dict,
  equals,
  fault,
  float,
  int,
  isFloat,
  Iter,
  iterate,
  lack,
  lengthOf,
  listOf,
  Markup,
  real,
  refuseUndefined,
  textOf,
  truth,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "../values.ts";

type Filter = (value: Value, args: Args) => Value;

/** Filters of Jinja2 that loqa has not. */
const LACKING = new Set([
  "filesizeformat",
  "pprint",
  "random",
  "striptags",
  "truncate",
  "urlencode",
  "urlize",
  "wordwrap",
  "xmlattr",
]);

/** True if Jinja2 has a filter of this name. */
export function isFilter(name: string): boolean {
  return Object.hasOwn(FILTERS, name) || LACKING.has(name);
}

/** `value | name(args)`. @throws {TypeError} If there is no such filter, or it refuses them. */
export function runFilter(name: string, value: Value, args: Args): Value {
  if (Object.hasOwn(FILTERS, name)) return FILTERS[name](value, args);
  throw LACKING.has(name)
    ? lack(`the filter "${name}"`)
    : fault(`No filter named '${name}'`);
}

function isGiven(value: Value | undefined): value is Value {
  return value !== undefined && value !== null;
}

/** Getter of `attribute=`: names and numbers with points between them. */
function getter(path: Value | undefined, or?: Value): (of: Value) => Value {
  if (!isGiven(path)) return (of) => of;
  const parts = typeof path === "string"
    ? path.split(".").map((part) => /^\d+$/.test(part) ? Number(part) : part)
    : [path];
  return (of) => {
    for (const part of parts) {
      of = item(of, part);
      if (isGiven(or) && of instanceof Undefined) of = or;
    }
    return of;
  };
}

/** Sort key of texts, by default case-insensitive. */
function sortKey(path: Value | undefined, sensitive: Value | undefined) {
  const get = getter(path);
  return (of: Value): Value => {
    const key = get(of);
    return typeof key === "string" && !truth(sensitive ?? false)
      ? key.toLowerCase()
      : key;
  };
}

function sorted<T>(
  items: readonly T[],
  key: (of: T) => Value,
  reverse: boolean,
): T[] {
  spend(items.length * Math.log2(items.length + 1));
  const keyed = items.map((of) => [key(of), of] as const);
  keyed.sort(([a], [b]) => reverse ? compare(b, a) : compare(a, b));
  return keyed.map(([, of]) => of);
}

/** The items that a test takes (or not), lazily, as Jinja2's generators do. */
function selecting(keeps: boolean, ofAttribute: boolean): Filter {
  return (value, { list, named }) => {
    const path = ofAttribute ? list[0] : undefined;
    if (ofAttribute && path === undefined) {
      throw fault("Missing parameter for attribute name");
    }
    const get = getter(path);
    const [name, ...args] = ofAttribute ? list.slice(1) : list;
    return new Iter(function* () {
      if (!truth(value)) return;
      for (const of of iterate(value)) {
        spend(1);
        const got = get(of);
        const passes = name === undefined
          ? truth(got)
          : runTest(textArg(name), got, { list: args, named });
        if (passes === keeps) yield of;
      }
    }());
  };
}

const map: Filter = (value, { list, named }) => {
  let make: (of: Value) => Value;
  if (list.length === 0) {
    const [path, or] = bind({ list, named }, "attribute", "default");
    if (path === undefined) throw fault("map requires a filter argument");
    make = getter(path, or);
  } else {
    const [name, ...rest] = list;
    make = (of) => runFilter(textArg(name), of, { list: rest, named });
  }
  return new Iter(function* () {
    if (!truth(value)) return;
    for (const of of iterate(value)) {
      spend(1);
      yield make(of);
    }
  }());
};

function extreme(better: (order: number) => boolean): Filter {
  return (value, args) => {
    const [sensitive, path] = bind(args, "case_sensitive", "attribute");
    const key = sortKey(path, sensitive);
    const list = listOf(value);
    if (list.length === 0) return new Undefined("No aggregated item");
    return list.reduce((best, of) =>
      better(compare(key(of), key(best))) ? of : best
    );
  };
}

const first: Filter = (value, args) => {
  bind(args);
  const { done, value: found } = iterate(value)[Symbol.iterator]().next();
  return done
    ? new Undefined("No first item, sequence was empty.")
    : found as Value;
};

const last: Filter = (value, args) => {
  bind(args);
  if (value instanceof Iter) {
    throw fault("'generator' object is not reversible");
  }
  return Array.from(iterate(value)).at(-1) ??
    (lengthOf(value) === 0
      ? new Undefined("No last item, sequence was empty.")
      : null);
};

const length: Filter = (value, args) => {
  bind(args);
  const count = lengthOf(value);
  if (count === undefined) {
    throw fault(`object of type '${typeName(value)}' has no len()`);
  }
  return count;
};

const escape: Filter = (value, args) => {
  bind(args);
  return value instanceof Markup
    ? value
    : new Markup(paid(escapeHtml(str(value))));
};

const reverse: Filter = (value, args) => {
  bind(args);
  const text = textOf(value);
  if (text !== undefined) return paid(Array.from(text).reverse().join(""));
  const items = listOf(value).reverse();
  return value instanceof Iter ? items : new Iter(items);
};

const orElse: Filter = (value, args) => {
  const [or = "", boolean = false] = bind(args, "default_value", "boolean");
  return value instanceof Undefined || (truth(boolean) && !truth(value))
    ? or
    : value;
};

/** A filter of texts; a safe one stays safe. */
function texts(make: (text: string) => string): Filter {
  return (value, args) => {
    bind(args);
    const made = paid(make(str(value)));
    return value instanceof Markup ? new Markup(made) : made;
  };
}

const tojson: Filter = (value, args) => {
  const [ascii, indent, separators, sort] = bind(
    args,
    "ensure_ascii",
    "indent",
    "separators",
    "sort_keys",
  );
  const marks = isGiven(separators)
    ? listOf(separators).map(textArg)
    : [isGiven(indent) ? "," : ", ", ": "];
  if (marks.length !== 2) throw fault("wanted two separators");
  const width = typeof indent === "string" ? -1 : intArg(indent ?? 0);
  if (width > 100) throw lack(`an indent of ${width}`);
  return jsonText(value, {
    ascii: truth(ascii ?? false),
    indent: !isGiven(indent)
      ? null
      : typeof indent === "string"
      ? indent
      : " ".repeat(Math.max(0, width)),
    comma: marks[0],
    colon: marks[1],
    sorted: truth(sort ?? false),
  });
};

const round: Filter = (value, args) => {
  const [precision, method = "common"] = bind(args, "precision", "method");
  const digits = intArg(precision, 0);
  const number = real(value);
  if (number === undefined || Math.abs(digits) > 20) {
    refuseUndefined(value);
    throw number === undefined
      ? fault(`type ${typeName(value)} doesn't define __round__ method`)
      : lack(`a rounding to ${digits} digits`);
  }
  if (method === "common") {
    if (isFloat(value)) return float(roundEven(number, digits));
    const whole = BigInt(value as number | bigint | boolean);
    return int(digits < 0 ? roundTens(whole, -digits, false) : whole);
  }
  if (method !== "ceil" && method !== "floor") {
    throw fault("method must be common, ceil or floor");
  }
  const scaled = digits < 0
    ? number * 10 ** digits
    : number * Number(`1e${digits}`);
  if (!Number.isFinite(scaled)) {
    throw fault("cannot convert float infinity or NaN to integer");
  }
  // An int has no -0.
  return float((Math[method](scaled) + 0) / 10 ** digits);
};

/** The nearest multiple of 10 to the power `tens`; of two that are as near, the even one, unless there is `more` behind the point. */
function roundTens(whole: bigint, tens: number, more: boolean): bigint {
  const unit = 10n ** BigInt(tens);
  const size = whole < 0n ? -whole : whole;
  const [below, twice] = [size / unit, size % unit * 2n];
  const up = twice > unit || (twice === unit && (more || below % 2n === 1n));
  return (whole < 0n ? -1n : 1n) * (below + (up ? 1n : 0n)) * unit;
}

/** The nearest number of so many digits; of two that are as near, the even one. */
function roundEven(number: number, digits: number): number {
  if (!Number.isFinite(number)) return number;
  const signed = (n: number) =>
    n === 0 && (number < 0 || Object.is(number, -0)) ? -0 : n;
  if (digits < 0) {
    const whole = Math.trunc(number);
    return signed(
      Number(roundTens(BigInt(whole), -digits, whole !== number)),
    );
  }
  if (Math.abs(number) >= 1e21) return number;
  const text = number.toFixed(Math.min(100, digits + 60));
  const cut = text.indexOf(".") + 1 + digits;
  if (!/^50*$/.test(text.slice(cut))) {
    return signed(Number(number.toFixed(digits)));
  }
  const down = text.slice(0, cut);
  const odd = /[13579]\.?$/.test(down);
  const step = 10 ** -digits * Math.sign(number);
  return signed(
    odd ? Number((Number(down) + step).toFixed(digits)) : Number(down),
  );
}

const indent: Filter = (value, args) => {
  const [width = 4, firstToo = false, blank = false] = bind(
    args,
    "width",
    "first",
    "blank",
  );
  const by = typeof width === "string" ? width : " ".repeat(intArg(width));
  const lines = splitLines(`${textArg(value)}\n`);
  spend(by.length * lines.length / 16);
  const rest = lines.slice(1).map((line) =>
    line !== "" || truth(blank) ? by + line : line
  );
  const made = paid(
    (truth(firstToo) ? by : "") + [lines[0], ...rest].join("\n"),
  );
  return value instanceof Markup ? new Markup(made) : made;
};

const groupby: Filter = (value, args) => {
  const [path, or, sensitive] = bind(
    args,
    "attribute",
    "default",
    "case_sensitive",
  );
  const get = getter(path, or);
  const fold = (key: Value) =>
    typeof key === "string" && !truth(sensitive ?? false)
      ? key.toLowerCase()
      : key;
  const groups: { key: Value; items: Value[] }[] = [];
  for (const of of sorted(listOf(value), (of) => fold(get(of)), false)) {
    const group = groups.at(-1);
    if (group && equals(fold(group.key), fold(get(of)))) group.items.push(of);
    else groups.push({ key: get(of), items: [of] });
  }
  return groups.map(({ key, items }) =>
    new Tuple([key, items], ["grouper", "list"])
  );
};

const dictsort: Filter = (value, args) => {
  const [sensitive, by = "key", reversed = false] = bind(
    args,
    "case_sensitive",
    "by",
    "reverse",
  );
  if (!(value instanceof Dict)) {
    refuseUndefined(value);
    throw fault(`'${typeName(value)}' object has no attribute 'items'`);
  }
  if (by !== "key" && by !== "value") {
    throw fault('You can only sort by either "key" or "value"');
  }
  return sorted(
    Array.from(new View("items", value)),
    sortKey(by === "key" ? 0 : 1, sensitive),
    truth(reversed),
  );
};

const unique: Filter = (value, args) => {
  const [sensitive, path] = bind(args, "case_sensitive", "attribute");
  const key = sortKey(path, sensitive);
  const seen = new Dict();
  return new Iter(
    listOf(value).filter((of) => {
      const isNew = !seen.has(key(of));
      seen.set(key(of), true);
      return isNew;
    }),
  );
};

const batch: Filter = (value, args) => {
  const [count, fill] = bind(args, "linecount", "fill_with");
  const size = intArg(count);
  if (size < 1) throw lack("batches of no items");
  const list = listOf(value);
  const rows: Value[][] = [];
  for (let i = 0; i < list.length; i += size) {
    rows.push(list.slice(i, i + size));
  }
  const short = size - (rows.at(-1)?.length ?? size);
  if (isGiven(fill)) {
    spend(short);
    rows.at(-1)?.push(...Array.from({ length: short }, () => fill));
  }
  return new Iter(rows);
};

const slices: Filter = (value, args) => {
  const [count, fill] = bind(args, "slices", "fill_with");
  const [n, list] = [intArg(count), listOf(value)];
  if (n < 1) throw fault("integer division or modulo by zero");
  spend(n);
  const [each, more] = [Math.floor(list.length / n), list.length % n];
  let at = 0;
  return new Iter(
    Array.from({ length: n }, (_, i) => {
      const part = list.slice(at, at += each + (i < more ? 1 : 0));
      if (isGiven(fill) && i >= more) part.push(fill);
      return part;
    }),
  );
};

const FILTERS: Readonly<Record<string, Filter>> = {
  tojson,
  first,
  last,
  length,
  count: length,
  map,
  select: selecting(true, false),
  reject: selecting(false, false),
  selectattr: selecting(true, true),
  rejectattr: selecting(false, true),
  default: orElse,
  d: orElse,
  escape,
  e: escape,
  forceescape: (value) => new Markup(paid(escapeHtml(str(value)))),
  safe: (value) => new Markup(str(value)),
  string: (value) => value instanceof Markup ? value : str(value),
  lower: texts((text) => text.toLowerCase()),
  upper: texts((text) => text.toUpperCase()),
  capitalize: texts(capitalize),
  title: (value, args) => {
    bind(args);
    const parts = str(value).split(new RegExp(`([-${SPACE}({[<]+)`));
    return paid(
      parts.map((part) => {
        const [first = ""] = part;
        return first.toUpperCase() + part.slice(first.length).toLowerCase();
      }).join(""),
    );
  },
  trim: (value, args) => {
    const [chars] = bind(args, "chars");
    const text = str(value);
    spend(text.length / 64);
    const made = strip(
      text,
      "both",
      isGiven(chars) ? textArg(chars) : undefined,
    );
    return value instanceof Markup ? new Markup(made) : made;
  },
  replace: (value, args) => {
    const [old, by, count] = bind(args, "old", "new", "count");
    if (old === undefined || by === undefined) {
      throw fault("replace wants what to replace, and by what");
    }
    return replaceText(
      str(value),
      str(old),
      str(by),
      isGiven(count) ? intArg(count) : -1,
    );
  },
  join: (value, args) => {
    const [mark = "", path] = bind(args, "d", "attribute");
    const parts = listOf(value).map(getter(path));
    return paid(parts.map(str).join(str(mark)));
  },
  list: (value, args) => {
    bind(args);
    return listOf(value);
  },
  items: (value, args) => {
    bind(args);
    return new Iter(function* () {
      if (value instanceof Dict) yield* new View("items", value);
      else if (!(value instanceof Undefined)) {
        throw fault("Can only get item pairs from a mapping.");
      }
    }());
  },
  attr: (value, args) => {
    const name = textArg(bind(args, "name")[0]);
    const found = value instanceof Dict ? undefined : attribute(value, name);
    return found ?? new Undefined(`no attribute '${name}'`);
  },
  reverse,
  sort: (value, args) => {
    const [reversed = false, sensitive, path] = bind(
      args,
      "reverse",
      "case_sensitive",
      "attribute",
    );
    const paths = typeof path === "string" ? path.split(",") : [path];
    const keys = paths.map((part) => sortKey(part, sensitive));
    // Lists of keys, which are compared only where they are not equal.
    return sorted(
      listOf(value),
      (of) => keys.map((key) => key(of)),
      truth(reversed),
    );
  },
  min: extreme((order) => order < 0),
  max: extreme((order) => order > 0),
  sum: (value, args) => {
    const [path, start = 0] = bind(args, "attribute", "start");
    return listOf(value).map(getter(path))
      .reduce((sum, of) => binary("+", sum, of), start);
  },
  abs: (value, args) => {
    bind(args);
    const number = real(value);
    const minus = number !== undefined && (number < 0 || Object.is(number, -0));
    return sign(value, minus);
  },
  int: (value, args) => {
    const [or = 0, base] = bind(args, "default", "base");
    const number = toInt(value, intArg(base, 10));
    if (number !== undefined) return number;
    const near = toFloat(value);
    return (near === undefined ? undefined : toInt(near)) ?? or;
  },
  float: (value, args) => {
    const [or = float(0)] = bind(args, "default");
    return toFloat(value) ?? or;
  },
  round,
  indent,
  center: (value, args) =>
    justify(str(value), intArg(bind(args, "width")[0], 80), " ", "center"),
  format: (value, { list, named }) => {
    if (list.length > 0 && named.size > 0) {
      throw fault("can't handle positional and keyword arguments together");
    }
    return percentFormat(
      str(value),
      named.size > 0 ? new Dict(named) : new Tuple(list),
    );
  },
  wordcount: (value) => str(value).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0,
  groupby,
  dictsort,
  unique,
  batch,
  slice: slices,
};
