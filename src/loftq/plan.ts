/**
 * Which format, rank and alpha each layer gets.
 *
 * @module
 */

import { format, type FormatName } from "../quant/formats.ts";

/** What a layer is given. */
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
   * the first `floor(layers * (B - 2) / 2)` layers at 4 bits, the others at 2.
   */
  readonly mixed?: string;
  /** Rank by module name or pattern, as PEFT has it: `^(.*\.)?(KEY)$`, first hit wins. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** Alpha by module name or pattern. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
}

/** Where a module stands: its stack of transformer layers (`model.encoder.layers`) and its number in it. */
export interface LayerPosition {
  /** Path up to the number. */
  readonly stack: string;
  /** Number, from 0. */
  readonly index: number;
}

/** The numbered transformer layer that a module belongs to, the outermost (T5 numbers the parts of a block too); undefined for one outside the stacks. */
export function layerPosition(module: string): LayerPosition | undefined {
  const found = /^((?:.*?\.)?(?:layers?|h|blocks?))\.(\d+)\./.exec(module);
  return found ? { stack: found[1], index: Number(found[2]) } : undefined;
}

/** The value of the first pattern that `module` matches, PEFT's way, or `otherwise`. */
export function matchPattern<T>(
  module: string,
  patterns: Readonly<Record<string, T>> | undefined,
  otherwise: T,
): T {
  for (const [key, value] of Object.entries(patterns ?? {})) {
    if (patternOf(key).test(module)) return value;
  }
  return otherwise;
}

function patternOf(key: string): RegExp {
  try {
    return new RegExp(`^(.*\\.)?(${key})$`);
  } catch (cause) {
    throw new SyntaxError(
      `Cannot use pattern "${key}": it is no regular expression`,
      { cause },
    );
  }
}

type Rule = (position: LayerPosition, layers: number) => FormatName;

function parseMixed(text: string, base: FormatName): Rule {
  const fail = (why: string): never => {
    throw new RangeError(
      `Cannot use the mixed plan "${text}": ${why}; wanted "first=K:FORMAT,rest=FORMAT" or "bits=B" with B from 2 to 4`,
    );
  };
  const bits = /^bits=(.+)$/.exec(text);
  if (bits) {
    const b = Number(bits[1]);
    if (!(b >= 2 && b <= 4)) fail(`bits is ${bits[1]}`);
    const family = base.replace(/\d$/, "");
    const high = format(`${family}4`).name;
    const low = format(`${family}2`).name;
    return ({ index }, layers) =>
      index < Math.floor((layers * (b - 2)) / 2) ? high : low;
  }
  const parts = new Map(
    text.split(",").map((part) => {
      const at = part.indexOf("=");
      return [part.slice(0, at).trim(), part.slice(at + 1).trim()] as const;
    }),
  );
  const first = /^(\d+):(\w+)$/.exec(parts.get("first") ?? "");
  const rest = parts.get("rest");
  if (!first || !rest || parts.size !== 2) {
    return fail("it names not just first and rest");
  }
  const high = format(first[2]).name;
  const low = format(rest).name;
  return ({ index }) => index < Number(first[1]) ? high : low;
}

/**
 * Plans every module. Layers are counted in each stack of its own, so that both sides of an encoder-decoder have
 * their first layers kept finer.
 *
 * @throws {RangeError} If the plan cannot be read, or a rank or alpha is out of range.
 */
export function planLayers(
  modules: readonly string[],
  options: PlanOptions,
): Map<string, LayerPlan> {
  const rule = options.mixed === undefined
    ? undefined
    : parseMixed(options.mixed, options.format);
  const layers = new Map<string, number>();
  for (const module of modules) {
    const position = layerPosition(module);
    if (!position) continue;
    const { stack, index } = position;
    layers.set(stack, Math.max(layers.get(stack) ?? 0, index + 1));
  }
  return new Map(modules.map((module) => {
    const position = layerPosition(module);
    const plan = {
      format: rule && position
        ? rule(position, layers.get(position.stack)!)
        : options.format,
      rank: matchPattern(module, options.rankPattern, options.rank),
      alpha: matchPattern(module, options.alphaPattern, options.alpha),
    };
    if (!Number.isInteger(plan.rank) || plan.rank < 1) {
      throw new RangeError(
        `Cannot plan ${module}: rank must be a whole number >= 1, got ${plan.rank}`,
      );
    }
    if (!(plan.alpha > 0)) {
      throw new RangeError(
        `Cannot plan ${module}: alpha must be > 0, got ${plan.alpha}`,
      );
    }
    return [module, plan];
  }));
}
