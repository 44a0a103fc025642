import assert from "node:assert/strict";
import { openDevice } from "../../../../src/backend/open.ts";
import { KeyValueCache, Llama } from "../../../../src/models/decoder/model.ts";
import { loadModel } from "../../../../src/models/load/load.ts";
import { attachAdapter } from "../../../../src/nn/adapter.ts";
import { matrix } from "../../../../src/tensor/matrix.ts";
import { dequantize, quantize } from "../../../../src/api/matrices.ts";
import { assertAllClose } from "../../../helpers/assert.ts";
import {
  gradientsOf,
  logitsOf,
  smallConfig,
  smallModel,
  smallWeights,
  someFactors,
  wholeBatch,
} from "../../../helpers/llama.ts";
import { inFolder, openModel, writeModel } from "../../../helpers/model.ts";

Deno.test("Llama.load(): every tensor that is wrong, in one error", async () => {
  using device = await openDevice("reference");
  const config = smallConfig();
  const tensors = smallWeights(config);
  delete tensors["model.norm.weight"];
  tensors["model.layers.0.mlp.up_proj.weight"] = { shape: [20, 11] };
  tensors["model.layers.0.self_attn.q_proj.bias"] = { shape: [16] };
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = { shape: [2] };
  await using checkpoint = await openModel({ config, tensors });
  const { bytes } = device.memory;
  await assert.rejects(Llama.load(device, checkpoint), (error: Error) => {
    assert.equal(error.name, "SyntaxError");
    assert.equal(
      error.message,
      'Cannot run the model "tiny": ' + [
        'tensor "model.layers.0.mlp.up_proj.weight" is [20, 11], wanted [20, 12]',
        'tensor "model.norm.weight" is missing',
        'tensor "model.layers.0.self_attn.q_proj.bias" has no place in the model',
      ].join("; "),
    );
    return true;
  });
  assert.equal(device.memory.bytes, bytes);
});

Deno.test("Llama.load(): a head that differs from the table is the head, whatever the config says", async () => {
  using device = await openDevice("reference");
  const batch = wholeBatch([[1, 2, 3]]);
  const scores = async (tied: boolean, head: "none" | "same" | "other") => {
    const weights = smallWeights(smallConfig({ tie_word_embeddings: true }));
    const table = { shape: [31, 12], values: new Float32Array(31 * 12) };
    table.values.forEach((_, i) => table.values[i] = Math.sin(i));
    const tensors = {
      ...weights,
      "model.embed_tokens.weight": table,
      ...(head === "same" && { "lm_head.weight": table }),
      ...(head === "other" && { "lm_head.weight": { shape: [31, 12] } }),
    };
    const config = { "tie_word_embeddings": tied };
    using model = await smallModel(device, config, { tensors });
    assert.equal(model.config.tied, tied && head !== "other");
    return await logitsOf(model, batch);
  };
  const own = await scores(false, "other");
  const tied = await scores(true, "none");
  assert.notDeepEqual(own, tied);
  assert.deepEqual(await scores(true, "other"), own);
  assert.deepEqual(await scores(true, "same"), tied);
  assert.deepEqual(await scores(false, "same"), tied);
});

Deno.test("a model, or an adapter, that holds NaN or infinity is refused when it is loaded", async () => {
  using device = await openDevice("reference");
  const config = smallConfig();
  for (
    const [name, at, value] of [
      ["model.layers.0.self_attn.q_proj.weight", 17, Infinity],
      ["model.layers.1.mlp.down_proj.weight", 0, NaN],
      ["model.embed_tokens.weight", 40, -Infinity],
      ["model.norm.weight", 11, NaN],
    ] as const
  ) {
    const tensors = { ...smallWeights(config) };
    const { shape } = tensors[name];
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(.1);
    values[at] = value;
    tensors[name] = { shape, values };
    await using checkpoint = await openModel({ config, tensors });
    const { bytes } = device.memory;
    await assert.rejects(Llama.load(device, checkpoint), {
      name: "RangeError",
      message:
        `Cannot load "tiny": ${name} holds ${value} (value ${at}), wanted finite values; write it anew in bf16 or f32, or take a copy that is sound`,
    });
    assert.equal(device.memory.bytes, bytes);
  }
  using model = await smallModel(device, {});
  const factors = someFactors(model);
  factors[0].b[3] = NaN;
  assert.throws(
    () => attachAdapter(device, model.linears, { factors, name: "mine" }),
    {
      name: "TypeError",
      message:
        /^Cannot put the adapter "mine" on the model: model\.\S+\.lora_B holds NaN$/,
    },
  );
});

