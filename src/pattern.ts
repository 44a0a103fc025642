/**
 * Regular expressions taken apart: what an expression from a file may cost is known before it is matched.
 *
 * The syntax is what JavaScript and Python have in common, with the names of groups of either; back references are
 * refused.
 *
 * @module
 */

/** A part of an expression. */
export type PatternNode =
  /** One character of a set, as written: `a`, `\d`, `[^x]`, `.`. */
  | { readonly kind: "set"; readonly text: string }
  /** A place between characters: `^`, `$`, `\b`, `\B`. */
  | { readonly kind: "edge"; readonly text: string }
  | {
    readonly kind: "look";
    readonly behind: boolean;
    readonly not: boolean;
    readonly body: PatternNode;
  }
  | { readonly kind: "sequence"; readonly parts: readonly PatternNode[] }
  | { readonly kind: "choice"; readonly ways: readonly PatternNode[] }
  | {
    readonly kind: "repeat";
    readonly least: number;
    readonly most: number;
    readonly body: PatternNode;
  };

/** Groups in groups at most. */
const MOST_DEPTH = 50;

/** Takes an expression apart. @throws {Error} That says in words what is wrong with it. */
export function parsePattern(source: string): PatternNode {
  const parser = new Parser(source);
  const node = parser.choice(0);
  if (!parser.ended) throw new Error("it has a ) too many");
  return node;
}

class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get ended(): boolean {
    return this.#at === this.#text.length;
  }

  /** The match of `expression` (sticky) here, stepped over. */
  #take(expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.#at;
    const found = expression.exec(this.#text);
    if (found) this.#at += found[0].length;
    return found;
  }

  choice(depth: number): PatternNode {
    if (depth > MOST_DEPTH) throw new Error("its groups are nested too deeply");
    const ways = [this.#sequence(depth)];
    while (this.#take(/\|/y)) ways.push(this.#sequence(depth));
    return ways.length === 1 ? ways[0] : { kind: "choice", ways };
  }

  #sequence(depth: number): PatternNode {
    const parts: PatternNode[] = [];
    while (!this.ended && !/[|)]/.test(this.#text[this.#at])) {
      parts.push(this.#repeated(this.#atom(depth)));
    }
    return parts.length === 1 ? parts[0] : { kind: "sequence", parts };
  }

  #repeated(body: PatternNode): PatternNode {
    // Braces without a number stand for themselves.
    const found = this.#take(/([*+?]|\{(?=,?\d)(\d*)(,?)(\d*)\})\??/y);
    if (found === null) return body;
    if (/[*+?{]/.test(this.#text[this.#at] ?? "")) {
      throw new Error("it repeats what is repeated already");
    }
    const [, mark, from, comma, to] = found;
    const least = mark === "+" ? 1 : Number(from || 0);
    const most = mark === "?"
      ? 1
      : mark === "*" || mark === "+"
      ? Infinity
      : to
      ? Number(to)
      : comma
      ? Infinity
      : least;
    if (most < least) throw new Error("a repeat of it has no such number");
    return { kind: "repeat", least, most, body };
  }

  #atom(depth: number): PatternNode {
    const look = this.#take(/\(\?(<?)([=!])/y);
    if (look) {
      const body = this.#closed(depth);
      return { kind: "look", behind: !!look[1], not: look[2] === "!", body };
    }
    if (this.#take(/\((?:\?:|\?P?<\w+>|\?[ims]*(?:-[ims]+)?:|(?!\?))/y)) {
      return this.#closed(depth);
    }
    const edge = this.#take(/[\^$]|\\[bB]/y);
    if (edge) return { kind: "edge", text: edge[0] };
    if (this.#take(/\\(?:[1-9]|k<)/y)) {
      throw new Error("it refers back to a group");
    }
    const set = this.#take(/\[(?:\\.|[^\]\\])*\]/suy) ??
      this.#take(
        /\\[pP]\{[^}]*\}|\\u\{[^}]*\}|\\u[\da-f]{4}|\\x[\da-f]{2}/iy,
      ) ??
      this.#take(/\\c[a-z]/iy) ?? this.#take(/\\./suy) ??
      this.#take(/[^\\[()*+?|]/suy);
    if (set === null) {
      throw new Error(`it is malformed at character ${this.#at + 1}`);
    }
    return { kind: "set", text: set[0] };
  }

  #closed(depth: number): PatternNode {
    const node = this.choice(depth + 1);
    if (!this.#take(/\)/y)) throw new Error("it has a ( too many");
    return node;
  }
}

/** Cost bound of a backtracking matcher for an expression, at a place of a text of length n: `ways · n ** degree`. */
export interface PatternCost {
  /** Ways to match that do not grow with the text. */
  readonly ways: number;
  /** Repeats without a bound, one after the other. */
  readonly degree: number;
}

interface Shape extends PatternCost {
  /** Characters that it takes. */
  readonly shortest: number;
  readonly longest: number;
}

/** The cost of an expression; infinite ways where they grow exponentially with the text. */
export function patternCost(node: PatternNode): PatternCost {
  const { ways, degree } = shapeOf(node);
  return { ways, degree };
}

function shapeOf(node: PatternNode): Shape {
  switch (node.kind) {
    case "set":
      return { ways: 1, degree: 0, shortest: 1, longest: 1 };
    case "edge":
      return { ways: 1, degree: 0, shortest: 0, longest: 0 };
    case "look":
      return { ...shapeOf(node.body), shortest: 0, longest: 0 };
    case "sequence":
      return node.parts.map(shapeOf).reduce((a, b) => ({
        ways: a.ways * b.ways,
        degree: a.degree + b.degree,
        shortest: a.shortest + b.shortest,
        longest: a.longest + b.longest,
      }), { ways: 1, degree: 0, shortest: 0, longest: 0 });
    case "choice":
      return node.ways.map(shapeOf).reduce((a, b) => ({
        ways: a.ways + b.ways,
        degree: Math.max(a.degree, b.degree),
        shortest: Math.min(a.shortest, b.shortest),
        longest: Math.max(a.longest, b.longest),
      }));
    case "repeat":
      return repeatShape(node, shapeOf(node.body));
  }
}

function repeatShape(
  { least, most }: { least: number; most: number },
  body: Shape,
): Shape {
  const { ways, degree, shortest, longest } = body;
  const lengths = {
    shortest: least * shortest,
    longest: longest === 0 ? 0 : most * longest,
  };
  // A body that matches in one way at a place parts a text in one way only.
  const single = ways === 1 && degree === 0 && shortest === longest &&
    shortest > 0;
  if (most === Infinity) {
    return { ways: single ? 1 : Infinity, degree: 1, ...lengths };
  }
  if (single) return { ways: most - least + 1, degree: 0, ...lengths };
  let sum = 0;
  for (let n = least; n <= most && sum < Infinity; n++) {
    sum += ways ** n * (degree > 0 && n > 1 ? Infinity : 1);
  }
  return { ways: sum, degree, ...lengths };
}
