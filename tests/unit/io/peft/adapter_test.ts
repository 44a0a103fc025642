// deno-lint-ignore-file camelcase -- the keys are those of Hugging Face files

import { lacking } from "../../../helpers/inputs.ts";
import assert from "node:assert/strict";
import { openAdapterFrom } from "../../../../src/io/peft/adapter.ts";
import {
  adapterEntries,
  adapterTensorName,
} from "../../../../src/io/peft/adapter.ts";
import {
  adapterConfig,
  moduleScaling,
  readAdapterConfig,
} from "../../../../src/io/peft/config.ts";
import { qaloraGroups } from "../../../../src/io/peft/qalora.ts";
import {
  safetensorsHeader,
  SafetensorsWriter,
} from "../../../../src/io/safetensors/write.ts";
import { memorySink } from "../../../../src/io/files/sources.ts";
import {
  files,
  goldenBytes,
  goldenJson,
  rejects,
  sha256,
  values,
} from "../helpers.ts";

interface Golden {
  rank: number;
  alpha: number;
  scaling: number;
  A: string;
  B: string;
}

async function goldenFiles() {
  return files({
    "adapter_config.json": await goldenBytes("adapter/adapter_config.json"),
    "adapter_model.safetensors": await goldenBytes(
      "adapter/adapter_model.safetensors",
    ),
  });
}

Deno.test("openAdapterFrom() finds the factors, ranks and scales that PEFT has", async () => {
  const golden = await goldenJson<Golden>("peft.json");
  await using adapter = await openAdapterFrom(await goldenFiles());
  assert.deepEqual(
    [...adapter.modules.keys()].sort(),
    Object.keys(golden).sort(),
  );
  for (const [name, wanted] of Object.entries(golden)) {
    const module = adapter.modules.get(name)!;
    assert.equal(module.rank, wanted.rank, name);
    assert.equal(module.alpha, wanted.alpha, name);
    assert.equal(module.scaling, wanted.scaling, name);
    assert.equal(await sha256(await module.readA()), wanted.A);
    assert.equal(await sha256(await module.readB()), wanted.B);
    assert.equal(module.inputs, 16);
    assert.equal(module.outputs, name.endsWith("q_proj") ? 24 : 8);
  }
  assert.deepEqual(
    [...adapter.others.keys()].sort(),
    ["base_model.model.head.bias", "base_model.model.head.weight"],
  );
});

Deno.test("adapterConfig() has the fields and defaults of PEFT", async () => {
  const golden = await goldenJson<unknown>("adapter/adapter_config.json");
  const ours = adapterConfig({
    targetModules: golden.target_modules as string[],
    rank: 4,
    alpha: 8,
    rslora: true,
    rankPattern: golden.rank_pattern as Record<string, number>,
    alphaPattern: golden.alpha_pattern as Record<string, number>,
    modulesToSave: ["head"],
  });
  const wanted: Record<string, unknown> = {
    ...golden,
    init_lora_weights: true,
    auto_mapping: null,
  };
  assert.deepEqual(Object.keys(ours), Object.keys(wanted));
  assert.deepEqual(ours, wanted);
  const back = readAdapterConfig(ours, "x");
  assert.equal(back.rank, 4);
  assert.deepEqual(back.targetModules, golden.target_modules);
});

Deno.test("an adapter that is written comes back", async () => {
  const modules = [
    {
      module: "model.layers.0.self_attn.q_proj",
      rank: 3,
      inputs: 8,
      outputs: 5,
    },
    { module: "model.layers.0.mlp.up_proj", rank: 3, inputs: 8, outputs: 16 },
  ];
  const layout = safetensorsHeader(adapterEntries(modules));
  const sink = memorySink("adapter");
  const writer = await SafetensorsWriter.open(sink, layout);
  for (const { name, bytes } of layout.entries) {
    const data = values(bytes / 4, name.length);
    await writer.write(name, new Uint8Array(data.buffer));
  }
  await writer.close();
  await using adapter = await openAdapterFrom(files({
    "adapter_config.json": JSON.stringify(
      adapterConfig({
        targetModules: ["q_proj", "up_proj"],
        ...{ rank: 3, alpha: 6 },
      }),
    ),
    "adapter_model.safetensors": sink.bytes(),
  }));
  for (const { module, rank, inputs, outputs } of modules) {
    const found = adapter.modules.get(module)!;
    assert.equal(found.scaling, 2);
    assert.deepEqual(
      await found.readA(),
      values(rank * inputs, adapterTensorName(module, "A").length),
    );
    assert.deepEqual(
      await found.readB(),
      values(rank * outputs, adapterTensorName(module, "B").length),
    );
  }
});

