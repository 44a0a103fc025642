/**
 * Format, rank and alpha of each layer.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { pathMatcher } from "../pattern_match.ts";
import {
  format,
  FORMAT_NAMES,
  type FormatName,
  FORMATS,
} from "../quant/formats.ts";

/** Format, rank and alpha of a layer. */
export interface LayerPlan {
  /** Number format of the backbone. */
  readonly format: FormatName;
  /** Rank of the adapter. */
  readonly rank: number;
  /** LoRA's alpha. */
  readonly alpha: number;
}

/** Options of {@linkcode planLayers}. */
export interface PlanOptions {
  /** Format of every layer that `mixed` does not name. */
  readonly format: FormatName;
  /** Rank of modules that no pattern names. */
  readonly rank: number;
  /** Alpha of modules that no pattern names. */
  readonly alpha: number;
  /**
   * Mixed precision by transformer layer: `first=K:FORMAT,rest=FORMAT`, or `bits=B` with 2 <= B <= 4, LoftQ's rule:
   * the first `floor(layers * (B - 2) / 2)` layers at 4 bits, the others at 2. With `encoder.` or `decoder.` before each
   * key, a plan for each side of an encoder-decoder.
   */
  readonly mixed?: string;
  /** Rank by module name or pattern, as PEFT has it: `^(.*\.)?(KEY)$`, first hit wins. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** Alpha by module name or pattern. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
}

/** Position of a module: its stack of transformer layers (`model.encoder.layers`) and its number in it. */
export interface LayerPosition {
  /** Path up to the number. */
  readonly stack: string;
  /** Number, from 0. */
  readonly index: number;
}

/** The numbered transformer layer that a module belongs to, the outermost (T5 numbers the parts of a block too); undefined for one outside the stacks. */
export function layerPosition(module: string): LayerPosition | undefined {
  const found =
    /^((?:.*?\.)?(?:layers?|h|blocks?|albert_layer_groups))\.(\d+)\./.exec(
      module,
    );
  return found ? { stack: found[1], index: Number(found[2]) } : undefined;
}

/** The value of the first pattern that `module` matches, PEFT's way, or `otherwise`. */
export function matchPattern<T>(
  module: string,
  patterns: Readonly<Record<string, T>> | undefined,
  otherwise: T,
): T {
  for (const [key, value] of Object.entries(patterns ?? {})) {
    if (pathMatcher(key, { tail: true })(module)) return value;
  }
  return otherwise;
}

/** The keys of these, PEFT's way, that match none of `modules`. */
export function unmatchedKeys(
  keys: Iterable<string>,
  modules: readonly string[],
): string[] {
  return [...keys].filter((key) => {
    const matches = pathMatcher(key, { tail: true });
    return !modules.some((module) => matches(module));
  });
}

/** The last parts of paths, each once, as errors list them. */
export function leafNames(modules: readonly string[]): string {
  return [...new Set(modules.map((module) => module.split(".").at(-1)!))]
    .join(", ");
}

/**
 * Checks that every pattern of ranks and alphas matches a module.
 *
 * @throws {RangeError} That names the patterns that match none, and the modules.
 */
export function checkPatterns(
  modules: readonly string[],
  { rankPattern = {}, alphaPattern = {} }: Pick<
    PlanOptions,
    "rankPattern" | "alphaPattern"
  >,
): void {
  for (
    const [what, patterns] of [["rank", rankPattern], ["alpha", alphaPattern]]
  ) {
    const lost = unmatchedKeys(Object.keys(patterns), modules);
    if (lost.length === 0) continue;
    throw new ValueError(
      `Cannot use the ${what} pattern ${
        lost.map((key) => `"${key}"`).join(", ")
      }: no layer matches; they are called ${
        leafNames(modules)
      }, and a pattern is a name or a regular expression of a whole end of their paths`,
    );
  }
}

type Rule = (index: number, layers: number) => FormatName;

/** Sides of an encoder-decoder, as the paths of their stacks name them. */
const SIDES = ["encoder", "decoder"] as const;

/** The rule of each side, or under "" that of all layers. */
type Mixed = ReadonlyMap<string, Rule>;

function parseMixed(text: string, base: FormatName): Mixed {
  const fail: Fail = (why) => {
    throw new ValueError(
      `Cannot use the mixed plan "${text}": ${why}; wanted "first=K:FORMAT,rest=FORMAT" or "bits=B" with B from 2 to 4, or such a plan for each side, as in "encoder.bits=3,decoder.bits=2"`,
    );
  };
  const sides = new Map<string, Map<string, string>>();
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    const [key, value] = [part.slice(0, at).trim(), part.slice(at + 1).trim()];
    const side = SIDES.find((name) => key.startsWith(`${name}.`)) ?? "";
    const parts = sides.get(side) ?? new Map<string, string>();
    const name = side === "" ? key : key.slice(side.length + 1);
    if (parts.has(name)) fail(`it says ${key} twice`);
    sides.set(side, parts.set(name, value));
  }
  if (sides.has("") && sides.size > 1) {
    fail("it speaks of all layers and of those of a side");
  }
  return new Map(
    [...sides].map(([side, parts]) => [side, ruleOf(parts, { base, fail })]),
  );
}

