/**
 * From tokens to nodes, by the grammar of Jinja2 with loop controls and `{% generation %}`.
 *
 * @module
 */

import type { ArgNodes, Expr, Signature, Stmt, Target } from "./ast.ts";
import { malformed, type Token, tokenize } from "./lexer.ts";
import { float, int } from "../values.ts";

/** Deeper than templates are written. */
const MOST_DEPTH = 200;

const CONSTANTS = new Map<string, null | boolean>([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", null],
  ["None", null],
]);

/** Statements of Jinja2 that no chat template needs. */
const UNREAD = new Set([
  "block",
  "extends",
  "include",
  "import",
  "from",
  "autoescape",
]);

/** A parsed template. */
export interface Program {
  /** Its statements. */
  readonly body: readonly Stmt[];
  /** True if it has `{% generation %}` marks. */
  readonly marks: boolean;
}

/** Parses a template. @throws {SyntaxError} If it is none; it names the line. */
export function parse(template: string): Program {
  return new Parser(tokenize(template)).program();
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;
  #loops = 0;
  #marks = false;
  /** Names that were read, for the macro that is being parsed. */
  #reads = new Set<string>();

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  program(): Program {
    const body = this.#block([]);
    return { body, marks: this.#marks };
  }

  get #token(): Token {
    return this.#tokens[this.#at];
  }

  #is(text: string, type: Token["type"] = "mark"): boolean {
    const token = this.#token;
    return token.type === type && token.text === text;
  }

  #skip(text: string, type: Token["type"] = "mark"): boolean {
    const found = this.#is(text, type);
    if (found) this.#at++;
    return found;
  }

  #word(text: string): boolean {
    return this.#skip(text, "name");
  }

  #expect(text: string, type?: Token["type"]): void {
    if (!this.#skip(text, type)) this.#fail(`expected '${text}'`);
  }

  #name(): string {
    if (this.#token.type !== "name") this.#fail("expected a name");
    return this.#tokens[this.#at++].text;
  }

  #fail(wanted: string): never {
    const { type, text, line } = this.#token;
    const got = type === "end" ? "the end" : JSON.stringify(text);
    throw malformed(`${wanted}, got ${got}`, line);
  }

  /** Statements up to one of `ends`, whose name is read. */
  #block(ends: readonly string[]): Stmt[] {
    if (++this.#depth > MOST_DEPTH) this.#fail("expected less nesting");
    const body: Stmt[] = [];
    for (;;) {
      const { type, text, line } = this.#token;
      if (type === "end") {
        if (ends.length > 0) this.#fail(`expected {% ${ends.at(-1)} %}`);
        break;
      }
      this.#at++;
      if (type === "data") body.push({ kind: "data", text, line });
      else if (text === "{{") {
        body.push({ kind: "output", value: this.#tuple(), line });
        this.#expect("}}");
      } else if (
        this.#token.type === "name" && ends.includes(this.#token.text)
      ) {
        break;
      } else {
        body.push(...this.#statement(line));
        this.#expect("%}");
      }
    }
    this.#depth--;
    return body;
  }

  /** The rest of a tag, and statements up to one of `ends`, which is returned too. */
  #body(...ends: string[]): { body: Stmt[]; end: string } {
    this.#skip(":");
    this.#expect("%}");
    const body = this.#block(ends);
    return { body, end: this.#name() };
  }

  #statement(line: number): Stmt[] {
    const tag = this.#name();
    switch (tag) {
      case "if":
        return [this.#if(line)];
      case "for":
        return [this.#for(line)];
      case "set": {
        const target = this.#target();
        if (this.#skip("=")) {
          return [{ kind: "set", target, value: this.#tuple(), line }];
        }
        const filter = this.#is("|") ? this.#filters() : undefined;
        const { body } = this.#body("endset");
        return [{ kind: "capture", target, filter, body, line }];
      }
      case "print": {
        const values: Expr[] = [];
        while (!this.#is("%}")) {
          if (values.length > 0) this.#expect(",");
          values.push(this.#expression());
        }
        return values.map((value) => ({ kind: "output", value, line }));
      }
      case "macro": {
        const name = this.#name();
        const params = this.#params();
        return [{
          kind: "macro",
          name,
          ...this.#signature(params, "endmacro"),
          line,
        }];
      }
      case "call": {
        const params = this.#is("(") ? this.#params() : [];
        const call = this.#expression();
        if (call.kind !== "call") this.#fail("expected a call");
        const signature = this.#signature(params, "endcall");
        return [{ kind: "call", call, ...signature, line }];
      }
      case "filter": {
        const filter = this.#filters(true);
        return [
          { kind: "filter", filter, body: this.#body("endfilter").body, line },
        ];
      }
      case "with": {
        const targets: Target[] = [];
        const values: Expr[] = [];
        while (!this.#is("%}")) {
          if (targets.length > 0) this.#expect(",");
          targets.push(this.#target(false));
          this.#expect("=");
          values.push(this.#expression());
        }
        const { body } = this.#body("endwith");
        return [{ kind: "with", targets, values, body, line }];
      }
      case "generation": {
        this.#marks = true;
        const loops = this.#loops;
        this.#loops = 0;
        const { body } = this.#body("endgeneration");
        this.#loops = loops;
        return [{ kind: "generation", body, line }];
      }
      case "break":
      case "continue":
        if (this.#loops === 0) throw malformed(`'${tag}' outside loop`, line);
        return [{ kind: tag, line }];
    }
    throw malformed(
      UNREAD.has(tag)
        ? `loqa's Jinja lacks {% ${tag} %}; write the template without it`
        : `unknown tag '${tag}'`,
      line,
    );
  }

  #if(line: number): Stmt {
    const branches: { test: Expr; body: Stmt[] }[] = [];
    for (;;) {
      const test = this.#tuple({ conditional: false });
      const { body, end } = this.#body("elif", "else", "endif");
      branches.push({ test, body });
      if (end === "elif") continue;
      const otherwise = end === "else" ? this.#body("endif").body : [];
      return { kind: "if", branches, otherwise, line };
    }
  }

  #for(line: number): Stmt {
    const target = this.#target(false);
    this.#expect("in", "name");
    const over = this.#tuple({ conditional: false, before: "recursive" });
    const only = this.#word("if") ? this.#expression() : undefined;
    const recursive = this.#word("recursive");
    this.#loops++;
    const { body, end } = this.#body("endfor", "else");
    this.#loops--;
    const otherwise = end === "else" ? this.#body("endfor").body : [];
    return {
      kind: "for",
      target,
      over,
      only,
      recursive,
      body,
      otherwise,
      line,
    };
  }

  #params(): Signature["params"] {
    const params: { name: string; or?: Expr }[] = [];
    this.#expect("(");
    while (!this.#is(")")) {
      if (params.length > 0) this.#expect(",");
      const name = this.#name();
      const or = this.#skip("=") ? this.#expression() : undefined;
      if (!or && params.at(-1)?.or) this.#fail("expected a default");
      params.push({ name, or });
    }
    this.#expect(")");
    return params;
  }

  #signature(params: Signature["params"], end: string): Signature {
    const [reads, loops] = [this.#reads, this.#loops];
    this.#reads = new Set();
    this.#loops = 0;
    const { body } = this.#body(end);
    const signature = { params, body, reads: this.#reads };
    this.#loops = loops;
    for (const name of this.#reads) reads.add(name);
    this.#reads = reads;
    return signature;
  }

  #target(fields = true): Target {
    const items: Target[] = [];
    let tuple = false;
    do {
      if (this.#is("in", "name") || this.#is("=") || this.#is(")")) break;
      if (this.#skip("(")) {
        items.push(this.#target(fields));
        this.#expect(")");
      } else {
        const { line } = this.#token;
        const name = this.#name();
        if (CONSTANTS.has(name)) {
          throw malformed(`cannot assign to ${name}`, line);
        }
        items.push(
          fields && this.#skip(".")
            ? { kind: "field", of: name, name: this.#name() }
            : { kind: "name", name },
        );
      }
    } while (this.#skip(",") && (tuple = true));
    if (items.length === 0) this.#fail("expected a name");
    return tuple ? { kind: "tuple", items } : items[0];
  }

  /** An expression, or several with commas between them. */
  #tuple(
    { conditional = true, before, empty = false }: {
      conditional?: boolean;
      before?: string;
      empty?: boolean;
    } = {},
  ): Expr {
    const { line } = this.#token;
    const items: Expr[] = [];
    let tuple = false;
    for (;;) {
      if (
        this.#is("}}") || this.#is("%}") || this.#is(")") ||
        (before !== undefined && this.#is(before, "name"))
      ) break;
      items.push(conditional ? this.#expression() : this.#or());
      if (!this.#skip(",")) break;
      tuple = true;
    }
    if (!tuple && items.length === 1) return items[0];
    if (!tuple && !empty) this.#fail("expected an expression");
    return { kind: "tuple", items, line };
  }

  #expression(): Expr {
    if (++this.#depth > MOST_DEPTH) this.#fail("expected less nesting");
    const { line } = this.#token;
    let value = this.#or();
    while (this.#word("if")) {
      const test = this.#or();
      const no = this.#word("else") ? this.#expression() : undefined;
      value = { kind: "if", test, yes: value, no, line };
    }
    this.#depth--;
    return value;
  }

  #or(): Expr {
    const { line } = this.#token;
    let a = this.#and();
    while (this.#word("or")) a = { kind: "or", a, b: this.#and(), line };
    return a;
  }

  #and(): Expr {
    const { line } = this.#token;
    let a = this.#not();
    while (this.#word("and")) a = { kind: "and", a, b: this.#not(), line };
    return a;
  }

  #not(): Expr {
    const { line } = this.#token;
    let times = 0;
    while (this.#word("not")) times++;
    let value = this.#compare();
    if (times > MOST_DEPTH) this.#fail("expected less nesting");
    while (times-- > 0) value = { kind: "not", of: value, line };
    return value;
  }

  #compare(): Expr {
    const { line } = this.#token;
    const first = this.#sum();
    const rest: { op: string; right: Expr }[] = [];
    for (;;) {
      const { type, text } = this.#token;
      const next = this.#tokens[this.#at + 1];
      if (type === "mark" && /^([=!<>]=|[<>])$/.test(text)) this.#at++;
      else if (type === "name" && text === "in") this.#at++;
      else if (
        type === "name" && text === "not" && next.type === "name" &&
        next.text === "in"
      ) this.#at += 2;
      else break;
      rest.push({ op: text, right: this.#sum() });
    }
    return rest.length === 0 ? first : { kind: "compare", first, rest, line };
  }

  #binary(ops: readonly string[], operand: () => Expr): Expr {
    const { line } = this.#token;
    let a = operand();
    for (;;) {
      const op = ops.find((mark) => this.#skip(mark));
      if (op === undefined) return a;
      a = { kind: "binary", op, a, b: operand(), line };
    }
  }

  #sum(): Expr {
    return this.#binary(["+", "-"], () => this.#concat());
  }

  #concat(): Expr {
    const { line } = this.#token;
    const items = [this.#product()];
    while (this.#skip("~")) items.push(this.#product());
    return items.length === 1 ? items[0] : { kind: "concat", items, line };
  }

  #product(): Expr {
    const power = () => this.#binary(["**"], () => this.#unary());
    return this.#binary(["*", "/", "//", "%"], power);
  }

  #unary(filters = true): Expr {
    if (++this.#depth > MOST_DEPTH) this.#fail("expected less nesting");
    const { line } = this.#token;
    let value: Expr = this.#skip("-")
      ? { kind: "sign", minus: true, of: this.#unary(false), line }
      : this.#skip("+")
      ? { kind: "sign", minus: false, of: this.#unary(false), line }
      : this.#primary();
    value = this.#postfix(value);
    while (filters) {
      const { line } = this.#token;
      if (this.#is("|")) value = this.#filters(false, value);
      else if (this.#word("is")) value = this.#test(value, line);
      else if (this.#is("(")) value = this.#call(value);
      else break;
    }
    this.#depth--;
    return value;
  }

  #primary(): Expr {
    const { type, text, line } = this.#token;
    this.#at++;
    switch (type) {
      case "name": {
        const value = CONSTANTS.get(text);
        if (value !== undefined) return { kind: "const", value, line };
        this.#reads.add(text);
        return { kind: "name", name: text, line };
      }
      case "string": {
        let value = text;
        while (this.#token.type === "string") {
          value += this.#tokens[this.#at++].text;
        }
        return { kind: "const", value, line };
      }
      case "int":
        return {
          kind: "const",
          value: int(BigInt(text.replaceAll("_", "").toLowerCase())),
          line,
        };
      case "float":
        return {
          kind: "const",
          value: float(Number(text.replaceAll("_", ""))),
          line,
        };
    }
    if (type === "mark" && text === "(") {
      const value = this.#tuple({ empty: true });
      this.#expect(")");
      return value;
    }
    if (type === "mark" && text === "[") {
      const items: Expr[] = [];
      while (!this.#is("]")) {
        if (items.length > 0) this.#expect(",");
        if (!this.#is("]")) items.push(this.#expression());
      }
      this.#expect("]");
      return { kind: "list", items, line };
    }
    if (type === "mark" && text === "{") {
      const pairs: [Expr, Expr][] = [];
      while (!this.#is("}")) {
        if (pairs.length > 0) this.#expect(",");
        if (this.#is("}")) break;
        const key = this.#expression();
        this.#expect(":");
        pairs.push([key, this.#expression()]);
      }
      this.#expect("}");
      return { kind: "dict", pairs, line };
    }
    this.#at--;
    return this.#fail("expected an expression");
  }

  #postfix(value: Expr): Expr {
    for (;;) {
      const { line } = this.#token;
      if (this.#skip(".")) {
        const { type, text } = this.#token;
        if (type === "int") {
          this.#at++;
          const key: Expr = { kind: "const", value: Number(text), line };
          value = { kind: "item", of: value, key, line };
        } else {
          value = { kind: "attribute", of: value, name: this.#name(), line };
        }
      } else if (this.#skip("[")) {
        value = this.#subscript(value, line);
      } else if (this.#is("(")) value = this.#call(value);
      else return value;
    }
  }

  #subscript(of: Expr, line: number): Expr {
    const parts: (Expr | undefined)[] = [];
    const part = () =>
      parts.push(
        this.#is(":") || this.#is("]") || this.#is(",")
          ? undefined
          : this.#expression(),
      );
    part();
    while (parts.length < 3 && this.#skip(":")) part();
    if (this.#is(",")) {
      throw malformed("loqa's Jinja lacks keys of several parts", line);
    }
    this.#expect("]");
    const [from, to, step] = parts;
    if (parts.length > 1) return { kind: "slice", of, from, to, step, line };
    if (!from) this.#fail("expected a key");
    return { kind: "item", of, key: from, line };
  }

  #call(of: Expr): Expr {
    const { line } = this.#token;
    return { kind: "call", of, args: this.#args(), line };
  }

  #args(): ArgNodes {
    const list: Expr[] = [];
    const named: [string, Expr][] = [];
    let rest: Expr | undefined;
    let more: Expr | undefined;
    this.#expect("(");
    for (let comma = false; !this.#is(")"); comma = true) {
      if (comma) this.#expect(",");
      if (this.#is(")")) break;
      const next = this.#tokens[this.#at + 1];
      if (more) this.#fail("expected the end of the arguments");
      if (this.#is("*") && !rest) {
        this.#at++;
        rest = this.#expression();
      } else if (this.#skip("**")) more = this.#expression();
      else if (
        this.#token.type === "name" && next.type === "mark" && next.text === "="
      ) {
        const name = this.#name();
        this.#at++;
        named.push([name, this.#expression()]);
      } else if (rest || named.length > 0) {
        this.#fail("expected an argument with a name");
      } else list.push(this.#expression());
    }
    this.#expect(")");
    return { list, named, rest, more };
  }

  /** Filters in a row: of `of`, or of a block's text. */
  #filters(first: true): Expr;
  #filters(first?: false, of?: Expr): Expr;
  #filters(first = false, of?: Expr): Expr {
    do {
      if (!first) this.#expect("|");
      first = false;
      const { line } = this.#token;
      const name = this.#dotted();
      const args = this.#is("(") ? this.#args() : { list: [], named: [] };
      of = { kind: "filter", of, name, args, line };
    } while (this.#is("|"));
    return of;
  }

  #dotted(): string {
    let name = this.#name();
    while (this.#skip(".")) name += `.${this.#name()}`;
    return name;
  }

  #test(of: Expr, line: number): Expr {
    const negated = this.#word("not");
    const name = this.#dotted();
    const { type, text } = this.#token;
    let args: ArgNodes = { list: [], named: [] };
    if (this.#is("(")) args = this.#args();
    else if (
      type === "string" || type === "int" || type === "float" ||
      (type === "mark" && (text === "[" || text === "{")) ||
      (type === "name" && !["else", "or", "and"].includes(text))
    ) {
      if (text === "is" && type === "name") {
        this.#fail("expected no second test");
      }
      args = { list: [this.#postfix(this.#primary())], named: [] };
    }
    const test: Expr = { kind: "test", of, name, args, line };
    return negated ? { kind: "not", of: test, line } : test;
  }
}
