/**
 * Nodes of a template.
 *
 * @module
 */

import type { Value } from "../values.ts";

/** Arguments as they are written. */
export interface ArgNodes {
  /** By position. */
  readonly list: readonly Expr[];
  /** By name. */
  readonly named: readonly (readonly [string, Expr])[];
  /** `*rest`. */
  readonly rest?: Expr;
  /** `**more`. */
  readonly more?: Expr;
}

/** An expression. */
export type Expr =
  & { readonly line: number }
  & (
    | { readonly kind: "const"; readonly value: Value }
    | { readonly kind: "name"; readonly name: string }
    | { readonly kind: "list" | "tuple"; readonly items: readonly Expr[] }
    | { readonly kind: "dict"; readonly pairs: readonly [Expr, Expr][] }
    | { readonly kind: "attribute"; readonly of: Expr; readonly name: string }
    | { readonly kind: "item"; readonly of: Expr; readonly key: Expr }
    | {
      readonly kind: "slice";
      readonly of: Expr;
      readonly from?: Expr;
      readonly to?: Expr;
      readonly step?: Expr;
    }
    | { readonly kind: "call"; readonly of: Expr; readonly args: ArgNodes }
    | {
      readonly kind: "filter";
      /** None for the text of a block. */
      readonly of?: Expr;
      readonly name: string;
      readonly args: ArgNodes;
    }
    | {
      readonly kind: "test";
      readonly of: Expr;
      readonly name: string;
      readonly args: ArgNodes;
    }
    | { readonly kind: "not"; readonly of: Expr }
    | { readonly kind: "sign"; readonly minus: boolean; readonly of: Expr }
    | { readonly kind: "and" | "or"; readonly a: Expr; readonly b: Expr }
    | {
      readonly kind: "compare";
      readonly first: Expr;
      readonly rest: readonly { readonly op: string; readonly right: Expr }[];
    }
    | {
      readonly kind: "binary";
      readonly op: string;
      readonly a: Expr;
      readonly b: Expr;
    }
    | { readonly kind: "concat"; readonly items: readonly Expr[] }
    | {
      readonly kind: "if";
      readonly test: Expr;
      readonly yes: Expr;
      readonly no?: Expr;
    }
  );

/** Target of an assignment. */
export type Target =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "field"; readonly of: string; readonly name: string }
  | { readonly kind: "tuple"; readonly items: readonly Target[] };

/** Parameters of a macro. */
export interface Signature {
  /** Name and default of each. */
  readonly params: readonly { readonly name: string; readonly or?: Expr }[];
  /** Its body. */
  readonly body: readonly Stmt[];
  /** Those of `varargs`, `kwargs` and `caller` that the body reads. */
  readonly reads: ReadonlySet<string>;
}

/** A statement. */
export type Stmt =
  & { readonly line: number }
  & (
    | { readonly kind: "data"; readonly text: string }
    | { readonly kind: "output"; readonly value: Expr }
    | {
      readonly kind: "if";
      readonly branches: readonly {
        readonly test: Expr;
        readonly body: readonly Stmt[];
      }[];
      readonly otherwise: readonly Stmt[];
    }
    | {
      readonly kind: "for";
      readonly target: Target;
      readonly over: Expr;
      readonly only?: Expr;
      readonly recursive: boolean;
      readonly body: readonly Stmt[];
      readonly otherwise: readonly Stmt[];
    }
    | { readonly kind: "set"; readonly target: Target; readonly value: Expr }
    | {
      readonly kind: "capture";
      readonly target: Target;
      readonly filter?: Expr;
      readonly body: readonly Stmt[];
    }
    | ({ readonly kind: "macro"; readonly name: string } & Signature)
    | ({ readonly kind: "call"; readonly call: Expr } & Signature)
    | {
      readonly kind: "filter";
      readonly filter: Expr;
      readonly body: readonly Stmt[];
    }
    | {
      readonly kind: "with";
      readonly targets: readonly Target[];
      readonly values: readonly Expr[];
      readonly body: readonly Stmt[];
    }
    | { readonly kind: "generation"; readonly body: readonly Stmt[] }
    | { readonly kind: "break" | "continue" }
  );
