import assert from "node:assert/strict";
import { exportModel } from "../../../../src/export/run.ts";
import { openCheckpoint } from "../../../../src/io/open.ts";
import { codesOf } from "../../../../src/quant/pack.ts";
import { assertBytes } from "../../../helpers/assert.ts";
import { inFolder } from "../../../helpers/model.ts";
import { writePacked } from "../../../helpers/packed.ts";
import { GOLDEN, rejects } from "../../io/helpers.ts";
import { inHalves, writeSmallPacked } from "../helpers.ts";

for (const arch of ["llama", "qwen2", "qwen3"]) {
  const original = `${GOLDEN}/${arch}.gguf`;

  Deno.test(`a GGUF file of ${arch} comes out as it went in`, () =>
    inFolder(async (folder) => {
      const out = `${folder}/out.gguf`;
      const { exact, layers } = await exportModel(original, {
        to: "gguf",
        out,
      });
      assert.equal(exact, layers.length > 0);
      assertBytes(await Deno.readFile(out), await Deno.readFile(original));
    }));

  Deno.test(`so does a packed model made of one that was made of a GGUF file of ${arch}`, () =>
    inFolder(async (folder) => {
      await using checkpoint = await openCheckpoint(original);
      for (
        const [name, model] of [
          ["base", original],
          ["trained", `${folder}/base/backbone`],
        ]
      ) {
        await writePacked(`${folder}/${name}/backbone`, checkpoint);
        await Deno.writeTextFile(
          `${folder}/${name}/loqa.json`,
          JSON.stringify({ model }),
        );
      }
      const out = `${folder}/out.gguf`;
      await exportModel(`${folder}/trained`, { to: "gguf", out });
      assertBytes(await Deno.readFile(out), await Deno.readFile(original));
    }));

  Deno.test(`so does a packed model made of a GGUF file of ${arch}, its codes kept`, () =>
    inFolder(async (folder) => {
      await using checkpoint = await openCheckpoint(original);
      await writePacked(`${folder}/backbone`, checkpoint);
      await Deno.writeTextFile(
        `${folder}/loqa.json`,
        JSON.stringify({ model: original }),
      );
      const out = `${folder}/out.gguf`;
      const { exact, notes } = await exportModel(folder, { to: "gguf", out });
      assert.ok(exact);
      assert.match(notes[0], /copied from .*gguf$/);
      assertBytes(await Deno.readFile(out), await Deno.readFile(original));
    }));
}

Deno.test("biases that changed are written, all else is copied", () =>
  inFolder(async (folder) => {
    const original = `${GOLDEN}/llama.gguf`;
    await using checkpoint = await openCheckpoint(original);
    const packed = await writePacked(`${folder}/backbone`, checkpoint, {
      change: (q) => ({ ...q, biases: q.biases!.map((b) => b + 1.0001) }),
    });
    await Deno.writeTextFile(
      `${folder}/loqa.json`,
      JSON.stringify({ model: original }),
    );
    const out = `${folder}/out.gguf`;
    const { exact, rounding, layers } = await exportModel(folder, {
      to: "gguf",
      out,
    });
    assert.equal(exact, false);
    assert.equal(rounding.layers, layers.length);
    assert.ok(rounding.max >= rounding.mean && rounding.mean > 0);
    await using made = await openCheckpoint(out);
    for (const { name } of checkpoint.tensors.values()) {
      const q = packed.get(name);
      if (!q) {
        assert.deepEqual(
          await made.readF32(name),
          await checkpoint.readF32(name),
        );
        continue;
      }
      const after = (await made.readQuantized!(name))!;
      assert.deepEqual(after.codes, q.codes);
      assert.deepEqual(after.scales, q.scales);
      assert.deepEqual(after.biases, inHalves(q).biases);
    }
  }));

