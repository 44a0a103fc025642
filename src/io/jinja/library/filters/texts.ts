/**
 * Filters of Jinja2 for texts, with the `tojson` of transformers.
 *
 * @module
 */

import { bind, intArg, isGiven, textArg } from "../../args.ts";
import { paid, spend } from "../../budget.ts";
import { percentFormat } from "../format.ts";
import { SPACE, strip } from "../../syntax/lexer.ts";
import { capitalize, justify, replaceText, splitLines } from "../methods.ts";
import { escapeHtml } from "../../operators.ts";
import { jsonText, str } from "../text.ts";
import {
  Dict,
  fault,
  lack,
  listOf,
  Markup,
  truth,
  Tuple,
} from "../../values.ts";
import type { Filter } from "../signatures.ts";

const escape: Filter = (value, args) => {
  bind(args);
  return value instanceof Markup
    ? value
    : new Markup(paid(escapeHtml(str(value))));
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

/** Filters that make texts. */
export const TEXT_FILTERS: Readonly<Record<string, Filter>> = {
  tojson,
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
};
