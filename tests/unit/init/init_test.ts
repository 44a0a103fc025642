import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import type { InitOptions, RunOptions } from "../../../src/init/options.ts";
import type { InitReport } from "../../../src/init/report.ts";
import { init } from "../../../src/init/run.ts";
import type { Checkpoint } from "../../../src/io/checkpoint/checkpoint.ts";
import { openAdapter, openCheckpoint } from "../../../src/io/open.ts";
import { matrix, relativeError } from "../../../src/tensor/matrix.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import {
  comparable,
  inFolder,
  openModel,
  readTree,
  tinyLlama,
  writeModel,
} from "../../helpers/model.ts";
import { product } from "../linalg/matrices.ts";

const device = await openDevice("wasm");
const MODEL = tinyLlama();
const PLAIN = {
  method: "loftq",
  format: "nf4",
  rank: 4,
  alpha: 8,
  iterations: 2,
  seed: 0,
} as const;

async function run(
  out: string,
  options: Partial<InitOptions> = {},
  more: Partial<RunOptions> = {},
  model: Parameters<typeof openModel>[0] = MODEL,
): Promise<InitReport> {
  await using checkpoint = await openModel(model);
  return await init(checkpoint, { ...PLAIN, ...options }, {
    device,
    out,
    ...more,
  });
}

/** Error of what lies on the disk, `Q + s B A`, against the model, by layer. */
async function errorsOnDisk(
  out: string,
  backbone: Checkpoint,
): Promise<Map<string, number>> {
  await using model = await openModel(MODEL);
  await using adapter = await openAdapter(`${out}/adapter`);
  const errors = new Map<string, number>();
  for (const [name, factors] of adapter.modules) {
    const { rank, inputs, outputs, scaling } = factors;
    const low = product(
      matrix(outputs, rank, await factors.readB()),
      matrix(rank, inputs, await factors.readA()),
      scaling,
    );
    const q = await backbone.readF32(`${name}.weight`);
    errors.set(
      name,
      relativeError(
        matrix(outputs, inputs, await model.readF32(`${name}.weight`)),
        matrix(outputs, inputs, q.map((x, i) => x + low.data[i])),
      ),
    );
  }
  return errors;
}

const json = async (path: string) => JSON.parse(await Deno.readTextFile(path));

interface Variant {
  readonly options: Partial<InitOptions>;
  readonly kind: string;
  readonly formats: string[];
}

const VARIANTS: Record<string, Variant> = {
  "nf4, bitsandbytes by default": {
    options: {},
    kind: "bnb",
    formats: ["nf4"],
  },
  "nf4 with scales in 8 bits": {
    options: { doubleQuant: true },
    kind: "bnb",
    formats: ["nf4"],
  },
  "nf2 in nf4's codes": {
    options: { format: "nf2", backbone: "bnb" },
    kind: "bnb",
    formats: ["nf2"],
  },
  "int3, packed by default": {
    options: { format: "int3", scale: "mse", rslora: true },
    kind: "packed",
    formats: ["int3"],
  },
  "nf4, packed": {
    options: { backbone: "packed", block: 48, svd: "exact" },
    kind: "packed",
    formats: ["nf4"],
  },
  "mixed": {
    options: { mixed: "first=1:nf4,rest=int2" },
    kind: "packed",
    formats: ["nf4", "int2"],
  },
  "dense in bf16": {
    options: { format: "nf3", backbone: "dense", dtype: "bf16" },
    kind: "dense",
    formats: ["nf3"],
  },
  "dense as the model is": {
    options: { format: "clip2", backbone: "dense" },
    kind: "dense",
    formats: ["clip2"],
  },
};