const Q = "model.layers.0.self_attn.q_proj";
const DOWN = "model.layers.0.mlp.down_proj";

/** Files of an adapter on groups of inputs, with `columns` of A by module. */
async function pooledFiles(
  columns: Record<string, number>,
  config: Record<string, unknown>,
) {
  const modules = Object.entries(columns).map(([module, inputs]) => ({
    module,
    rank: 2,
    inputs,
    outputs: 3,
  }));
  const layout = safetensorsHeader(adapterEntries(modules));
  const sink = memorySink("adapter");
  const writer = await SafetensorsWriter.open(sink, layout);
  for (const { name, bytes } of layout.entries) {
    await writer.write(
      name,
      new Uint8Array(new Float32Array(bytes / 4).fill(1).buffer),
    );
  }
  await writer.close();
  return files({
    "adapter_config.json": JSON.stringify(config),
    "adapter_model.safetensors": sink.bytes(),
  });
}

/** Value as read of each value of A, 1 in the file. */
async function readAs(
  set: Awaited<ReturnType<typeof pooledFiles>>,
  options: Parameters<typeof openAdapterFrom>[1] = {},
) {
  await using adapter = await openAdapterFrom(set, options);
  const found: Record<string, [number | undefined, number]> = {};
  for (const { module, group, readA } of adapter.modules.values()) {
    const values = new Set(await readA());
    assert.equal(values.size, 1);
    found[module] = [group, [...values][0]];
  }
  return found;
}

Deno.test("factors of QA-LoRA are converted to sums over the groups", async () => {
  const settings = {
    targetModules: ["q_proj", "down_proj"],
    ...{ rank: 2, alpha: 4 },
  };
  const columns = { [Q]: 18, [DOWN]: 48 };
  const peft = adapterConfig({
    ...settings,
    qalora: { group: 32, pooling: "peft" },
  });
  assert.deepEqual(
    [peft.use_qalora, peft.qalora_group_size, peft.loqa],
    [true, 32, undefined],
  );
  // in / group² with 576 and 1536 inputs.
  assert.deepEqual(await readAs(await pooledFiles(columns, peft)), {
    [Q]: [32, 576 / 1024],
    [DOWN]: [32, 1536 / 1024],
  });
  for (const [pooling, by] of [["sum", 1], ["average", 1 / 32]] as const) {
    const own = adapterConfig({
      ...settings,
      base: "abc",
      qalora: { group: 32, pooling },
    });
    assert.deepEqual(
      [own.use_qalora, own.loqa],
      [false, { base: "abc", qalora_group_size: 32, pooling }],
    );
    assert.deepEqual(await readAs(await pooledFiles(columns, own)), {
      [Q]: [32, by],
      [DOWN]: [32, by],
    });
  }
});

Deno.test("an adapter of the paper's repository is read as such when somebody says so", async () => {
  const set = () =>
    pooledFiles({ [Q]: 8 }, { peft_type: "LORA", r: 2, lora_alpha: 2 });
  assert.deepEqual(await readAs(await set()), { [Q]: [undefined, 1] });
  const qalora = { group: 64, pooling: "average" } as const;
  assert.deepEqual(await readAs(await set(), { qalora }), {
    [Q]: [64, 1 / 64],
  });
});

Deno.test("settings of QA-LoRA: PEFT's default group, and what contradicts itself", async () => {
  const config = { peft_type: "LORA", r: 2, lora_alpha: 2 };
  const read = (change: Record<string, unknown>) =>
    readAdapterConfig({ ...config, ...change }, "x").qalora;
  assert.equal(read({}), undefined);
  assert.deepEqual(read({ use_qalora: true }), {
    group: 16,
    pooling: "peft",
  });
  const wrong: [Record<string, unknown>, string][] = [
    [{ use_qalora: 1 }, "use_qalora"],
    [{ use_qalora: true, qalora_group_size: 0 }, "qalora_group_size"],
    [{ loqa: [] }, "loqa"],
    [{ loqa: { base: 1 } }, "loqa.base"],
    [{ loqa: { pooling: "max", qalora_group_size: 32 } }, "loqa.pooling"],
    [{ loqa: { qalora_group_size: 32 } }, "loqa.pooling"],
    [{ loqa: { pooling: "sum" } }, "loqa.qalora_group_size"],
    [{ use_qalora: true, loqa: { pooling: "sum" } }, "beside use_qalora"],
  ];
  for (const [change, text] of wrong) {
    await rejects(
      () => Promise.resolve().then(() => read(change)),
      SyntaxError,
      text,
    );
  }
});

