import assert from "node:assert/strict";
import { openAdapter, openCheckpoint } from "../../../../src/io/open.ts";
import { loqa } from "../../../helpers/cli.ts";
import { inFolder } from "../../../helpers/model.ts";

const EXAMPLE = new URL("../../../../examples/model", import.meta.url).pathname;
const WASM = ["--device", "wasm", "--threads", "1"];

async function succeeds(...args: string[]) {
  const { code, stdout, stderr } = await loqa(...args, ...WASM);
  assert.equal(code, 0, stderr);
  return { stdout, stderr };
}

/** A short training of the project's own model into `out`. */
function train(model: string, out: string, ...more: string[]) {
  return succeeds(
    ...["train", model, "--data", `${EXAMPLE}/train-sample.txt`, "-o", out],
    ...["--steps", "4", "--seq-len", "24", "--batch", "2", ...more],
  );
}

const json = async (path: string) => JSON.parse(await Deno.readTextFile(path));

Deno.test("loqa train --json: one document on stdout, figures and files beside it", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const { stdout, stderr } = await train(
      EXAMPLE,
      out,
      ...["--rank", "4", "--alpha", "8", "--rslora", "--json", "--quiet"],
      ...["--rank-pattern", "down_proj=2", "--target", "q_proj,down_proj"],
      ...["--eval", `${EXAMPLE}/heldout.txt`],
    );
    assert.equal(stderr, "");
    const report = JSON.parse(stdout);
    for (
      const key of ["verb", "steps", "loss", "tokensPerSecond", "peakBytes"]
    ) {
      assert.ok(key in report, key);
    }
    assert.deepEqual([report.verb, report.steps, report.method], [
      "train",
      4,
      "lora",
    ]);
    assert.equal(report.checkpoint, `${out}/runs/1/checkpoints/step-000004`);
    const { before, after, perplexityAfter } = report.evaluation;
    assert.ok(Number.isFinite(before));
    assert.equal(perplexityAfter, Math.exp(after));
    const { train: kept, model } = await json(`${out}/loqa.json`);
    assert.equal(model, EXAMPLE);
    const { options, ...rest } = kept;
    assert.deepEqual(rest, report);
    assert.deepEqual([options.rank, options.block, options.seed], [4, 24, 0]);

    const lines = (await Deno.readTextFile(`${out}/runs/1/metrics.jsonl`))
      .trim()
      .split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines.map(({ step }) => step), [0, 1, 2, 3, 4, 4]);
    assert.equal(lines[0].evaluation, before);
    assert.equal(lines[1].tokens, 48);

    await using adapter = await openAdapter(`${out}/adapter`);
    assert.deepEqual(
      [...adapter.modules.values()].filter(({ module }) =>
        module.includes(".1.")
      ).map(({ module, rank, scaling }) => [module, rank, scaling]).sort(),
      [
        ["model.layers.1.mlp.down_proj", 2, 8 / Math.sqrt(2)],
        ["model.layers.1.self_attn.q_proj", 4, 4],
      ],
    );
  }));

Deno.test("loqa train: an adapter in its place, and elsewhere, keeps its model", () =>
  inFolder(async (folder) => {
    const [first, other] = [`${folder}/first`, `${folder}/other`];
    await succeeds(
      ...["init", EXAMPLE, "-o", first, "--format", "nf2", "--rank", "4"],
      ...["--method", "qlora", "--quiet"],
    );
    const before = await json(`${first}/loqa.json`);
    await train(first, other, "--quiet");
    assert.deepEqual(await json(`${first}/loqa.json`), before);
    const elsewhere = await json(`${other}/loqa.json`);
    assert.equal(elsewhere.model, `${first}/backbone`);
    assert.equal(elsewhere.layers, undefined);
    await train(first, `${first}/`, "--quiet");
    const { train: figures, ...rest } = await json(`${first}/loqa.json`);
    assert.deepEqual(rest, before);
    assert.equal(figures.method, "adapter");
    const factors = (of: string) =>
      Deno.readFile(`${of}/adapter/adapter_model.safetensors`);
    assert.deepEqual(await factors(first), await factors(other));
    const measure = async (path: string) => {
      const { stdout } = await succeeds(
        ...["eval", path, "--task", "ppl", "--quiet", "--json"],
        ...["--data", `${EXAMPLE}/heldout.txt`, "--seq-len", "48"],
        ...["--limit", "2"],
      );
      return JSON.parse(stdout).metrics;
    };
    assert.deepEqual(await measure(other), await measure(first));
    const { stdout } = await loqa("inspect", other);
    assert.match(stdout, /^LoRA adapter: 28 modules, rank 4/m);
  }));