for (
  const [name, { options, kind, formats }] of Object.entries(
    VARIANTS,
  )
) {
  Deno.test(`init(): ${name}`, () =>
    inFolder(async (folder) => {
      const out = `${folder}/out`;
      const report = await run(out, options);
      assert.deepEqual(await json(`${out}/loqa.json`), report);
      assert.equal(report.options.backbone, kind);
      assert.equal(report.layers.length, 14);
      assert.deepEqual(
        [...new Set(report.layers.map((l) => l.format))],
        formats,
      );

      await using backbone = await openCheckpoint(`${out}/backbone`);
      const format = { bnb: "bnb", packed: "packed", dense: "safetensors" };
      assert.equal(backbone.format, format[kind as keyof typeof format]);
      const errors = await errorsOnDisk(out, backbone);
      assert.deepEqual(
        [...errors.keys()].sort(),
        report.layers.map((l) => l.name).sort(),
      );
      for (const layer of report.layers) {
        assert.ok(layer.error < layer.plainError, layer.name);
        assertAllClose([errors.get(layer.name)!], [layer.error], {
          rtol: 1e-3,
          what: layer.name,
        });
      }

      await using model = await openModel(MODEL);
      assert.deepEqual(
        [...backbone.tensors.keys()].sort(),
        [...model.tensors.keys()].sort(),
      );
      for (const { name, dtype, shape } of model.tensors.values()) {
        if (errors.has(name.replace(/\.weight$/, ""))) continue;
        // The model has f16 and f32: other tools want one of them.
        const one = options.dtype ?? (kind === "packed" ? undefined : "f32");
        const wanted = one && dtype !== "i64" ? one : dtype;
        const there = backbone.tensors.get(name)!;
        assert.equal(there.dtype, wanted, name);
        assert.deepEqual(there.shape, shape, name);
        if (wanted === dtype) {
          assert.deepEqual(
            await backbone.readRaw(name),
            await model.readRaw(name),
            name,
          );
        } else {
          assertAllClose(
            await backbone.readF32(name),
            await model.readF32(name),
            { rtol: 2 ** -8, what: name },
          );
        }
      }
      assert.deepEqual([...(await readTree(out)).keys()], [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "backbone/config.json",
        "backbone/model.safetensors",
        "backbone/tokenizer.json",
        "loqa.json",
      ]);
      assert.equal(
        await Deno.readTextFile(`${out}/backbone/tokenizer.json`),
        '{"version":"1.0"}',
      );
    }));
}

Deno.test("init(): the report has the keys that were promised", () =>
  inFolder(async (folder) => {
    const { verb, model, layers, summary } = await run(`${folder}/out`, {
      iterations: 3,
      earlyStop: false,
    });
    assert.deepEqual([verb, model], ["init", `${Deno.cwd()}/tiny`]);
    const q = layers[0];
    assert.deepEqual(
      [q.name, q.rows, q.cols, q.format, q.rank, q.history.length],
      ["model.layers.0.self_attn.q_proj", 21, 21, "nf4", 4, 3],
    );
    assert.equal(q.error, Math.min(...q.history));
    const mean = (values: number[]) =>
      values.reduce((sum, x) => sum + x, 0) / values.length;
    assert.equal(summary.layers, 14);
    assert.equal(summary.meanError, mean(layers.map((l) => l.error)));
    assert.equal(summary.meanPlainError, mean(layers.map((l) => l.plainError)));
    assert.ok(summary.seconds > 0 && summary.peakBytes > 1e6);
    for (const layer of layers) assert.ok(layer.seconds > 0);
    // 4 bits, and an f32 for each 64 weights or what is left of them.
    assert.ok(summary.bitsPerWeight > 4.5 && summary.bitsPerWeight < 4.7);
  }));

