/**
 * Golden blocks of ggml's K types and IQ4 with the values that the gguf package decodes, and a GGUF file of them.
 *
 * @module
 */

import { openGguf } from "../../../../src/io/gguf/file.ts";
import { ggufHeader, GgufWriter } from "../../../../src/io/gguf/write.ts";
import { ggufTypeNamed } from "../../../../src/io/ggml/types.ts";
import { bytesSource, memorySink } from "../../../../src/io/files/sources.ts";
import { openFileSet } from "../../../../src/io/recognise.ts";
import { files, goldenBytes } from "../helpers.ts";

/** Types that have golden blocks. */
export const K_TYPES = [
  ...["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"],
  ...["IQ4_NL", "IQ4_XS"],
] as const;

/** Blocks of a type, a block a row, and their values. */
export interface KBlocks {
  readonly blocks: Uint8Array<ArrayBuffer>;
  readonly values: Float32Array<ArrayBuffer>;
}

/** Golden blocks by type: of random bits and extreme scales, and four of normal values at the end. */
export async function goldenBlocks(): Promise<Map<string, KBlocks>> {
  await using golden = await openFileSet(files({
    "model.safetensors": await goldenBytes("../ggml/k_types.safetensors"),
  }));
  const found = new Map<string, KBlocks>();
  for (const type of K_TYPES) {
    found.set(type, {
      blocks: await golden.readRaw(`${type}.blocks`),
      values: await golden.readF32(`${type}.values`),
    });
  }
  return found;
}

/** Tensors of a LLaMA whose rows keep their order, and the types that {@linkcode kFile} gives them. */
export const K_TENSORS: Readonly<Record<string, string>> = {
  "token_embd": "Q6_K",
  "output": "Q8_K",
  "blk.0.attn_v": "Q5_K",
  "blk.0.ffn_gate": "Q4_K",
  "blk.0.ffn_down": "Q3_K",
  "blk.1.attn_v": "Q2_K",
  "blk.1.attn_output": "IQ4_NL",
  "blk.1.ffn_up": "IQ4_XS",
};

/** The metadata of the golden `llama.gguf` over tensors of the last `rows` golden blocks, a block a row. */
export async function kFile(rows: number): Promise<Uint8Array<ArrayBuffer>> {
  const golden = await goldenBlocks();
  const base = await openGguf(
    bytesSource(await goldenBytes("llama.gguf"), "llama.gguf"),
  );
  const pairs: Uint8Array[] = [];
  for (const key of base.metadata.keys()) pairs.push(await base.readPair(key));
  const tensors = Object.entries(K_TENSORS).map(([name, type]) => ({
    name: `${name}.weight`,
    type,
    shape: [rows, ggufTypeNamed(type).block],
  }));
  const sink = memorySink("k.gguf");
  const writer = await GgufWriter.open(sink, ggufHeader(pairs, tensors));
  for (const { name, type } of tensors) {
    const { blocks } = golden.get(type)!;
    await writer.write(name, blocks.slice(-rows * ggufTypeNamed(type).bytes));
  }
  await writer.close();
  return sink.bytes();
}
