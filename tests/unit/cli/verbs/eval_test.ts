import assert from "node:assert/strict";
import { loqa } from "../../../helpers/cli.ts";
import { exists, models, sharedData } from "../../../helpers/inputs.ts";
import { inFolder } from "../../../helpers/model.ts";

const EXAMPLE = new URL("../../../../examples/model", import.meta.url).pathname;
const HELDOUT = `${EXAMPLE}/heldout.txt`;
const WASM = ["--device", "wasm", "--threads", "1"];

async function report(...args: string[]) {
  const { code, stdout, stderr } = await loqa(
    ...["eval", ...args, ...WASM, "--json", "--quiet"],
  );
  assert.deepEqual([code, stderr], [0, ""]);
  return JSON.parse(stdout);
}

Deno.test("loqa eval --task ppl --json: the document, and what options do to it", async () => {
  const ppl = ["--task", "ppl", "--data", HELDOUT, "--seq-len", "48"];
  const found = await report(EXAMPLE, ...ppl, "--limit", "3");
  assert.deepEqual(
    [found.verb, found.task, found.model, found.count],
    ["eval", "ppl", EXAMPLE, 3 * 47],
  );
  assert.ok(found.seconds > 0);
  const { perplexity, perplexityStdErr, negativeLogLikelihood } = found.metrics;
  assert.ok(Math.abs(perplexity - Math.exp(negativeLogLikelihood)) < 1e-9);
  assert.ok(perplexity > 1 && perplexity < 2 && perplexityStdErr > 0);
  const strided = await report(
    EXAMPLE,
    ...[...ppl, "--stride", "24", "--limit", "3", "--batch", "1"],
  );
  assert.equal(strided.count, 47 + 2 * 24);
  const few = await report(EXAMPLE, ...ppl, "--characters", "400");
  assert.ok(few.count < 400 && few.count % 47 === 0);
});

Deno.test("loqa eval --task commonsense: accuracy and its standard error, over several sets", () =>
  inFolder(async (folder) => {
    const put = async (set: string, ...answers: string[]) => {
      await Deno.mkdir(`${folder}/${set}`);
      await Deno.writeTextFile(
        `${folder}/${set}/test.json`,
        JSON.stringify(answers.map((answer) => ({
          instruction:
            "Please answer the following question with true or false, question: is it so?\n\nAnswer format: true/false",
          input: "",
          output: `the correct answer is ${answer}`,
          answer,
        }))),
      );
    };
    await put("boolq", "true", "false");
    const found = await report(
      EXAMPLE,
      "--task",
      "commonsense",
      "--data",
      folder,
    );
    assert.equal(found.count, 2);
    assert.equal(found.metrics.accuracy, 0.5);
    assert.ok(found.metrics.accuracyStdErr > 0);
  }));

Deno.test("loqa eval: a table for people", async () => {
  const { code, stdout } = await loqa(
    ...["eval", EXAMPLE, "--task", "ppl", "--data", HELDOUT, ...WASM],
    ...["--seq-len", "32", "--limit", "2", "--quiet"],
  );
  assert.equal(code, 0);
  assert.match(stdout, /^perplexity +\d\.\d+ +± [\d.]+\n/);
  assert.match(stdout, /\n62 counted, [\d.]+ s, f32 arithmetic\n$/);
});

for (
  const [args, line] of [
    [[], "eval takes one DIR, got none"],
    [["a", "b"], "eval takes one DIR, got 2"],
    [["a", "--data", "x"], "eval needs --task, one of ppl, gsm8k, mmlu, "],
    [["a", "--task", "ppl"], "eval needs --data PATH"],
    [
      ["a", "--task", "glu", "--data", "x"],
      "--task must be one of ppl, gsm8k, mmlu, commonsense, glue, anli, squad, summarize, g2p",
    ],
    [
      ["a", "--task", "ppl", "--data", "x", "--adapter", "y", "--no-adapter"],
      "--no-adapter and --adapter exclude each other",
    ],
  ] as const
) {
  Deno.test(`wrong usage: loqa eval ${args.join(" ")}`, async () => {
    const { code, stdout, stderr } = await loqa("eval", ...args);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    const [first, second, end] = stderr.split("\n");
    assert.ok(first.startsWith(`loqa: ${line}`), first);
    assert.deepEqual([second, end], ["Try: loqa eval --help", ""]);
  });
}

const smollm =
  `${models()}/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;
const data = sharedData();
const missing = !exists(smollm)
  ? " (the GGUF is not here)"
  : data
  ? ""
  : " (../shared/data is not here)";

Deno.test({
  name:
    `SmolLM2 from its GGUF: perplexity 27.61 of 8 blocks of WikiText-2${missing}`,
  ignore: missing !== "",
  async fn() {
    const { code, stdout, stderr } = await loqa(
      ...["eval", smollm, "--task", "ppl", "--json", "--quiet"],
      ...["--data", `${data}/lm/wikitext2-test.txt`, "--seq-len", "512"],
      ...["--limit", "8", "--characters", "200000"],
      ...["--device", "wasm", "--threads", "2"],
    );
    assert.equal(code, 0, stderr);
    const { metrics, count } = JSON.parse(stdout);
    assert.equal(count, 8 * 511);
    assert.equal(metrics.perplexity.toFixed(2), "27.61");
  },
});