Deno.test("init(): configs of backbone and adapter", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await run(out, {
      dtype: "f16",
      rslora: true,
      rankPattern: { "layers.1.self_attn.q_proj": 2 },
      alphaPattern: { k_proj: 5 },
    });
    const config = await json(`${out}/backbone/config.json`);
    assert.equal(config.dtype, "float16");
    assert.equal(config.torch_dtype, undefined);
    assert.equal(config.hidden_size, 21);
    const q = config.quantization_config;
    assert.deepEqual(
      [q.load_in_4bit, q.bnb_4bit_quant_type, q.bnb_4bit_compute_dtype],
      [true, "nf4", "float16"],
    );
    for (const module of ["lm_head", "model.embed_tokens"]) {
      assert.ok(q.llm_int8_skip_modules.includes(module), module);
    }
    const adapter = await json(`${out}/adapter/adapter_config.json`);
    assert.equal(adapter.base_model_name_or_path, `${out}/backbone`);
    assert.equal(adapter.task_type, "CAUSAL_LM");
    assert.deepEqual(adapter.target_modules, [
      "down_proj",
      "gate_proj",
      "k_proj",
      "o_proj",
      "q_proj",
      "up_proj",
      "v_proj",
    ]);
    assert.deepEqual(
      [adapter.r, adapter.lora_alpha, adapter.use_rslora],
      [4, 8, true],
    );
    assert.equal(adapter.init_lora_weights, true);
    assert.deepEqual(adapter.rank_pattern, { "layers.1.self_attn.q_proj": 2 });
    assert.deepEqual(adapter.alpha_pattern, { k_proj: 5 });
    await using opened = await openAdapter(`${out}/adapter`);
    assert.equal(
      opened.modules.get("model.layers.1.self_attn.q_proj")!.rank,
      2,
    );
    await using backbone = await openCheckpoint(`${out}/backbone`);
    const report = await json(`${out}/loqa.json`) as InitReport;
    const errors = await errorsOnDisk(out, backbone);
    for (const { name, error } of report.layers) {
      assertAllClose([errors.get(name)!], [error], { rtol: 1e-3, what: name });
    }
  }));

Deno.test("init(): whole numbers that are floats in config.json stay floats", () =>
  inFolder(async (folder) => {
    await run(folder + "/out", {}, {}, {
      ...MODEL,
      config: { ...MODEL.config, attention_dropout: 0.5 },
    });
    const text = await Deno.readTextFile(`${folder}/out/backbone/config.json`);
    assert.match(text, /"attention_dropout": 0\.5/);
    assert.match(text, /"llm_int8_threshold": 6\.0/);
  }));

Deno.test("init() says before the work which files beside the weights nobody can read", () =>
  inFolder(async (folder) => {
    const from = `${folder}/model`;
    await writeModel(from, MODEL);
    await Deno.writeTextFile(`${from}/tokenizer.json`, '{"version"');
    await using model = await openCheckpoint(from);
    const told: string[] = [];
    let begun = false;
    await init(model, PLAIN, {
      device,
      out: `${folder}/out`,
      onWarning: (text) => told.push(`${begun} ${text}`),
      onProgress: () => begun = true,
    });
    assert.equal(told.length, 1);
    assert.match(
      told[0],
      /^false goes along as it is.*tokenizer\.json": it is not JSON/,
    );
  }));

Deno.test("init(): without a backbone only the adapter is written", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await run(out, { backbone: "none", format: "int2" });
    assert.deepEqual([...(await readTree(out)).keys()], [
      "adapter/adapter_config.json",
      "adapter/adapter_model.safetensors",
      "loqa.json",
    ]);
    const config = await json(`${out}/adapter/adapter_config.json`);
    assert.equal(config.base_model_name_or_path, `${Deno.cwd()}/tiny`);
  }));

Deno.test("init(): qlora quantises as plain and leaves B zero", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const report = await run(out, { method: "qlora", iterations: 0 });
    for (const layer of report.layers) {
      assert.equal(layer.error, layer.plainError);
      assert.deepEqual(layer.history, []);
    }
    await using adapter = await openAdapter(`${out}/adapter`);
    const starts = new Set<string>();
    for (const factors of adapter.modules.values()) {
      assert.ok((await factors.readB()).every((x) => x === 0));
      starts.add((await factors.readA()).slice(0, 4).join());
    }
    assert.equal(starts.size, 14);
  }));

