import assert from "node:assert/strict";
import {
  classTask,
  findTargets,
  matrixModules,
  targetModuleNames,
} from "../../../src/init/targets.ts";
import { modelOf, openModel } from "../../helpers/model.ts";

const ends = (modules: string[], prefix: string, count = 2) =>
  Array.from(
    { length: count },
    (_, i) => modules.map((m) => `${prefix}.${i}.${m}`),
  ).flat();

const LLAMA = [
  "model.embed_tokens",
  ...ends([
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
  ], "model.layers"),
  "lm_head",
];
const BERT = [
  "bert.embeddings.word_embeddings",
  "bert.embeddings.position_embeddings",
  "bert.embeddings.token_type_embeddings",
  ...ends([
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
  ], "bert.encoder.layer"),
  "bert.pooler.dense",
  "classifier",
];
const ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"];
const BART = [
  "model.shared",
  "model.encoder.embed_positions",
  ...ends(
    [...ATTENTION.map((m) => `self_attn.${m}`), "fc1", "fc2"],
    "model.encoder.layers",
  ),
  "model.decoder.embed_positions",
  ...ends(
    [
      ...ATTENTION.map((m) => `self_attn.${m}`),
      ...ATTENTION.map((m) => `encoder_attn.${m}`),
      "fc1",
      "fc2",
    ],
    "model.decoder.layers",
  ),
];
const DEBERTA = [
  "deberta.embeddings.word_embeddings",
  ...ends([
    "attention.self.query_proj",
    "attention.self.key_proj",
    "attention.self.value_proj",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
  ], "deberta.encoder.layer"),
  "deberta.encoder.rel_embeddings",
  "pooler.dense",
  "classifier",
];
const T5 = [
  "shared",
  ...ends([
    "layer.0.SelfAttention.q",
    "layer.0.SelfAttention.relative_attention_bias",
    "layer.1.DenseReluDense.wo",
  ], "encoder.block"),
  "lm_head",
];

const found = async (modules: string[], wanted?: string[]) =>
  findTargets(await modelOf(modules), wanted).map(({ module }) => module);

Deno.test("without --target: the linear layers of the numbered layers", async () => {
  for (
    const [name, modules, count] of [
      ["LLaMA", LLAMA, 14],
      ["BERT", BERT, 12],
      ["BART", BART, 32],
      ["DeBERTa", DEBERTA, 12],
      ["T5", T5, 4],
    ] as const
  ) {
    const targets = await found([...modules]);
    assert.equal(targets.length, count, name);
    assert.deepEqual(
      targets,
      modules.filter((m) => targets.includes(m)),
      `${name}: file order`,
    );
    for (const module of targets) {
      assert.doesNotMatch(
        module,
        /embed|pooler|classifier|lm_head|shared|relative/,
      );
    }
  }
});

Deno.test("--target by names, ends of paths and patterns, as PEFT has it", async () => {
  assert.deepEqual(
    await found(LLAMA, ["q_proj", "mlp.up_proj"]),
    LLAMA.filter((m) => /q_proj|up_proj/.test(m)),
  );
  assert.deepEqual(await found(LLAMA, ["lm_head"]), ["lm_head"]);
  assert.deepEqual(
    await found(LLAMA, ["model.layers.1.mlp.(gate|up)_proj"]),
    ["model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj"],
  );
  assert.deepEqual(
    await found(BERT, ["pooler.dense"]),
    ["bert.pooler.dense"],
  );
});

Deno.test("a target that matches nothing is named, with what there is", async () => {
  await assert.rejects(found(LLAMA, ["q_proj", "c_attn", "proj"]), {
    name: "RangeError",
    message:
      'Cannot find the target "c_attn", "proj" in tiny: its linear layers are called q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, lm_head',
  });
});

Deno.test("embeddings as targets are refused", async () => {
  for (
    const [modules, target, module] of [
      [LLAMA, "embed_tokens", "model.embed_tokens"],
      [LLAMA, ".*", "model.embed_tokens"],
      [BERT, "word_embeddings", "bert.embeddings.word_embeddings"],
      [BART, "shared", "model.shared"],
      [BART, "embed_positions", "model.encoder.embed_positions"],
      [
        T5,
        "relative_attention_bias",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
      ],
    ] as const
  ) {
    await assert.rejects(found([...modules], [target]), {
      name: "RangeError",
      message:
        `Cannot quantize ${module} of tiny: it is an embedding, wanted linear layers; name others with --target`,
    });
  }
  // GPT-NeoX calls its head so.
  assert.deepEqual(await found(["embed_out"], ["embed_out"]), ["embed_out"]);
});

