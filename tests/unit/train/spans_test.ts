import assert from "node:assert/strict";
import { openAdapter } from "../../../src/io/open.ts";
import { loqa } from "../../helpers/cli.ts";
import { sentences, writeEncoder } from "../../helpers/encoders.ts";
import { inFolder } from "../../helpers/model.ts";

const TELLS = /\b(good|fine|great|warm|bad|dull|cold|poor)\b/;

/** A file as SQuAD's are, whose answers are the one word of each context that tells a class. */
function squad(count: number, seed: number): string {
  const paragraphs = sentences(count, seed).trim().split("\n").map(
    (line, i) => {
      const [context] = line.split("\t");
      const { 0: text, index } = TELLS.exec(context)!;
      return {
        context,
        qas: [{
          id: `${seed}-${i}`,
          question: "is the story",
          answers: [{ text, "answer_start": index }],
        }],
      };
    },
  );
  return JSON.stringify({ version: "1.1", data: [{ title: "a", paragraphs }] });
}

for (const type of ["bert", "deberta-v2"] as const) {
  Deno.test(`answers in a text: trained at 4 bits, measured, merged, ${type}`, async () => {
    await inFolder(async (folder) => {
      await writeEncoder(`${folder}/model`, type);
      await Deno.writeTextFile(`${folder}/train.json`, squad(300, 0));
      await Deno.writeTextFile(`${folder}/dev.json`, squad(60, 1));
      const verb = async (...args: string[]) => {
        const { code, stdout, stderr } = await loqa(
          ...[...args, "--device", "wasm", "--json", "--quiet"],
        );
        assert.equal(code, 0, stderr);
        return JSON.parse(stdout);
      };
      const out = `${folder}/out`;
      await verb("init", `${folder}/model`, "-o", out, "--rank", "4");
      const trained = await verb(
        ...["train", out, "--task", "qa", "--data", `${folder}/train.json`],
        ...["--eval", `${folder}/dev.json`, "--steps", "120", "--batch", "8"],
        ...["--block", "24", "--lr", "0.01"],
      );
      const { before, after, perplexityAfter } = trained.evaluation;
      assert.ok(after < 0.3 * before, `${before} -> ${after}`);
      assert.equal(perplexityAfter, undefined);
      const merged = `${folder}/merged`;
      const { forward } = await verb(
        ...["merge", out, "-o", merged, "--dtype", "f32"],
      );
      assert.deepEqual([forward.of, forward.agreement], ["random", 1]);
      for (const path of [out, merged]) {
        const { task, metrics, count } = await verb(
          ...["eval", path, "--task", "squad", "--data", `${folder}/dev.json`],
        );
        assert.deepEqual([task, count], ["squad", 60]);
        assert.ok(
          metrics.exactMatch > 0.9 && metrics.exactMatch <= 1,
          JSON.stringify(metrics),
        );
        assert.ok(metrics.f1 >= metrics.exactMatch);
      }
      await using adapter = await openAdapter(`${out}/adapter`);
      assert.equal(adapter.config.task_type, "QUESTION_ANS");
      assert.deepEqual(adapter.config.modules_to_save, ["qa_outputs"]);
      assert.deepEqual([...adapter.others.keys()].sort(), [
        "base_model.model.qa_outputs.bias",
        "base_model.model.qa_outputs.weight",
      ]);
    });
  });
}