type Fail = (why: string) => never;

function ruleOf(
  parts: ReadonlyMap<string, string>,
  { base, fail }: { base: FormatName; fail: Fail },
): Rule {
  const bits = parts.get("bits");
  if (bits !== undefined && parts.size === 1) {
    const b = Number(bits);
    if (!(b >= 2 && b <= 4)) fail(`bits is ${bits}`);
    const family = base.replace(/\d$/, "");
    const high = format(`${family}4`).name;
    const low = format(`${family}2`).name;
    return (index, layers) =>
      index < Math.floor((layers * (b - 2)) / 2) ? high : low;
  }
  const unknown = [...parts.keys()].find((key) =>
    !["first", "rest", "bits"].includes(key)
  );
  if (unknown !== undefined) fail(`it says "${unknown}"`);
  const named = (key: string, text: string): FormatName => {
    if (Object.hasOwn(FORMATS, text)) return format(text).name;
    return fail(
      `${key} has the format "${text}", wanted one of ${
        FORMAT_NAMES.join(", ")
      }`,
    );
  };
  const { first: begin, rest } = Object.fromEntries(parts);
  if (begin === undefined || rest === undefined || bits !== undefined) {
    return fail(`it has ${[...parts.keys()].join(" and ")}`);
  }
  const first = /^(\d+):(\w+)$/.exec(begin);
  if (!first) return fail(`first is "${begin}"`);
  const high = named("first", first[2]);
  const low = named("rest", rest);
  return (index) => index < Number(first[1]) ? high : low;
}

/** The side that a stack of layers is, by its path. */
function sideOf(stack: string): string | undefined {
  return SIDES.find((side) => stack.split(".").includes(side));
}

/** The rule of each stack. @throws {RangeError} If a stack has none, or a side no stack. */
function stackRules(
  text: string,
  { base, stacks }: { base: FormatName; stacks: Iterable<string> },
): Map<string, Rule> {
  const mixed = parseMixed(text, base);
  const left = new Set(mixed.keys());
  const rules = new Map<string, Rule>();
  for (const stack of stacks) {
    const side = mixed.has("") ? "" : sideOf(stack) ?? stack;
    const rule = mixed.get(side);
    if (!rule) {
      throw new ValueError(
        `Cannot use the mixed plan "${text}": it says nothing of the layers ${stack}`,
      );
    }
    left.delete(side);
    rules.set(stack, rule);
  }
  left.delete("");
  if (left.size > 0) {
    throw new ValueError(
      `Cannot use the mixed plan "${text}": the model has no ${
        [...left].join(" and no ")
      }`,
    );
  }
  return rules;
}

/**
 * Plans every module. Layers are counted in each stack of its own, so that both sides of an encoder-decoder have
 * finer first layers.
 *
 * @throws {RangeError} If the plan cannot be read, a pattern matches no module, or a rank or alpha is out of range.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { planLayers } from "@loqa/loqa";
 *
 * const modules = [0, 1, 2].map((i) => `model.layers.${i}.mlp.up_proj`);
 * const plan = planLayers(modules, { format: "nf4", mixed: "first=1:nf4,rest=nf2", rank: 8, alpha: 8 });
 * assert.deepEqual([...plan.values()].map((layer) => layer.format), ["nf4", "nf2", "nf2"]);
 * ```
 */
export function planLayers(
  modules: readonly string[],
  options: PlanOptions,
): Map<string, LayerPlan> {
  checkPatterns(modules, options);
  const layers = new Map<string, number>();
  for (const module of modules) {
    const position = layerPosition(module);
    if (!position) continue;
    const { stack, index } = position;
    layers.set(stack, Math.max(layers.get(stack) ?? 0, index + 1));
  }
  const rules = options.mixed === undefined
    ? undefined
    : stackRules(options.mixed, {
      base: options.format,
      stacks: layers.keys(),
    });
  return new Map(modules.map((module) => {
    const position = layerPosition(module);
    const plan = {
      format: rules && position
        ? rules.get(position.stack)!(
          position.index,
          layers.get(position.stack)!,
        )
        : options.format,
      rank: matchPattern(module, options.rankPattern, options.rank),
      alpha: matchPattern(module, options.alphaPattern, options.alpha),
    };
    if (!Number.isInteger(plan.rank) || plan.rank < 1) {
      throw new ValueError(
        `Cannot plan ${module}: rank must be a whole number >= 1, got ${plan.rank}`,
      );
    }
    if (!(plan.alpha > 0)) {
      throw new ValueError(
        `Cannot plan ${module}: alpha must be > 0, got ${plan.alpha}`,
      );
    }
    return [module, plan];
  }));
}