Deno.test("loqa train --method full: a model with its tokenizer, every weight moved", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const { stdout } = await train(EXAMPLE, out, "--method", "full");
    assert.match(stdout, /^4 steps, loss [\d.]+ \(mean of the last tenth\)$/m);
    await using old = await openCheckpoint(EXAMPLE);
    await using made = await openCheckpoint(`${out}/backbone`);
    assert.deepEqual(
      [...made.tensors.keys()].sort(),
      [
        ...old.tensors.keys(),
      ].sort(),
    );
    for (const [name, { shape }] of made.tensors) {
      assert.deepEqual(shape, old.tensors.get(name)!.shape);
      assert.notDeepEqual(
        await made.readF32(name),
        await old.readF32(name),
        name,
      );
    }
    assert.equal(made.config.dtype, "float32");
    const run = async (path: string) =>
      (await succeeds(
        ...["generate", path, "--prompt", "Klithton", "--quiet"],
        ...["--max-new-tokens", "3"],
      )).stdout;
    assert.match(await run(out), /^Klithton.+\n$/);
    assert.equal(await run(`${out}/backbone`), await run(out));
  }));

Deno.test("loqa train: the text for people", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const { stdout, stderr } = await train(EXAMPLE, out);
    assert.match(
      stdout,
      /trainable parameters, \d+ tokens\/s, .* at the most$/m,
    );
    assert.ok(stdout.endsWith(`written: ${out} (run 1)\n`));
    assert.match(
      stderr,
      /^100 % +\d:\d\d +step 4 of 4 +loss [\d.]+ +\d+ tokens\/s$/m,
    );
  }));

for (
  const [args, line] of [
    [[], "train takes one DIR, got none"],
    [["a", "b", "--data", "x"], "train takes one DIR, got 2"],
    [["a"], "train needs --data FILE"],
    [[EXAMPLE, "--data", "x"], "train --method lora needs -o"],
    [
      ["a", "--data", "x", "--method", "qlora"],
      "--method must be one of adapter, lora, full",
    ],
    [
      ["a", "--data", "x", "--task", "chat"],
      "--task must be one of lm, sft",
    ],
    [
      ["a", "--data", "x", "--steps", "5", "--epochs", "1"],
      "train takes --steps or --epochs, got both",
    ],
    [
      ["a", "--data", "x", "--steps", "0"],
      "--steps must be a whole number",
    ],
    [["a", "--data", "x", "--lr", "0"], "--lr must be a number"],
    [["a", "--data", "x", "--dropout", "1"], "--dropout must be a number"],
    [
      ["a", "--data", "x", "--order", "random", "--task", "sft"],
      "--order random needs --task lm",
    ],
    [
      ["a", "--data", "x", "--schedule", "step"],
      "--schedule must be one of constant, linear, cosine",
    ],
    [
      ["a", "--data", "x", "--rank-pattern", "q"],
      '--rank-pattern must be NAME=NUMBER, got "q"',
    ],
    [["a", "--dat", "x"], "there is no option --dat; did you mean --data?"],
  ] as const
) {
  Deno.test(`wrong usage: loqa train ${args.join(" ").replace(EXAMPLE, "MODEL")}`, async () => {
    const { code, stdout, stderr } = await loqa("train", ...args);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    const [first, second, end] = stderr.split("\n");
    assert.ok(first.startsWith(`loqa: ${line}`), first);
    assert.deepEqual([second, end], ["Try: loqa train --help", ""]);
  });
}
