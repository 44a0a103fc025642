import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { skipModules } from "../../../src/init/architecture.ts";
import type { InitOptions } from "../../../src/init/options.ts";
import { init } from "../../../src/init/run.ts";
import {
  autoClass,
  classTask,
  findTargets,
  modulePaths,
  targetModuleNames,
} from "../../../src/init/targets.ts";
import { openAdapter, openCheckpoint } from "../../../src/io/open.ts";
import { loadCausal, loadModel } from "../../../src/models/load/load.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { logitsOf } from "../../helpers/llama.ts";
import { inFolder, modelOf, openModel } from "../../helpers/model.ts";
import { writeSmall } from "../export/helpers.ts";

const PLAIN = {
  method: "loftq",
  rank: 2,
  alpha: 2,
  iterations: 1,
  seed: 0,
} as const;

const found = async (
  modules: readonly string[],
  config: Record<string, unknown>,
  wanted?: readonly string[],
) => findTargets(await modelOf(modules, config), wanted).map((t) => t.module);

const layer = (...names: string[]) =>
  names.map((name) => `model.layers.0.${name}`);

Deno.test("routers, experts and what shares their names are no targets unless named", async () => {
  const attention = layer("self_attn.q_proj", "self_attn.o_proj");
  for (
    const [type, mlp] of [
      [
        "mixtral",
        layer("block_sparse_moe.gate", "block_sparse_moe.experts.0.w1"),
      ],
      ["qwen3_moe", layer("mlp.gate", "mlp.experts.3.gate_proj")],
      ["deepseek_v3", [
        ...layer("mlp.up_proj"),
        "model.layers.1.mlp.gate",
        "model.layers.1.mlp.experts.0.up_proj",
        "model.layers.1.mlp.shared_experts.up_proj",
      ]],
      ["gpt_oss", layer("mlp.router")],
      ["granitemoe", layer("block_sparse_moe.router.layer")],
    ] as const
  ) {
    const config = { "model_type": type };
    assert.deepEqual(await found([...attention, ...mlp], config), attention);
  }
  const dense = layer("mlp.gate_proj", "mlp.up_proj");
  assert.deepEqual(await found(dense, { "model_type": "llama" }), dense);
  const expert = layer("mlp.experts.3.gate_proj");
  assert.deepEqual(
    await found([...attention, ...expert], { "model_type": "qwen3_moe" }, [
      "gate_proj",
    ]),
    expert,
  );
});

Deno.test("towers beside a language model are no targets unless named; a tower alone is the model", async () => {
  const tower = ["model.visual.blocks.0.attn.qkv"];
  const text = ["model.language_model.layers.0.self_attn.q_proj"];
  const config = { "model_type": "qwen2_5_vl", "vision_config": {} };
  assert.deepEqual(await found([...tower, ...text], config), text);
  assert.deepEqual(await found([...tower, ...text], config, ["qkv"]), tower);
  const alone = ["vision_model.encoder.layers.0.mlp.fc1"];
  assert.deepEqual(await found(alone, { "model_type": "siglip" }), alone);
});

Deno.test("what transformers keeps in f32 or PEFT refuses is left out; ALBERT's shared layers are layers", async () => {
  const t5 = ["encoder.block.0.layer.1.DenseReluDense.wi"];
  assert.deepEqual(
    await found([...t5, "encoder.block.0.layer.1.DenseReluDense.wo"], {
      "model_type": "t5",
    }),
    t5,
  );
  const mixer = (name: string) => `backbone.layers.0.mixer.${name}`;
  const mamba = ["in_proj", "x_proj", "dt_proj", "out_proj"].map(mixer);
  assert.deepEqual(await found(mamba, { "model_type": "mamba" }), [
    mixer("in_proj"),
  ]);
  await assert.rejects(found(mamba, { "model_type": "mamba" }, ["out_proj"]), {
    name: "RangeError",
    message:
      "Cannot adapt backbone.layers.0.mixer.out_proj of tiny: PEFT refuses factors for it in a mamba; wanted --target without it",
  });
  const albert = [
    "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query",
  ];
  assert.deepEqual(await found(albert, { "model_type": "albert" }), albert);
});

