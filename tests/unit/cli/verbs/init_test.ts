import assert from "node:assert/strict";
import type { InitReport } from "../../../../src/init/report.ts";
import { openCheckpoint } from "../../../../src/io/open.ts";
import { loqa } from "../../../helpers/cli.ts";
import {
  comparable,
  inFolder,
  readTree,
  safetensorsBytes,
  tinyLlama,
  writeModel,
} from "../../../helpers/model.ts";

const EXAMPLE = new URL("../../../../examples/model", import.meta.url).pathname;

const json = async (path: string) => JSON.parse(await Deno.readTextFile(path));

function withModel(work: (folder: string) => Promise<void>): Promise<void> {
  return inFolder(async (folder) => {
    await writeModel(`${folder}/model`, tinyLlama());
    await work(folder);
  });
}

Deno.test("loqa init --json: one document on stdout, the same in loqa.json", () =>
  withModel(async (folder) => {
    const out = `${folder}/out`;
    const { code, stdout, stderr } = await loqa(
      "init",
      `${folder}/model`,
      ...["-o", out, "--json", "--rank", "4"],
    );
    assert.equal(code, 0, stderr);
    const report = JSON.parse(stdout) as InitReport;
    assert.deepEqual(report, await json(`${out}/loqa.json`));
    assert.deepEqual([report.verb, report.model], ["init", `${folder}/model`]);
    for (const layer of report.layers) {
      for (
        const key of [
          "name",
          "rows",
          "cols",
          "format",
          "rank",
          "plainError",
          "error",
          "history",
          "seconds",
        ]
      ) {
        assert.ok(key in layer, key);
      }
    }
    for (
      const key of [
        "layers",
        "meanPlainError",
        "meanError",
        "seconds",
        "peakBytes",
      ]
    ) {
      assert.ok(key in report.summary, key);
    }
    assert.match(stderr, /100 % .* 14 layers/);
  }));

Deno.test("loqa init prints a table; --quiet leaves stderr empty", () =>
  withModel(async (folder) => {
    const { code, stdout, stderr } = await loqa(
      "init",
      `${folder}/model`,
      ...["-o", `${folder}/out`, "--quiet", "--rank", "4"],
    );
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^q_proj +nf4 +2 /m);
    assert.match(stdout, /^all +nf4 +14 /m);
  }));

const OPTIONS: Record<string, { args: string[]; wanted: object }> = {
  "every option": {
    args: [
      ...["--format", "int3", "--block", "16", "--scale", "mse"],
      ...["--rank", "3", "--alpha", "1.5", "--rslora", "--iters", "1"],
      ...["--svd", "exact", "--target", "q_proj,up_proj", "--target", "v_proj"],
      ...["--rank-pattern", "layers.0.self_attn.q_proj=2"],
      ...["--alpha-pattern", "v_proj=0.5", "--backbone", "dense"],
      ...["--dtype", "bf16", "--seed", "7", "--threads", "2"],
      ...["--device", "wasm", "--safe-interval", "0"],
    ],
    wanted: {
      method: "loftq",
      format: "int3",
      block: 16,
      scale: "mse",
      rank: 3,
      alpha: 1.5,
      rslora: true,
      iterations: 1,
      svd: "exact",
      targets: ["q_proj", "up_proj", "v_proj"],
      rankPattern: { "layers.0.self_attn.q_proj": 2 },
      alphaPattern: { v_proj: 0.5 },
      backbone: "dense",
      scaleDType: "f32",
      dtype: "bf16",
      doubleQuant: false,
      seed: 7,
    },
  },
  "the defaults": {
    args: [],
    wanted: {
      method: "loftq",
      format: "nf4",
      rank: 16,
      alpha: 16,
      rslora: false,
      iterations: 5,
      backbone: "bnb",
      dtype: "f32",
      scaleDType: "f32",
      doubleQuant: false,
      seed: 0,
    },
  },
  "qlora, scales in 8 bits": {
    args: ["--method", "qlora", "--double-quant"],
    wanted: {
      method: "qlora",
      format: "nf4",
      rank: 16,
      alpha: 16,
      rslora: false,
      iterations: 0,
      backbone: "bnb",
      dtype: "f32",
      scaleDType: "f32",
      doubleQuant: true,
      seed: 0,
    },
  },
  "mixed": {
    args: ["--mixed", "bits=3", "--device", "reference"],
    wanted: {
      method: "loftq",
      format: "nf4",
      rank: 16,
      alpha: 16,
      rslora: false,
      iterations: 5,
      mixed: "bits=3",
      backbone: "packed",
      scaleDType: "f16",
      doubleQuant: false,
      seed: 0,
    },
  },
};

