import { folderFiles, openCheckpoint } from "../../src/io/open.ts";
import { openTokenizer } from "../../src/io/open_tokenizer.ts";
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { Random } from "../../src/tensor/random.ts";
import { exists, integer, sharedData } from "../helpers/inputs.ts";
import { bert, own, smollm, stories } from "./models.ts";
import { peerTests, scratch, type Subject } from "./run.ts";

const folder = scratch();
const data = sharedData();

/** Text of many kinds; those that are here. */
const TEXTS: readonly string[] = [
  `${own.path}/heldout.txt`,
  ...[
    "lm/tinyshakespeare.txt",
    "lm/tinystories-sample.txt",
    "lm/wikipedia-calibration.txt",
    "lm/wikitext2-test.txt",
    "lm/wikitext2-valid.txt",
    "gsm8k/test.jsonl",
    "mmlu/test/high_school_mathematics_test.csv",
    "mmlu/test/world_religions_test.csv",
    "glue/cola/train.tsv",
    "glue/sst2/dev.tsv",
  ].map((name) => `${data}/${name}`),
].filter(exists);

const CHATS = [
  [{ role: "user", content: "What is 17 + 25?" }],
  [
    { role: "system", content: "Answer briefly." },
    { role: "user", content: " naïve café 🙂\n" },
    { role: "assistant", content: "" },
    { role: "user", content: "<|im_end|>" },
  ],
];

/** A tokenizer, whose files may have to be put together first, and its peer. */
interface Case extends Subject {
  readonly peer: "auto" | "gpt2" | "bert" | "sentencepiece";
  /** The folder with its files. */
  files(): Promise<string> | string;
  /** Name of the file that the peer takes instead of the folder. */
  readonly file?: string;
}

/** Files of the shared tokenizers under the names that a model has them by. */
function copied(
  label: string,
  peer: Case["peer"],
  { names, file }: { names: Record<string, string>; file?: string },
): Case {
  const from = (name: string) => `${data}/tokenizers/${name}`;
  const missing = Object.values(names).every((name) => exists(from(name)))
    ? undefined
    : "its files are not here";
  return {
    label,
    peer,
    missing,
    file,
    async files() {
      const path = `${folder}/${label}`;
      await Deno.mkdir(path);
      for (const [to, name] of Object.entries(names)) {
        await Deno.copyFile(from(name), `${path}/${to}`);
      }
      return path;
    },
  };
}

const CASES: readonly Case[] = [
  { ...own, peer: "auto", files: () => own.path },
  { ...stories, peer: "auto", files: () => stories.path },
  { ...bert, peer: "auto", files: () => bert.path },
  {
    ...smollm,
    peer: "auto",
    async files() {
      const path = `${folder}/smollm`;
      await Deno.mkdir(path);
      await using checkpoint = await openCheckpoint(smollm.path);
      for (const { name, bytes } of await checkpoint.sideFiles()) {
        await Deno.writeFile(`${path}/${name}`, bytes);
      }
      return path;
    },
  },
  copied("LLaMA-2 tokenizer.model", "sentencepiece", {
    names: { "tokenizer.model": "llama2-tokenizer.model" },
    file: "tokenizer.model",
  }),
  copied("GPT-2 vocab.json", "gpt2", {
    names: {
      "vocab.json": "gpt2-encoder.json",
      "merges.txt": "gpt2-vocab.bpe",
    },
  }),
  copied("BERT vocab.txt", "bert", {
    names: { "vocab.txt": "bert-base-uncased-vocab.txt" },
  }),
];

async function writeJson(path: string, value: unknown): Promise<void> {
  await Deno.writeTextFile(path, JSON.stringify(value));
}

/** Writes what we make of the texts, of random ids, and of conversations. */
async function writeOurs(
  tokenizer: Tokenizer,
  { peer }: Case,
  out: string,
): Promise<void> {
  await Deno.mkdir(out);
  const plain = peer === "sentencepiece";
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const requests = [];
  for (const [i, path] of TEXTS.entries()) {
    const text = decoder.decode(await Deno.readFile(path));
    const ids = tokenizer.encode(
      plain ? text.replace(/<(unk|s|\/s)>/g, "$1") : text,
      { addSpecialTokens: !plain },
    );
    await Deno.writeFile(`${out}/${i}.ids`, new Uint8Array(ids.buffer));
    requests.push({ text: path, ids: `${i}.ids` });
  }
  await writeJson(`${out}/requests.json`, requests);
  const random = new Random(3);
  // Random bytes make broken characters, which SentencePiece itself repairs in its own way.
  const lists = Array.from(
    { length: 200 },
    () =>
      plain
        ? Array.from(tokenizer.encode(
          String.fromCodePoint(
            ...Array.from({ length: 8 }, () => integer(random, 32, 0xd7ff)),
          ),
          { addSpecialTokens: false },
        ))
        : Array.from(
          { length: 12 },
          () => integer(random, 0, tokenizer.vocabSize - 1),
        ),
  );
  await writeJson(
    `${out}/decoded.json`,
    lists.map((ids) => ({ ids, text: tokenizer.decode(ids) })),
  );
  if (!tokenizer.hasChatTemplate) return;
  await writeJson(
    `${out}/chat.json`,
    CHATS.flatMap((messages) =>
      [false, true].map((addGenerationPrompt) => ({
        messages,
        addGenerationPrompt,
        text: tokenizer.applyChatTemplate(messages, { addGenerationPrompt }),
      }))
    ),
  );
}

for (const [i, one] of CASES.entries()) {
  await peerTests(one, "tokenizer.py", async () => {
    const path = await one.files();
    const out = `${folder}/ours-${i}`;
    await writeOurs(await openTokenizer(await folderFiles(path)), one, out);
    return [one.peer, one.file ? `${path}/${one.file}` : path, out];
  });
}