/** The error of `init` on linear layers of 64 x 64 with these names. */
async function refusal(
  modules: readonly string[],
  type: string,
  options: Partial<InitOptions>,
): Promise<Error | undefined> {
  using device = await openDevice("wasm", { threads: 1 });
  await using checkpoint = await openModel({
    config: { "model_type": type },
    tensors: Object.fromEntries(
      modules.map((name) => [`${name}.weight`, { shape: [64, 64] }]),
    ),
  });
  let error: Error | undefined;
  await inFolder(async (folder) => {
    try {
      await init(checkpoint, { ...PLAIN, ...options }, {
        device,
        out: `${folder}/out`,
      });
    } catch (thrown) {
      error = thrown as Error;
    }
  });
  return error;
}

Deno.test("what bitsandbytes or PEFT cannot hold is refused with the way out, before any work", async () => {
  const wo = ["encoder.block.0.layer.1.DenseReluDense.wo"];
  const expert = layer("mlp.experts.0.up_proj");
  const router = layer("mlp.gate");
  const falcon = ["transformer.h.0.mlp.dense_h_to_4h"];
  for (
    const [modules, type, options, message] of [
      [
        wo,
        "t5",
        { targets: ["wo"], backbone: "bnb" },
        `Cannot write ${
          wo[0]
        } of a t5 for bitsandbytes: transformers keeps it in f32; wanted --backbone dense, or --target without it`,
      ],
      [
        falcon,
        "falcon",
        { backbone: "bnb" },
        `Cannot write ${
          falcon[0]
        } of a falcon for bitsandbytes: its layers are of a class of their own, which stays plain there; wanted --backbone dense, or --target without it`,
      ],
      [
        [...expert, ...router],
        "qwen3_moe",
        { targets: ["up_proj"], backbone: "bnb" },
        `Cannot write ${
          expert[0]
        } of a qwen3_moe for bitsandbytes: transformers holds the experts of a layer in one tensor, which stays plain there; wanted --backbone dense, or --target without it`,
      ],
      [
        [...expert, ...router],
        "deepseek_v3",
        { targets: ["up_proj"] },
        `Cannot adapt ${
          expert[0]
        } of tiny: PEFT drops or refuses factors of the experts of a deepseek_v3; wanted --target without it, or --backbone packed`,
      ],
      [
        [...expert, ...router],
        "qwen3_moe",
        { targets: ["gate"], backbone: "dense" },
        `Cannot adapt ${
          router[0]
        } of tiny: PEFT drops or refuses factors of the routers of a qwen3_moe; wanted --target without it, or --backbone packed`,
      ],
    ] as const
  ) {
    const error = await refusal(modules, type, options);
    assert.deepEqual([error?.name, error?.message], ["RangeError", message]);
  }
  // Without a word about the backbone it is one that loads.
  assert.equal(await refusal(falcon, "falcon", {}), undefined);
  assert.equal(await refusal(wo, "t5", { targets: ["wo"] }), undefined);
});

Deno.test("the skip list names heads that are in no file, and hides no quantised layer", () => {
  const skip = skipModules(
    ["proj", "model.layers.0.mlp.gate", "model.layers.0.mlp.experts.7.w1"],
    ["model.layers.0.attn.proj", "model.layers.0.mlp.gate_proj"],
  );
  for (
    const name of [
      ...["lm_head", "cls", "proj_out", "predictions", "^decoder$", "^proj$"],
      ...["model.layers.0.mlp.gate", "model.layers.0.mlp.experts"],
    ]
  ) assert.ok(skip.includes(name), name);
  assert.ok(!skip.includes("proj"));
  assert.ok(!skip.some((name) => name.includes("experts.7")));
});

Deno.test("target_modules are told apart from modules with weights of any rank", async () => {
  await using model = await openModel({
    tensors: {
      "visual.patch_embed.proj.weight": { shape: [2, 3, 1, 2, 2] },
      "visual.blocks.0.attn.proj.weight": { shape: [2, 2] },
    },
  });
  assert.deepEqual(
    targetModuleNames(["visual.blocks.0.attn.proj"], modulePaths(model)),
    ["attn.proj"],
  );
});

