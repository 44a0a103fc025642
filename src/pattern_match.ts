/**
 * Matching whole names by regular expressions in time linear in both: all ways are followed at once, and none is
 * taken back.
 *
 * @module
 */

import { ValueError } from "./errors.ts";
import { parsePattern } from "./pattern.ts";
import type { PatternNode } from "./pattern.ts";

/** Steps of a compiled expression at most; repeats with a number are written out. */
const MOST_STEPS = 5000;

/** Characters of a name at most: a look ahead reads the rest of it at each. */
const MOST_TEXT = 1000;

type Step =
  | { readonly op: "set"; readonly holds: (char: string) => boolean }
  | { readonly op: "edge"; readonly text: string }
  | { readonly op: "look"; readonly not: boolean; readonly body: Step[] }
  /** Goes on here and at `to`; `only` there. */
  | { readonly op: "branch"; to: number; readonly only: boolean }
  | { readonly op: "end" };

/** Says whether a whole text matches. */
export type WholeMatch = (text: string) => boolean;

/**
 * Compiles an expression.
 *
 * @throws {Error} If it is malformed, or has what cannot be matched in linear time; it says in words what.
 */
export function wholeMatcher(source: string): WholeMatch {
  const steps: Step[] = [];
  compile(parsePattern(source), steps, true);
  steps.push({ op: "end" });
  return (text) => text.length <= MOST_TEXT && run(steps, text, 0, true);
}

/** Characters of a pattern at most, and patterns that are remembered. */
const LONGEST_PATTERN = 1000;
const MOST_KNOWN = 4096;

const known = new Map<string, WholeMatch>();

/**
 * True if a module's path matches `key` as a whole, or with `tail` a tail of it does, PEFT's way.
 *
 * @throws {RangeError} If the pattern is malformed, or has what cannot be matched in linear time.
 */
export function pathMatcher(key: string, { tail = false } = {}): WholeMatch {
  const source = tail ? `(?:.*\\.)?(?:${key})` : key;
  let match = known.get(source);
  if (match) return match;
  const bad = (reason: string) => {
    const shown = key.length > 120 ? `${key.slice(0, 117)}...` : key;
    return new ValueError(
      `Cannot use pattern ${JSON.stringify(shown)}: ${reason}`,
    );
  };
  if (key.length > LONGEST_PATTERN) {
    throw bad(`it has more than ${LONGEST_PATTERN} characters`);
  }
  try {
    // Alone first: a bracket too many would close the one around it.
    if (tail) wholeMatcher(key);
    match = wholeMatcher(source);
  } catch (cause) {
    throw bad(
      `it is no regular expression that is read here: ${
        cause instanceof Error ? cause.message : cause
      }`,
    );
  }
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(source, match);
  return match;
}

function compile(node: PatternNode, out: Step[], looks: boolean): void {
  if (out.length > MOST_STEPS) throw new Error("it is too long");
  switch (node.kind) {
    case "set":
      out.push({ op: "set", holds: oneOf(node.text) });
      break;
    case "edge":
      out.push({ op: "edge", text: node.text });
      break;
    case "look": {
      if (node.behind || !looks) {
        throw new Error("it looks behind, or ahead while it looks ahead");
      }
      const body: Step[] = [];
      compile(node.body, body, false);
      body.push({ op: "end" });
      out.push({ op: "look", not: node.not, body });
      break;
    }
    case "sequence":
      for (const part of node.parts) compile(part, out, looks);
      break;
    case "choice": {
      const ends: { to: number }[] = [];
      for (const [i, way] of node.ways.entries()) {
        const last = i === node.ways.length - 1;
        const next = last ? undefined : branch(out, false);
        compile(way, out, looks);
        if (!last) ends.push(branch(out, true));
        if (next) next.to = out.length;
      }
      for (const end of ends) end.to = out.length;
      break;
    }
    case "repeat":
      repeat(node, out, looks);
  }
}

function branch(out: Step[], only: boolean): { to: number } {
  const step = { op: "branch" as const, to: 0, only };
  out.push(step);
  return step;
}

function repeat(
  { least, most, body }: Extract<PatternNode, { kind: "repeat" }>,
  out: Step[],
  looks: boolean,
): void {
  for (let i = 0; i < least; i++) compile(body, out, looks);
  if (most === Infinity) {
    const start = out.length;
    const leave = branch(out, false);
    compile(body, out, looks);
    branch(out, true).to = start;
    leave.to = out.length;
    return;
  }
  const leaves: { to: number }[] = [];
  for (let i = least; i < most; i++) {
    leaves.push(branch(out, false));
    compile(body, out, looks);
  }
  for (const leave of leaves) leave.to = out.length;
}

/** True if a character is in a set, which is left to the engine: one character against one takes no time. */
function oneOf(text: string): (char: string) => boolean {
  if (text.length === 1 && text !== ".") return (char) => char === text;
  let set: RegExp;
  try {
    set = new RegExp(`^${text}$`, /^\[|\\[pPu]/.test(text) ? "u" : "");
  } catch {
    throw new Error(`${text} is no set of characters`);
  }
  const known = new Map<string, boolean>();
  return (char) => {
    let holds = known.get(char);
    if (holds === undefined) known.set(char, holds = set.test(char));
    return holds;
  };
}

function run(
  steps: readonly Step[],
  text: string,
  from: number,
  whole: boolean,
): boolean {
  let now = new Set([0]);
  for (let at = from;; at++) {
    // Steps that take no character are followed as they are found: a set goes on with what is added to it.
    const next = new Set<number>();
    for (const place of now) {
      const step = steps[place];
      if (step.op === "end") {
        if (!whole || at === text.length) return true;
      } else if (step.op === "branch") {
        now.add(step.to);
        if (!step.only) now.add(place + 1);
      } else if (step.op === "set") {
        if (at < text.length && step.holds(text[at])) next.add(place + 1);
      } else if (
        step.op === "edge"
          ? edgeHolds(step.text, text, at)
          : run(step.body, text, at, false) !== step.not
      ) now.add(place + 1);
    }
    if (at >= text.length || next.size === 0) return false;
    now = next;
  }
}

function edgeHolds(edge: string, text: string, at: number): boolean {
  if (edge === "^") return at === 0;
  if (edge === "$") return at === text.length;
  const inWord = (i: number) => /^\w$/.test(text[i] ?? "");
  return (inWord(at - 1) !== inWord(at)) === (edge === "\\b");
}