for (const [name, { args, wanted }] of Object.entries(OPTIONS)) {
  Deno.test(`loqa init, ${name}: loqa.json tells what was asked for`, () =>
    withModel(async (folder) => {
      const out = `${folder}/out`;
      const { code, stderr } = await loqa(
        "init",
        `${folder}/model`,
        ...["-o", out, ...args],
      );
      assert.equal(code, 0, stderr);
      const report = await json(`${out}/loqa.json`);
      assert.deepEqual(report.options, wanted);
    }));
}

Deno.test("loqa init: the same command twice gives the same bytes, one thread or two", () =>
  withModel(async (folder) => {
    const run = async (name: string, ...args: string[]) => {
      const { code, stderr } = await loqa(
        "init",
        `${folder}/model`,
        ...["-o", `${folder}/${name}`, "--quiet", ...args],
      );
      assert.equal(code, 0, stderr);
      return await comparable(`${folder}/${name}`);
    };
    const one = await run("one", "--threads", "2");
    assert.deepEqual(await run("two", "--threads", "2"), one);
    const plain = await run("three", "--threads", "1", "--method", "qlora");
    assert.deepEqual(
      await run("four", "--threads", "2", "--method", "qlora"),
      plain,
    );
  }));

Deno.test("loqa init --base keeps a quantised model; --moments brings a metric", () =>
  withModel(async (folder) => {
    const start = ["init", `${folder}/model`, "--quiet", "--rank", "4", "-o"];
    const first = await loqa(
      ...start,
      `${folder}/one`,
      ...["--method", "qlora", "--format", "int2"],
    );
    assert.equal(first.code, 0, first.stderr);
    const { tensors } = tinyLlama();
    await Deno.writeFile(
      `${folder}/moments.safetensors`,
      await safetensorsBytes(Object.fromEntries(
        Object.entries(tensors)
          .filter(([name]) => name.endsWith("proj.weight"))
          .map(([name, { shape: [, cols] }]) => [
            name.replace(/weight$/, "moments"),
            {
              shape: [cols, cols],
              values: Float32Array.from(
                { length: cols * cols },
                (_, i) => i % (cols + 1) === 0 ? 1 + i : 0.1,
              ),
            },
          ]),
      )),
    );
    for (const metric of ["diag", "full"]) {
      const out = `${folder}/${metric}`;
      const { code, stderr, stdout } = await loqa(
        ...start,
        out,
        ...["--base", `${folder}/one`, "--json"],
        ...["--metric", metric, "--moments", `${folder}/moments.safetensors`],
      );
      assert.equal(code, 0, stderr);
      assert.deepEqual(
        await Deno.readFile(`${out}/backbone/model.safetensors`),
        await Deno.readFile(`${folder}/one/backbone/model.safetensors`),
      );
      for (const layer of JSON.parse(stdout).layers) {
        assert.ok(layer.outputError < layer.plainOutputError, layer.name);
      }
    }
    const lacking = await loqa(
      ...start,
      `${folder}/three`,
      ...["--metric", "full", "--moments", `${folder}/model/model.safetensors`],
    );
    assert.equal(lacking.code, 1);
    assert.match(
      lacking.stderr,
      /^loqa: Cannot use .* for the full metric: model\.layers\.0\.self_attn\.q_proj\.moments is not there\n$/,
    );
  }));

Deno.test("loqa init of the example model: side files, 16-bit tensors, errors", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const { code, stderr, stdout } = await loqa(
      "init",
      EXAMPLE,
      ...["-o", out, "--json", "--quiet", "--rank", "8"],
    );
    assert.equal(code, 0, stderr);
    const { summary, layers } = JSON.parse(stdout) as InitReport;
    assert.equal(layers.length, 28);
    assert.ok(summary.meanError < 0.85 * summary.meanPlainError);
    assert.ok(summary.meanPlainError > 0.08 && summary.meanPlainError < 0.1);
    assert.deepEqual([...(await readTree(out)).keys()], [
      "adapter/adapter_config.json",
      "adapter/adapter_model.safetensors",
      "backbone/config.json",
      "backbone/generation_config.json",
      "backbone/model.safetensors",
      "backbone/tokenizer.json",
      "backbone/tokenizer_config.json",
      "loqa.json",
    ]);
    for (const name of ["generation_config.json", "tokenizer.json"]) {
      assert.deepEqual(
        await Deno.readFile(`${out}/backbone/${name}`),
        await Deno.readFile(`${EXAMPLE}/${name}`),
      );
    }
    const config = await Deno.readTextFile(`${out}/backbone/config.json`);
    assert.match(config, /"attention_dropout": 0\.0,/);
    assert.match(config, /"rope_theta": 10000\.0,/);
    assert.equal(JSON.parse(config).dtype, "bfloat16");
    await using model = await openCheckpoint(EXAMPLE);
    await using backbone = await openCheckpoint(`${out}/backbone`);
    const name = "model.embed_tokens.weight";
    assert.equal(backbone.tensors.get(name)!.dtype, "bf16");
    assert.deepEqual(await backbone.readRaw(name), await model.readRaw(name));
  }));
