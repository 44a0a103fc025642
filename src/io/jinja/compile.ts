/**
 * From nodes to functions that run them.
 *
 * @module
 */

import { bind, NONE } from "./args.ts";
import type { ArgNodes, Expr, Signature, Stmt, Target } from "./syntax/ast.ts";
import { spend } from "./budget.ts";
import { LIBRARY } from "./library/library.ts";
import { Loop } from "./loop.ts";
import {
  attribute,
  binary,
  callable,
  compares,
  concat,
  item,
  sign,
  slice,
} from "./operators.ts";
import { capture, type Exec, invoke, type Signal } from "./calls.ts";
import { malformed } from "./syntax/lexer.ts";
import { parse } from "./syntax/parser.ts";
import { END, type Output, type Run, Scope } from "./scope.ts";
import { symbolsOf, targetNames } from "./syntax/symbols.ts";
import { str } from "./library/text.ts";
import {
  type Args,
  Dict,
  fault,
  Fn,
  iterate,
  listOf,
  Namespace,
  textOf,
  truth,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

type Ev = (scope: Scope) => Value;
/** A template that can be run. */
export interface Runnable {
  /** True if it has `{% generation %}` marks. */
  readonly marks: boolean;
  /** Runs it with these variables. */
  run(variables: ReadonlyMap<string, Value>): Output;
}

/** Output of a template. */
export type { Output } from "./scope.ts";

/** Compiles a template. @throws {SyntaxError} If it is none; it names the line. */
export function compile(template: string): Runnable {
  const { body, marks } = parse(template);
  const exec = new Compiler().inner(body);
  return {
    marks,
    run(variables) {
      const run: Run = {
        out: { text: "" },
        line: 1,
        calls: 0,
        marks: [],
      };
      const root = run.out;
      const globals = new Scope(run, undefined, variables);
      try {
        exec(new Scope(run, globals));
      } catch (error) {
        if (error instanceof Error) lines.set(error, run.line);
        throw error;
      }
      return { text: root.text, marks: run.marks };
    },
  };
}

const lines = new WeakMap<Error, number>();

/** The line of a template whose running ended in `error`. */
export function lineOf(error: unknown): number | undefined {
  return error instanceof Error ? lines.get(error) : undefined;
}

class Compiler {
  /** Number of expressions so far: the cost of a statement. */
  #size = 0;
  /** Nesting depth of branches: in one, an unknown filter is an error only when it is reached. */
  #branches = 0;
  /** Names that the blocks around have. */
  #names: ReadonlySet<string> = new Set();

  block(body: readonly Stmt[]): Exec {
    const steps = body.map((statement) => this.#statement(statement));
    if (steps.length === 1) return steps[0];
    return (scope) => {
      for (const step of steps) {
        const signal = step(scope);
        if (signal !== undefined) return signal;
      }
    };
  }

  /** A body with variables of its own. */
  inner(
    body: readonly Stmt[],
    params: readonly string[] = [],
    defaults: readonly (Expr | undefined)[] = [],
  ): Exec {
    const { names, setFirst } = symbolsOf(body, params, defaults);
    const [around, branches] = [this.#names, this.#branches];
    const unset = setFirst.filter((name) => !around.has(name));
    this.#names = new Set([...around, ...names]);
    // Jinja2 forgets at the border of a block that a branch is around it.
    this.#branches = 0;
    const exec = this.block(body);
    [this.#names, this.#branches] = [around, branches];
    if (unset.length === 0) return exec;
    return (scope) => {
      for (const name of unset) {
        scope.set(name, new Undefined(`'${name}' is undefined`));
      }
      return exec(scope);
    };
  }

  #branch<T>(make: () => T): T {
    this.#branches++;
    try {
      return make();
    } finally {
      this.#branches--;
    }
  }

  #statement(node: Stmt): Exec {
    if (node.kind === "data") {
      const { text } = node;
      const cost = 1 + text.length / 64;
      return ({ run }) => {
        spend(cost);
        run.out.text += text;
      };
    }
    const before = this.#size;
    const exec = this.#parts(node);
    const cost = 1 + this.#size - before;
    // Its body is counted for itself.
    this.#size = before;
    const { line } = node;
    return (scope) => {
      spend(cost);
      scope.run.line = line;
      return exec(scope);
    };
  }

  #parts(node: Exclude<Stmt, { kind: "data" }>): Exec {
    switch (node.kind) {
      case "output": {
        const value = this.#expr(node.value);
        return (scope) => {
          const text = str(value(scope));
          spend(text.length / 64);
          scope.run.out.text += text;
        };
      }
      case "if": {
        const branches = this.#branch(() =>
          node.branches.map(({ test, body }) => ({
            test: this.#expr(test),
            body: this.block(body),
          }))
        );
        const otherwise = this.#branch(() => this.block(node.otherwise));
        return (scope) => {
          for (const { test, body } of branches) {
            if (truth(test(scope))) return body(scope);
          }
          return otherwise(scope);
        };
      }
      case "for":
        return this.#for(node);
      case "set": {
        const value = this.#expr(node.value);
        const set = this.#setter(node.target);
        return (scope) => set(scope, value(scope));
      }
      case "capture": {
        const set = this.#setter(node.target);
        const filter = node.filter && this.#expr(node.filter);
        const body = this.inner(node.body);
        return (scope) => {
          const inner = new Scope(scope.run, scope);
          const { text, signal } = capture(inner, body);
          if (signal !== undefined) return signal;
          set(scope, filter ? filtered(scope, filter, text) : text);
        };
      }
      case "filter": {
        const filter = this.#expr(node.filter);
        const body = this.inner(node.body);
        return (scope) => {
          const inner = new Scope(scope.run, scope);
          const { text, signal } = capture(inner, body);
          if (signal !== undefined) return signal;
          const made = textOf(filtered(scope, filter, text));
          if (made === undefined) {
            throw fault("the filters of a block make no str of its text");
          }
          scope.run.out.text += made;
        };
      }
      case "macro": {
        const make = this.#macro(node.name, node);
        return (scope) => scope.set(node.name, make(scope));
      }
      case "call": {
        const make = this.#macro("caller", node);
        const { call } = node;
        if (call.kind !== "call") throw malformed("expected a call", node.line);
        const of = this.#expr(call.of);
        const args = this.#args(call.args);
        return (scope) => {
          const { list, named } = args(scope);
          const more = new Map(named).set("caller", make(scope));
          const text = str(
            invoke(scope, callable(of(scope)), { list, named: more }),
          );
          scope.run.out.text += text;
        };
      }
      case "with": {
        const values = node.values.map((value) => this.#expr(value));
        const targets = node.targets.map((target) => this.#setter(target));
        const body = this.inner(node.body, node.targets.flatMap(targetNames));
        return (scope) => {
          const inner = new Scope(scope.run, scope);
          const made = values.map((value) => value(scope));
          targets.forEach((set, i) => set(inner, made[i]));
          return body(inner);
        };
      }
      case "generation": {
        const body = this.inner(node.body);
        return (scope) => {
          const { run } = scope;
          const inner = new Scope(run, scope);
          // To Jinja2 it is the body of a call.
          inner.set("varargs", new Tuple([]));
          inner.set("kwargs", new Dict());
          const { text } = capture(inner, body);
          // Inside a macro or a block that is set, this is not where the text will stand: see Output.
          run.marks.push({ at: run.out.text.length, text });
          run.out.text += text;
        };
      }
    }
    const { kind } = node;
    return () => kind;
  }

  #for(node: Stmt & { kind: "for" }): Exec {
    const over = this.#expr(node.over);
    const only = node.only && this.#expr(node.only);
    const set = this.#setter(node.target);
    const body = this.inner(node.body, [...targetNames(node.target), "loop"]);
    const otherwise = this.inner(node.otherwise);
    const { line } = node;
    const go = (scope: Scope, values: Value, depth: number): Signal => {
      const { run } = scope;
      const items = iterate(values)[Symbol.iterator]();
      const next = (): Value | typeof END => {
        for (;;) {
          const { done, value } = items.next();
          if (done) return END;
          spend(1);
          if (!only) return value;
          const inner = new Scope(run, scope);
          set(inner, value);
          if (truth(only(inner))) return value;
        }
      };
      const loop = new Loop(next, only ? undefined : values, depth);
      if (node.recursive) {
        loop.value.call = new Fn("loop", (args) => {
          const [inner = null] = bind(args, "iterable");
          return capture(scope, () => go(scope, inner, depth + 1)).text;
        });
      }
      let ran = false;
      for (;;) {
        run.line = line;
        const value = loop.advance();
        if (value === END) break;
        const inner = new Scope(run, scope);
        inner.set("loop", loop.value);
        set(inner, value);
        const signal = body(inner);
        if (signal === "break") break;
        // To Jinja2, a loop has run when its body has come to its end once.
        ran ||= signal === undefined;
      }
      if (!ran) return otherwise(new Scope(run, scope));
    };
    return (scope) => go(scope, over(scope), 0);
  }

  /** Maker of a macro in a scope, which it sees from then on. */
  #macro(name: string, { params, body, reads }: Signature) {
    const defaults = params.map(({ or }) => or && this.#expr(or));
    const exec = this.inner(
      body,
      [...params.map(({ name }) => name), "caller", "kwargs", "varargs"],
      params.map(({ or }) => or),
    );
    const rest = reads.has("varargs");
    const more = reads.has("kwargs");
    const asks = reads.has("caller") &&
      !params.some((param) => param.name === "caller");
    return (scope: Scope): Fn =>
      new Fn(name, ({ list, named }) => {
        if (list.length > params.length && !rest) {
          throw fault(
            `macro '${name}' takes not more than ${params.length} argument(s)`,
          );
        }
        const inner = new Scope(scope.run, scope);
        const left = new Map(named);
        const given = params.map(({ name }, i) => {
          if (i < list.length) return list[i];
          const value = left.get(name);
          left.delete(name);
          return value;
        });
        // A default sees every parameter, also those behind it, and none of its names outside.
        params.forEach(({ name }, i) => {
          inner.set(
            name,
            given[i] === undefined
              ? new Undefined(`parameter '${name}' was not provided`)
              : given[i],
          );
        });
        params.forEach(({ name }, i) => {
          const or = defaults[i];
          if (given[i] === undefined && or) inner.set(name, or(inner));
        });
        if (asks) {
          inner.set(
            "caller",
            left.get("caller") ?? new Undefined("No caller defined"),
          );
          left.delete("caller");
        }
        if (more) inner.set("kwargs", new Dict(left));
        else if (left.size > 0) {
          throw fault(
            `macro '${name}' takes no keyword argument '${left.keys().next().value}'`,
          );
        }
        if (rest) inner.set("varargs", new Tuple(list.slice(params.length)));
        return capture(inner, exec).text;
      });
  }

  #setter(target: Target): (scope: Scope, value: Value) => void {
    if (target.kind === "name") {
      const { name } = target;
      return (scope, value) => scope.set(name, value);
    }
    if (target.kind === "field") {
      const { of, name } = target;
      return (scope, value) => {
        const found = scope.get(of);
        if (!(found instanceof Namespace) || found.lookup) {
          throw fault("cannot assign attribute on non-namespace object");
        }
        if (name.startsWith("_")) {
          throw fault(`a namespace has no attributes like '${name}'`);
        }
        found.attributes.set(name, value);
      };
    }
    const setters = target.items.map((part) => this.#setter(part));
    return (scope, value) => {
      const items = value instanceof Tuple ? value.items : listOf(value);
      if (items.length !== setters.length) {
        throw fault(
          `wanted ${setters.length} values to unpack, got ${items.length}`,
        );
      }
      setters.forEach((set, i) => set(scope, items[i]));
    };
  }

  #args({ list, named, rest, more }: ArgNodes): (scope: Scope) => Args {
    if (list.length === 0 && named.length === 0 && !rest && !more) {
      return () => NONE;
    }
    const values = list.map((value) => this.#expr(value));
    const pairs = named.map(([name, value]) =>
      [name, this.#expr(value)] as const
    );
    const others = rest && this.#expr(rest);
    const further = more && this.#expr(more);
    return (scope) => {
      const list = values.map((value) => value(scope));
      if (others) list.push(...listOf(others(scope)));
      const named = pairs.length === 0 && !further
        ? NONE.named
        : new Map(pairs.map(([name, value]) => [name, value(scope)]));
      if (further) {
        const dict = further(scope);
        if (!(dict instanceof Dict)) {
          throw fault(
            `argument after ** must be a mapping, not ${typeName(dict)}`,
          );
        }
        for (const [name, value] of dict.entries()) {
          (named as Map<string, Value>).set(str(name), value);
        }
      }
      return { list, named };
    };
  }

  #expr(node: Expr): Ev {
    this.#size++;
    switch (node.kind) {
      case "const": {
        const { value } = node;
        return () => value;
      }
      case "name": {
        const { name } = node;
        return (scope) => scope.get(name);
      }
      case "list":
      case "tuple": {
        const items = node.items.map((part) => this.#expr(part));
        return node.kind === "list"
          ? (scope) => items.map((part) => part(scope))
          : (scope) => new Tuple(items.map((part) => part(scope)));
      }
      case "dict": {
        const pairs = node.pairs.map(([key, value]) =>
          [this.#expr(key), this.#expr(value)] as const
        );
        return (scope) =>
          new Dict(pairs.map(([key, value]) => [key(scope), value(scope)]));
      }
      case "attribute": {
        const of = this.#expr(node.of);
        const { name } = node;
        return (scope) => attribute(of(scope), name);
      }
      case "item": {
        const of = this.#expr(node.of);
        const key = this.#expr(node.key);
        return (scope) => item(of(scope), key(scope));
      }
      case "slice": {
        const of = this.#expr(node.of);
        const bounds = [node.from, node.to, node.step].map((bound) =>
          bound && this.#expr(bound)
        );
        return (scope) =>
          slice(of(scope), bounds.map((bound) => bound?.(scope)));
      }
      case "call": {
        const of = this.#expr(node.of);
        const args = this.#args(node.args);
        return (scope) => invoke(scope, callable(of(scope)), args(scope));
      }
      case "filter": {
        const { name } = node;
        const of = node.of ? this.#expr(node.of) : captured;
        const args = this.#args(node.args);
        if (!LIBRARY.isFilter(name) && this.#branches === 0) {
          throw malformed(`No filter named '${name}'`, node.line);
        }
        return (scope) => LIBRARY.runFilter(name, of(scope), args(scope));
      }
      case "test": {
        const { name } = node;
        const of = this.#expr(node.of);
        const args = this.#args(node.args);
        if (!LIBRARY.isTest(name) && this.#branches === 0) {
          throw malformed(`No test named '${name}'`, node.line);
        }
        return (scope) => LIBRARY.runTest(name, of(scope), args(scope));
      }
      case "not": {
        const of = this.#expr(node.of);
        return (scope) => !truth(of(scope));
      }
      case "sign": {
        const of = this.#expr(node.of);
        const { minus } = node;
        return (scope) => sign(of(scope), minus);
      }
      case "and":
      case "or": {
        const a = this.#expr(node.a);
        const b = this.#expr(node.b);
        const and = node.kind === "and";
        return (scope) => {
          const value = a(scope);
          return truth(value) === and ? b(scope) : value;
        };
      }
      case "compare": {
        const first = this.#expr(node.first);
        const rest = node.rest.map(({ op, right }) => ({
          op,
          right: this.#expr(right),
        }));
        return (scope) => {
          let left = first(scope);
          for (const { op, right } of rest) {
            const value = right(scope);
            if (!compares(op, left, value)) return false;
            left = value;
          }
          return true;
        };
      }
      case "binary": {
        const a = this.#expr(node.a);
        const b = this.#expr(node.b);
        const { op } = node;
        return (scope) => binary(op, a(scope), b(scope));
      }
      case "concat": {
        const items = node.items.map((part) => this.#expr(part));
        return (scope) => concat(items.map((part) => part(scope)));
      }
      case "if": {
        const [test, yes] = this.#branch(() => [
          this.#expr(node.test),
          this.#expr(node.yes),
        ]);
        const no = node.no && this.#branch(() => this.#expr(node.no!));
        return (scope) =>
          truth(test(scope))
            ? yes(scope)
            : no
            ? no(scope)
            : new Undefined("the condition of an if without an else is false");
      }
    }
  }
}

/** The name under which a filter finds the text of its block. */
const CAPTURED = "{%";

function captured(scope: Scope): Value {
  return scope.get(CAPTURED);
}

/** The text of a block through its filters. */
function filtered(scope: Scope, filter: Ev, text: string): Value {
  const inner = new Scope(scope.run, scope);
  inner.set(CAPTURED, text);
  return filter(inner);
}
