import { compileChatTemplate } from "../../src/io/chat/template.ts";
import { folderFiles } from "../../src/io/open.ts";
import { openTokenizer } from "../../src/io/open_tokenizer.ts";
import { readExamples, type TextCodec } from "../../src/train/run.ts";
import { findPython } from "./environment.ts";
import { own } from "./models.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";

const folder = scratch();
const STEPS = [
  ...["--steps", "20", "--batch", "2", "--accumulation", "1", "--lr", "5e-3"],
  ...["--schedule", "linear", "--warmup", "3", "--clip", "1"],
  ...["--order", "sequential", "--block", "250"],
];

/** A template of Qwen3's shape: thoughts stay in the answers behind the last question only. */
function template(marks: boolean): string {
  const [begin, end] = marks
    ? ["{% generation %}", "{% endgeneration %}"]
    : ["", ""];
  return [
    "{% set ns = namespace(last=0) %}",
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}",
    "{% for m in messages %}{% if m.role == 'assistant' %}",
    "{% set thought = '' %}{% set said = m.content %}",
    "{% if '</think>' in said %}{% set thought = said.split('</think>')[0].split('<think>')[-1] %}{% set said = said.split('</think>')[-1] %}{% endif %}",
    `<|im_start|>assistant\n{{ '' }}${begin}{% if loop.index0 > ns.last %}<think>{{ thought }}</think>{% endif %}{{ said }}<|im_end|>\n{{ '' }}${end}`,
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{{ '' }}{% endif %}{% endfor %}",
    "{% if add_generation_prompt %}<|im_start|>assistant\n{{ '' }}{% endif %}",
  ].join("");
}

/** Two turns, a thought in some, and text that tokens span. */
function conversation(i: number) {
  const thought = i % 3 === 0
    ? `<think>${i} is ${i % 2 ? "odd" : "even"}</think>`
    : "";
  return {
    messages: [
      ...i % 4 === 0 ? [{ role: "system", content: "Be brief." }] : [],
      { role: "user", content: `Where does the captain go with flag ${i}?` },
      {
        role: "assistant",
        content: `${thought}To the harbour, ${i % 7} times.`,
      },
      { role: "user", content: i % 5 === 0 ? "naïve café 🙂" : "And then?" },
      {
        role: "assistant",
        content: `${thought}The captain of ship ${i % 11} goes home.`,
      },
    ],
  };
}

async function examplesOf(codec: TextCodec, records: readonly object[]) {
  const set = await readExamples(records, { codec, context: 4096 });
  return Array.from({ length: set.size }, (_, i) => {
    const { tokens, labels } = set.example(i);
    return { ids: [...tokens], labels: [...labels] };
  });
}

/** Templates that TRL trains with, and the records that each is tried on. */
const TRL = [
  "qwen3_training.jinja",
  "qwen2_5_training.jinja",
  "llama3_training.jinja",
  "gptoss_training.jinja",
  "cohere_training.jinja",
  "deepseek_r1_distill_training.jinja",
  "glm4moe_training.jinja",
  "lfm2_training.jinja",
  "phi3_training.jinja",
  "qwen3_5_think_training.jinja",
];

async function trlExamples(
  codec: TextCodec,
  given: Record<string, string>,
): Promise<object> {
  const python = await findPython();
  const found = await new Deno.Command(python!, {
    args: ["-c", "import trl, os; print(os.path.dirname(trl.__file__))"],
  }).output();
  const at = new TextDecoder().decode(found.stdout).trim();
  const rows: Record<string, object[]> = {};
  for (const name of TRL) {
    const source = await Deno.readTextFile(`${at}/chat_templates/${name}`);
    const chatTemplate = await compileChatTemplate(source, { given, name });
    rows[name] = [];
    for (
      const record of Array.from({ length: 12 }, (_, i) => conversation(i))
    ) {
      const [example] = await examplesOf(
        {
          encode: (text, options) => codec.encode(text, options),
          encodeOffsets: (text, options) => codec.encodeOffsets!(text, options),
          decode: (ids) => codec.decode(ids),
          eosId: codec.eosId,
          chatTemplate,
        },
        [record],
      );
      rows[name].push({ ...record, ...example });
    }
  }
  return rows;
}

await peerTests(
  { ...own, label: "supervised fine-tuning" },
  "sft.py",
  async () => {
    const [model, out] = [`${folder}/model`, `${folder}/out`];
    await Deno.mkdir(model);
    for await (const { name } of Deno.readDir(own.path)) {
      await Deno.copyFile(`${own.path}/${name}`, `${model}/${name}`);
    }
    await Deno.writeTextFile(`${model}/chat_template.jinja`, template(false));
    await Deno.writeTextFile(`${folder}/marked.jinja`, template(true));
    const records = Array.from({ length: 200 }, (_, i) => conversation(i));
    const data = `${folder}/data.jsonl`;
    await Deno.writeTextFile(
      data,
      records.map((record) => `${JSON.stringify(record)}\n`).join(""),
    );
    await loqaJson(
      ...["init", model, "-o", out, "--method", "qlora", "--seed", "3"],
      ...["--backbone", "none", "--rank", "4", "--alpha", "8"],
    );
    const start = `${folder}/start`;
    await Deno.mkdir(start);
    for await (const { name } of Deno.readDir(`${out}/adapter`)) {
      await Deno.copyFile(`${out}/adapter/${name}`, `${start}/${name}`);
    }
    await loqaJson("train", out, "--data", data, "--task", "sft", ...STEPS);
    const codec = await openTokenizer(await folderFiles(model));
    await Deno.writeTextFile(
      `${out}/examples.json`,
      JSON.stringify(await examplesOf(codec, records)),
    );
    const given = Object.fromEntries(
      Array.from(codec.specialIds, ([role, id]) => [role, codec.tokenOf(id)!]),
    );
    await Deno.writeTextFile(
      `${out}/trl.json`,
      JSON.stringify(await trlExamples(codec, given)),
    );
    return [model, start, out, data, `${folder}/marked.jinja`];
  },
);
