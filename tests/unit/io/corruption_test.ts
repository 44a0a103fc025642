import assert from "node:assert/strict";
import type { ByteSource } from "../../../src/io/files/bytes.ts";
import { openCheckpointFrom } from "../../../src/io/recognise.ts";
import { openAdapterFrom } from "../../../src/io/peft/adapter.ts";
import { bytesSource } from "../../../src/io/files/sources.ts";
import { sourceFiles } from "../../../src/io/files/files.ts";
import { Random } from "../../../src/tensor/random.ts";
import { goldenBytes } from "./helpers.ts";
import { kFile } from "./ggml/k_blocks.ts";

/** Flips, overwrites, cuts, doubles or removes a piece of `bytes`, most often near the front where the tables are. */
function corrupt(
  bytes: Uint8Array<ArrayBuffer>,
  random: Random,
): Uint8Array<ArrayBuffer> {
  const below = (n: number) => Math.floor(random.uniform() * n);
  const spot = () =>
    below(random.uniform() < 0.7 ? Math.min(bytes.length, 4096) : bytes.length);
  const out = bytes.slice();
  const at = spot();
  switch (below(6)) {
    case 0:
      for (let i = 0; i <= below(4); i++) out[spot()] ^= 1 << below(8);
      return out;
    case 1:
      out[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)];
      return out;
    case 2:
      out.fill(below(2) * 255, at, at + 1 + below(8));
      return out;
    case 3:
      return out.slice(0, at);
    case 4: {
      const length = 1 + below(64);
      return Uint8Array.from([...out.slice(0, at + length), ...out.slice(at)]);
    }
    default:
      return Uint8Array.from([
        ...out.slice(0, at),
        ...out.slice(at + 1 + below(16)),
      ]);
  }
}

/** Counts what is read of a source; a reader has no reason to read a file more than a few times over. */
function counting(inner: ByteSource): ByteSource & { taken: number } {
  return {
    name: inner.name,
    size: inner.size,
    taken: 0,
    read(offset, length) {
      this.taken += length;
      return inner.read(offset, length);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function useCheckpoint(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  config?: Uint8Array,
): Promise<void> {
  const source = counting(bytesSource(bytes, name));
  const files = new Map<string, ByteSource>([[name, source]]);
  if (config) files.set("config.json", bytesSource(config, "config.json"));
  try {
    await using model = await openCheckpointFrom(files);
    assert.ok(source.taken <= 4 * bytes.length + 100, "opening reads too much");
    for (const [key, { shape, bytes: size }] of model.tensors) {
      assert.ok(size <= bytes.length, `${key} claims ${size} bytes`);
      source.taken = 0;
      const raw = await model.readRaw(key);
      assert.ok(
        source.taken <= 4 * bytes.length + 4096,
        "reading reads too much",
      );
      assert.ok(raw.length <= 16 * bytes.length, `${key} [${shape}]`);
      await model.readF32(key).catch(expected);
      await model.readQuantized?.(key);
    }
    await model.sideFiles();
  } finally {
    await source[Symbol.asyncDispose]();
  }
}

function expected(error: unknown): void {
  if (
    error instanceof TypeError || error instanceof RangeError ||
    error instanceof SyntaxError
  ) {
    // What the engine itself throws has no such message.
    assert.match((error as Error).message, /^Cannot /);
    return;
  }
  throw error;
}

/** A GGUF file of K types, made here. */
const K_FILE = "k.gguf";

/** Rounds of each file; `LOQA_FUZZ` has another number for all. */
const KINDS: Record<string, number> = {
  "plain.safetensors": 1500,
  "bnb.safetensors": 600,
  "llama.gguf": 600,
  [K_FILE]: 2000,
  "tensors.bin": 1500,
  "../affine/mlx.safetensors": 600,
  "../affine/hqq.safetensors": 600,
  "../affine/gptq-v1-3.safetensors": 600,
};

/** Checkpoints that a config.json of the same name belongs to. */
const CONFIGURED = /mlx|gptq/;

for (const [name, few] of Object.entries(KINDS)) {
  const rounds = Number(Deno.env.get("LOQA_FUZZ") ?? few);
  Deno.test(`a corrupted ${name} is read or refused, nothing else`, async () => {
    const bytes = name === K_FILE ? await kFile(2) : await goldenBytes(name);
    const config = CONFIGURED.test(name)
      ? await goldenBytes(name.replace(".safetensors", ".json"))
      : undefined;
    await useCheckpoint(name, bytes, config);
    let refused = 0;
    for (let seed = 0; seed < rounds; seed++) {
      const bad = corrupt(bytes, new Random(seed, name));
      try {
        await useCheckpoint(name, bad, config);
      } catch (error) {
        refused++;
        try {
          expected(error);
        } catch (cause) {
          throw new Error(`seed ${seed}: ${cause}`, { cause });
        }
      }
    }
    assert.ok(refused > rounds / 10, `only ${refused} refused`);
  });
}

Deno.test("corrupted adapter settings are read or refused, nothing else", async () => {
  const config = await goldenBytes("adapter/adapter_config.json");
  const weights = await goldenBytes("adapter/adapter_model.safetensors");
  for (let seed = 0; seed < 500; seed++) {
    const bad = corrupt(config, new Random(seed, "adapter"));
    const files = sourceFiles(
      new Map([
        ["adapter_config.json", bytesSource(bad, "adapter_config.json")],
        ["adapter_model.safetensors", bytesSource(weights, "weights")],
      ]),
      "adapter",
    );
    await openAdapterFrom(files).then(
      (adapter) => adapter[Symbol.asyncDispose](),
      expected,
    );
  }
});