Deno.test("Llama.forward(): what does not fit is refused", async () => {
  using device = await openDevice("reference");
  using model = await smallModel(device, { max_position_embeddings: 6 });
  const refuses = async (
    work: Promise<unknown>,
    what: string,
  ): Promise<void> => {
    await assert.rejects(work, (error: Error) => {
      assert.equal(error.name, "RangeError");
      assert.equal(error.message, `Cannot run the model: ${what}`);
      return true;
    });
  };
  const row = (time: number) => wholeBatch([Array(time).fill(1)]);
  await refuses(
    logitsOf(model, row(7)),
    "a sequence of 7 tokens is beyond its context of 6",
  );
  await refuses(
    logitsOf(model, { ids: [1, 2, 3], batch: 2, time: 2 }),
    "2 sequences of 2 tokens, got 3 ids",
  );
  for (const id of [31, -1, NaN]) {
    await refuses(
      logitsOf(model, wholeBatch([[1, id]])),
      `token ${id} is not in its vocabulary of 31`,
    );
  }
  using cache = new KeyValueCache(device, model.config, {
    batch: 1,
    capacity: 4,
  });
  await logitsOf(model, row(3), { cache });
  await refuses(
    logitsOf(model, row(2), { cache }),
    "1 x 5 tokens, its cache holds 1 x 4",
  );
  await refuses(
    logitsOf(model, wholeBatch([[1], [1]]), { cache }),
    "2 x 4 tokens, its cache holds 1 x 4",
  );
  assert.equal(cache.length, 3);
});

Deno.test("quantised weights: the logits and gradients of what they decode to", async () => {
  using device = await openDevice("reference");
  const config = smallConfig({ num_key_value_heads: 4 });
  const tensors = smallWeights(config);
  await using checkpoint = await openModel({ config, tensors });
  const quantised = async (name: string) => {
    if (!name.endsWith("_proj.weight")) return undefined;
    const { shape: [rows, cols], values } = tensors[name];
    const format = name.includes("mlp") ? "int3" : "nf4";
    return await quantize(matrix(rows, cols, values!), { format });
  };
  using model = await Llama.load(device, {
    ...checkpoint,
    readQuantized: quantised,
  });
  const decoded = { ...tensors };
  for (const name of Object.keys(tensors)) {
    const q = await quantised(name);
    if (!q) continue;
    const { rows, cols, data } = await dequantize(q);
    decoded[name] = { shape: [rows, cols], values: data };
  }
  using plain = await smallModel(device, { num_key_value_heads: 4 }, {
    tensors: decoded,
  });
  const batch = wholeBatch([[1, 2, 3, 4, 5], [9, 8, 7, 6, 5]]);
  assertAllClose(await logitsOf(model, batch), await logitsOf(plain, batch), {
    atol: 1e-5,
  });
  const gradients = async (of: Llama) => {
    using adapter = attachAdapter(device, of.linears, {
      name: "x",
      factors: someFactors(plain),
      train: true,
    });
    for (const layer of of.linears.values()) layer.enable(["x"]);
    return (await gradientsOf(of, adapter.parameters!, { batches: [batch] }))
      .gradients;
  };
  const wanted = await gradients(plain);
  for (const [name, gradient] of await gradients(model)) {
    assertAllClose(gradient, wanted.get(name)!, { atol: 1e-5, what: name });
  }
});

Deno.test("loadModel(): adapters by name, and one that is not there", () =>
  inFolder(async (folder) => {
    using device = await openDevice("reference");
    await writeModel(folder, {
      config: smallConfig(),
      tensors: smallWeights(smallConfig()),
    });
    await using loaded = await loadModel(device, folder);
    assert.deepEqual(loaded.adapters, []);
    assert.equal(loaded.place.adapter, undefined);
    assert.throws(
      () => loaded.enable(["x"]),
      /^RangeError: Cannot enable the adapter "x": the model has none$/,
    );
  }));