Deno.test("the type of task is that of what a class does, not of its name's end", () => {
  const task = (architecture: string, more: Record<string, unknown> = {}) =>
    classTask({ architectures: [architecture], ...more });
  const seeing = { "vision_config": {}, "text_config": {} };
  assert.equal(
    task("Gemma3ForConditionalGeneration", {
      "model_type": "gemma3",
      ...seeing,
    }),
    "CAUSAL_LM",
  );
  assert.equal(
    task("WhisperForConditionalGeneration", { "model_type": "whisper" }),
    null,
  );
  assert.equal(
    task("ViTForImageClassification", { "model_type": "vit" }),
    null,
  );
  assert.equal(task("BertForMaskedLM", { "model_type": "bert" }), null);
  assert.equal(
    task("BertModel", { "model_type": "bert" }),
    "FEATURE_EXTRACTION",
  );
  assert.equal(
    task("T5ForConditionalGeneration", { "model_type": "t5" }),
    "SEQ_2_SEQ_LM",
  );
});

Deno.test("autoClass() builds the class that the config names", () => {
  for (
    const [architecture, wanted, more] of [
      ["LlamaForCausalLM", "AutoModelForCausalLM"],
      ["GPT2LMHeadModel", "AutoModelForCausalLM"],
      ["LlamaModel", "AutoModel"],
      ["BertForMaskedLM", "AutoModelForMaskedLM"],
      ["BartForConditionalGeneration", "AutoModelForSeq2SeqLM"],
      ["MarianMTModel", "AutoModelForSeq2SeqLM"],
      ["WhisperForConditionalGeneration", "AutoModelForSpeechSeq2Seq", {
        "model_type": "whisper",
      }],
      ["LlavaForConditionalGeneration", "AutoModelForImageTextToText", {
        "vision_config": {},
      }],
    ] as const
  ) assert.equal(autoClass({ architectures: [architecture], ...more }), wanted);
});

Deno.test("the head that an encoder has is in its adapter, in full", () =>
  inFolder(async (folder) => {
    using device = await openDevice("wasm", { threads: 1 });
    await using checkpoint = await openModel({
      config: {
        "model_type": "distilbert",
        architectures: ["DistilBertForSequenceClassification"],
      },
      tensors: {
        "distilbert.transformer.layer.0.ffn.lin1.weight": { shape: [64, 64] },
        "pre_classifier.weight": { shape: [3, 3] },
        "classifier.weight": { shape: [2, 3] },
        "classifier.bias": { shape: [1], dtype: "f16" },
      },
    });
    await init(checkpoint, PLAIN, { device, out: `${folder}/out` });
    await using adapter = await openAdapter(`${folder}/out/adapter`);
    assert.equal(adapter.config.task_type, "SEQ_CLS");
    assert.deepEqual(adapter.config.modules_to_save, [
      "classifier",
      "pre_classifier",
    ]);
    for (const name of ["pre_classifier.weight", "classifier.bias"]) {
      const held = adapter.others.get(`base_model.model.${name}`);
      assert.deepEqual(
        await held?.readF32(0, held.info.shape[0]),
        await checkpoint.readF32(name),
      );
    }
  }));

Deno.test("loqa runs a model saved without its prefix, and what init makes of it, as the same model with it", () =>
  inFolder(async (folder) => {
    using device = await openDevice("wasm", { threads: 1 });
    const ids = Uint32Array.from({ length: 12 }, (_, i) => 5 + i * 7);
    const tokens = { ids: [...ids], batch: 1, time: ids.length };
    const says = async (path: string) => {
      await using loaded = await loadCausal(device, path);
      return await logitsOf(loaded.model, tokens);
    };
    const answers: Float32Array[] = [];
    for (const architecture of ["LlamaForCausalLM", "LlamaModel"]) {
      const model = `${folder}/${architecture}`;
      await writeSmall(model, {
        architectures: [architecture],
        tie_word_embeddings: true,
      });
      await using checkpoint = await openCheckpoint(model);
      await init(checkpoint, PLAIN, { device, out: `${model}-out` });
      answers.push(await says(`${model}-out`));
      await using adapter = await openAdapter(`${model}-out/adapter`);
      const prefix = architecture === "LlamaModel" ? "" : "model.";
      assert.ok(adapter.modules.has(`${prefix}layers.0.mlp.up_proj`));
    }
    assertAllClose(answers[1], answers[0]);
    // The backbone of the second is one that was saved without its prefix.
    await using bare = await loadModel(
      device,
      `${folder}/LlamaModel-out/backbone`,
    );
    assert.ok(bare.model.linears.has("model.layers.0.mlp.up_proj"));
  }));
