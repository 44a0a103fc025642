import assert from "node:assert/strict";
import {
  builtName,
  presentNames,
} from "../../../../src/io/checkpoint/names.ts";
import { openModel } from "../../../helpers/model.ts";

const now = (
  names: readonly string[],
  config: Record<string, unknown> = { "model_type": "llama" },
) => [...presentNames(names, config).values()];

const LLAMA = [
  "model.embed_tokens.weight",
  "model.layers.0.self_attn.q_proj.weight",
  "model.norm.weight",
  "lm_head.weight",
];

Deno.test("a text model has one form of names, whatever it was saved in", () => {
  const forms: [string, (name: string) => string][] = [
    ["as it is", (name) => name],
    ["no prefix", (name) => name.replace(/^model\./, "")],
    ["twice", (name) => `model.${name}`],
    ["twice but for the head", (name) => name.replace(/^model/, "model.model")],
    ["data parallel", (name) => `module.${name}`],
    ["compiled", (name) => `_orig_mod.${name}`],
    ["both", (name) => `module._orig_mod.${name}`],
    ["a part compiled", (name) => name.replace("q_proj", "q_proj._orig_mod")],
    ["sharded", (name) => name.replace("0.", "0._fsdp_wrapped_module.")],
    ["PEFT's", (name) => `base_model.model.${name}`],
    ["beside towers, once", (name) => `language_model.${name}`],
    [
      "beside towers, now",
      (name) => name.replace(/^model\./, "model.language_model."),
    ],
  ];
  for (const [form, save] of forms) {
    assert.deepEqual(now(LLAMA.map(save)), LLAMA, form);
  }
});

Deno.test("a model beside towers is called as transformers 5 calls it, from files of before and of now", () => {
  const llava = {
    "model_type": "llava",
    "text_config": {},
    "vision_config": {},
  };
  const modules = [
    "model.language_model.layers.0.self_attn.q_proj.weight",
    "model.vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight",
    "model.multi_modal_projector.linear_1.weight",
    "lm_head.weight",
  ];
  assert.deepEqual(
    now([
      "language_model.model.layers.0.self_attn.q_proj.weight",
      "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight",
      "multi_modal_projector.linear_1.weight",
      "language_model.lm_head.weight",
    ], llava),
    modules,
  );
  assert.deepEqual(now(modules, llava), modules);
  const qwen = { "model_type": "qwen2_5_vl", "vision_config": {} };
  const built = [
    "model.language_model.layers.0.self_attn.q_proj.weight",
    "model.visual.blocks.0.attn.proj.weight",
    "lm_head.weight",
  ];
  assert.deepEqual(
    now([
      "model.layers.0.self_attn.q_proj.weight",
      "visual.blocks.0.attn.proj.weight",
      "lm_head.weight",
    ], qwen),
    built,
  );
  assert.deepEqual(now(built, qwen), built);
});

Deno.test("modules that were renamed have the names of today", () => {
  const vit = { "model_type": "vit" };
  const before = "vit.encoder.layer.0.";
  const modules = ["attention.q_proj", "attention.o_proj", "mlp.fc1", "mlp.fc2"]
    .map((name) => `vit.layers.0.${name}.weight`);
  assert.deepEqual(
    now(
      [
        ...["attention.attention.query", "attention.output.dense"],
        ...["intermediate.dense", "output.dense"],
      ].map((name) => `${before}${name}.weight`),
      vit,
    ),
    modules,
  );
  assert.deepEqual(now(modules, vit), modules);
});

Deno.test("a fused projection is the layers that it is made of, by its rows", async () => {
  const values = Float32Array.from({ length: 12 }, (_, i) => i);
  await using model = await openModel({
    config: { "model_type": "nomic_bert" },
    tensors: {
      "encoder.layers.0.attn.Wqkv.weight": { shape: [6, 2], values },
      "encoder.layers.0.attn.Wqkv.bias": {
        shape: [6],
        values: values.slice(0, 6),
      },
      "encoder.layers.0.attn.out_proj.weight": { shape: [2, 2] },
    },
  });
  const layer = (name: string) => `layers.0.self_attn.${name}`;
  assert.deepEqual([...model.tensors.keys()].sort(), [
    ...["k", "o", "q", "v"].flatMap((x) =>
      x === "o"
        ? [layer("o_proj.weight")]
        : [layer(`${x}_proj.bias`), layer(`${x}_proj.weight`)]
    ),
  ]);
  const k = layer("k_proj.weight");
  assert.deepEqual(model.tensors.get(k)?.shape, [2, 2]);
  assert.deepEqual([...await model.readF32(k)], [4, 5, 6, 7]);
  assert.deepEqual([...await model.readF32(k, 1, 2)], [6, 7]);
  assert.deepEqual([...await model.readF32(layer("v_proj.bias"))], [4, 5]);
});

Deno.test("two tensors of one name are refused, and an adapter's file keeps its names", async () => {
  const tensors = {
    "model.embed_tokens.weight": { shape: [2, 2] },
    "model.model.embed_tokens.weight": { shape: [2, 2] },
  };
  await assert.rejects(
    openModel({ config: { "model_type": "llama" }, tensors }),
    {
      name: "SyntaxError",
      message:
        'Cannot open "tiny": tensors "model.embed_tokens.weight" and "model.model.embed_tokens.weight" are both "model.embed_tokens.weight" of the model, wanted one of them',
    },
  );
  const adapter = ["A", "B"].map((factor) =>
    `base_model.model.model.layers.0.q_proj.lora_${factor}.weight`
  );
  assert.deepEqual(now(adapter, {}), adapter);
});

Deno.test("builtName(): as the class in architectures has it", () => {
  const named = (architecture: string, type: string, names: string[]) =>
    names.map(
      builtName({ "model_type": type, architectures: [architecture] }, names),
    );
  const bare = LLAMA.slice(0, 3).map((name) => name.replace("model.", ""));
  assert.deepEqual(named("LlamaForCausalLM", "llama", LLAMA), LLAMA);
  assert.deepEqual(named("LlamaModel", "llama", LLAMA.slice(0, 3)), bare);
  const bert = [
    "embeddings.word_embeddings.weight",
    "encoder.layer.0.x.weight",
  ];
  const prefixed = bert.map((name) => `bert.${name}`);
  assert.deepEqual(named("BertModel", "bert", prefixed), bert);
  assert.deepEqual(named("BertModel", "bert", bert), bert);
  assert.deepEqual(
    named("BertForSequenceClassification", "bert", [
      ...bert,
      "classifier.bias",
    ]),
    [...prefixed, "classifier.bias"],
  );
  // Of an unknown class nothing is changed.
  assert.deepEqual(named("XModel", "x", prefixed), prefixed);
});
