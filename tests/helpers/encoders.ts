// deno-lint-ignore-file camelcase -- the keys are those of Hugging Face files

/**
 * Small encoders with a tokenizer of words, and sentences with a class by their words.
 *
 * @module
 */

import { bertTensors, readBertConfig } from "../../src/families/bert.ts";
import {
  debertaTensors,
  readDebertaConfig,
} from "../../src/families/deberta.ts";
import { Random } from "../../src/tensor/random.ts";
import { type SmallTensors, writeModel } from "./model.ts";

const GOOD = ["good", "fine", "great", "warm"];
const BAD = ["bad", "dull", "cold", "poor"];
const OTHER = ["the", "film", "is", "a", "very", "story", "and", "of"];
const SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const WORDS = [...SPECIAL, ...GOOD, ...BAD, ...OTHER];

const SIZES = {
  vocab_size: WORDS.length,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: 32,
  pad_token_id: 0,
};

/** Configs of small models by their type. */
export const CONFIGS = {
  bert: { ...SIZES, model_type: "bert", architectures: ["BertModel"] },
  "deberta-v2": {
    ...SIZES,
    model_type: "deberta-v2",
    architectures: ["DebertaV2Model"],
    relative_attention: true,
    position_buckets: 8,
    norm_rel_ebd: "layer_norm",
    share_att_key: true,
    pos_att_type: ["p2c", "c2p"],
    position_biased_input: false,
    type_vocab_size: 0,
  },
} as const;

/** Writes a small model without a head, as it is stored by itself, with a vocabulary of words. */
export async function writeEncoder(
  folder: string,
  type: keyof typeof CONFIGS,
): Promise<void> {
  const config = CONFIGS[type];
  const none = { prefix: "", head: { kind: "none" } as const };
  const wanted = type === "bert"
    ? bertTensors(readBertConfig(config, "small"), none)
    : debertaTensors(readDebertaConfig(config, "small"), none);
  const tensors: SmallTensors = Object.fromEntries(
    wanted.map(({ name, shape }) => {
      const random = new Random(1, name);
      const normals = random.normals(shape.reduce((a, b) => a * b));
      const values = name.endsWith("LayerNorm.weight")
        ? normals.map((x) => 1 + 0.1 * x)
        : normals.map((x) => x * (name.includes("embeddings") ? 0.5 : 0.2));
      return [name, { shape, values }];
    }),
  );
  await writeModel(folder, { config, tensors });
  // The placeholder that small models have would go before the vocabulary.
  await Deno.remove(`${folder}/tokenizer.json`).catch(() => {});
  await Deno.writeTextFile(`${folder}/vocab.txt`, WORDS.join("\n") + "\n");
  await Deno.writeTextFile(
    `${folder}/tokenizer_config.json`,
    JSON.stringify({
      tokenizer_class: "BertTokenizer",
      do_lower_case: true,
      unk_token: "[UNK]",
      cls_token: "[CLS]",
      sep_token: "[SEP]",
      pad_token: "[PAD]",
      mask_token: "[MASK]",
    }),
  );
}

/** Lines of `sentence<TAB>label`: the label is 1 if the one word that decides is good. */
export function sentences(count: number, seed: number): string {
  const random = new Random(seed, "sentences");
  const pick = (words: readonly string[]) =>
    words[random.uint32() % words.length];
  return Array.from({ length: count }, (_, i) => {
    const label = i % 2;
    const words = Array.from(
      { length: 2 + random.uint32() % 5 },
      () => pick(OTHER),
    );
    words.splice(random.uint32() % words.length, 0, pick(label ? GOOD : BAD));
    return `${words.join(" ")}\t${label}\n`;
  }).join("");
}
