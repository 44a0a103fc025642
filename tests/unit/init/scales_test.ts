import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import type { InitOptions } from "../../../src/init/options.ts";
import { init } from "../../../src/init/run.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { openSafetensors } from "../../../src/io/safetensors/read.ts";
import { bytesSource } from "../../../src/io/files/sources.ts";
import { loftq } from "../../../src/api/loftq.ts";
import type { FormatName } from "../../../src/quant/formats.ts";
import { matrix, relativeError } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { inFolder, openModel, tinyLlama } from "../../helpers/model.ts";

const GGUF = new URL("../../golden/io/llama.gguf", import.meta.url).pathname;
const device = await openDevice("wasm", { threads: 1 });
const EVEN = tinyLlama({ hidden: 64, inner: 96 });
const PLAIN: InitOptions = {
  method: "qlora",
  rank: 2,
  alpha: 2,
  iterations: 0,
  seed: 0,
};

const BITS: [FormatName, number, number][] = [
  ["nf3", 64, 3.25],
  ["nf2", 64, 2.25],
  ["int4", 32, 5],
  ["int3", 32, 4],
  ["int2", 32, 3],
];
for (const [format, block, bits] of BITS) {
  Deno.test(`a packed ${format} weight in blocks of ${block} takes ${bits} bits; its error is that of what is stored`, () =>
    inFolder(async (folder) => {
      const model = await openModel(EVEN);
      const out = `${folder}/out`;
      const options = { ...PLAIN, format, block, targets: ["up_proj"] };
      const { summary, layers } = await init(model, options, { device, out });
      assert.equal(summary.bitsPerWeight, bits);
      await using backbone = await openCheckpoint(`${out}/backbone`);
      for (const { name, plainError } of layers) {
        const tensor = `${name}.weight`;
        const { bytes } = backbone.tensors.get(tensor)!;
        assert.equal(8 * bytes / (96 * 64), bits);
        const read = async (from: typeof model) =>
          matrix(96, 64, await from.readF32(tensor));
        const error = relativeError(await read(model), await read(backbone));
        assert.ok(
          Math.abs(error - plainError) < 1e-6 * plainError,
          `${error} ${plainError}`,
        );
      }
    }));
}

for (
  const [format, kind, bits] of [
    ["nf2", "bnb", 4.5],
    ["int2", "dense", 32],
  ] as const
) {
  Deno.test(`a ${format} weight in a ${kind} backbone takes the ${bits} bits of what is stored`, () =>
    inFolder(async (folder) => {
      const model = await openModel(EVEN);
      const out = `${folder}/out`;
      const options = {
        ...PLAIN,
        format,
        block: 64,
        backbone: kind,
        dtype: "f32" as const,
        targets: ["up_proj"],
      };
      const { summary } = await init(model, options, { device, out });
      assert.equal(summary.bitsPerWeight, bits);
      await using source = bytesSource(
        await Deno.readFile(`${out}/backbone/model.safetensors`),
        "backbone",
      );
      const { tensors } = await openSafetensors(source);
      let bytes = 0;
      for (const [name, tensor] of tensors) {
        // The codes' table and the description of a weight are the same for any size.
        if (/layers\.0\..*up_proj\.weight(\.absmax)?$/.test(name)) {
          bytes += tensor.bytes;
        }
      }
      assert.equal(8 * bytes / (96 * 64), bits);
    }));
}

Deno.test("scales in f32 where they are asked for; bitsandbytes has no others", () =>
  inFolder(async (folder) => {
    const model = await openModel(EVEN);
    const run = (options: Partial<InitOptions>) =>
      init(model, { ...PLAIN, ...options }, { device, out: `${folder}/out` });
    const { summary } = await run({ format: "int2", scaleDType: "f32" });
    assert.equal(summary.bitsPerWeight, 4);
    await assert.rejects(run({ format: "nf4", scaleDType: "f16" }), {
      name: "RangeError",
      message:
        /scales in f16: those of bitsandbytes are f32; wanted --backbone/,
    });
  }));

Deno.test("weights whose scales f16 cannot hold are refused by name", async () => {
  const weight = (size: number) =>
    matrix(8, 64, new Random(1).normals(8 * 64).map((x) => x * size));
  const run = (size: number, format: FormatName) =>
    loftq(weight(size), {
      ...{ device, format, rank: 2, name: "up_proj" },
      scaleDType: "f16",
    });
  for (const format of ["int4", "nf3"] as const) {
    await assert.rejects(run(1e6, format), {
      name: "RangeError",
      message: /scales of up_proj in f16: they reach beyond 65504; wanted/,
    });
    await assert.rejects(run(1e-7, format), {
      name: "RangeError",
      message: /scales of up_proj in f16: the largest is \S+; wanted .*f32/,
    });
    assert.ok((await run(1e-3, format)).error < 0.25);
  }
});

Deno.test("a packed backbone keeps what it does not quantise in the blocks of its GGUF file", () =>
  inFolder(async (folder) => {
    const options = { ...PLAIN, format: "int2" as const, targets: ["up_proj"] };
    await using file = await openCheckpoint(GGUF);
    await init(file, options, { device, out: `${folder}/out` });
    await using backbone = await openCheckpoint(`${folder}/out/backbone`);
    let kept = 0;
    for (const { name, encoding, blocks, bytes } of file.tensors.values()) {
      if (name.includes("up_proj")) continue;
      const found = backbone.tensors.get(name)!;
      assert.deepEqual([found.encoding, found.bytes], [encoding, bytes], name);
      assert.deepEqual(await backbone.readF32(name), await file.readF32(name));
      if (blocks === undefined) continue;
      kept++;
      assert.deepEqual(
        await backbone.readBlocks!(name, 1, 3),
        await file.readBlocks!(name, 1, 3),
      );
      assert.deepEqual(
        await backbone.readQuantized!(name),
        await file.readQuantized!(name),
      );
    }
    assert.ok(kept >= 8, `${kept}`);
    const plain = { ...options, dtype: "f16" as const };
    await init(file, plain, { device, out: `${folder}/plain` });
    await using narrow = await openCheckpoint(`${folder}/plain/backbone`);
    assert.equal(
      narrow.tensors.get("model.embed_tokens.weight")!.encoding,
      "F16",
    );
  }));
