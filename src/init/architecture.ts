/**
 * Targets among a model's linear layers, and the others' effect on loading the result: routers, experts, towers, heads
 * that are in no file.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { architectureOf } from "../io/checkpoint/architectures.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { builtName } from "../io/checkpoint/names.ts";
import { overlaid } from "../io/checkpoint/overlay.ts";
import type { BackboneKind } from "./options.ts";

/** Single experts, by the list that they are in. */
const EXPERTS = /(?:^|\.)experts?\./;

/** Names of experts' layers, and with them the dense layers and shared experts that PEFT takes for such. */
const EXPERT_LEAF =
  /\.(?:gate_proj|up_proj|down_proj|gate_up_proj|w[123]|wi(?:_\d)?|wo|fc[12]|input_linear|output_linear)$/;

/** Routers of tokens to experts. */
const ROUTER = /(?:^|\.)(?:router(?:\.\w+)?|gate|gating|shared_expert_gate)$/;

/** Towers for pictures and sounds. */
const TOWER =
  /(?:^|\.)(?:visual|vision\w*|image\w*|video\w*|audio\w*|speech\w*|vit|vit_\w+)\./;

/** Layers of heads that transformers makes where a checkpoint has none, named as layers inside are. */
export const HEAD_LAYERS: readonly string[] = [
  "pooler.dense",
  "classifier.dense",
  "lm_head.dense",
];

/**
 * Linear layers outside the numbered ones that classes of transformers have and files may not: heads that are the
 * token embedding under another name, and those of other tasks. A start, up to a dot, or a pattern of the whole path.
 */
const HEADS = [
  ...["lm_head", "classifier", "pre_classifier", "classification_head"],
  ...["pooler", "qa_outputs", "score", "cls", "predictions", "proj_out"],
  ...[
    "generator_lm_head",
    "generator_predictions",
    "discriminator_predictions",
  ],
  ...["vocab_projector", "vocab_transform", "embed_out", "output_projection"],
  ...["pred_layer", "lm_loss", "^head$", "^head.dense$", "^decoder$"],
  // As the end of a path, too: the pooler stands inside a BERT that has a head.
  ...HEAD_LAYERS,
];

/** Modules of a checkpoint that are of a mixture of experts. */
export class Experts {
  readonly #here: boolean;

  constructor({ tensors }: Pick<Checkpoint, "tensors">) {
    this.#here = [...tensors.keys()].some((name) =>
      EXPERTS.test(name) || /\.(?:router|block_sparse_moe)\./.test(name)
    );
  }

  /** Role of a module there; undefined for one that has nothing to do with experts. */
  what(module: string): "expert" | "router" | undefined {
    if (!this.#here) return undefined;
    if (ROUTER.test(module)) return "router";
    return EXPERTS.test(module) || EXPERT_LEAF.test(module)
      ? "expert"
      : undefined;
  }
}

/** Of the linear layers of a checkpoint's numbered layers, those that are targets unless others are named. */
export function defaultTargets(
  checkpoint: Checkpoint,
  modules: readonly string[],
): string[] {
  const experts = new Experts(checkpoint);
  const { leftOut } = architectureOf(checkpoint.config) ?? {};
  const found = modules.filter((module) =>
    !experts.what(module) && !leftOut?.test(module)
  );
  const text = found.filter((module) => !TOWER.test(module));
  return text.length > 0 ? text : found;
}

/**
 * Checks that PEFT can put factors on modules that were asked for by name.
 *
 * @throws {RangeError} If it refuses one, with the way out.
 */
export function checkAdaptable(
  { config, name }: Checkpoint,
  modules: readonly string[],
): void {
  const { noAdapter } = architectureOf(config) ?? {};
  const refused = modules.find((module) => noAdapter?.test(module));
  if (refused !== undefined) {
    throw new ValueError(
      `Cannot adapt ${refused} of ${name}: PEFT refuses factors for it in a ${config.model_type}; wanted --target without it`,
    );
  }
}

/** Reason for which a module cannot be quantised in a bitsandbytes backbone; undefined where it can. */
export function bnbProblem(
  checkpoint: Checkpoint,
  modules: readonly string[],
): { readonly module: string; readonly why: string } | undefined {
  const experts = new Experts(checkpoint);
  const { noBnb } = architectureOf(checkpoint.config) ?? {};
  for (const module of modules) {
    if (noBnb?.modules.test(module)) return { module, why: noBnb.why };
    const what = experts.what(module);
    if (what === undefined) continue;
    const why = what === "router"
      ? "transformers has no linear layer for a router"
      : "transformers holds the experts of a layer in one tensor, which stays plain there";
    return { module, why };
  }
}

/**
 * Checks that the factors of experts and routers, where some were asked for, are loaded by PEFT as they are meant.
 *
 * @throws {RangeError} If they are not, with the way out.
 */
export function checkExperts(
  checkpoint: Checkpoint,
  kind: BackboneKind,
  modules: readonly string[],
): void {
  // A packed backbone is loqa's own, with all that is on it.
  if (kind === "packed") return;
  const experts = new Experts(checkpoint);
  const { expertsInPeft = false } = architectureOf(checkpoint.config) ?? {};
  const bad = modules.find((module) => {
    const what = experts.what(module);
    return what === "router" || what === "expert" && !expertsInPeft;
  });
  if (bad !== undefined) {
    throw new ValueError(
      `Cannot adapt ${bad} of ${checkpoint.name}: PEFT drops or refuses factors of the ${
        experts.what(bad)
      }s of a ${checkpoint.config.model_type}; wanted --target without it, or --backbone packed`,
    );
  }
}

/** True if transformers leaves `module` plain for `key` in `llm_int8_skip_modules`. */
function skips(key: string, module: string): boolean {
  if (module.endsWith(key)) return true;
  // Names come from files of strangers: one may be no expression, or one that never ends.
  return /^\^?[\w.-]+\$?$/.test(key) &&
    new RegExp(`^(?:${key})(?:(?<=\\.)|(?=\\.|$))`).test(module);
}

/** The modules that stay plain, so that transformers does not look for codes there; none of them hides one of `quantised`. */
export function skipModules(
  plain: readonly string[],
  quantised: readonly string[],
): string[] {
  const lists = plain.filter((module) => EXPERTS.test(module))
    .map((module) => /^.*?(?:^|\.)experts?(?=\.)/.exec(module)![0]);
  const single = plain.filter((module) => !EXPERTS.test(module));
  return [...new Set([...HEADS, ...single, ...lists])].flatMap((key) => {
    if (!quantised.some((module) => skips(key, module))) return [key];
    // The end of another module's path: only the whole path is meant.
    const whole = `^${key}$`;
    return quantised.some((module) => skips(whole, module)) ? [] : [whole];
  }).sort();
}

/** A checkpoint under the names of the class that its config names, and the way back to its own. */
export interface BuiltCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Name of a module in the checkpoint that it was made from. */
  own(module: string): string;
}

/** The checkpoint as transformers builds it. */
export function asBuilt(checkpoint: Checkpoint): BuiltCheckpoint {
  const names = [...checkpoint.tensors.keys()];
  const rename = builtName(checkpoint.config, names);
  const own = new Map(names.map((name) => [rename(name), name]));
  if (names.every((name) => own.get(name) === name)) {
    return { checkpoint, own: (module) => module };
  }
  return {
    checkpoint: overlaid(checkpoint, { rename }),
    own: (module) =>
      own.get(`${module}.weight`)?.slice(0, -".weight".length) ?? module,
  };
}
