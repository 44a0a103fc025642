/**
 * Tokens of a template, as of Jinja2's lexer with `trim_blocks` and `lstrip_blocks`.
 *
 * @module
 */

import { FormatError } from "../../../errors.ts";
import { stringEnd } from "../../files/json_exact.ts";

/** A piece of a template. */
export interface Token {
  /** Text of the template, a name, a literal, a mark (`+`, `==`), a border (`{%`, `}}`), or the end. */
  readonly type: "data" | "name" | "string" | "int" | "float" | "mark" | "end";
  /** Its text; of a string, without quotes and escapes. */
  readonly text: string;
  /** Its line, from 1. */
  readonly line: number;
}

/** @throws {SyntaxError} At `line`. */
export function malformed(message: string, line: number): FormatError {
  return new FormatError(`line ${line}: ${message}`);
}

/** White space to Python. */
export const SPACE =
  "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const S = `[${SPACE}]`;
const RAW = new RegExp(`\\{%([-+]?)${S}*raw${S}*(?:-%\\}${S}*|%\\})`, "y");
const END_RAW = new RegExp(
  `\\{%([-+]?)${S}*endraw${S}*(?:\\+%\\}|-%\\}${S}*|%\\}\\n?)`,
  "g",
);
const ENDS: Record<string, RegExp> = {
  "{%": new RegExp(`\\+%\\}|-%\\}${S}*|%\\}\\n?`, "y"),
  "{{": new RegExp(`-\\}\\}${S}*|\\}\\}`, "y"),
  "{#": new RegExp(`\\+#\\}|-#\\}${S}*|#\\}\\n?`, "g"),
};
const CLOSING: Record<string, string> = { "(": ")", "[": "]", "{": "}" };

const PARTS: readonly [Token["type"] | "space", RegExp][] = [
  ["space", new RegExp(`${S}+`, "y")],
  [
    "float",
    /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy,
  ],
  [
    "int",
    /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy,
  ],
  ["name", /[\p{L}\p{Nl}_][\p{L}\p{Nl}\p{Mn}\p{Mc}\p{Nd}\p{Pc}]*/uy],
  ["mark", /\*\*|\/\/|[=!<>]=|[-+*/%~[\](){}<>=.:|,;]/y],
];

/** Tokens of a template, the last of which is its end. @throws {SyntaxError} If there are none. */
export function tokenize(template: string): Token[] {
  // One newline at the end is not the template's.
  const source = template.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;
  let startsLine = true;
  const push = (type: Token["type"], text: string) =>
    tokens.push({ type, text, line });
  /** Goes on to `to`, counting lines. */
  const advance = (to: number) => {
    for (let i = at; i < to; i++) if (source[i] === "\n") line++;
    if (to > at) startsLine = source[to - 1] === "\n";
    at = to;
  };
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(source);
  };
  const data = (to: number, sign: string, strips: boolean) => {
    let text = source.slice(at, to);
    if (sign === "-") text = strip(text, "end");
    else if (sign !== "+" && strips) {
      const start = text.lastIndexOf("\n") + 1;
      if (
        (start > 0 || startsLine) && strip(text.slice(start), "end") === ""
      ) text = text.slice(0, start);
    }
    if (text !== "") push("data", text);
    advance(to);
  };
  while (at < source.length) {
    const begin = match(/\{[%{#]/g);
    if (!begin) {
      push("data", source.slice(at));
      break;
    }
    const kind = begin[0];
    const sign = /[-+]/.exec(source[begin.index + 2] ?? "")?.[0] ?? "";
    const strips = kind !== "{{";
    data(begin.index, sign, strips);
    const raw = match(RAW);
    if (raw) {
      const from = line;
      advance(at + raw[0].length);
      const end = match(END_RAW);
      if (!end) throw malformed("Missing end of raw directive", from);
      data(end.index, end[1], true);
      advance(at + end[0].length);
      continue;
    }
    if (kind === "{#") {
      advance(at + 2 + sign.length);
      const end = match(ENDS[kind]);
      if (!end) throw malformed("Missing end of comment tag", line);
      advance(end.index + end[0].length);
      continue;
    }
    push("mark", kind);
    advance(at + 2 + sign.length);
    const open: string[] = [];
    for (;;) {
      const end = open.length === 0 ? match(ENDS[kind]) : null;
      if (end) {
        push("mark", kind === "{{" ? "}}" : "%}");
        advance(at + end[0].length);
        break;
      }
      if (/^['"]$/.test(source[at] ?? "")) {
        const to = stringEnd(source, at);
        if (to < 0) throw malformed("a string without an end", line);
        push("string", unescaped(source.slice(at + 1, to - 1), line));
        advance(to);
        continue;
      }
      const part = PARTS.find(([, pattern]) => match(pattern));
      if (!part) {
        throw malformed(
          at < source.length
            ? `unexpected char ${JSON.stringify(source[at])}`
            : `unexpected end of template, expected '${
              kind === "{{" ? "}}" : "%}"
            }'`,
          line,
        );
      }
      const [type, pattern] = part;
      const text = match(pattern)![0];
      if (type === "mark") {
        if (CLOSING[text]) open.push(CLOSING[text]);
        else if (/^[)\]}]$/.test(text) && open.pop() !== text) {
          throw malformed(`unexpected '${text}'`, line);
        }
      }
      if (type !== "space") push(type, text);
      advance(at + text.length);
    }
  }
  push("end", "");
  return tokens;
}

const ESCAPE =
  /\\(?:\n|[0-7]{1,3}|x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[\\'"abfnrtvxuUN])/g;
const NAMED: Record<string, string> = {
  "\n": "",
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

function unescaped(text: string, line: number): string {
  if (!text.includes("\\")) return text;
  return text.replace(ESCAPE, (whole) => {
    const code = whole.slice(1);
    if (/^[0-7]/.test(code)) return String.fromCodePoint(parseInt(code, 8));
    if (/^[xuUN]/.test(code)) {
      const point = parseInt(code.slice(1), 16);
      if (!(point <= 0x10ffff)) {
        throw malformed(`cannot read the escape ${whole} of a string`, line);
      }
      return String.fromCodePoint(point);
    }
    return NAMED[code] ?? code;
  });
}

/** A text without `chars` (white space by default) at its ends, as Python strips them. */
export function strip(
  text: string,
  where: "start" | "end" | "both" = "both",
  chars?: string,
): string {
  const set = chars === undefined ? undefined : new Set(chars);
  const points = set !== undefined && Array.from(set).some((c) => c.length > 1);
  const units: ArrayLike<string> = points ? Array.from(text) : text;
  const drops = set ? (c: string) => set.has(c) : isSpace;
  let from = 0;
  let to = units.length;
  if (where !== "end") { while (from < to && drops(units[from])) from++; }
  if (where !== "start") { while (to > from && drops(units[to - 1])) to--; }
  return points
    ? (units as string[]).slice(from, to).join("")
    : text.slice(from, to);
}

const ONE_SPACE = new RegExp(S);

/** True if a character is white space to Python. */
export function isSpace(c: string): boolean {
  return c <= "\x7f"
    ? c === " " || (c >= "\t" && c <= "\r") || (c >= "\x1c" && c <= "\x1f")
    : ONE_SPACE.test(c);
}
