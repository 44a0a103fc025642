import assert from "node:assert/strict";
import type { Checkpoint } from "../../../../src/io/checkpoint/checkpoint.ts";
import { openCheckpointFrom } from "../../../../src/io/recognise.ts";
import { openGguf } from "../../../../src/io/gguf/file.ts";
import {
  ggufHeader,
  ggufPair,
  GgufWriter,
} from "../../../../src/io/gguf/write.ts";
import { bytesSource, memorySink } from "../../../../src/io/files/sources.ts";
import { goldenSource, rejects } from "../helpers.ts";

/** llama.gguf of the golden files with other pairs for these keys, or without (null). */
async function changed(
  pairs: Record<string, Uint8Array | null>,
): Promise<Checkpoint> {
  await using source = await goldenSource("llama.gguf");
  const file = await openGguf(source);
  const kept = [...file.metadata.keys()].filter((key) => !(key in pairs));
  const layout = ggufHeader(
    [
      ...await Promise.all(kept.map((key) => file.readPair(key))),
      ...Object.values(pairs).filter((pair) => pair !== null),
    ],
    [...file.tensors.values()].map(({ name, type, shape }) => ({
      ...{ name, type: type.name, shape },
    })),
  );
  const sink = memorySink("changed.gguf");
  const writer = await GgufWriter.open(sink, layout);
  for (const tensor of file.tensors.values()) {
    await writer.write(
      tensor.name,
      await file.readRows(tensor, 0, tensor.shape[0]),
    );
  }
  await writer.close();
  return await openCheckpointFrom(
    new Map([["m.gguf", bytesSource(sink.bytes(), "changed.gguf")]]),
  );
}

async function jsonOf(
  checkpoint: Checkpoint,
  name: string,
): Promise<Record<string, unknown>> {
  const file = (await checkpoint.sideFiles()).find((f) => f.name === name)!;
  return JSON.parse(new TextDecoder().decode(file.bytes));
}

const id = (role: string, value: number) => {
  const key = `tokenizer.ggml.${role}_token_id`;
  return { [key]: ggufPair(key, "u32", value) };
};

Deno.test("a GGUF file's ends of turns and messages are ends in generation_config.json", async () => {
  await using plain = await changed({});
  assert.equal(
    (await jsonOf(plain, "generation_config.json")).eos_token_id,
    0,
  );
  await using chat = await changed({ ...id("eot", 5), ...id("eom", 7) });
  assert.deepEqual(
    (await jsonOf(chat, "generation_config.json")).eos_token_id,
    [0, 5, 7],
  );
  assert.equal(chat.config.eos_token_id, 0);
  await using none = await changed({ ...id("eot", 2 ** 32 - 1) });
  assert.equal(
    (await jsonOf(none, "generation_config.json")).eos_token_id,
    0,
  );
});

Deno.test("a GGUF file's padding token beyond its vocabulary is none in config.json", async () => {
  await using model = await changed(id("padding", 2 ** 32 - 1));
  assert.equal(model.config.pad_token_id, null);
  await using other = await changed(id("padding", 4));
  assert.equal(other.config.pad_token_id, 4);
});

Deno.test("a tokenizer that cannot be made is left out where the caller takes that, else an error", async () => {
  const pre = "tokenizer.ggml.pre";
  for (
    const [pairs, reason] of [
      [{ [pre]: ggufPair(pre, "string", "viking") }, '"viking"'],
      [{ "tokenizer.ggml.tokens": null }, "no tokenizer.ggml.tokens"],
    ] as const
  ) {
    await using model = await changed(pairs);
    await rejects(() => model.sideFiles(), Error, reason);
    const told: string[] = [];
    const files = await model.sideFiles({
      onLeftOut: ({ message }) => told.push(message),
    });
    assert.deepEqual(
      files.map(({ name }) => name),
      ["config.json", "generation_config.json"],
    );
    assert.equal(told.length, 1);
    assert.ok(told[0].includes(reason), told[0]);
  }
});