for (
  const [format, block, changes] of [
    ["int5", 32, {}],
    ["int4", 32, {}],
    ["int3", 64, { tie_word_embeddings: true, head_dim: 32 }],
    ["int2", 32, { model_type: "qwen2", architectures: ["Qwen2ForCausalLM"] }],
    ["int4", 32, {
      model_type: "smollm3",
      architectures: ["SmolLM3ForCausalLM"],
      num_hidden_layers: 4,
    }],
    ["int3", 32, {
      model_type: "qwen3",
      architectures: ["Qwen3ForCausalLM"],
      head_dim: 32,
    }],
    ["int4", 0, {
      model_type: "llama",
      attention_bias: true,
      rope_parameters: {
        rope_type: "llama3",
        rope_theta: 10000,
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 8192,
      },
    }],
  ] as const
) {
  Deno.test(`${format} in groups of ${block} keeps its codes in GGUF ${JSON.stringify(changes)}`, () =>
    inFolder(async (folder) => {
      const packed = await writeSmallPacked(`${folder}/packed`, {
        format,
        block,
        changes,
        change: inHalves,
      });
      const out = `${folder}/out.gguf`;
      const { exact, layers, bytes } = await exportModel(`${folder}/packed`, {
        to: "gguf",
        out,
      });
      assert.ok(exact);
      assert.equal(layers.length, packed.size);
      assert.equal(bytes, (await Deno.stat(out)).size);
      await using before = await openCheckpoint(`${folder}/packed`);
      await using made = await openCheckpoint(out);
      assert.deepEqual(
        new Set(made.tensors.keys()),
        new Set(before.tensors.keys()),
      );
      for (const name of before.tensors.keys()) {
        assert.deepEqual(await made.readF32(name), await before.readF32(name));
        const q = packed.get(name);
        if (q) {
          assert.deepEqual(
            codesOf((await made.readQuantized!(name))!),
            codesOf(q),
          );
        }
      }
      for (
        const key of [
          "hidden_size",
          "head_dim",
          "num_key_value_heads",
          "rms_norm_eps",
          "tie_word_embeddings",
          "max_position_embeddings",
          "eos_token_id",
        ]
      ) assert.deepEqual(made.config[key], before.config[key], key);
    }));
}

Deno.test("what GGUF cannot hold is refused and nothing is written", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out.gguf`;
    const run = (path: string) => () => exportModel(path, { to: "gguf", out });
    await writeSmallPacked(`${folder}/nf4`, { format: "nf4", block: 32 });
    await rejects(
      run(`${folder}/nf4`),
      TypeError,
      "q_proj.weight is nf4",
      "loqa merge",
    );
    await writeSmallPacked(`${folder}/48`, { format: "int4", block: 48 });
    await rejects(run(`${folder}/48`), TypeError, "groups of 48");
    await writeSmallPacked(`${folder}/odd`, {
      format: "int4",
      block: 32,
      changes: { intermediate_size: 80 },
    });
    await rejects(run(`${folder}/odd`), TypeError, "80 columns", "down_proj");
    await writeSmallPacked(`${folder}/far`, {
      format: "int4",
      block: 32,
      change: (q) => ({ ...q, biases: q.biases!.map(() => 1e6) }),
    });
    await rejects(run(`${folder}/far`), RangeError, "1000000", "f16");
    await writeSmallPacked(`${folder}/biased`, {
      format: "int4",
      block: 32,
      changes: { model_type: "qwen3", attention_bias: true },
    });
    await rejects(
      run(`${folder}/biased`),
      TypeError,
      "architecture qwen3 has no bias of self_attn.o_proj",
    );
    await writeSmallPacked(`${folder}/named`, {
      format: "int4",
      block: 32,
      changes: { model_type: "smollm3", no_rope_layers: [0, 1] },
    });
    await rejects(
      run(`${folder}/named`),
      TypeError,
      "architecture smollm3 has no rotary positions in every 4th layer",
    );
    for await (const { name } of Deno.readDir(folder)) {
      assert.ok(!name.startsWith("out"), name);
    }
  }));