Deno.test("models without linear layers, or with transposed ones, are refused", async () => {
  await assert.rejects(found(["embed_tokens", "head"]), {
    name: "RangeError",
    message:
      "Cannot quantize tiny: it has no linear layers in numbered transformer layers; name them with --target",
  });
  const gpt2 = await modelOf(["h.0.attn.c_attn"], { model_type: "gpt2" });
  assert.throws(() => findTargets(gpt2), {
    name: "RangeError",
    message:
      "Cannot quantize tiny: a gpt2 stores its weights transposed, which this tool does not write; wanted a model of plain linear layers, or PEFT's own LoftQ in Python",
  });
});

Deno.test("matrixModules() takes two-dimensional weights only", async () => {
  const model = await openModel({
    tensors: {
      "a.weight": { shape: [2, 2] },
      "a.bias": { shape: [2] },
      "norm.weight": { shape: [2] },
      "conv.weight": { shape: [2, 2, 3] },
      "table": { shape: [2, 2] },
    },
  });
  assert.deepEqual(matrixModules(model), ["a"]);
});

/** Modules that PEFT would adapt: a name of the list, or an end of the path after a dot. */
function adapted(names: string[], all: string[]): string[] {
  return all.filter((m) => names.some((n) => m === n || m.endsWith(`.${n}`)));
}

Deno.test("targetModuleNames() means the targets and no other module", async (t) => {
  const cases: [string, string[], string[]][] = [
    ["LLaMA", LLAMA, [
      "down_proj",
      "gate_proj",
      "k_proj",
      "o_proj",
      "q_proj",
      "up_proj",
      "v_proj",
    ]],
    ["BART", BART, [
      "fc1",
      "fc2",
      "k_proj",
      "out_proj",
      "q_proj",
      "v_proj",
    ]],
    ["BERT", BERT, [
      "intermediate.dense",
      "key",
      "output.dense",
      "query",
      "value",
    ]],
    ["DeBERTa", DEBERTA, [
      "intermediate.dense",
      "key_proj",
      "output.dense",
      "query_proj",
      "value_proj",
    ]],
  ];
  for (const [name, all, wanted] of cases) {
    await t.step(name, async () => {
      const targets = await found(all);
      const names = targetModuleNames(targets, all);
      assert.deepEqual(names, wanted);
      assert.deepEqual(adapted(names, all), targets);
    });
  }
  await t.step("one layer of many", () => {
    const one = ["model.layers.1.mlp.up_proj"];
    const names = targetModuleNames(one, LLAMA);
    assert.deepEqual(names, ["1.mlp.up_proj"]);
    assert.deepEqual(adapted(names, LLAMA), one);
  });
  await t.step("a head's layer that transformers adds is not meant", () => {
    const all = [
      "encoder.layer.0.output.dense",
      "encoder.layer.1.output.dense",
    ];
    assert.deepEqual(targetModuleNames(all, all), ["output.dense"]);
    const pooler = ["bert.pooler.dense"];
    assert.deepEqual(targetModuleNames(pooler, pooler), ["pooler.dense"]);
  });
  await t.step("a module whose path ends another's", () => {
    const all = ["proj", "a.proj", "b.a.proj"];
    for (const targets of [["a.proj", "b.a.proj"], ["b.a.proj"]]) {
      const names = targetModuleNames(targets, all);
      assert.deepEqual(adapted(names, all), targets);
    }
  });
});

Deno.test("classTask() by architecture", () => {
  for (
    const [architecture, wanted] of [
      ["LlamaForCausalLM", "CAUSAL_LM"],
      ["BartForConditionalGeneration", "SEQ_2_SEQ_LM"],
      ["T5WithLMHeadModel", "SEQ_2_SEQ_LM"],
      ["MarianMTModel", "SEQ_2_SEQ_LM"],
      ["DebertaV2ForSequenceClassification", "SEQ_CLS"],
      ["BertForTokenClassification", "TOKEN_CLS"],
      ["BertForQuestionAnswering", "QUESTION_ANS"],
      ["BertModel", "FEATURE_EXTRACTION"],
    ]
  ) {
    assert.equal(classTask({ architectures: [architecture] }), wanted);
  }
  assert.equal(classTask({}), null);
  assert.equal(classTask({ architectures: [] }), null);
  assert.equal(classTask({ architectures: "LlamaForCausalLM" }), null);
});
