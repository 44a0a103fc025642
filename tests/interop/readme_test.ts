import assert from "node:assert/strict";
import { sentences, writeEncoder } from "../helpers/encoders.ts";
import { bart, bert, type Model, own, smollm } from "./models.ts";
import { loqa, loqaJson, peerTests, scratch } from "./run.ts";

const README = new URL("../../README.md", import.meta.url).pathname;
const folder = scratch();
let made = 0;

/** Initialises a model; gives the folder, and the class and the verdict of the last line. */
async function initialised(
  model: string,
  options: readonly string[],
): Promise<{ out: string; auto: string; says: string }> {
  const out = `${folder}/${made++}`;
  const ran = await loqa(
    ...["init", model, "-o", out, "--rank", "4", ...options],
    ...(options.includes("qlora") ? [] : ["--iters", "1"]),
    "--quiet",
  );
  assert.equal(ran.code, 0, ran.stderr);
  const last = ran.stdout.trim().split("\n").at(-1)!;
  assert.match(last, /^Loads in: /);
  const { taskType } = JSON.parse(await Deno.readTextFile(`${out}/loqa.json`));
  const auto = / (AutoModel\w*)\./.exec(last)?.[1] ??
    (taskType === "SEQ_2_SEQ_LM"
      ? "AutoModelForSeq2SeqLM"
      : taskType === "CAUSAL_LM"
      ? "AutoModelForCausalLM"
      : "AutoModel");
  return { out, auto, says: last.includes("Python,") ? "loads" : "refused" };
}

interface Case {
  readonly model: Model;
  readonly options: readonly string[];
  readonly says: "loads" | "refused";
}

const pattern = ["--alpha", "64", "--rank-pattern", "down_proj=2"];
const sides = "encoder.bits=3,decoder.first=1:nf4,decoder.rest=nf2";
const mixed = ["--mixed", "first=2:nf4,rest=nf2"];
const int2 = ["--format", "int2", "--scale", "mse"];

/** Cases of README's lines: its three ways to a model for Python. */
const CASES: readonly Case[] = [
  { model: smollm, options: ["--format", "nf4"], says: "loads" },
  { model: own, options: [], says: "loads" },
  { model: own, options: pattern, says: "loads" },
  { model: own, options: ["--method", "qlora"], says: "loads" },
  { model: own, options: ["--double-quant"], says: "loads" },
  { model: own, options: ["--format", "nf3"], says: "refused" },
  { model: own, options: ["--format", "nf2"], says: "refused" },
  { model: own, options: ["--block", "48"], says: "refused" },
  { model: own, options: int2, says: "refused" },
  { model: own, options: mixed, says: "refused" },
  { model: own, options: ["--method", "qalora"], says: "refused" },
  {
    model: own,
    options: ["--format", "nf2", "--backbone", "bnb"],
    says: "loads",
  },
  { model: own, options: [...mixed, "--backbone", "bnb"], says: "loads" },
  { model: own, options: [...int2, "--backbone", "dense"], says: "loads" },
  { model: smollm, options: ["--method", "qalora"], says: "refused" },
  { model: bert, options: [], says: "loads" },
  { model: bert, options: ["--format", "nf2"], says: "refused" },
  { model: bart, options: [], says: "loads" },
  { model: bart, options: ["--mixed", sides], says: "refused" },
];

for (const { model, options, says } of CASES) {
  const label = [model.label, ...options].join(" ");
  await peerTests({ ...model, label }, "readme.py", async () => {
    const found = await initialised(model.path, options);
    assert.equal(found.says, says, "what init says of it");
    return [README, found.out, found.auto, says];
  });
}

for (const type of ["bert", "deberta-v2"] as const) {
  const base = `${folder}/${type}`;
  await writeEncoder(base, type);
  const data = `${folder}/${type}.tsv`;
  await Deno.writeTextFile(data, sentences(64, 0));
  let out = "";
  await peerTests(
    { label: `${type} without a head` },
    "readme.py",
    async () => {
      const found = await initialised(base, ["--block", "32"]);
      out = found.out;
      return [README, out, found.auto, "loads"];
    },
  );
  await peerTests({ label: `${type} with a head` }, "readme.py", async () => {
    await loqaJson(
      ...["train", out, "--task", "classify", "--data-set", "sst2"],
      ...["--data", data, "--steps", "2", "--batch", "4", "--block", "16"],
    );
    return [README, out, "AutoModelForSequenceClassification", "loads"];
  });
}

for (const format of ["int4", "int2"]) {
  const label = `${own.label}, QA-LoRA ${format} on the dense model`;
  await peerTests({ label }, "readme_qalora.py", async () => {
    const { out } = await initialised(own.path, [
      ...["--method", "qalora", "--format", format],
    ]);
    return [own.path, out];
  });
}
