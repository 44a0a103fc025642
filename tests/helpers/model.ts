/**
 * Small checkpoints written by the tests themselves, and folders to put them in.
 *
 * @module
 */

import type { Checkpoint } from "../../src/io/checkpoint/checkpoint.ts";
import { openFileSet } from "../../src/io/recognise.ts";
import { sourceFiles } from "../../src/io/files/files.ts";
import {
  safetensorsHeader,
  SafetensorsWriter,
} from "../../src/io/safetensors/write.ts";
import { bytesSource, memorySink } from "../../src/io/files/sources.ts";
import { type DType, fromF32, isFloat } from "../../src/tensor/dtype.ts";
import { Random } from "../../src/tensor/random.ts";

/** A tensor of a small checkpoint; its values are random unless they are given. */
export interface SmallTensor {
  readonly shape: readonly number[];
  readonly dtype?: DType;
  readonly values?: Float32Array;
}

/** Tensors by name, in file order. */
export type SmallTensors = Record<string, SmallTensor>;

/** Names and shapes of a LLaMA with odd sizes, so that some tensors are no multiple of eight bytes. */
export function tinyLlama({ layers = 2, hidden = 21, inner = 35 } = {}): {
  config: Record<string, unknown>;
  tensors: SmallTensors;
} {
  const kv = 7;
  const norm: SmallTensor = {
    shape: [hidden],
    dtype: "f16",
    values: new Float32Array(hidden).fill(1),
  };
  const tensors: SmallTensors = {
    "model.embed_tokens.weight": { shape: [29, hidden] },
  };
  for (let i = 0; i < layers; i++) {
    const put = (name: string, shape: number[]) =>
      tensors[`model.layers.${i}.${name}.weight`] = { shape };
    tensors[`model.layers.${i}.input_layernorm.weight`] = norm;
    put("self_attn.q_proj", [hidden, hidden]);
    put("self_attn.k_proj", [kv, hidden]);
    put("self_attn.v_proj", [kv, hidden]);
    put("self_attn.o_proj", [hidden, hidden]);
    put("mlp.gate_proj", [inner, hidden]);
    put("mlp.up_proj", [inner, hidden]);
    put("mlp.down_proj", [hidden, inner]);
    tensors[`model.layers.${i}.mlp.up_proj.bias`] = { shape: [inner] };
  }
  tensors["model.norm.weight"] = norm;
  tensors["model.position_ids"] = { shape: [1, 5], dtype: "i64" };
  tensors["model.scale"] = { shape: [], dtype: "f16" };
  tensors["model.empty"] = { shape: [0, 4], dtype: "f32" };
  tensors["lm_head.weight"] = { shape: [29, hidden], dtype: "bf16" };
  return {
    config: {
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      hidden_size: hidden,
      torch_dtype: "float32",
    },
    tensors,
  };
}

/** The tensors as a safetensors file. */
export async function safetensorsBytes(
  tensors: SmallTensors,
): Promise<Uint8Array<ArrayBuffer>> {
  const sink = memorySink("model.safetensors");
  const writer = await SafetensorsWriter.open(
    sink,
    safetensorsHeader(
      Object.entries(tensors).map(([name, { shape, dtype = "f32" }]) => ({
        name,
        shape,
        dtype,
      })),
    ),
  );
  for (
    const [name, { shape, dtype = "f32", values }] of Object.entries(tensors)
  ) {
    if (writer.has(name)) continue;
    const n = shape.reduce((a, b) => a * b, 1);
    const data = values ?? new Random(1, name).normals(n).map((x) => x * 0.05);
    await writer.write(
      name,
      isFloat(dtype)
        ? fromF32(data, dtype)
        : new Uint8Array(BigInt64Array.from(data, (_, i) => BigInt(i)).buffer),
    );
  }
  await writer.close();
  return sink.bytes();
}

/** Writes a model folder with a config, the tensors and two side files. */
export async function writeModel(
  folder: string,
  { config, tensors }: {
    config: Record<string, unknown>;
    tensors: SmallTensors;
  },
): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeFile(
    `${folder}/model.safetensors`,
    await safetensorsBytes(tensors),
  );
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config));
  await Deno.writeTextFile(`${folder}/tokenizer.json`, '{"version":"1.0"}');
  await Deno.writeTextFile(`${folder}/README.md`, "not copied");
}

/** A checkpoint in memory. */
export async function openModel(
  { config = {}, tensors }: {
    config?: Record<string, unknown>;
    tensors: SmallTensors;
  },
): Promise<Checkpoint> {
  const bytes = {
    "model.safetensors": await safetensorsBytes(tensors),
    "config.json": new TextEncoder().encode(JSON.stringify(config)),
    "tokenizer.json": new TextEncoder().encode('{"version":"1.0"}'),
  };
  return await openFileSet(sourceFiles(
    new Map(
      Object.entries(bytes).map(([name, data]) => [
        name,
        bytesSource(data, name),
      ]),
    ),
    "tiny",
  ));
}

/** A checkpoint of zeros with linear weights of these module names, or other tensors by full name and shape. */
export function modelOf(
  modules: readonly string[],
  config: Record<string, unknown> = {},
): Promise<Checkpoint> {
  return openModel({
    config,
    tensors: Object.fromEntries(
      modules.map((module) => [`${module}.weight`, {
        shape: [2, 2],
        values: new Float32Array(4),
      }]),
    ),
  });
}

/** Runs `work` with a temporary folder, which is removed afterwards. */
export async function inFolder(
  work: (path: string) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "loqa-test-" });
  try {
    await work(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

/** Every file below `folder`, by its path in it. */
export async function readTree(
  folder: string,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const found = new Map<string, Uint8Array<ArrayBuffer>>();
  const walk = async (path: string) => {
    for await (
      const { name, isDirectory } of Deno.readDir(`${folder}${path}`)
    ) {
      if (isDirectory) await walk(`${path}/${name}`);
      else {
        found.set(
          `${path}/${name}`.slice(1),
          await Deno.readFile(`${folder}${path}/${name}`),
        );
      }
    }
  };
  await walk("");
  return new Map([...found].sort());
}

/** The files below `folder` with loqa.json's times, memory and place left out: the same for two equal runs. */
export async function comparable(
  folder: string,
): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  for (const [path, bytes] of await readTree(folder)) {
    if (path === "loqa.json" || path === "adapter/adapter_config.json") {
      const text = new TextDecoder().decode(bytes);
      const place = JSON.stringify(folder).slice(1, -1);
      out.set(
        path,
        text.replaceAll(place, "OUT").replace(
          /"(seconds|layerSeconds|peakBytes)": [\d.e-]+/g,
          '"$1": 0',
        ),
      );
    } else {
      out.set(
        path,
        new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex(),
      );
    }
  }
  return out;
}
