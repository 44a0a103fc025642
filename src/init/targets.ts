/**
 * Which tensors of a checkpoint are the linear layers that LoftQ quantises.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Checkpoint, TensorInfo } from "../io/checkpoint.ts";
import { layerPosition, matchPattern } from "../loftq/plan.ts";

/** A linear layer of a checkpoint, or a table of tokens' features. */
export interface Target {
  /** Path of the module, the tensor's name without `.weight`. */
  readonly module: string;
  readonly tensor: TensorInfo;
  /** Whether it is an encoder's table of tokens' features. */
  readonly embedding?: boolean;
}

/** Model types whose linear layers store their weights transposed (GPT-2's Conv1D). */
const TRANSPOSED = new Set([
  "gpt2",
  "openai-gpt",
  "imagegpt",
  "decision_transformer",
]);

/** Weights with two dimensions inside a transformer layer that are no linear layers. */
const NOT_LINEAR = /embed|norm|relative_attention_bias|_bias$/i;

/** Embeddings, to which PEFT adds factors of another layout. */
const EMBEDDING =
  /embeddings?$|^embed_(tokens|positions|in)|^(wte|wpe|shared)$|relative_attention_bias$/;

/** Paths of all modules with a two-dimensional weight: linear layers, embeddings and heads. */
export function matrixModules(checkpoint: Checkpoint): string[] {
  return [...checkpoint.tensors.values()]
    .filter(({ name, shape }) => shape.length === 2 && name.endsWith(".weight"))
    .map(({ name }) => name.slice(0, -".weight".length));
}

/**
 * The linear layers to quantise, in file order: those that a name or pattern of `wanted` matches as PEFT matches
 * `target_modules` (whole path, its end after a dot, or a regular expression of it), or without `wanted` every
 * linear layer of the transformer's numbered layers: not the head, the pooler or the embeddings, as LoftQ does it.
 *
 * @throws {RangeError} If there is none, a name matches nothing or an embedding, or the model stores weights transposed.
 */
export function findTargets(
  checkpoint: Checkpoint,
  wanted?: readonly string[],
): Target[] {
  const type = checkpoint.config.model_type;
  if (typeof type === "string" && TRANSPOSED.has(type)) {
    throw new ValueError(
      `Cannot quantize ${checkpoint.name}: model type "${type}" stores its linear layers transposed, which PEFT adapters of this tool do not cover`,
    );
  }
  const modules = matrixModules(checkpoint);
  const unmatched = new Set(wanted);
  const found = modules.filter((module) => {
    if (!wanted) {
      return layerPosition(module) !== undefined &&
        !NOT_LINEAR.test(leafName(module));
    }
    const hits = wanted.filter((name) =>
      matchPattern(module, { [name]: true }, false)
    );
    for (const hit of hits) unmatched.delete(hit);
    return hits.length > 0;
  });
  if (unmatched.size > 0) {
    throw new ValueError(
      `Cannot find the target ${
        [...unmatched].map((name) => `"${name}"`).join(", ")
      } in ${checkpoint.name}: its linear layers are called ${
        leafNames(modules.filter((m) => !isEmbedding(m))).join(", ") ||
        "nothing"
      }`,
    );
  }
  const embeddings = found.filter(isEmbedding);
  if (embeddings.length > 0) {
    throw new ValueError(
      `Cannot quantize ${
        embeddings[0]
      } of ${checkpoint.name}: it is an embedding, wanted linear layers; name others with --target`,
    );
  }
  if (found.length === 0) {
    throw new ValueError(
      `Cannot quantize ${checkpoint.name}: it has no linear layers in numbered transformer layers; name them with --target`,
    );
  }
  return found.map((module) => ({
    module,
    tensor: checkpoint.tensors.get(`${module}.weight`)!,
  }));
}

/** Module of the table of tokens' features of BERT, RoBERTa and DeBERTa. */
const WORDS = /^(?:\w+\.)?embeddings\.word_embeddings$/;

/**
 * The same with an encoder's table of tokens' features, in file order.
 *
 * @throws {RangeError} If there is none.
 */
export function withEmbedding(
  checkpoint: Checkpoint,
  targets: readonly Target[],
): Target[] {
  const module = matrixModules(checkpoint).find((name) => WORDS.test(name));
  if (module === undefined) {
    throw new ValueError(
      `Cannot quantize the embedding of ${checkpoint.name}: wanted embeddings.word_embeddings, as BERT, RoBERTa and DeBERTa have it`,
    );
  }
  const tensor = checkpoint.tensors.get(`${module}.weight`)!;
  const byName = new Map(targets.map((t) => [t.tensor.name, t]));
  byName.set(tensor.name, { module, tensor, embedding: true });
  return [...checkpoint.tensors.keys()].flatMap((name) =>
    byName.get(name) ?? []
  );
}

function leafName(module: string): string {
  return module.slice(module.lastIndexOf(".") + 1);
}

function leafNames(modules: readonly string[]): string[] {
  return [...new Set(modules.map(leafName))];
}

function isEmbedding(module: string): boolean {
  return EMBEDDING.test(leafName(module));
}

/**
 * The shortest list for PEFT's `target_modules` that means `targets` and no other module of `all`: ends of paths,
 * each as long as it must be.
 */
export function targetModuleNames(
  targets: readonly string[],
  all: readonly string[],
): string[] {
  const others = all.filter((module) => !targets.includes(module));
  const names = new Set<string>();
  for (const module of targets) {
    const parts = module.split(".");
    for (let n = 1; n <= parts.length; n++) {
      const end = parts.slice(-n).join(".");
      if (
        n === parts.length ||
        !others.some((other) => other === end || other.endsWith(`.${end}`))
      ) {
        names.add(end);
        break;
      }
    }
  }
  return [...names].sort();
}

/** PEFT's task type for a model's architecture, or null where it has none. */
export function taskType(
  config: Readonly<Record<string, unknown>>,
): string | null {
  const [architecture] = Array.isArray(config.architectures)
    ? config.architectures
    : [];
  if (typeof architecture !== "string") return null;
  const row = TASKS.find(([end]) => end.test(architecture));
  return row ? row[1] : "FEATURE_EXTRACTION";
}

const TASKS: readonly (readonly [RegExp, string])[] = [
  [/ForConditionalGeneration$|^T5WithLMHeadModel$|MTModel$/, "SEQ_2_SEQ_LM"],
  [/ForCausalLM$|LMHeadModel$/, "CAUSAL_LM"],
  [/ForSequenceClassification$/, "SEQ_CLS"],
  [/ForTokenClassification$/, "TOKEN_CLS"],
  [/ForQuestionAnswering$/, "QUESTION_ANS"],
];
