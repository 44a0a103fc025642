import assert from "node:assert/strict";
import { openCheckpoint } from "../../../../src/io/open.ts";
import { loqa } from "../../../helpers/cli.ts";
import { inFolder } from "../../../helpers/model.ts";

const EXAMPLE = new URL("../../../../examples/model", import.meta.url).pathname;
const WASM = ["--device", "wasm", "--threads", "1"];

async function succeeds(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await loqa(...args, ...WASM, "--quiet");
  assert.equal(code, 0, stderr);
  return stdout;
}

const json = async (path: string) => JSON.parse(await Deno.readTextFile(path));

Deno.test("loqa init --method qalora, train, eval, generate, merge: the merged model says what the adapter said", () =>
  inFolder(async (folder) => {
    const [out, merged] = [`${folder}/int4`, `${folder}/merged`];
    const table = await succeeds(
      ...["init", EXAMPLE, "-o", out, "--method", "qalora"],
      ...["--rank", "4", "--alpha", "8"],
    );
    assert.match(table, /^QA-LoRA: the adapter sees sums of 32 inputs/m);
    const told = await json(`${out}/loqa.json`);
    assert.deepEqual(
      [told.options.method, told.options.format, told.group],
      ["qalora", "int4", 32],
    );
    await succeeds(
      ...["train", out, "--data", `${EXAMPLE}/train-sample.txt`],
      ...[
        "--steps",
        "6",
        "--seq-len",
        "32",
        "--lr",
        "1e-2",
        "--dropout",
        "0.1",
      ],
    );
    const config = await json(`${out}/adapter/adapter_config.json`);
    assert.deepEqual(
      [config.use_qalora, config.qalora_group_size, config.loqa.base],
      [true, 32, told.base],
    );
    assert.match(
      (await loqa("inspect", out)).stdout,
      /^QA-LoRA adapter on sums of 32 inputs: 28 modules, rank 4/m,
    );

    const report = JSON.parse(
      await succeeds("merge", out, "-o", merged, "--json"),
    );
    assert.deepEqual([report.verb, report.exact], ["merge", true]);
    assert.equal(report.maxDifference, report.forward.maxDifference);
    assert.ok(report.forward.relative < 1e-4, `${report.forward.relative}`);
    assert.deepEqual(
      [report.forward.of, report.forward.tokens],
      ["generated", 64],
    );
    assert.ok(
      report.layers.every((l: { maxChange: number }) => l.maxChange > 0),
    );
    const after = await json(`${merged}/loqa.json`);
    assert.deepEqual(after.options, told.options);
    assert.equal(after.base, report.base);
    assert.notEqual(after.base, told.base);
    assert.deepEqual(
      (await Array.fromAsync(Deno.readDir(merged))).map((e) => e.name).sort(),
      ["backbone", "loqa.json"],
    );
    await using before = await openCheckpoint(`${out}/backbone`);
    await using now = await openCheckpoint(`${merged}/backbone`);
    for (const { name } of told.layers) {
      const [a, b] = [
        await before.readQuantized!(`${name}.weight`),
        await now.readQuantized!(`${name}.weight`),
      ];
      assert.deepEqual(b!.codes, a!.codes);
      assert.deepEqual(b!.scales, a!.scales);
      assert.notDeepEqual(b!.biases, a!.biases);
    }

    const say = (path: string) =>
      succeeds(
        "generate",
        path,
        "--prompt",
        "The sea",
        "--max-new-tokens",
        "6",
        "--compute",
        "f32",
      );
    assert.equal(await say(merged), await say(out));
    const perplexity = async (path: string, ...options: string[]) =>
      JSON.parse(
        await succeeds(
          ...["eval", path, "--task", "ppl", "--json", ...options],
          ...["--data", `${EXAMPLE}/heldout.txt`, "--seq-len", "64"],
        ),
      ).metrics.perplexity;
    const f32 = ["--compute", "f32"];
    const [one, other, integer] = [
      await perplexity(out),
      await perplexity(merged, ...f32),
      await perplexity(merged),
    ];
    assert.notEqual(integer, other);
    assert.ok(Math.abs(integer / other - 1) < 0.01, `${integer} ${other}`);
    assert.ok(Math.abs(one / other - 1) < 1e-5, `${one} against ${other}`);
  }));

Deno.test("loqa train --compute int8: the losses of f32 within 1 %", () =>
  inFolder(async (folder) => {
    const out = `${folder}/int4`;
    await succeeds(
      ...["init", EXAMPLE, "-o", out, "--method", "qalora", "--rank", "4"],
    );
    const losses = async (compute: string) => {
      const to = `${folder}/${compute}`;
      await succeeds(
        ...["train", out, "-o", to, "--data", `${EXAMPLE}/train-sample.txt`],
        ...["--steps", "8", "--seq-len", "32", "--lr", "1e-2"],
        ...["--compute", compute, "--log-every", "1"],
      );
      return (await Deno.readTextFile(`${to}/runs/1/metrics.jsonl`)).trim()
        .split("\n").map((line): number => JSON.parse(line).loss);
    };
    const [plain, integer] = [await losses("f32"), await losses("int8")];
    assert.equal(integer.length, 8);
    assert.notDeepEqual(integer, plain);
    for (const [i, loss] of integer.entries()) {
      assert.ok(Math.abs(loss / plain[i] - 1) < 0.01, `${loss} ${plain[i]}`);
    }
  }));

