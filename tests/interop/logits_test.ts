import { bart, bert, type Model, own, smollm, stories } from "./models.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";

const folder = scratch();
let made = 0;

interface Case {
  readonly model: Model;
  readonly form: string;
  readonly layout: "bnb" | "dense";
  readonly options: readonly string[];
}

const nf4 = ["--format", "nf4", "--rank", "8", "--alpha", "16"];
const nf2 = ["--format", "nf2", "--rank", "8", "--alpha", "8"];
const cases: Case[] = [
  ...[own, stories, bart, bert, smollm].map((model): Case => (
    { model, form: "nf4", layout: "bnb", options: nf4 }
  )),
  { model: own, form: "nf2", layout: "bnb", options: nf2 },
  { model: stories, form: "nf2", layout: "bnb", options: nf2 },
  {
    model: own,
    form: "nf4 rslora",
    layout: "bnb",
    options: [...nf4, "--rslora"],
  },
  {
    model: own,
    form: "nf4 with patterns",
    layout: "bnb",
    options: [
      ...nf4,
      "--rank-pattern",
      "down_proj=4",
      "--rank-pattern",
      "layers.1.self_attn.q_proj=12",
      "--alpha-pattern",
      "k_proj=5",
    ],
  },
  {
    model: own,
    form: "nf4 and nf2 mixed",
    layout: "bnb",
    options: ["--mixed", "first=2:nf4,rest=nf2", "--rank", "8"],
  },
  ...[own, bart].map((model): Case => (
    {
      model,
      form: "nf4, scales in 8 bits",
      layout: "bnb",
      options: [...nf4, "--double-quant"],
    }
  )),
  { model: own, form: "nf4", layout: "dense", options: nf4 },
  {
    model: stories,
    form: "nf3",
    layout: "dense",
    options: ["--format", "nf3", "--rank", "8", "--alpha", "32"],
  },
  {
    model: own,
    form: "int3",
    layout: "dense",
    options: ["--format", "int3", "--rank", "4"],
  },
  {
    model: bart,
    form: "int2",
    layout: "dense",
    options: ["--format", "int2", "--rank", "8"],
  },
];

for (const { model, form, layout, options } of cases) {
  const subject = { ...model, label: `${model.label}, ${form}, ${layout}` };
  await peerTests(subject, "logits.py", async () => {
    const at = `${folder}/${made++}`;
    const nested = options.includes("--double-quant");
    for (const backbone of nested ? [layout] : ["packed", layout]) {
      const out = `${at}-${backbone}`;
      // What is compared are weights: nothing on their way is rounded to 16 bits, in either layout.
      const shared = ["--iters", "2", "--seed", "5", "--dtype", "f32"];
      shared.push("--backbone", backbone);
      if (backbone === "packed") shared.push("--scale-dtype", "f32");
      await loqaJson("init", model.path, "-o", out, ...options, ...shared);
    }
    const outs = [`${at}-${nested ? layout : "packed"}`, `${at}-${layout}`];
    return [model.path, model.kind, ...outs, form, layout];
  });
}
