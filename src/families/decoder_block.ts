/**
 * The tensors of decoders, from the modules of their families (`src/families/decoders.ts`).
 *
 * @module
 */

import type { DecoderSizes } from "./decoder.ts";
import {
  decoderFamily,
  type DecoderModule,
  type SizeName,
  TOP_MODULES,
} from "./decoders.ts";
import {
  type LayersShape,
  type ModuleShape,
  tensorsOf,
  type WantedTensor,
} from "./tensors.ts";

/** Sizes of the shapes' dimensions, by name. */
function namedSizes(config: DecoderSizes): Readonly<Record<SizeName, number>> {
  const { heads, kvHeads, headDim } = config;
  return {
    vocab: config.vocabSize,
    hidden: config.hiddenSize,
    inner: config.intermediateSize,
    q: heads * headDim,
    kv: kvHeads * headDim,
    head: headDim,
  };
}

const LAYERS = "model.layers";

/** Path of a layer. */
export function layerPrefix(index: number): string {
  return `${LAYERS}.${index}`;
}

function moduleShape(
  { name, shape, bias, outputs }: DecoderModule,
  config: DecoderSizes,
): ModuleShape {
  const sizes = namedSizes(config);
  return {
    name,
    shape: shape.map((size) => sizes[size]),
    bias: bias !== undefined && config[bias],
    outputs: outputs && sizes[outputs],
  };
}

/** The modules of a block, by their names within it. */
export function blockModules(config: DecoderSizes): ModuleShape[] {
  return decoderFamily(config.modelType).block.map((module) =>
    moduleShape(module, config)
  );
}

/** The parts of a model: embedding, layers, norm, and a head where it is not the embedding. */
export function decoderParts(
  config: DecoderSizes,
): (ModuleShape | LayersShape)[] {
  const { hiddenSize, intermediateSize, layers, tied } = config;
  const { embedding, norm, head } = TOP_MODULES;
  return [
    moduleShape(embedding, config),
    {
      ...{ hiddenSize, intermediateSize, path: LAYERS, count: layers },
      modules: blockModules(config),
      attentions: { count: 1, width: namedSizes(config).q },
    },
    ...(tied ? [norm] : [norm, head]).map((m) => moduleShape(m, config)),
  ];
}

/** Every tensor of a model, by name, in the order of the computation. */
export function decoderTensors(config: DecoderSizes): WantedTensor[] {
  return tensorsOf(decoderParts(config));
}

/**
 * Tensors that old files carry along and nobody needs. Copies of a tied embedding are left out where a file is opened
 * (`src/io/checkpoint/tied.ts`).
 */
export const IGNORED = /rotary_emb\.inv_freq$/;