for (const format of ["nf4", "int2"] as const) {
  Deno.test(`init(): a base in ${format} is kept to the bit, the factors are found for it`, () =>
    inFolder(async (folder) => {
      await run(`${folder}/one`, { method: "qlora", iterations: 0, format });
      await using base = await openCheckpoint(`${folder}/one/backbone`);
      const report = await run(`${folder}/two`, { iterations: 1 }, { base });
      const [one, two] = [
        await readTree(`${folder}/one`),
        await readTree(`${folder}/two`),
      ];
      assert.deepEqual(
        two.get("backbone/model.safetensors"),
        one.get("backbone/model.safetensors"),
      );
      for (const layer of report.layers) {
        assert.equal(layer.format, format);
        assert.ok(layer.error < layer.plainError);
      }
      const errors = await errorsOnDisk(`${folder}/two`, base);
      assertAllClose(
        report.layers.map((l) => errors.get(l.name)!),
        report.layers.map((l) => l.error),
        { rtol: 1e-3 },
      );
    }));
}

Deno.test("init(): a base that lacks layers is refused with all that is wrong", () =>
  inFolder(async (folder) => {
    await using base = await openModel(tinyLlama({ layers: 1, hidden: 22 }));
    await assert.rejects(run(`${folder}/out`, {}, { base }), (error: Error) => {
      assert.equal(error.name, "RangeError");
      assert.match(error.message, /^Cannot use tiny as the base of tiny: /);
      assert.match(
        error.message,
        /q_proj.weight is \[22, 22\], wanted \[21, 21\]/,
      );
      assert.match(error.message, /; and 9 more$/);
      return true;
    });
    await using plain = await openModel(MODEL);
    await assert.rejects(run(`${folder}/out`, {}, { base: plain }), {
      message: /q_proj.weight is F32, wanted one of loqa's formats/,
    });
    assert.deepEqual(await readTree(folder), new Map());
  }));

Deno.test("init(): a metric brings errors at the output, and needs moments", () =>
  inFolder(async (folder) => {
    const asked: string[] = [];
    const report = await run(`${folder}/out`, { metric: "diag" }, {
      metricOf: (module) => {
        asked.push(module);
        const inputs = module.endsWith("down_proj") ? 35 : 21;
        return Promise.resolve({
          kind: "diag",
          moments: Float32Array.from({ length: inputs }, (_, i) => i + 1),
        });
      },
    });
    for (const layer of report.layers) {
      assert.ok(layer.outputError! < layer.plainOutputError!);
      assert.equal(layer.outputError, Math.min(...layer.history));
      assert.ok(asked.includes(layer.name));
    }
    await assert.rejects(run(`${folder}/two`, { metric: "full" }), {
      name: "RangeError",
      message: "Cannot use the full metric: no moments are given",
    });
  }));

Deno.test("init(): the same options give the same bytes, another seed others", () =>
  inFolder(async (folder) => {
    await run(`${folder}/one`);
    await run(`${folder}/two`);
    await run(`${folder}/three`, { seed: 1 });
    const one = await comparable(`${folder}/one`);
    assert.deepEqual(await comparable(`${folder}/two`), one);
    const file = "adapter/adapter_model.safetensors";
    assert.notEqual(
      (await comparable(`${folder}/three`)).get(file),
      one.get(file),
    );
  }));

Deno.test("init(): progress rises from 0 to 1 and names the layers", () =>
  inFolder(async (folder) => {
    const seen: [number, string][] = [];
    await run(`${folder}/out`, {}, {
      onProgress: (done, text) => seen.push([done, text]),
    });
    assert.equal(seen[0][0], 0);
    assert.deepEqual(seen.at(-1), [1, "14 layers"]);
    for (let i = 1; i < seen.length; i++) {
      assert.ok(seen[i][0] >= seen[i - 1][0]);
    }
    assert.ok(seen.some(([, t]) => t === "14/14 model.layers.1.mlp.down_proj"));
  }));

