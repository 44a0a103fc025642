/**
 * Models in the packed layout with affine weights, without a run of `loqa init`.
 *
 * @module
 */

import type { Checkpoint } from "../../src/io/checkpoint/checkpoint.ts";
import {
  packedEntries,
  packedMetadata,
  type PackedShape,
  packedTensors,
} from "../../src/io/packed/packed.ts";
import { packedConfig } from "../../src/io/packed/config.ts";
import {
  safetensorsHeader,
  SafetensorsWriter,
} from "../../src/io/safetensors/write.ts";
import { memorySink } from "../../src/io/files/sources.ts";
import type { FormatName } from "../../src/quant/formats.ts";
import { quantize } from "../../src/api/matrices.ts";
import type { QuantizedMatrix } from "../../src/quant/quantized.ts";
import { matrix } from "../../src/tensor/matrix.ts";

/** Options of {@linkcode writePacked}. */
export interface PackedOptions {
  /** Format of layers that are not quantised already; they stay plain without it. */
  readonly format?: FormatName;
  readonly block?: number;
  /** Changes a quantised weight before it is written. */
  readonly change?: (q: QuantizedMatrix, name: string) => QuantizedMatrix;
}

/**
 * Writes a packed backbone of `checkpoint` into `folder`: every linear layer of its blocks in groups, the codes of one
 * that is quantised already as they are.
 */
export async function writePacked(
  folder: string,
  checkpoint: Checkpoint,
  { format, block, change = (q) => q }: PackedOptions = {},
): Promise<Map<string, QuantizedMatrix>> {
  await Deno.mkdir(folder, { recursive: true });
  const quantised = new Map<string, QuantizedMatrix>();
  const shapes = new Map<string, PackedShape>();
  for (const { name, shape: [rows, cols] } of checkpoint.tensors.values()) {
    if (!/_proj\.weight$/.test(name)) continue;
    const stored = await checkpoint.readQuantized?.(name);
    if (!stored && !format) continue;
    const q = stored ??
      await quantize(matrix(rows, cols, await checkpoint.readF32(name)), {
        format: format!,
        block,
      });
    const changed = change(q, name);
    quantised.set(name, changed);
    shapes.set(name, { ...changed, rows, cols });
  }
  const sink = memorySink("model.safetensors");
  const layout = safetensorsHeader(
    [...checkpoint.tensors.values()].flatMap((tensor) => {
      const packed = shapes.get(tensor.name);
      return packed ? packedEntries(tensor.name, packed) : [tensor];
    }),
    packedMetadata(shapes),
  );
  const writer = await SafetensorsWriter.open(sink, layout);
  for (const { name } of checkpoint.tensors.values()) {
    const q = quantised.get(name);
    if (!q) await writer.write(name, await checkpoint.readRaw(name));
    else {
      for (const part of packedTensors(name, q)) {
        await writer.write(part.name, part.bytes);
      }
    }
  }
  await writer.close();
  await Deno.writeFile(`${folder}/model.safetensors`, sink.bytes());
  for (const { name, bytes } of await checkpoint.sideFiles()) {
    await Deno.writeFile(`${folder}/${name}`, bytes);
  }
  await Deno.writeTextFile(
    `${folder}/config.json`,
    JSON.stringify(packedConfig(checkpoint.config)),
  );
  return quantised;
}
