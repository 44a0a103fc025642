/**
 * Output of `loqa data`: texts with their learnt parts, and the counts.
 *
 * @module
 */

import type { DataReport } from "../data_tally.ts";
import { columns } from "./tables.ts";
import { wrapped } from "./wrap.ts";

/** A part of a text. */
export interface Run {
  readonly text: string;
  /** True if it is learnt. */
  readonly learnt: boolean;
}

/** Looks of texts. */
export interface Look {
  /** Columns of the terminal; undefined elsewhere. */
  readonly width: number | undefined;
  /** True if what is learnt has a colour; brackets otherwise. */
  readonly colour: boolean;
}

const INDENT = "  ";
const GREEN = "\x1b[32m";
const PLAIN = "\x1b[0m";

/** Characters that a terminal would obey, as they are escaped. */
const CONTROLS =
  /(?!\n)[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

function escaped(text: string): string {
  return text.replaceAll("\t", "    ").replace(
    CONTROLS,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Columns of a character: East Asian and pictures take two. */
function columnsOf(char: string): number {
  if (/\p{M}|\u200d|\ufe0f/u.test(char)) return 0;
  return /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}/u
      .test(char) && char > "\u00ff"
    ? 2
    : 1;
}

/** A text in lines of the width, learnt parts in colour or between brackets. */
export function shown(parts: readonly Run[], { width, colour }: Look): string {
  const [on, off] = colour ? [GREEN, PLAIN] : ["⟦", "⟧"];
  const room = width === undefined ? Infinity : Math.max(20, width);
  let out = INDENT;
  let column = INDENT.length;
  const put = (text: string, columns: number) => {
    if (column + columns > room) newLine();
    out += text;
    column += columns;
  };
  let learning = false;
  const newLine = () => {
    // A colour would fill the margin of the next line.
    out += `${colour && learning ? PLAIN : ""}\n${INDENT}${
      colour && learning ? GREEN : ""
    }`;
    column = INDENT.length;
  };
  for (const { text, learnt } of joined(parts)) {
    if (learnt) put(on, colour ? 0 : 1);
    learning = learnt;
    for (const word of escaped(text).match(/\n|[^\S\n]+|[^\s]+/gu) ?? []) {
      if (word === "\n") {
        newLine();
        continue;
      }
      const chars = Array.from(word);
      const wide = chars.reduce((sum, char) => sum + columnsOf(char), 0);
      // A word goes to the next line as a whole, where it fits there.
      if (column + wide > room && wide <= room - INDENT.length) {
        newLine();
        if (word.trim() === "") continue;
      }
      for (const char of chars) put(char, columnsOf(char));
    }
    if (learnt) {
      learning = false;
      put(off, colour ? 0 : 1);
    }
  }
  return out.replace(/[^\S\n]+$/gm, "");
}

/** Parts of at most `most` characters together: of longer ones the middle is left out, with a note. */
export function shortened(parts: readonly Run[], most: number): Run[] {
  const whole = parts.reduce((sum, { text }) => sum + text.length, 0);
  if (whole <= most) return [...parts];
  const [from, to] = [Math.floor(most * 0.8), whole - Math.floor(most * 0.2)];
  const range = (first: number, end: number): Run[] => {
    let at = 0;
    return parts.map(({ text, learnt }) => {
      const part = text.slice(Math.max(0, first - at), Math.max(0, end - at));
      at += text.length;
      return { text: part.toWellFormed(), learnt };
    });
  };
  const gap = `[… ${(to - from).toLocaleString("en")} characters …]`;
  return [
    ...range(0, from),
    { text: gap, learnt: false },
    ...range(to, whole),
  ];
}

/** Parts of one kind that follow each other, as one. */
function joined(parts: readonly Run[]): Run[] {
  const out: Run[] = [];
  for (const part of parts) {
    if (part.text === "") continue;
    const last = out.at(-1);
    if (last?.learnt === part.learnt) {
      out[out.length - 1] = { ...last, text: last.text + part.text };
    } else out.push(part);
  }
  return out;
}

/** Columns of a bar at the most. */
const BAR = 40;

/** The counts, for a person. */
export function tallyText(
  report: DataReport,
  width: number | undefined,
): string {
  const { records, examples, tokens, learnt, lengths, histogram } = report;
  const number = (n: number) => Math.round(n).toLocaleString("en");
  const rows = [
    ["records", number(records)],
    ["usable", number(records - report.refused - report.unusable)],
    ["examples", number(examples)],
    ["tokens", number(tokens)],
    [
      "learnt",
      `${number(learnt)}${
        tokens === 0 ? "" : ` (${(100 * learnt / tokens).toFixed(1)} %)`
      }`,
    ],
  ];
  if (lengths) {
    const { shortest, median, mean, longest } = lengths;
    rows.push([
      "length",
      `${number(shortest)} to ${number(longest)}, median ${
        number(median)
      }, mean ${number(mean)} tokens`,
    ]);
  }
  const sections = [columns(rows)];
  if (histogram.length > 0) {
    const most = Math.max(...histogram.map(({ count }) => count));
    const cells = histogram.map(({ from, to, count }) => [
      from === to ? number(from) : `${number(from)} to ${number(to)}`,
      number(count),
      "",
    ]);
    const left = columns(cells, [0, 1]).split("\n")[0].length + 2;
    const room = Math.max(8, Math.min(BAR, (width ?? 80) - left));
    for (const [i, { count }] of histogram.entries()) {
      cells[i][2] = "█".repeat(Math.ceil(room * count / most));
    }
    sections.push(`tokens of an example\n${columns(cells, [0, 1])}`);
  }
  const { longer } = report;
  if (longer) {
    const done = {
      drop: "dropped",
      truncate: "truncated",
      error: "refused, and training would end there",
    }[longer.overflow];
    sections.push(
      `longer than ${number(report.block)} tokens: ${
        number(longer.count)
      }, ${done}${
        longer.lost > 0
          ? `, ${
            number(longer.lost)
          } of them dropped because nothing of the answer would be left`
          : ""
      } (the first: ${longer.first})`,
    );
  }
  for (const note of report.notes) sections.push(note);
  if (report.reasons.length > 0) {
    const { otherReasons } = report;
    const reasons = [
      ...report.reasons,
      ...otherReasons ? [{ ...otherReasons, reason: "for other reasons" }] : [],
    ];
    const lines = reasons.map(({ count, reason, first }) =>
      `  ${number(count)}  ${reason}${first ? ` (the first: ${first})` : ""}`
    );
    sections.push(
      `refused: ${number(report.refused)}, training would end at the first\n${
        lines.join("\n")
      }`,
    );
  }
  if (examples === 0) sections.push("nothing is left to be learnt");
  return sections.map((text) => wrapped(escapedLines(text), width)).join(
    "\n\n",
  );
}

function escapedLines(text: string): string {
  return text.split("\n").map(escaped).join("\n");
}