Deno.test("init(): options that do not fit are refused before anything is written", () =>
  inFolder(async (folder) => {
    const cases: [Partial<InitOptions>, RegExp][] = [
      [
        { format: "int4", backbone: "bnb" },
        /^Cannot write model.layers.0.self_attn.q_proj in int4 for bitsandbytes: it holds nf4, and nf2 in nf4's codes; wanted --backbone packed or dense$/,
      ],
      [{ scale: "minmax" }, /scale "minmax" does not fit nf4/],
      [{ mixed: "bits=9" }, /^Cannot use the mixed plan "bits=9"/],
      [{ targets: ["x"] }, /^Cannot find the target "x" in tiny/],
      [{ targets: ["embed_tokens"] }, /it is an embedding/],
      [{ backbone: "bnb", block: 48 }, /wanted blocks of 32, 64/],
      [
        { format: "int4", doubleQuant: true },
        /^Cannot write scales in 8 bits: only a bnb backbone has them, got packed$/,
      ],
    ];
    for (const [options, message] of cases) {
      await assert.rejects(run(`${folder}/out`, options), {
        name: "RangeError",
        message,
      });
    }
    for (const out of ["/", ".", "..", `${folder}/.`, `${folder}/..`, ""]) {
      await assert.rejects(run(out), {
        name: "RangeError",
        message: /wanted the name of a folder$/,
      }, out);
    }
    assert.deepEqual(await readTree(folder), new Map());
  }));

Deno.test("init(): what is there already is left alone, an old result is replaced by force", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const refused = (text: string) => ({
      name: "RangeError",
      message: `Cannot write to ${out}: it is there already${text}`,
    });
    await Deno.mkdir(out);
    await Deno.writeTextFile(`${out}/thesis.txt`, "years of work");
    for (const force of [false, true]) {
      await assert.rejects(
        run(out, {}, { force }),
        refused(
          " and no loqa output: it holds thesis.txt; wanted a new folder",
        ),
      );
    }
    assert.deepEqual([...(await readTree(folder)).keys()], ["out/thesis.txt"]);
    await Deno.remove(out, { recursive: true });
    await Deno.writeTextFile(out, "a file");
    await assert.rejects(
      run(out),
      refused(" and no loqa output: it holds a file; wanted a new folder"),
    );
    await Deno.remove(out);

    await Deno.mkdir(out);
    await run(out, { format: "int2" });
    await Deno.mkdir(`${out}/checkpoints/step-000010`, { recursive: true });
    const before = await readTree(folder);
    const holds = "an initialised model, checkpoints/ (1 in it)";
    await assert.rejects(
      run(out),
      refused(
        `: it holds ${holds}; write to another folder, or say --force to replace it`,
      ),
    );
    assert.deepEqual(await readTree(folder), before);
    const notes: string[] = [];
    await run(`${out}/`, {}, {
      force: true,
      onWarning: (text) => notes.push(text),
    });
    assert.deepEqual(notes, [
      `replaces ${out}/ when it is done: ${holds} will be gone`,
    ]);
    assert.equal((await json(`${out}/loqa.json`)).options.format, "nf4");
    const left = await Array.fromAsync(Deno.readDir(folder));
    assert.deepEqual(left.map(({ name }) => name), ["out"]);
  }));

Deno.test("init(): a whole result of the same run is told again by resuming, another one is refused", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const first = await run(out);
    const before = await readTree(folder);
    assert.deepEqual(
      JSON.parse(JSON.stringify(await run(out, {}, { resume: true }))),
      JSON.parse(JSON.stringify(first)),
    );
    await assert.rejects(run(out, { rank: 2 }, { resume: true }), {
      name: "RangeError",
      message:
        `Cannot write to ${out}: it is there already: it holds an initialised model; write to another folder, or say --force to replace it`,
    });
    assert.deepEqual(await readTree(folder), before);
  }));

Deno.test("init(): device memory is back where it was", () =>
  inFolder(async (folder) => {
    const before = device.memory.bytes;
    await run(`${folder}/out`);
    assert.equal(device.memory.bytes, before);
  }));
