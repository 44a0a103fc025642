/**
 * The architectures that can be run, by the model types of their configs: facts of each from its config alone.
 *
 * @module
 */

import { BART_TYPES, bartNames, bartParts, readBartSizes } from "./bart.ts";
import { BERT_TYPES, bertParts, bertPooler, readBertSizes } from "./bert.ts";
import type { ConfigReader } from "./config_reader.ts";
import { DEBERTA_TYPES, debertaParts, readDebertaSizes } from "./deberta.ts";
import { readDecoderSizes } from "./decoder.ts";
import { decoderParts } from "./decoder_block.ts";
import { DECODER_TYPES } from "./decoders.ts";
import type { LayersShape, ModuleShape } from "./tensors.ts";

/** An architecture. */
export interface Architecture {
  /** Model types of its configs. */
  readonly types: readonly string[];
  /** Kind of its models: causal LM, encoder or encoder-decoder (seq2seq). */
  readonly kind: "causal" | "encoder" | "seq2seq";
  /** The model of a config, encoders without the head of a task. */
  model(read: ConfigReader): ArchitectureModel;
}

/** A model by its config alone. */
export interface ArchitectureModel {
  /** Vocabulary size. */
  readonly vocabSize: number;
  /** Its modules, those of layers together. */
  readonly parts: readonly (ModuleShape | LayersShape)[];
}

const BARE = { prefix: "", head: { kind: "none" } } as const;

/** Every architecture. */
export const ARCHITECTURES = {
  decoder: {
    types: DECODER_TYPES,
    kind: "causal",
    model(read) {
      const sizes = readDecoderSizes(read);
      return { ...sizes, parts: decoderParts(sizes) };
    },
  },
  bert: {
    types: BERT_TYPES,
    kind: "encoder",
    model(read) {
      const sizes = readBertSizes(read);
      const parts = [...bertParts(sizes, BARE), bertPooler(sizes)];
      return { ...sizes, parts };
    },
  },
  deberta: {
    types: DEBERTA_TYPES,
    kind: "encoder",
    model(read) {
      const sizes = readDebertaSizes(read);
      return { ...sizes, parts: debertaParts(sizes, BARE) };
    },
  },
  bart: {
    types: BART_TYPES,
    kind: "seq2seq",
    model(read) {
      const sizes = readBartSizes(read);
      const names = bartNames(sizes, { tensors: new Map() });
      return { ...sizes, parts: bartParts(sizes, names) };
    },
  },
} as const satisfies Readonly<Record<string, Architecture>>;
