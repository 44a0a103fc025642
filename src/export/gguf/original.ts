/**
 * The GGUF file that a model came from: its parts that can be copied into the file that is written.
 *
 * @module
 */

import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { kindOf } from "../../io/files/deno.ts";
import type { GgufFile, GgufTensor } from "../../io/gguf/file.ts";
import { huggingFaceName } from "../../families/gguf_names.ts";
import { ggufOf } from "../../io/gguf/checkpoint.ts";
import { decodeBlocks } from "../../io/ggml/types.ts";
import { openCheckpoint } from "../../io/open.ts";

/** Keys of a config without effect on the model's computation. */
const FREE = new Set([
  ...["dtype", "torch_dtype", "quantization_config", "tie_word_embeddings"],
]);

/** Metadata that are not true of a file with other codes. */
const DROPPED = /^(quantize\.imatrix\.|split\.)/;

/** Bytes of a tensor that are held at a time. */
const CHUNK = 8 << 20;

/**
 * Opens the file that a checkpoint came from: the checkpoint itself if it is one, else the file at `path`. Undefined if
 * there is none, or if it is of another architecture, shape or tokenizer.
 */
export async function openOriginal(
  checkpoint: Checkpoint,
  path: string | undefined,
): Promise<GgufOriginal | undefined> {
  await using stack = new AsyncDisposableStack();
  let model = checkpoint;
  if (!ggufOf(checkpoint)) {
    const place = checkpoint.format === "gguf" ? checkpoint.name : path;
    if (!place?.endsWith(".gguf") || await kindOf(place) !== "file") {
      return undefined;
    }
    model = stack.use(await openCheckpoint(place));
    if (!await fits(checkpoint, model)) return undefined;
  }
  const file = ggufOf(model)!;
  const factors = file.tensors.get("rope_freqs.weight");
  return new GgufOriginal({
    file,
    model,
    ropeFactors: factors && decodeBlocks(
      factors.type,
      await file.readRows(factors, 0, factors.shape[0]),
    ),
    memory: stack.move(),
  });
}

async function fits(one: Checkpoint, other: Checkpoint): Promise<boolean> {
  const keys = new Set(
    [...Object.keys(one.config), ...Object.keys(other.config)],
  );
  for (const key of keys.difference(FREE)) {
    if (JSON.stringify(one.config[key]) !== JSON.stringify(other.config[key])) {
      return false;
    }
  }
  for (const [name, { shape }] of other.tensors) {
    if (`${one.tensors.get(name)?.shape}` !== `${shape}`) return false;
  }
  const tokenizer = async (checkpoint: Checkpoint) =>
    (await checkpoint.sideFiles())
      .filter(({ name }) => name.startsWith("tokenizer"))
      .map(({ name, bytes }) => `${name}\n${new TextDecoder().decode(bytes)}`)
      .sort().join("\n");
  return await tokenizer(one) === await tokenizer(other);
}

/** A GGUF file to copy from. */
export class GgufOriginal implements AsyncDisposable {
  /** Its path. */
  readonly name: string;
  /** Alignment of its offsets. */
  readonly alignment: number;
  /** Contents of its `rope_freqs.weight`, if it has that tensor. */
  readonly ropeFactors: Float32Array<ArrayBuffer> | undefined;
  readonly #file: GgufFile;
  readonly #model: Checkpoint;
  readonly #memory: AsyncDisposableStack;
  /** Its tensors by Hugging Face's names. */
  readonly #tensors: ReadonlyMap<string, GgufTensor>;

  /** @ignore Use {@linkcode openOriginal}. */
  constructor({ file, model, ropeFactors, memory }: {
    file: GgufFile;
    model: Checkpoint;
    ropeFactors: Float32Array<ArrayBuffer> | undefined;
    memory: AsyncDisposableStack;
  }) {
    this.ropeFactors = ropeFactors;
    this.name = file.name;
    this.alignment = Number(file.metadata.get("general.alignment") ?? 32);
    this.#file = file;
    this.#model = model;
    this.#memory = memory;
    this.#tensors = new Map(
      [...file.tensors.values()].map((t) => [huggingFaceName(t.name)!, t]),
    );
  }

  /** ggml's name of the type of a tensor. */
  typeOf(name: string): string {
    return this.#tensors.get(name)!.type.name;
  }

  /** `names` in the order of the file, those that it has not at the end. */
  sorted(names: readonly string[]): string[] {
    const order = new Map(
      [...this.#tensors.keys()].map((name, i) => [name, i]),
    );
    const place = (name: string) => order.get(name) ?? order.size;
    return names.toSorted((a, b) => place(a) - place(b));
  }

  /**
   * Its metadata pairs, as far as they are true of the file that is written.
   *
   * @param fileType Takes the place of the pair `general.file_type`.
   */
  async pairs(fileType: Uint8Array | undefined): Promise<Uint8Array[]> {
    const pairs: Uint8Array[] = [];
    for (const key of this.#file.metadata.keys()) {
      if (DROPPED.test(key)) continue;
      pairs.push(
        key === "general.file_type" && fileType
          ? fileType
          : await this.#file.readPair(key),
      );
    }
    return pairs;
  }

  /**
   * True if its tensor `name`, in the element type that a checkpoint has it in, is the checkpoint's to the bit. A plain tensor
   * is read for that, and once more when it is written: its type stands in the header, before all values.
   */
  async holds(checkpoint: Checkpoint, name: string): Promise<boolean> {
    if (checkpoint.name === this.name) return true;
    const tensor = this.#model.tensors.get(name);
    const ours = checkpoint.tensors.get(name)!;
    if (tensor === undefined || tensor.dtype !== ours.dtype) return false;
    for (const [from, to] of chunks(ours.shape, ours.bytes)) {
      const theirs = await this.#model.readRaw(name, from, to);
      const bytes = await checkpoint.readRaw(name, from, to);
      if (bytes.some((byte, i) => byte !== theirs[i])) return false;
    }
    return true;
  }

  /** Its own bytes of a tensor, in chunks. */
  async *stored(name: string): AsyncGenerator<Uint8Array> {
    const tensor = this.#tensors.get(name)!;
    for (const [from, to] of chunks(tensor.shape, tensor.bytes)) {
      yield await this.#file.readRows(tensor, from, to);
    }
  }

  /** Closes the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#memory.disposeAsync();
  }
}

/** Ranges of rows of some megabytes; a vector, whose rows may be parts of blocks, is one range. */
function chunks(
  shape: readonly number[],
  bytes: number,
): (readonly [number, number])[] {
  const rows = shape[0];
  const step = shape.length === 1
    ? rows
    : Math.max(1, Math.floor(CHUNK * rows / Math.max(bytes, 1)));
  const out: [number, number][] = [];
  for (let from = 0; from < rows; from += step) {
    out.push([from, Math.min(rows, from + step)]);
  }
  return out;
}
