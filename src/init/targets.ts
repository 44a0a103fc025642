/**
 * Tensors of a checkpoint that are the linear layers to quantise.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Checkpoint, TensorInfo } from "../io/checkpoint/checkpoint.ts";
import { architectureOf } from "../io/checkpoint/architectures.ts";
import { isComposite, isHeadless } from "../io/checkpoint/names.ts";
import { isObject } from "../io/files/json.ts";
import { layerPosition, matchPattern } from "../loftq/plan.ts";
import { checkAdaptable, defaultTargets, HEAD_LAYERS } from "./architecture.ts";

/** A linear layer of a checkpoint, or a token embedding. */
export interface Target {
  /** Path of the module, the tensor's name without `.weight`. */
  readonly module: string;
  readonly tensor: TensorInfo;
  /** True if it is an encoder's token embedding. */
  readonly embedding?: boolean;
}

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

/** Paths of all modules that tensors of a checkpoint are in, whatever they hold. */
export function modulePaths(
  { tensors }: Pick<Checkpoint, "tensors">,
): string[] {
  const paths = new Set<string>();
  for (const name of tensors.keys()) {
    for (let at = name.lastIndexOf("."); at > 0;) {
      const path = name.slice(0, at);
      if (paths.has(path)) break;
      paths.add(path);
      at = path.lastIndexOf(".");
    }
  }
  return [...paths];
}

/**
 * The linear layers to quantise, in file order: those that a name or pattern of `wanted` matches as PEFT matches
 * `target_modules` (whole path, its end after a dot, or a regular expression of it), or without `wanted` every
 * linear layer of the transformer's numbered layers: not the head, the pooler or the embeddings, as LoftQ does it, nor
 * routers, experts, towers beside a language model, and layers that transformers has in f32.
 *
 * @throws {RangeError} If there is none, a name matches nothing, an embedding or a layer that PEFT refuses, or the model
 * stores weights transposed.
 */
export function findTargets(
  checkpoint: Checkpoint,
  wanted?: readonly string[],
): Target[] {
  if (architectureOf(checkpoint.config)?.transposed) {
    throw new ValueError(
      `Cannot quantize ${checkpoint.name}: a ${checkpoint.config.model_type} stores its weights transposed, which this tool does not write; wanted a model of plain linear layers, or PEFT's own LoftQ in Python`,
    );
  }
  const modules = matrixModules(checkpoint);
  const unmatched = new Set(wanted);
  const numbered = modules.filter((module) =>
    layerPosition(module) !== undefined && !NOT_LINEAR.test(leafName(module))
  );
  const found = !wanted
    ? defaultTargets(checkpoint, numbered)
    : modules.filter((module) => {
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
  checkAdaptable(checkpoint, found);
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

/** Module of the token embedding of BERT, RoBERTa and DeBERTa. */
const WORDS = /^(?:\w+\.)?embeddings\.word_embeddings$/;

/**
 * The same with an encoder's token embedding, in file order.
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
 * The shortest list for PEFT's `target_modules` that means `targets` and no other module of `all`, nor a head's that
 * transformers may add: ends of paths, each as long as it must be.
 */
export function targetModuleNames(
  targets: readonly string[],
  all: readonly string[],
): string[] {
  const others = [
    ...all.filter((module) => !targets.includes(module)),
    ...HEAD_LAYERS.filter((head) =>
      !targets.some((target) => `.${target}`.endsWith(`.${head}`))
    ),
  ];
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

/** Modules that PEFT takes for the head of a task, and has the adapter hold in full. */
const TASK_HEADS: Readonly<Record<string, RegExp>> = {
  "SEQ_CLS": /^\w*(?:classifier|score)\./,
  "TOKEN_CLS": /^\w*(?:classifier|score)\./,
  "QUESTION_ANS": /^\w*qa_outputs\./,
};

/** The tensors of the head that a checkpoint has, which its adapter holds as well for PEFT to load it. */
export function headTensors(
  { tensors, config }: Pick<Checkpoint, "tensors" | "config">,
): TensorInfo[] {
  const head = TASK_HEADS[String(classTask(config))];
  return [...tensors.values()].filter(({ name }) => head?.test(name));
}

/** PEFT's task type for a checkpoint, or null where it has none or lacks the head that PEFT would look for in the adapter. */
export function taskType(
  checkpoint: Pick<Checkpoint, "tensors" | "config">,
): string | null {
  const task = classTask(checkpoint.config);
  const headless = task !== null && Object.hasOwn(TASK_HEADS, task) &&
    headTensors(checkpoint).length === 0;
  return headless ? null : task;
}

/**
 * PEFT's task type for a model's class; null for one that only PEFT's plain model fits: of masked tokens, sounds,
 * pictures.
 */
export function classTask(
  config: Readonly<Record<string, unknown>>,
): string | null {
  const [architecture] = Array.isArray(config.architectures)
    ? config.architectures
    : [];
  if (typeof architecture !== "string") return null;
  if (architectureOf(config)?.noTask) return null;
  if (isComposite(config)) {
    return /ForConditionalGeneration$|ForCausalLM$/.test(architecture) &&
        config.is_encoder_decoder !== true
      ? "CAUSAL_LM"
      : null;
  }
  const task = TASKS.find(([end]) => end.test(architecture));
  if (task) return task[1];
  return isHeadless(config) ? "FEATURE_EXTRACTION" : null;
}

const TASKS: readonly (readonly [RegExp, string])[] = [
  [/ForConditionalGeneration$|^T5WithLMHeadModel$|MTModel$/, "SEQ_2_SEQ_LM"],
  [/ForCausalLM$|LMHeadModel$/, "CAUSAL_LM"],
  [/ForSequenceClassification$/, "SEQ_CLS"],
  [/ForTokenClassification$/, "TOKEN_CLS"],
  [/ForQuestionAnswering$/, "QUESTION_ANS"],
];

/**
 * The Auto class of transformers for a config's `architectures`, whose modules have the names of a backbone and an
 * adapter of it.
 */
export function autoClass(config: Readonly<Record<string, unknown>>): string {
  const [name = ""] = Array.isArray(config.architectures)
    ? config.architectures
    : [];
  const head = /For([A-Z]\w+)$/.exec(String(name))?.[1];
  if (/MTModel$|WithLMHeadModel$/.test(name)) return "AutoModelForSeq2SeqLM";
  if (/LMHeadModel$/.test(name)) return "AutoModelForCausalLM";
  if (head === "ConditionalGeneration") {
    if (isObject(config.vision_config)) return "AutoModelForImageTextToText";
    if (isComposite(config)) return "AutoModelForMultimodalLM";
    return architectureOf(config)?.noTask
      ? "AutoModelForSpeechSeq2Seq"
      : "AutoModelForSeq2SeqLM";
  }
  return head === undefined ? "AutoModel" : `AutoModelFor${head}`;
}
