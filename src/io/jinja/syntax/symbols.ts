/**
 * Variables of a block that have no value before it sets them.
 *
 * Jinja2 settles for each block, before anything runs, where its names come from. A name that the block sets, outside of
 * an `if`, before it reads it, and that no block around it names, has no value until then: not even that of the
 * conversation's variable of the same name.
 *
 * @module
 */

import type { Expr, Stmt, Target } from "./ast.ts";

/** Names of a block. */
export interface Symbols {
  /** Those that it reads or sets itself, not the blocks in it. */
  readonly names: ReadonlySet<string>;
  /** Those that it sets before it reads them. */
  readonly setFirst: readonly string[];
}

/** Names of a block with the parameters `params`, whose defaults are `defaults`. */
export function symbolsOf(
  body: readonly Stmt[],
  params: readonly string[] = [],
  defaults: readonly (Expr | undefined)[] = [],
): Symbols {
  const names = new Set(params);
  const setFirst: string[] = [];
  const read = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return;
    const { kind, name } = node as { kind?: string; name?: string };
    if (kind === "const") return;
    if (kind === "name") names.add(name!);
    else for (const part of Object.values(node)) read(part);
  };
  const set = (target: Target, branch: boolean): void => {
    if (target.kind === "tuple") {
      for (const part of target.items) set(part, branch);
    } else if (target.kind === "field") names.add(target.of);
    else {
      const { name } = target;
      if (!branch && !names.has(name)) setFirst.push(name);
      names.add(name);
    }
  };
  const walk = (statements: readonly Stmt[], branch: boolean): void => {
    for (const node of statements) {
      switch (node.kind) {
        case "output":
          read(node.value);
          break;
        case "if":
          for (const { test, body } of node.branches) {
            read(test);
            walk(body, true);
          }
          walk(node.otherwise, true);
          break;
        case "for":
          read(node.over);
          break;
        case "set":
          read(node.value);
          set(node.target, branch);
          break;
        case "capture":
          set(node.target, branch);
          break;
        case "macro":
          set({ kind: "name", name: node.name }, branch);
          break;
        case "call":
          read(node.call);
          break;
        case "filter":
          read(node.filter);
          break;
        case "with":
          node.values.forEach(read);
          break;
      }
    }
  };
  defaults.forEach(read);
  walk(body, false);
  return { names, setFirst };
}

/** Names that are set with a target. */
export function targetNames(target: Target): string[] {
  return target.kind === "tuple"
    ? target.items.flatMap(targetNames)
    : target.kind === "name"
    ? [target.name]
    : [];
}