Deno.test("qaloraGroups(): PEFT's way only where the group divides every layer", () => {
  assert.equal(qaloraGroups(32, [576, 1536]).pooling, "peft");
  assert.equal(qaloraGroups(32, [576, 100]).pooling, "sum");
});

const REAL = new URL(
  "../../../../../shared/data/lora/roberta_base_lora_mnli.bin",
  import.meta.url,
);
const hasReal = await Deno.stat(REAL).then(() => true, () => false);

Deno.test({
  name: `openAdapterFrom() reads a torch file with the LoRA authors' names${
    lacking(hasReal, "../shared/data/lora")
  }`,
  ignore: !hasReal,
  async fn() {
    const set = files({ "adapter_model.bin": await Deno.readFile(REAL) });
    await using adapter = await openAdapterFrom(set, {
      config: { peft_type: "LORA", r: 8, lora_alpha: 16 },
    });
    assert.equal(adapter.modules.size, 24);
    const module = "roberta.encoder.layer.3.attention.self.value";
    assert.equal(adapter.modules.get(module)!.scaling, 2);
  },
});

Deno.test("openAdapterFrom() wants settings and tensors", async () => {
  await rejects(
    () => openAdapterFrom(files({ "adapter_model.bin": "" })),
    TypeError,
    "adapter_config.json",
  );
  await rejects(
    () =>
      openAdapterFrom(files({ "adapter_config.json": `{"peft_type":"LORA"}` })),
    TypeError,
    "adapter_model.safetensors",
  );
});

const pattern = (rankPattern: Record<string, number>) => ({
  rank: 8,
  alpha: 16,
  rankPattern,
});

Deno.test("moduleScaling() takes the first key that matches a tail of the path", () => {
  const module = "model.layers.11.self_attn.q_proj";
  const rank = (keys: Record<string, number>) =>
    moduleScaling(pattern(keys), module).rank;
  assert.equal(rank({}), 8);
  assert.equal(rank({ q_proj: 2, self_attn: 3 }), 2);
  assert.equal(rank({ self_attn: 3 }), 8);
  assert.equal(rank({ proj: 3 }), 8);
  assert.equal(rank({ "self_attn.q_proj": 3, q_proj: 2 }), 3);
  assert.equal(rank({ "layers\\.1\\..*": 3 }), 8);
  assert.equal(rank({ "layers\\.1[01]\\..*": 3 }), 3);
  assert.equal(rank({ "k_proj|q_proj": 3 }), 3);
  assert.equal(moduleScaling(pattern({ q_proj: 4 }), module).scaling, 4);
  assert.equal(
    moduleScaling({ rank: 16, alpha: 8, rslora: true }, module).scaling,
    2,
  );
});

Deno.test("moduleScaling() refuses patterns that are none, or that it cannot match in linear time", () => {
  for (
    const key of [
      ...["(", ")", "a)|(b", "[z-a]", "a**", "(a)\\1", "(?<=a)b", "a{3,2}"],
      ...["(a{90}){90}", "a".repeat(1001)],
    ]
  ) {
    assert.throws(
      () => moduleScaling(pattern({ [key]: 1 }), "a".repeat(60)),
      (error) =>
        error instanceof RangeError &&
        error.message.includes(JSON.stringify(key).slice(0, 99)),
    );
  }
});

Deno.test("moduleScaling() matches any pattern in no time", () => {
  const module = "a".repeat(60);
  for (
    const key of [
      ...["(a+)+b", "(a|aa)*b", ".*.*.*.*.*x", "(a|a){40}b", "a*".repeat(9)],
      ...["(a+){1,40}b", "(?:a|a)".repeat(40), "a?".repeat(40)],
    ]
  ) {
    const began = performance.now();
    const { rank } = moduleScaling(pattern({ [`${key}c`]: 1 }), module);
    assert.equal(rank, 8);
    assert.ok(performance.now() - began < 1000, key);
  }
});

const CONFIG = { peft_type: "LORA", r: 4, lora_alpha: 8 };

async function withConfig(config: unknown) {
  return files({
    "adapter_config.json": JSON.stringify(config),
    "adapter_model.safetensors": await goldenBytes(
      "adapter/adapter_model.safetensors",
    ),
  });
}

Deno.test("openAdapterFrom() lists every factor that does not fit the settings", async () => {
  await rejects(
    async () => await openAdapterFrom(await withConfig(CONFIG)),
    SyntaxError,
    "layers.1.q_proj.lora_A",
    "rank 2",
    "layers.0.v_proj.lora_A",
    "rank 8",
  );
});

