import assert from "node:assert/strict";
import {
  type DecoderFamily,
  type DecoderModule,
  DECODERS,
} from "../../../../src/families/decoders.ts";
import { exportModel } from "../../../../src/export/run.ts";
import { ProtoReader } from "../../../../src/io/tokenizer/sentencepiece/protobuf.ts";
import { codesOf, unpackCodes } from "../../../../src/quant/pack.ts";
import { FORMATS } from "../../../../src/quant/formats.ts";
import { inFolder } from "../../../helpers/model.ts";
import { rejects } from "../../io/helpers.ts";
import { OWN, writeSmall, writeSmallPacked } from "../helpers.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Where the weights of a model lie in its data file, by name. */
function externalRanges(
  model: Uint8Array,
): Map<string, { dims: number[]; offset: number; length: number }> {
  const ranges = new Map();
  const top = new ProtoReader(model, (reason) => new SyntaxError(reason));
  for (const field of top.fields()) {
    if (field !== 7) {
      top.skip();
      continue;
    }
    const graph = top.message("the graph");
    for (const part of graph.fields()) {
      if (part !== 5) {
        graph.skip();
        continue;
      }
      const tensor = graph.message("an initializer");
      const dims: number[] = [];
      const told: Record<string, string> = {};
      let name = "";
      for (const key of tensor.fields()) {
        if (key === 1) dims.push(tensor.int32("a size"));
        else if (key === 8) name = text(tensor.bytes("a name"));
        else if (key === 13) {
          const entry = tensor.message("an entry");
          const pair: string[] = [];
          for (const _ of entry.fields()) {
            pair.push(text(entry.bytes("a text")));
          }
          told[pair[0]] = pair[1];
        } else tensor.skip();
      }
      if (told.location === undefined) continue;
      assert.equal(told.location, "model_q4.onnx_data");
      ranges.set(name, {
        dims,
        offset: Number(told.offset),
        length: Number(told.length),
      });
    }
  }
  return ranges;
}

for (
  const [format, block, bits, inner] of [
    ["int5", 32, 8, 88],
    ["int4", 32, 4, 96],
    ["int3", 64, 4, 88],
    ["int2", 16, 2, 96],
  ] as const
) {
  Deno.test(`an ONNX model holds ${format} in groups of ${block} with its values`, () =>
    inFolder(async (folder) => {
      const packed = await writeSmallPacked(`${folder}/m`, {
        format,
        block,
        changes: { intermediate_size: inner },
      });
      const out = `${folder}/out`;
      const { layers, rounding } = await exportModel(`${folder}/m`, {
        to: "onnx",
        out,
      });
      assert.deepEqual(
        new Set(layers.map(({ name }) => `${name}.weight`)),
        new Set(packed.keys()),
      );
      assert.ok(rounding.max < 1e-5, "only the middle of a group is rounded");
      const ranges = externalRanges(
        await Deno.readFile(`${out}/onnx/model_q4.onnx`),
      );
      const data = await Deno.readFile(`${out}/onnx/model_q4.onnx_data`);
      const part = (name: string) => {
        const { offset, length, dims } = ranges.get(name)!;
        return { bytes: data.slice(offset, offset + length), dims };
      };
      for (const [name, q] of packed) {
        const { rows, cols } = q;
        const count = Math.ceil(cols / block);
        const codes = part(`${name}_q${bits}`);
        assert.deepEqual(codes.dims, [rows, count, block * bits / 8]);
        const spec = bits === 2 ? FORMATS.int2 : FORMATS.int4;
        const stored = bits === 8 ? codes.bytes : unpackCodes(spec, {
          rows,
          cols: count * block,
          codes: codes.bytes,
        });
        const floats = (suffix: string) =>
          new Float32Array(part(`${name}_${suffix}`).bytes.buffer);
        assert.deepEqual(floats("scales"), q.scales);
        const middles = floats("middles");
        const wanted = codesOf(q);
        for (let i = 0; i < wanted.length; i++) {
          const [row, col] = [Math.floor(i / cols), i % cols];
          const g = row * count + Math.floor(col / block);
          const code = stored[row * count * block + col];
          assert.equal(code, wanted[i] + (bits === 8 ? 112 : 0), name);
          const value = q.scales[g] * (code - 2 ** (bits - 1)) + middles[g];
          const original = q.scales[g] * wanted[i] + q.biases![g];
          assert.ok(Math.abs(value - original) <= 1e-6 * Math.abs(q.scales[g]));
        }
      }
    }));
}

Deno.test("an ONNX folder has config and tokenizer where transformers.js looks", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await exportModel(OWN, { to: "onnx", out });
    const names = await Array.fromAsync(Deno.readDir(out), ({ name }) => name);
    for (const name of ["config.json", "tokenizer.json", "onnx"]) {
      assert.ok(names.includes(name), name);
    }
    assert.ok((await Deno.stat(`${out}/onnx/model.onnx_data`)).isFile);
    const config = await Deno.readTextFile(`${out}/config.json`);
    assert.match(config, /"attention_dropout": 0\.0/);
    const { "transformers.js_config": js, quantization_config } = JSON.parse(
      config,
    );
    assert.deepEqual(js, { use_external_data_format: true });
    assert.equal(quantization_config, undefined);
  }));

Deno.test("what ONNX cannot hold is refused and nothing is written", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const run = (path: string, dtype?: "bf16") => () =>
      exportModel(path, { to: "onnx", out, dtype });
    await rejects(run(OWN, "bf16"), TypeError, "f16 or f32", "bf16");
    await writeSmallPacked(`${folder}/nf4`, { format: "nf4", block: 64 });
    await rejects(run(`${folder}/nf4`), TypeError, "ONNX", "is nf4");
    await writeSmallPacked(`${folder}/48`, { format: "int4", block: 48 });
    await rejects(run(`${folder}/48`), TypeError, "power of two", "48");
    // A family whose block has a module that nobody told the graph of.
    const families = DECODERS as DecoderFamily[];
    const llama = families.find(({ type }) => type === "llama")!;
    const extra = { name: "mlp.extra", gguf: "extra", shape: ["hidden"] };
    const at = families.indexOf(llama);
    families[at] = {
      ...llama,
      block: [...llama.block, extra as DecoderModule],
    };
    try {
      await writeSmall(`${folder}/extra`);
      await rejects(
        run(`${folder}/extra`),
        TypeError,
        "Cannot export a llama to ONNX",
        "no place for mlp.extra;",
      );
    } finally {
      families[at] = llama;
    }
    for await (const { name } of Deno.readDir(folder)) {
      assert.ok(!name.startsWith("out"), name);
    }
  }));
