/**
 * Filters of Jinja2 for sequences and mappings.
 *
 * @module
 */

import { bind, intArg, isGiven, textArg } from "../../args.ts";
import { paid, spend } from "../../budget.ts";
import { binary, item } from "../../operators.ts";
import { str } from "../text.ts";
import {
  compare,
  Dict,
  equals,
  fault,
  Iter,
  iterate,
  lack,
  lengthOf,
  listOf,
  refuseUndefined,
  textOf,
  truth,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "../../values.ts";
import type { Filter } from "../signatures.ts";

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
  return (value, { list, named }, library) => {
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
          : library.runTest(textArg(name), got, { list: args, named });
        if (passes === keeps) yield of;
      }
    }());
  };
}

const map: Filter = (value, { list, named }, library) => {
  let make: (of: Value) => Value;
  if (list.length === 0) {
    const [path, or] = bind({ list, named }, "attribute", "default");
    if (path === undefined) throw fault("map requires a filter argument");
    make = getter(path, or);
  } else {
    const [name, ...rest] = list;
    make = (of) => library.runFilter(textArg(name), of, { list: rest, named });
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

const reverse: Filter = (value, args) => {
  bind(args);
  const text = textOf(value);
  if (text !== undefined) return paid(Array.from(text).reverse().join(""));
  const items = listOf(value).reverse();
  return value instanceof Iter ? items : new Iter(items);
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

/** Filters of sequences and mappings. */
export const ITEM_FILTERS: Readonly<Record<string, Filter>> = {
  first,
  last,
  length,
  count: length,
  map,
  select: selecting(true, false),
  reject: selecting(false, false),
  selectattr: selecting(true, true),
  rejectattr: selecting(false, true),
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
  groupby,
  dictsort,
  unique,
  batch,
  slice: slices,
};