Deno.test("openAdapterFrom() refuses settings of other kinds and types", async () => {
  const bad = async (change: Record<string, unknown>) =>
    await openAdapterFrom(await withConfig({ ...CONFIG, ...change }));
  await rejects(() => bad({ peft_type: "LOHA" }), TypeError, `"LOHA"`);
  await rejects(
    () => bad({ r: "4" }),
    SyntaxError,
    "adapter_config.json",
    "r:",
  );
  await rejects(() => bad({ r: 0 }), SyntaxError, "r:");
  await rejects(
    () => bad({ rank_pattern: { a: "b" } }),
    SyntaxError,
    "rank_pattern",
  );
  await rejects(() => bad({ use_rslora: 1 }), SyntaxError, "use_rslora");
  await rejects(
    () => bad({ target_modules: [1] }),
    SyntaxError,
    "target_modules",
  );
});

Deno.test("openAdapterFrom() refuses what is no plain LoRA in its own words, with a way out", async () => {
  const convert = "path_initial_model_for_weight_conversion";
  for (
    const [change, ...words] of [
      [{ init_lora_weights: "pissa" }, '"pissa"', "base", convert],
      [{ init_lora_weights: "pissa_niter_4" }, '"pissa_niter_4"', convert],
      [{ init_lora_weights: "olora" }, '"olora"', convert],
      [{ init_lora_weights: "corda" }, '"corda"', convert],
      [{ init_lora_weights: "lora_ga" }, '"lora_ga"', convert],
      [{ init_lora_weights: "loftq" }, '"loftq"', convert],
      [{ use_dora: true }, "DoRA", "merge_and_unload"],
      [{ lora_bias: true }, "lora_bias", "biases", "merge_and_unload"],
      [{ alora_invocation_tokens: [5, 6] }, "aLoRA", "[5,6]"],
      [{ trainable_token_indices: [1] }, "trained rows", "merge_and_unload"],
      [{ layer_replication: [[0, 2], [1, 3]] }, "layer_replication"],
      [{ kasa_config: { r: 4 } }, "KaSA"],
      [{ peft_type: "LOKR" }, '"LOKR"', "merge_and_unload"],
      [
        { peft_type: undefined, lora_parameters: { rank: 8 } },
        "mlx-lm",
        "mlx_lm.fuse",
      ],
    ] as [Record<string, unknown>, ...string[]][]
  ) {
    await rejects(
      async () =>
        await openAdapterFrom(await withConfig({ ...CONFIG, ...change })),
      TypeError,
      ...words,
    );
  }
  // Starts that leave the base alone, and settings as PEFT writes them where nothing is asked for.
  for (const start of [true, false, "gaussian", "eva", "orthogonal", "mica"]) {
    readAdapterConfig({
      ...{ ...CONFIG, init_lora_weights: start, use_dora: false },
      ...{ layer_replication: null, trainable_token_indices: null },
    }, "x");
  }
});

Deno.test("openAdapterFrom() refuses numbers beyond a number's range", async () => {
  for (
    const [text, key] of [
      ['{"peft_type":"LORA","r":4,"lora_alpha":1e999}', "lora_alpha"],
      ['{"peft_type":"LORA","r":4,"alpha_pattern":{"q":1e999}}', "q"],
    ]
  ) {
    await rejects(
      () =>
        openAdapterFrom(files({
          "adapter_config.json": text,
          "adapter_model.safetensors": new Uint8Array(),
        })),
      SyntaxError,
      key,
      "finite",
      "Infinity",
    );
  }
});

Deno.test("openAdapterFrom() refuses factors of modules that PEFT would leave out", async () => {
  const columns = { [Q]: 8, [DOWN]: 8 };
  const open = async (targets: unknown) => {
    const set = await pooledFiles(columns, {
      ...{ peft_type: "LORA", r: 2, lora_alpha: 2, target_modules: targets },
    });
    await using adapter = await openAdapterFrom(set);
    return [...adapter.modules.keys()];
  };
  for (
    const all of [
      ["q_proj", "mlp.down_proj"],
      [Q, DOWN],
      "all-linear",
      String.raw`.*\.(q|down)_proj`,
      null,
    ]
  ) assert.deepEqual(await open(all), [Q, DOWN]);
  for (
    const some of [["q_proj"], ["q_proj", "own_proj"], String.raw`.*q_proj`]
  ) {
    await rejects(() => open(some), SyntaxError, DOWN, "target_modules");
  }
});
