/**
 * Shape of a model, by its config alone: linear layers, other parameters, activations that training keeps.
 *
 * @module
 */

import { type ConfigJson, ConfigReader } from "../families/config_reader.ts";
import { type Architecture, ARCHITECTURES } from "../families/families.ts";
import {
  isLayers,
  type LayersShape,
  type ModuleShape,
} from "../families/tensors.ts";

/** Linear layers of one shape. */
export interface LinearShape {
  /** Name within the layer: `self_attn.q_proj`, `attention.self.query`. */
  readonly name: string;
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** Number of such layers in the model. */
  readonly count: number;
}

/** Layers of one kind, as a pass for training sees them. */
export interface LayerShape {
  /** Layers of the kind. */
  readonly count: number;
  /** Features that pass from layer to layer. */
  readonly width: number;
  /** Attentions in a layer. */
  readonly attentions: number;
  /** Width of attention: features of all query heads. */
  readonly attentionWidth: number;
  /** Values of a token that a layer keeps for the backward pass, those of adapters apart. */
  readonly kept: number;
}

/** Sizes of a model. */
export interface ModelShape {
  /** `model_type` of the config. */
  readonly modelType: string;
  /** The linear layers that get adapters: all but the head. */
  readonly linears: readonly LinearShape[];
  /** Parameters of {@linkcode linears}, without biases. */
  readonly linearParameters: number;
  /** All others: embeddings, head, norms, biases. */
  readonly otherParameters: number;
  /** Layers by kind: one kind, or encoder and decoder. */
  readonly layers: readonly LayerShape[];
  /** Rows of the embedding. */
  readonly vocabSize: number;
  /** True if the model ends in a head over the vocabulary. */
  readonly hasHead: boolean;
}

/**
 * Sizes of the model that `config` describes, from the shapes of its tensors (`src/families`).
 *
 * A layer keeps for the backward pass the output of each linear layer, norm and attention, and what the activation
 * makes of the feed-forward part.
 *
 * @param where What errors call the config.
 * @throws {TypeError} If its `model_type` is not known.
 * @throws {SyntaxError} If a size is missing or none.
 */
export function modelShape(config: ConfigJson, where: string): ModelShape {
  const read = new ConfigReader(config, where, { purpose: "plan for" });
  const all: readonly Architecture[] = Object.values(ARCHITECTURES);
  const modelType = read.type(all.flatMap(({ types }) => types));
  const { kind, model } = all.find(({ types }) => types.includes(modelType))!;
  const { parts, vocabSize } = model(read);
  const layers = parts.filter(isLayers);
  const linears = layers.flatMap(({ modules, count }) =>
    modules.filter(({ shape }) => shape.length === 2)
      .map(({ name, shape: [rows, cols] }) => ({ name, rows, cols, count }))
  );
  const linearParameters = sum(
    linears.map(({ rows, cols, count }) => rows * cols * count),
  );
  return {
    modelType,
    linears,
    linearParameters,
    otherParameters: sum(parts.map(parametersOf)) - linearParameters,
    layers: layers.map((
      { count, hiddenSize: width, attentions, ...layer },
    ) => ({
      count,
      width,
      attentions: attentions.count,
      attentionWidth: attentions.width,
      kept:
        sum(layer.modules.map(({ shape, outputs }) => outputs ?? shape[0])) +
        attentions.count * attentions.width + layer.intermediateSize,
    })),
    vocabSize,
    hasHead: kind !== "encoder",
  };
}

/** Parameters of a module, or of all layers of a kind. */
function parametersOf(part: ModuleShape | LayersShape): number {
  if (isLayers(part)) return part.count * sum(part.modules.map(parametersOf));
  const { shape, bias } = part;
  return shape.reduce((a, b) => a * b, 1) + (bias ? shape[0] : 0);
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
