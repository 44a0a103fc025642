import assert from "node:assert/strict";
import { loqa } from "../../helpers/cli.ts";
import { sentences, writeEncoder } from "../../helpers/encoders.ts";
import { inFolder } from "../../helpers/model.ts";

/** A trained classifier in `out`, and the files that it is asked about. */
async function withClassifier(
  work: (
    folder: string,
    run: (...args: string[]) => ReturnType<typeof loqa>,
  ) => Promise<void>,
): Promise<void> {
  await inFolder(async (folder) => {
    await writeEncoder(`${folder}/model`, "bert");
    await Deno.writeTextFile(`${folder}/sst2.tsv`, sentences(80, 0));
    const run = (...args: string[]) =>
      loqa(...args, "--device", "wasm", "--quiet");
    const { code, stderr } = await run(
      ...["train", `${folder}/model`, "-o", `${folder}/out`],
      ...["--task", "classify", "--data-set", "sst2"],
      ...["--data", `${folder}/sst2.tsv`, "--steps", "100", "--seq-len", "16"],
      ...["--batch", "8", "--lr", "0.01"],
    );
    assert.equal(code, 0, stderr);
    await work(folder, run);
  });
}

Deno.test("loqa eval --task glue: the document's keys", async () => {
  await withClassifier(async (folder, run) => {
    const { code, stdout, stderr } = await run(
      ...["eval", `${folder}/out`, "--task", "glue", "--json"],
      ...["--data", `${folder}/sst2.tsv`],
    );
    assert.equal(code, 0, stderr);
    const report = JSON.parse(stdout);
    assert.equal(report.verb, "eval");
    assert.equal(report.task, "glue");
    assert.equal(report.count, 80);
    assert.ok(report.metrics.accuracy > 0.9);
    assert.ok(report.metrics.accuracyStdErr < 0.1);
    assert.ok(report.seconds > 0);
  });
});

Deno.test("loqa eval and train of classes: one clear error each", async () => {
  await withClassifier(async (folder, run) => {
    const write = (name: string, text: string) =>
      Deno.writeTextFile(`${folder}/${name}`, text);
    await write("long.tsv", `${"the film ".repeat(20)}\t1\n`);
    await write("columns.tsv", "id\twords\tclass\n1\tthe film\t1\n");
    await write("mnli.tsv", "premise\thypothesis\tlabel\nthe\ta\tneutral\n");
    const file = (name: string) => ["--data", `${folder}/${name}`];
    const out = `${folder}/out`;
    const cases: [string[], RegExp][] = [
      [
        [
          ...["eval", out, "--task", "glue", "--glue-task", "sst2"],
          ...[...file("long.tsv"), "--overflow", "error"],
        ],
        /long\.tsv", line 1: wanted at most 32 tokens, got 42/,
      ],
      [
        [
          "eval",
          out,
          "--task",
          "glue",
          "--glue-task",
          "sst2",
          ...file("columns.tsv"),
        ],
        /columns\.tsv", line 1: wanted the columns "sentence", or "text", got "id", "words", "class"/,
      ],
      [
        [
          "eval",
          out,
          "--task",
          "glue",
          "--glue-task",
          "mnli",
          ...file("mnli.tsv"),
        ],
        /Cannot use mnli with this model: wanted 3 labels .*, the model has 2 \(negative, positive\)/,
      ],
      [
        [
          ...["train", out, "--task", "classify", "--data-set", "mnli"],
          ...file("mnli.tsv"),
        ],
        /Cannot use mnli with this model: wanted 3 labels .*, the model has 2/,
      ],
      [
        [
          ...["train", out, "--task", "classify", "--seq-len", "16"],
          ...[...file("long.tsv"), "--overflow", "error"],
        ],
        /long\.tsv", line 1: wanted at most 16 tokens, got 42/,
      ],
      [
        ["generate", out, "--prompt", "the film"],
        /wanted a causal LM, got an encoder \(bert\)/,
      ],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await run(...args);
      assert.equal(code, 1, args.join(" "));
      assert.match(stderr, message);
      assert.equal(stderr.trim().split("\n").length, 1, stderr);
    }
    // A vocabulary with more words than the model has.
    const words = (await Deno.readTextFile(`${folder}/model/vocab.txt`)).trim();
    const more = words.split("\n").toSpliced(5, 0, "x", "y", "z").join("\n");
    await write("model/vocab.txt", `${more}\n`);
    const { code, stderr } = await run(
      ...["train", `${folder}/model`, "-o", `${folder}/other`],
      ...["--task", "classify", ...file("sst2.tsv")],
    );
    assert.equal(code, 1);
    assert.match(
      stderr,
      /Cannot use the tokenizer .* with this model: wanted ids below 21, the size of the model's vocabulary, got 2\d; is it another model's\?/,
    );
  });
});