Deno.test("loqa merge --text: the difference over a text of the user's, and nothing written without one", () =>
  inFolder(async (folder) => {
    const out = `${folder}/int2`;
    await succeeds(
      ...["init", EXAMPLE, "-o", out, "--method", "qalora", "--rank", "2"],
      ...["--iters", "1", "--format", "int2"],
    );
    const merge = (text: string) => [
      ...["merge", out, "-o", `${folder}/merged`, "--text", text],
    ];
    await Deno.writeTextFile(`${folder}/empty.txt`, " \n");
    for (const name of ["none.txt", "empty.txt"]) {
      const { code, stderr } = await loqa(...merge(`${folder}/${name}`));
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`^loqa: Cannot .*${name}.*\n$`));
    }
    const stdout = await succeeds(...merge(`${EXAMPLE}/heldout.txt`));
    assert.match(stdout, /^exact: 28 layers merged/m);
    const [, tokens, relative] =
      /^over (\d+) tokens of the text the logits differ by at most [^(]+\((\S+) % of their spread/m
        .exec(stdout)!;
    assert.equal(tokens, "512");
    assert.ok(Number(relative) < 0.01, stdout);
  }));

Deno.test("loqa merge of QA-LoRA on a dense model rounds, and takes --dtype; the exact one does not", () =>
  inFolder(async (folder) => {
    const out = `${folder}/int4`;
    await succeeds(
      ...["init", EXAMPLE, "-o", out, "--method", "qalora", "--rank", "2"],
      ...["--iters", "1", "--format", "int2"],
    );
    const refused = await loqa(
      ...["merge", out, "-o", `${folder}/x`, "--dtype", "f16"],
    );
    assert.equal(refused.code, 2);
    assert.match(
      refused.stderr,
      /the option dtype rounds, and it is merged exactly/,
    );
    const report = JSON.parse(
      await succeeds(
        ...["merge", EXAMPLE, "--adapter", `${out}/adapter`, "--dtype", "f32"],
        ...["-o", `${folder}/dense`, "--json"],
      ),
    );
    assert.deepEqual([report.exact, report.dtype], [false, "f32"]);
    assert.ok(report.forward.relative < 1e-4, `${report.forward.relative}`);
  }));

Deno.test("loqa init --method qalora: what was quantised before is told to be kept", () =>
  inFolder(async (folder) => {
    const start = ["--method", "qalora", "--rank", "2"];
    await succeeds("init", EXAMPLE, "-o", `${folder}/a`, ...start);
    const table = await succeeds(
      ...["init", `${folder}/a/backbone`, "-o", `${folder}/b`, ...start],
    );
    assert.match(
      table,
      /^Nothing was quantised: codes and scales are those of .*\/a\/backbone\.$/m,
    );
    const report = await json(`${folder}/b/loqa.json`);
    assert.equal(report.kept, `${folder}/a/backbone`);
    assert.equal(report.base, (await json(`${folder}/a/loqa.json`)).base);
  }));

const WRONG: Record<string, [string[], RegExp]> = {
  "a group of another size": [
    ["--block", "48"],
    /--method qalora takes --block 32, 64 or 128, got 48/,
  ],
  "a scale of LoftQ": [["--scale", "std"], /--scale must be one of minmax/],
  "gptq without moments": [
    ["--scale", "gptq"],
    /--scale gptq needs --metric full/,
  ],
  "biases without moments": [
    ["--biases"],
    /--biases needs --metric diag or full/,
  ],
  "biases and a search": [
    [
      "--biases",
      "--iters",
      "2",
      "--metric",
      "diag",
      "--moments",
      "x.safetensors",
    ],
    /--biases leaves nothing for iterations to find/,
  ],
};

for (const [name, [args, message]] of Object.entries(WRONG)) {
  Deno.test(`loqa init --method qalora, ${name}: wrong usage, and nothing is written`, () =>
    inFolder(async (folder) => {
      const { code, stdout, stderr } = await loqa(
        ...["init", EXAMPLE, "-o", `${folder}/out`, "--method", "qalora"],
        ...args,
      );
      assert.deepEqual([code, stdout], [2, ""]);
      assert.match(stderr, message);
      assert.deepEqual(await Array.fromAsync(Deno.readDir(folder)), []);
    }));
}

Deno.test("loqa init --biases wants --method qalora", async () => {
  const { code, stderr } = await loqa("init", EXAMPLE, "-o", "x", "--biases");
  assert.equal(code, 2);
  assert.match(stderr, /--biases needs --method qalora/);
});
