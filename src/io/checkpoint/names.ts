/**
 * Names of a file's tensors, as transformers 5 names the modules that they belong to: without wrappers of the model when
 * it was saved, and with today's names of its modules.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { architectureOf } from "./architectures.ts";
import { quoted } from "../files/errors.ts";
import { isObject, type JsonObject } from "../files/json.ts";
import { rowSize, type TensorReader } from "./tensor_reader.ts";

/** Prefixes that compilers and trainers put around any module. */
const WRAPPERS =
  /(^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\./g;

/** Prefixes that they put around the whole model. */
const AROUND = ["module.", "base_model.model."];

/** Modules that stand beside the model in a class with a head. */
const HEADS =
  /^(?:lm_head|score|classifier|pre_classifier|qa_outputs|cls|classification_head)\./;

/** Root names of a model that was saved without its class with a head. */
const ROOT = /^(?:embeddings|embed_tokens|language_model|encoder|decoder)\./;

/** True if a config is of a language model beside towers for pictures or sounds. */
export function isComposite(config: JsonObject): boolean {
  return ["text_config", "vision_config", "audio_config", "thinker_config"]
    .some((key) => isObject(config[key]));
}

/** True if the class that a config names is the model without a head: `LlamaModel`. */
export function isHeadless({ architectures }: JsonObject): boolean {
  const [name] = Array.isArray(architectures) ? architectures : [];
  return typeof name === "string" && /(?<!MT|LMHead)Model$/.test(name);
}

/** Renames some names in the light of all. */
type Renaming = (name: string) => string;

function without(prefix: string, names: readonly string[]): Renaming {
  return names.length > 0 && names.every((name) => name.startsWith(prefix))
    ? (name) => name.slice(prefix.length)
    : (name) => name;
}

/** BERT's first files call the weight and the bias of a norm gamma and beta; everybody else's reader renames them too. */
function plain(name: string): string {
  return name.replace(WRAPPERS, "$1")
    .replace(/LayerNorm\.gamma$/, "LayerNorm.weight")
    .replace(/LayerNorm\.beta$/, "LayerNorm.bias");
}

/** Names of a text model, in the form that its class with a head gives them: `model.layers`, `lm_head`. */
function textModel(names: readonly string[]): Renaming {
  const bare = names.includes("embed_tokens.weight") &&
    names.some((name) => /^layers\.\d+\./.test(name));
  return (name) => {
    if (bare && !HEADS.test(name)) return `model.${name}`;
    return name
      .replace(
        /^(?:model\.|language_model\.)+(?=(?:embed_tokens|layers|norm)\.)/,
        "model.",
      )
      .replace(/^(?:model\.|language_model\.)+(?=lm_head\.)/, "");
  };
}

/** Names here of the tensors of a file with these names and this config. */
export function presentNames(
  found: Iterable<string>,
  config: JsonObject,
): Map<string, string> {
  const old = [...found];
  let now = old.map(plain);
  const apply = (rename: Renaming) => now = now.map(rename);
  // An adapter's file is opened as a model to be looked at, and keeps its names.
  const adapter = now.some((name) => /\.lora_\w+(\.|$)/.test(name));
  if (!adapter) { for (const prefix of AROUND) apply(without(prefix, now)); }
  for (const [pattern, by] of architectureOf(config)?.renames ?? []) {
    apply((name) => name.replace(pattern, by));
  }
  if (!isComposite(config)) apply(textModel(now));
  return new Map(old.map((name, i) => [name, now[i]]));
}

/**
 * The same tensors under the names that {@linkcode presentNames} gives them, fused ones as the modules that they are.
 *
 * @throws {SyntaxError} If two tensors come to the same name.
 */
export function presented(
  readers: Iterable<TensorReader>,
  { where, config }: { where: string; config: JsonObject },
): TensorReader[] {
  const all = [...readers];
  const names = presentNames(all.map(({ info }) => info.name), config);
  const { splits = {} } = architectureOf(config) ?? {};
  const from = new Map<string, string>();
  return all.flatMap((reader) => {
    const { name: old } = reader.info;
    const name = names.get(old)!;
    const other = from.get(name);
    if (other !== undefined) {
      throw new FormatError(
        `Cannot open ${quoted(where)}: tensors ${quoted(other)} and ${
          quoted(old)
        } are both ${quoted(name)} of the model, wanted one of them`,
      );
    }
    from.set(name, old);
    const parts = Object.keys(splits).find((end) =>
      name.slice(0, name.lastIndexOf(".")).endsWith(`.${end}`)
    );
    if (parts !== undefined) {
      return splits[parts].map((part, i) =>
        rowsOf(reader, {
          name: name.replace(`.${parts}.`, `.${part}.`),
          ...{ part: i, of: splits[parts].length },
        })
      );
    }
    return [name === old ? reader : renamed(reader, name)];
  });
}

function renamed(reader: TensorReader, name: string): TensorReader {
  return { ...reader, info: { ...reader.info, name } };
}

/** One of `of` equal parts of a tensor's rows, decoded where it is quantised. */
function rowsOf(
  reader: TensorReader,
  { name, part, of }: { name: string; part: number; of: number },
): TensorReader {
  const { quantized: _, blocks: __, ...info } = reader.info;
  const { shape, bytes } = info;
  const rows = Math.floor(shape[0] / of);
  const first = part * rows;
  return {
    info: {
      ...info,
      name,
      shape: [rows, ...shape.slice(1)],
      bytes: rowSize(shape) === 0 ? 0 : bytes / of,
    },
    readF32: (from, to) => reader.readF32(first + from, first + to),
    readRaw: (from, to) => reader.readRaw(first + from, first + to),
  };
}

/**
 * Name of a tensor of {@linkcode presentNames} in the class of the config's `architectures`, which `AutoModel…` builds and
 * in which names of an adapter are looked up: without the prefix in a class without a head, with it in one that has one.
 */
export function builtName(
  config: JsonObject,
  tensors: Iterable<string>,
): Renaming {
  const same: Renaming = (name) => name;
  const { architectures } = config;
  if (!Array.isArray(architectures) || architectures.length === 0) return same;
  const names = [...tensors];
  const text = names.includes("model.embed_tokens.weight") ||
    names.some((name) => name.startsWith("model.language_model."));
  const known = architectureOf(config)?.prefix ?? (text ? "model" : undefined);
  if (known === undefined) return same;
  const prefix = `${known}.`;
  if (isHeadless(config)) {
    return (name) => name.startsWith(prefix) ? name.slice(prefix.length) : name;
  }
  const bare = !names.some((name) => name.startsWith(prefix)) &&
    names.some((name) => ROOT.test(name));
  if (!bare) return same;
  return (name) => HEADS.test(name) ? name : prefix + name;
}
