import assert from "node:assert/strict";
import { inFolder } from "../helpers/model.ts";
import { initInto, withTrainable } from "./train_work.ts";
import { failsWith, succeeds } from "./work.ts";

const WASM = ["--quiet", "--device", "wasm", "--threads", "1"];

/** Files without a record, by their names. */
const EMPTY: Readonly<Record<string, string>> = {
  "none.txt": "",
  "spaces.txt": "\n \n",
  "none.jsonl": "",
  "lines.jsonl": "\n\n",
  "none.json": "[]",
  "none.csv": "",
  "head.csv": "text\n",
};

/** A line that names the file, and no other. */
const named = (file: string) =>
  new RegExp(
    `^loqa: Cannot use "\\S+/${file}": it is empty; wanted a record at the least$`,
    "m",
  );

Deno.test("a data file without a record, or whose texts are empty, is refused by name, alone and beside others", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await initInto(folder, out);
    const train = (data: string, ...more: string[]) => [
      ...["train", out, "--data", data, "--steps", "1", "--block", "16"],
      ...[...WASM, ...more],
    ];
    const good = `${folder}/data.txt`;
    const pairs = `${folder}/pairs.jsonl`;
    await Deno.writeTextFile(pairs, '{"prompt":"a","completion":"b"}\n');
    for (const [name, text] of Object.entries(EMPTY)) {
      const file = `${folder}/${name}`;
      await Deno.writeTextFile(file, text);
      await failsWith(train(`${good},${file}`), named(name));
      await failsWith(
        train(`${pairs},${file}`, "--task", "sft"),
        named(name),
      );
    }
    const empty = `${folder}/none.txt`;
    await failsWith(train(empty), named("none.txt"));
    await failsWith(train(good, "--eval", empty), named("none.txt"));
    await failsWith(
      ["eval", out, "--task", "ppl", "--data", empty, ...WASM],
      named("none.txt"),
    );
    await failsWith(
      [
        ...["init", `${folder}/model`, "-o", `${folder}/other`, ...WASM],
        ...["--metric", "diag", "--calib", `${good},${empty}`],
      ],
      named("none.txt"),
    );
    const texts = `${folder}/texts.jsonl`;
    await Deno.writeTextFile(texts, '{"text":""}\n{"text":""}\n');
    await failsWith(
      train(`${good},${texts}`),
      /^loqa: Cannot use "\S+\/texts\.jsonl": no text in it has a token$/m,
    );
    const short = `${folder}/short.txt`;
    await Deno.writeTextFile(short, "a b");
    await failsWith(
      train(short),
      /^loqa: Cannot learn from "\S+\/short\.txt": \d tokens in all do not fill one sequence of 16; wanted more text or a smaller sequence length$/m,
    );
    await failsWith(
      ["eval", out, "--task", "ppl", "--data", short, "--block", "16", ...WASM],
      /^loqa: Cannot cut "\S+\/short\.txt" into windows: it has \d tokens, which do not fill one window of 16;/m,
    );
    await succeeds(train(`${good},${pairs}`));
  }));

Deno.test("files of questions, pairs and classes without a record are refused by name", () =>
  inFolder(async (folder) => {
    const { readSquad } = await import("../../src/data/tasks/squad.ts");
    const { readPairs, readParallel } = await import(
      "../../src/data/tasks/pairs.ts"
    );
    const { readLabelled } = await import("../../src/data/tasks/labelled.ts");
    const { bytesSource } = await import("../../src/io/files/sources.ts");
    const source = (name: string, text: string) =>
      bytesSource(new TextEncoder().encode(text), `${folder}/${name}`);
    for (
      const [name, read] of [
        ["a.json", readSquad(source("a.json", '{"data": []}'))],
        ["b.json", readPairs(source("b.json", "{}"))],
        ["c.source", readParallel(source("c.source", ""), source("t", ""))],
        ["d.tsv", readLabelled(source("d.tsv", "sentence\tlabel\n"))],
      ] as const
    ) {
      await assert.rejects(Array.fromAsync<unknown>(read), {
        name: "SyntaxError",
        message: new RegExp(`^Cannot use ".*/${name}": it is empty`),
      });
    }
  }));
